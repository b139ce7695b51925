// Goal: dog vdi check finds every copy that is bad and none that is good, at rest, under load and while nodes die. Without
// repair it changes nothing, however often it is asked; with repair what it calls repaired is whole; what no copy has it
// does not call repaired. The seed picks victims, places and kinds of damage.

import type { NodeId } from '../../src/core/ids.ts';
import { OBJECT_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import type { CheckedSlice, CheckFinding } from '../../src/datapath/copy-checker.ts';
import type { Guest } from '../guest.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { harm } from './disk-faults.ts';

const SIZE_MIB = 12;
const OBJECTS = (SIZE_MIB * 2 ** 20) / OBJECT_BYTES;
const OBJECT_BLOCKS = OBJECT_BYTES / SECTOR_BYTES;
const DATA_OFFSET = 4 * SECTOR_BYTES;
/** Of each object, from its start. */
const FILLED = 128;
const ROUNDS = 1;
const HARMS = 3;
/** Few blocks of one object: whoever looks at it twice sees two versions. */
const WORK = { workingSet: 64, thinkMs: 4, depth: 6, calmThinkMs: 30 };
/** Objects that nobody writes are closed within this. */
const CLOSE_S = 6;
/** A slice: looks at members that do not answer have deadlines. */
const SLICE_S = 300;
/** A copy that is called bad is healed by then, and a second check finds nothing. */
const MAX_CHECKS = 5;
const LIMIT_S = 180;

type Sums = Omit<CheckedSlice, 'next'>;

export const copiesChecked = scenario(
  'copies-checked',
  { nodes: 3, copies: 3, smokeSeeds: 1 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: SIZE_MIB, at: gateway });
    for (let block = 0; block < OBJECTS * OBJECT_BLOCKS; block += OBJECT_BLOCKS) {
      for (let at = 0; at < FILLED; at += 16) await guest.write(block + at, 16);
    }
    await stage.run({ seconds: CLOSE_S });
    await atRest(stage);
    for (let round = 0; round < ROUNDS; round += 1) await underLoad(stage, guest, gateway);
    await stage.run({ seconds: CLOSE_S });
    await onAllCopies(stage, guest);
    await stage.run({ seconds: CLOSE_S });
    await findsNothing(stage);
    await stage.check.noCopyIsSuspect();
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical({ seconds: LIMIT_S });
  },
);

/** All slices, through one node. */
async function checked(stage: Stage, at: SimNode, heals: boolean): Promise<Sums> {
  const { process, handle } = at.running();
  const sums = { objects: 0, copies: 0, bytes: 0, busy: 0, unasked: 0 };
  const findings: CheckFinding[] = [];
  for (let from = 0; from < OBJECTS; ) {
    let asked: Promise<CheckedSlice> | undefined;
    stage.world.enter(process, () => {
      asked = handle.copies().check('disk', { from, count: OBJECTS - from, heals });
    });
    if (asked === undefined) throw new RunFailure('the check threw');
    const slice = await stage.world.wait('check', asked, { seconds: SLICE_S });
    for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += slice[key];
    findings.push(...slice.findings);
    from = Math.max(slice.next, from + 1);
  }
  const told = findings.map(({ node, index, problem, isRepaired }) => {
    return `n${node} ${index} ${problem}${isRepaired ? ' repaired' : ''}`;
  });
  stage.world.note('stage', 'check', `${heals} ${JSON.stringify(sums)} ${told.join(', ')}`);
  return { ...sums, findings };
}

/** One sector of each object rots on one node: it is found, twice, and stays; then it is repaired. */
async function atRest(stage: Stage): Promise<void> {
  const victim = stage.anyRunning();
  const paths = victim.disk.filePaths('objects');
  const sectors = paths.map(() => stage.random.between(0, FILLED - 1));
  paths.forEach((path, i) => {
    victim.disk.rot(path, DATA_OFFSET + (sectors[i] ?? 0) * SECTOR_BYTES + 7);
  });
  for (let times = 0; times < 2; times += 1) {
    const { findings } = await checked(stage, stage.anyRunning(), false);
    allAre(stage, victim, findings);
    const bad = findings.flatMap((one) => one.bad).toSorted((a, b) => a - b);
    if (bad.join() !== sectors.toSorted((a, b) => a - b).join()) {
      throw new RunFailure(`check found sectors ${bad.join()} bad, not ${sectors.join()}`);
    }
    if (findings.some(({ isRepaired }) => isRepaired)) throw new RunFailure('-n repairs');
    await stage.run({ seconds: CLOSE_S });
  }
  const { findings } = await checked(stage, stage.anyRunning(), true);
  allAre(stage, victim, findings);
  const isHealed = findings.length === OBJECTS && findings.every(({ isRepaired }) => isRepaired);
  if (!isHealed) throw new RunFailure('check does not repair what two copies have');
  await findsNothing(stage);
}

/** Nobody's copy is called bad but the victim's, and none by a guess. */
function allAre(stage: Stage, victim: SimNode, findings: readonly CheckFinding[]): void {
  const node: NodeId = stage.numberOf(victim);
  const wrong = findings.find((one) => {
    return one.node !== node || (one.problem !== 'damaged' && one.problem !== 'lost');
  });
  if (wrong === undefined) return;
  const { index, problem } = wrong;
  throw new RunFailure(`check calls object ${index} on n${wrong.node} ${problem}; it is not`);
}

/** Copies rot, and another node dies and comes back, while all are compared and written. */
async function underLoad(stage: Stage, guest: Guest, gateway: SimNode): Promise<void> {
  const { random } = stage;
  const victim = stage.anyRunning();
  const dead = random.pick(stage.running.filter((node) => node !== victim && node !== gateway));
  guest.writeForever(WORK);
  await stage.run({ seconds: 1 });
  const calm = await checked(stage, gateway, true);
  allAre(stage, victim, calm.findings);
  for (let i = 0; i < HARMS; i += 1) harm(stage, victim);
  if (dead !== undefined) {
    stage.world.schedule(random.unit() * 300, undefined, () => {
      if (random.chance(0.5)) dead.kill();
      else dead.losePower();
    });
  }
  const { findings } = await checked(stage, gateway, true);
  allAre(stage, victim, findings);
  await stage.run({ seconds: random.unit() });
  if (!dead.isRunning) await dead.start();
  await stage.check.converges({ seconds: LIMIT_S });
  await guest.stop();
  if (guest.errors.length > 0) throw new RunFailure(`guest saw errors: ${guest.errors.join(', ')}`);
  for (let times = 1; ; times += 1) {
    await stage.run({ seconds: CLOSE_S });
    const again = await checked(stage, stage.anyRunning(), true);
    allAre(stage, victim, again.findings);
    if (again.findings.length + again.unasked === 0) return;
    if (times === MAX_CHECKS) throw new RunFailure('check finds damage again and again');
  }
}

/** What no copy has is told of every one, and called repaired on none; an overwrite heals it. */
async function onAllCopies(stage: Stage, guest: Guest): Promise<void> {
  const block = stage.random.between(0, FILLED - 1);
  await guest.write(block);
  await stage.run({ seconds: CLOSE_S });
  for (const { disk } of stage.running) {
    const [path = ''] = disk.filePaths('objects').filter((one) => one.endsWith('00000000'));
    disk.rot(path, DATA_OFFSET + block * SECTOR_BYTES + 7);
  }
  const { findings } = await checked(stage, stage.anyRunning(), true);
  const isTold = findings.every(({ bad, isRepaired }) => bad.includes(block) && !isRepaired);
  if (findings.length !== stage.running.length || !isTold) {
    throw new RunFailure(`a sector that no copy has: ${JSON.stringify(findings)}`);
  }
  await guest.write(block);
}

/** All copies were looked at, and are whole. */
async function findsNothing(stage: Stage): Promise<void> {
  const { objects, copies, findings, busy, unasked } = await checked(
    stage,
    stage.anyRunning(),
    false,
  );
  const isAll = objects === OBJECTS && copies === OBJECTS * stage.running.length;
  if (isAll && findings.length + busy + unasked === 0) return;
  const counts = { objects, copies, busy, unasked, findings: findings.length };
  throw new RunFailure(`at rest check says ${JSON.stringify(counts)}`);
}
