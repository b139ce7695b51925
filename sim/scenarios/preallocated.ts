// Goal: dog vdi preallocate gives a volume all of its space on every copy and changes nothing that it shows: not what a
// guest writes, zeroes and discards meanwhile, not what a snapshot below has. It is ended by the death of its gateway, of a
// member, or by a loss of power, and asked again; in the end every sector of every copy has bytes of its own, a further
// run writes nothing, and the guest fills the volume without a new sector anywhere.

import { getSum } from '../../src/core/checksum.ts';
import type { GenerationId } from '../../src/core/ids.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { MIB, OBJECT_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import type { ObjectStore } from '../../src/storage/store-types.ts';
import type { Guest } from '../guest.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

/** Of four nodes: what a gateway has no copy of it reads from others, and guests write meanwhile. */
const COPIES = 2;
const SIZE_MIB = 12;
const SIZE_BYTES = SIZE_MIB * MIB;
const OBJECTS = SIZE_BYTES / OBJECT_BYTES;
const BLOCKS = SIZE_BYTES / SECTOR_BYTES;
const OBJECT_SECTORS = OBJECT_BYTES / SECTOR_BYTES;
/** Half of each object's sectors at most: the rest is thin. */
const FILLED = 256;
const WORK = { workingSet: BLOCKS, depth: 12, thinkMs: 0.5, maxBlocks: 4, hasLayers: true };
/** A trouble comes so long after the asking at most. */
const TROUBLE_MS = 500;
const SLOWNESS = 20;
const RUN_S = 60;
const LIMIT_S = 120;

type Trouble = 'none' | 'gateway' | 'member' | 'power';
const TROUBLES: readonly Trouble[] = ['none', 'gateway', 'member', 'power'];

interface Run {
  readonly stage: Stage;
  gateway: SimNode;
  guest: Guest;
}

export const preallocated = scenario(
  'preallocated',
  { nodes: 4, copies: COPIES, smokeSeeds: 2 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: SIZE_MIB, at: gateway });
    await guest.fill(FILLED);
    await stage.ask(gateway, 'snapshot', (handle) => handle.layers().snapshot(['disk'], 'below'));
    const run: Run = { stage, gateway, guest };
    guest.writeForever(WORK);
    await stage.run({ seconds: stage.random.unit() });
    for (const trouble of ['none', stage.random.pick(TROUBLES)] as const) await amid(run, trouble);
    await run.guest.stop();
    await stage.check.converges({ seconds: LIMIT_S });
    await stage.check.everyAcknowledgedWriteIsReadable(run.guest);
    await settledOn(run);
    await stage.check.everyAcknowledgedWriteIsReadable(run.guest);
    await stage.check.replicasAreIdentical({ seconds: LIMIT_S });
  },
);

/** Asks for all of it at the guest's gateway: each object's range, all at once. Gives the codes of what failed. */
function asked({ stage, gateway }: Run): readonly (string | undefined)[] {
  const answers: (string | undefined)[] = [];
  const { process, handle } = gateway.running();
  stage.world.enter(process, () => {
    const session = handle.openVolume('disk');
    session.connect();
    for (let at = 0; at < SIZE_BYTES; at += OBJECT_BYTES) {
      session.preallocate?.(at, OBJECT_BYTES, (error) => {
        answers.push(error?.code ?? 'ok');
        if (answers.length === OBJECTS) stage.world.enter(process, () => void session.disconnect());
      });
    }
  });
  return answers;
}

async function ended({ stage }: Run, answers: readonly unknown[]): Promise<void> {
  const isDone = (): boolean => answers.length === OBJECTS;
  await stage.until('preallocate is answered', isDone, { seconds: RUN_S });
  if (answers.some((code) => code !== 'ok')) throw new RunFailure(`preallocate: ${answers}`);
}

async function amid(run: Run, trouble: Trouble): Promise<void> {
  const { stage, gateway } = run;
  stage.world.note('stage', 'preallocate', trouble);
  // Slow disks: much is written between the look at what shows and its writing.
  for (const { disk } of stage.nodes) disk.slowness = SLOWNESS;
  const answers = asked(run);
  if (trouble === 'none') {
    await ended(run, answers);
    for (const { disk } of stage.nodes) disk.slowness = 1;
    return;
  }
  const victims = victimsOf(run, trouble);
  await stage.world.runUntil(() => false, stage.random.unit() * TROUBLE_MS);
  for (const victim of victims) {
    if (trouble === 'power' || stage.random.chance(0.5)) victim.losePower();
    else victim.kill();
  }
  if (trouble === 'gateway') {
    await stage.until('the gateway is down', () => isCalledDown(stage, gateway), { seconds: 30 });
  }
  for (const { disk } of stage.nodes) disk.slowness = 1;
  await stage.run({ seconds: stage.random.unit() });
  for (const victim of victims) await victim.start();
  if (victims.includes(gateway)) {
    run.gateway = stage.anyRunning();
    run.guest = stage.guestOf(run.guest.volume);
    run.guest.attach(run.gateway);
    run.guest.writeForever(WORK);
  } else await ended(run, answers);
  await stage.check.converges({ seconds: LIMIT_S });
}

function victimsOf({ stage, gateway }: Run, trouble: Trouble): readonly SimNode[] {
  if (trouble === 'gateway') return [gateway];
  return trouble === 'power' ? stage.nodes : [stage.anyRunning(gateway)];
}

/** Nobody discards any more: all is thick, stays as it is when it is asked for again, and takes every write. */
async function settledOn(run: Run): Promise<void> {
  const { stage, guest } = run;
  await ended(run, asked(run));
  isThick(await ownedOf(run));
  const before = versionsOf(run);
  await ended(run, asked(run));
  if (versionsOf(run) !== before) throw new RunFailure('preallocate writes what has its space');
  await guest.fill(BLOCKS);
  isThick(await ownedOf(run));
  if (stage.running.length < stage.nodes.length) throw new RunFailure('a node is gone');
}

function isThick(owned: ReadonlyMap<string, number>): void {
  if (owned.size !== OBJECTS * COPIES) throw new RunFailure(`${owned.size} copies`);
  for (const [where, count] of owned) {
    if (count !== OBJECT_SECTORS) throw new RunFailure(`${where} has ${count} sectors of its own`);
  }
}

/** What a node has of the volume's head as a member in sync. */
function held(node: SimNode): { store: ObjectStore; head: GenerationId; indexes: number[] } {
  const { store, view } = node.running().handle.inspect();
  const { node: self } = node.running().handle.status();
  const volume = view?.volumeByName('disk');
  if (store === undefined || view === undefined || volume === undefined || self === undefined) {
    throw new RunFailure(`${node.name} has no store`);
  }
  const indexes = Array.from({ length: OBJECTS }, (_, index) => index).filter((index) => {
    const p = partitionOf(volume.family, index, view.partitions);
    return view.partition(volume.policy, p).inSync.includes(self);
  });
  return { store, head: volume.head, indexes };
}

/** Sectors with bytes of their own, by copy. */
async function ownedOf({ stage }: Run): Promise<ReadonlyMap<string, number>> {
  const owned = new Map<string, number>();
  let asked = 0;
  for (const node of stage.running) {
    const { store, head, indexes } = held(node);
    asked += indexes.length;
    stage.world.enter(node.running().process, () => {
      for (const index of indexes) {
        store.readSums(head, index, (sums) => owned.set(`${node.name} ${index}`, countOf(sums)));
      }
    });
  }
  await stage.until('sums are read', () => owned.size === asked, { seconds: RUN_S });
  return owned;
}

function countOf(sums: Uint8Array | undefined): number {
  let count = 0;
  for (let at = 0; at < OBJECT_SECTORS && sums !== undefined; at += 1) {
    if (getSum(sums, at) !== 0) count += 1;
  }
  return count;
}

/** Of what the gateway has itself: there it can see that nothing is thin. */
function versionsOf({ gateway }: Run): string {
  const { store, head, indexes } = held(gateway);
  return indexes
    .map((index) => {
      const row = store.row(head, index);
      return `${index} ${row?.verToken}.${row?.verCount}`;
    })
    .join();
}
