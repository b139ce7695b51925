// Goal: a volume is snapshot again and again while its guest writes, reads and trims; its gateway dies meanwhile, or a
// member does, or power fails for all but one. What a snapshot shows is a read of every block between the asking for it
// and its answer (S4), the same through every node, and it never changes. Then all are deleted, in any order; once the
// volume has written everything anew, nothing is left of what they kept, neither rows nor records (S6, C-gc).

import { shuffled } from '../../src/core/hash.ts';
import type { Durability } from '../../src/core/view.ts';
import type { BlockOp, History } from '../checkers/history.ts';
import type { Guest } from '../guest.ts';
import { valuesOf } from '../read-blocks.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const SIZE_MIB = 8;
/** Part of two objects. */
const BLOCKS = 1280;
const ROUNDS = 3;
const WORK = {
  workingSet: BLOCKS,
  depth: 6,
  thinkMs: 6,
  maxBlocks: 12,
  calmThinkMs: 60,
  hasLayers: true,
};
/** A trouble comes so long after the asking at most: before, in and after the drain. */
const TROUBLE_MS = 120;
const LIMIT_S = 120;

type Trouble = 'none' | 'gateway' | 'member' | 'power';
const TROUBLES: readonly Trouble[] = ['none', 'none', 'gateway', 'member', 'power'];

/** A snapshot that is there, and what it has to show. */
interface Taken {
  readonly tag: string;
  readonly values: readonly number[];
}

/** What the rounds work on. */
interface Run {
  readonly stage: Stage;
  guest: Guest;
  gateway: SimNode;
  readonly taken: Taken[];
}

export const snapshots = scenario('snapshots', { nodes: 4, copies: 3, smokeSeeds: 2 }, (stage) => {
  return story(stage, 'durable');
});

/** The same with a cache: what a snapshot shows is durable, whatever its volume promises (S4). */
export const snapshotsWriteback = scenario(
  'snapshots-writeback',
  { nodes: 4, copies: 3, smokeSeeds: 2 },
  (stage) => story(stage, 'writeback'),
);

async function story(stage: Stage, mode: Durability): Promise<void> {
  await stage.form();
  const gateway = stage.anyRunning();
  const guest = await stage.createVolume({ name: 'disk', sizeMiB: SIZE_MIB, at: gateway, mode });
  await guest.fill(BLOCKS);
  stage.check.watchCopies();
  const run: Run = { stage, guest, gateway, taken: [] };
  guest.writeForever(WORK);
  for (let round = 1; round <= ROUNDS; round += 1) {
    await stage.run({ seconds: stage.random.unit() });
    await oneSnapshot(run, `s${round}`);
  }
  await run.guest.stop();
  await stage.check.converges({ seconds: LIMIT_S });
  if (run.taken.length === 0) throw new RunFailure('no snapshot came to be');
  for (const taken of run.taken) await readTwice(run, taken);
  await stage.check.everyAcknowledgedWriteIsReadable(run.guest);
  stage.check.historyIsLinearizable();
  await stage.check.replicasAreIdentical({ seconds: LIMIT_S });
  await deleteAll(run);
  // What can go goes at once; what is left still shows.
  await stage.run({ seconds: 2 });
  await stage.check.everyAcknowledgedWriteIsReadable(run.guest);
  stage.check.historyIsLinearizable();
  await run.guest.fill(BLOCKS);
  await stage.until('nothing is left of the snapshots', () => leftOver(stage), {
    seconds: LIMIT_S,
  });
  await stage.check.everyAcknowledgedWriteIsReadable(run.guest);
  await stage.check.replicasAreIdentical({ seconds: LIMIT_S });
}

async function oneSnapshot(run: Run, tag: string): Promise<void> {
  const { stage, guest } = run;
  const { history } = guest.volume;
  const trouble = stage.random.pick(TROUBLES);
  stage.world.note('stage', 'snapshot', `${tag}, ${trouble}`);
  const session = history.lastSession;
  const ops = Array.from({ length: BLOCKS }, (_, block) => {
    return history.begin({ kind: 'read', block, value: 0, session, isForced: false });
  });
  let before: History | undefined;
  const victims = prepare(run, trouble, () => {
    before = loseCaches(run, ops);
  });
  const asked = stage.anyRunning();
  let isTaken = false;
  try {
    await stage.ask(asked, 'snapshot', (handle) => handle.layers().snapshot(['disk'], tag));
    // What it saw is filled in when it is read; when it was seen is now.
    for (const op of ops) history.end(op, true);
    isTaken = true;
  } catch (error) {
    // Refused, or nobody knows: if it is there it is read by nobody.
    stage.world.note('stage', 'snapshot', `${tag} failed: ${String(error)}`);
  }
  await recover(run, victims);
  if (!isTaken) return;
  const values = await valuesIn(run, tag);
  for (const [i, op] of ops.entries()) op.value = values[i] ?? 0;
  const wrong = before?.check();
  if (wrong !== undefined) stage.world.fail(`C-snap: ${tag}: ${wrong}`);
  run.taken.push({ tag, values });
}

/** What the snapshot had to show by then is judged by what was before: nothing of it was in a cache only (S4). */
function loseCaches({ stage, guest }: Run, ops: readonly BlockOp[]): History | undefined {
  const { history, mode } = guest.volume;
  if (mode === 'durable') return undefined;
  const before = history.fork();
  const answered = ops.filter(({ isOk }) => isOk);
  // What they saw is not known yet.
  for (const op of answered) op.isOk = false;
  stage.cachesAreLost();
  for (const op of answered) op.isOk = true;
  return before;
}

/** Draws who falls, and when. */
function prepare(
  { stage, gateway }: Run,
  trouble: Trouble,
  onPowerLoss: () => void,
): readonly SimNode[] {
  const victims = victimsOf(stage, gateway, trouble);
  stage.world.schedule(stage.random.unit() * TROUBLE_MS, undefined, () => {
    for (const victim of victims) {
      if (trouble === 'power' || stage.random.chance(0.5)) victim.losePower();
      else victim.kill();
    }
    if (trouble === 'power') onPowerLoss();
  });
  return victims;
}

function victimsOf(stage: Stage, gateway: SimNode, trouble: Trouble): readonly SimNode[] {
  switch (trouble) {
    case 'none':
      return [];
    case 'gateway':
      return [gateway];
    case 'member':
      return [stage.anyRunning(gateway)];
    case 'power':
      return stage.running.slice(1);
  }
}

async function recover(run: Run, victims: readonly SimNode[]): Promise<void> {
  const { stage, gateway } = run;
  if (victims.length === 0) return;
  await stage.until('the trouble came', () => victims.every((victim) => !victim.isRunning), {
    seconds: 10,
  });
  if (victims.length === 1 && victims[0] === gateway) {
    await stage.until('the gateway is down', () => isCalledDown(stage, gateway), { seconds: 30 });
  }
  await stage.run({ seconds: stage.random.unit() });
  for (const victim of victims) await victim.start();
  if (victims.includes(gateway)) attach(run, stage.anyRunning());
  await stage.check.converges({ seconds: LIMIT_S });
}

function attach(run: Run, node: SimNode): void {
  const { stage, guest } = run;
  run.gateway = node;
  run.guest = stage.guestOf(guest.volume);
  run.guest.attach(node);
  run.guest.writeForever(WORK);
}

/** Through two nodes: the same as it was. */
async function readTwice(run: Run, { tag, values }: Taken): Promise<void> {
  for (const now of [await valuesIn(run, tag), await valuesIn(run, tag)]) {
    const block = now.findIndex((value, i) => value !== values[i]);
    if (block < 0) continue;
    const text = `block ${block} of ${tag} reads as ${values[block]}, then ${now[block]}`;
    run.stage.world.fail(`S3: ${text}`);
  }
}

function valuesIn({ stage, guest }: Run, tag: string): Promise<readonly number[]> {
  return valuesOf(stage, { name: `disk@${tag}`, tagged: guest.volume.id, blocks: BLOCKS });
}

async function deleteAll({ stage, taken }: Run): Promise<void> {
  const view = stage.running[0]?.running().handle.view();
  const tags = [...(view?.generations.values() ?? [])]
    .filter(({ state }) => state === 'frozen')
    .map(({ tag }) => tag);
  if (tags.length < taken.length) throw new RunFailure('a snapshot is gone');
  for (const tag of shuffled(tags, stage.random.between(1, 2 ** 30))) {
    await stage.ask(stage.anyRunning(), 'delete', (handle) => {
      return handle.layers().deleteSnapshot('disk', tag);
    });
  }
}

/** Rows or records of anything but the head. */
function leftOver(stage: Stage): true | string {
  for (const node of stage.running) {
    const { store, view } = node.running().handle.inspect();
    const head = view?.volumeByName('disk')?.head;
    const layer = [...(view?.generations.values() ?? [])].find(({ id }) => id !== head);
    if (layer !== undefined) return `${node.name} has the record of generation ${layer.id}`;
    for (const key of store?.partitionsHeld() ?? []) {
      const old = store?.rowsOf(key).find(({ generation }) => generation !== head);
      if (old === undefined) continue;
      return `${node.name} has object ${old.index} of generation ${old.generation}`;
    }
  }
  return true;
}
