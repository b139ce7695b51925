// Goal: a volume is snapshot again and again while its guest writes, reads and trims; its gateway dies meanwhile, or a
// member does, or power fails for all but one. What a snapshot shows is a read of every block between the asking for it
// and its answer (S4), the same through every node, and it never changes. Then all are deleted, in any order; once the
// volume has written everything anew, nothing is left of what they kept, neither rows nor records (S6, C-gc).

import { shuffled } from '../../src/core/hash.ts';
import type { VolumeSession } from '../../src/datapath/volume-session.ts';
import type { BlockOp } from '../checkers/history.ts';
import type { Guest } from '../guest.ts';
import { BLOCK_BYTES, blockValue } from '../guest-block.ts';
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
  readonly ops: readonly BlockOp[];
}

/** What the rounds work on. */
interface Run {
  readonly stage: Stage;
  guest: Guest;
  gateway: SimNode;
  readonly taken: Taken[];
}

export const snapshots = scenario(
  'snapshots',
  { nodes: 4, copies: 3, smokeSeeds: 2 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: SIZE_MIB, at: gateway });
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
  },
);

async function oneSnapshot(run: Run, tag: string): Promise<void> {
  const { stage, guest } = run;
  const { history } = guest.volume;
  const trouble = stage.random.pick(TROUBLES);
  stage.world.note('stage', 'snapshot', `${tag}, ${trouble}`);
  const victims = prepare(run, trouble);
  const asked = stage.anyRunning();
  const ops = Array.from({ length: BLOCKS }, (_, block) => {
    return history.begin({ kind: 'read', block, value: 0, session: 0, isForced: false });
  });
  try {
    await stage.ask(asked, 'snapshot', (handle) => handle.layers().snapshot(['disk'], tag));
    // What it saw is filled in when it is read; when it was seen is now.
    for (const op of ops) history.end(op, true);
    run.taken.push({ tag, ops });
  } catch (error) {
    // Refused, or nobody knows: if it is there it is read by nobody.
    stage.world.note('stage', 'snapshot', `${tag} failed: ${String(error)}`);
  }
  await recover(run, victims);
}

/** Draws who falls, and when. */
function prepare({ stage, gateway }: Run, trouble: Trouble): readonly SimNode[] {
  const victims = victimsOf(stage, gateway, trouble);
  stage.world.schedule(stage.random.unit() * TROUBLE_MS, undefined, () => {
    for (const victim of victims) {
      if (trouble === 'power' || stage.random.chance(0.5)) victim.losePower();
      else victim.kill();
    }
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

/** Through two nodes: what the first one sees goes into the history, the second one must see the same. */
async function readTwice(run: Run, { tag, ops }: Taken): Promise<void> {
  const { stage } = run;
  const first = await valuesOf(run, tag);
  const second = await valuesOf(run, tag);
  for (const [i, op] of ops.entries()) {
    op.value = first[i] as number;
    if (first[i] === second[i]) continue;
    stage.world.fail(`S3: block ${op.block} of ${tag} reads as ${first[i]}, then ${second[i]}`);
  }
}

async function valuesOf(run: Run, tag: string): Promise<readonly number[]> {
  const { stage, guest } = run;
  const node = stage.anyRunning();
  const values: number[] = [];
  const bytes = new Uint8Array(BLOCKS * BLOCK_BYTES);
  await stage.ask(node, `read ${tag}`, async (handle) => {
    const session = handle.openVolume(`disk@${tag}`);
    session.connect();
    await readAll(session, bytes);
    await session.disconnect();
  });
  for (let block = 0; block < BLOCKS; block += 1) {
    const value = blockValue(bytes, block * BLOCK_BYTES, { volume: guest.volume.id, block });
    if (value === undefined) stage.world.fail(`I8: block ${block} of ${tag} is nobody's`);
    values.push(value ?? 0);
  }
  return values;
}

/** In pieces of 1 MiB, like a client. */
async function readAll(session: VolumeSession, bytes: Uint8Array): Promise<void> {
  const step = 2 ** 20;
  for (let at = 0; at < bytes.length; at += step) {
    const length = Math.min(step, bytes.length - at);
    await new Promise<void>((resolve, reject) => {
      session.read(at, length, bytes, at, (error) => (error ? reject(error) : resolve()));
    });
  }
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
