// Goal: volumes with a history. A volume is snapshot, cloned (from a snapshot, live, or deep), rolled back, put into the
// trash and had back, cut and grown again; snapshots and clones are deleted in any order. Meanwhile nodes die, lose power
// or are cut off, and the next thing is often asked for before all is well again. Each either happened or did not; what a
// snapshot or a clone shows is what its writers' history allows, for ever; what was cut never comes back; in the end
// nothing is left (C-gc).

import { shuffled } from '../../src/core/hash.ts';
import type { GenerationId } from '../../src/core/ids.ts';
import type { ClusterView } from '../../src/core/view.ts';
import { type BlockOp, History } from '../checkers/history.ts';
import type { Guest, GuestVolume } from '../guest.ts';
import { BLOCK_BYTES } from '../guest-block.ts';
import { valuesOf } from '../read-blocks.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const SIZE_MIB = 8;
const SIZE_BYTES = SIZE_MIB * 2 ** 20;
/** A part of two objects. */
const BLOCKS = 1280;
const WORK = {
  workingSet: BLOCKS,
  depth: 4,
  thinkMs: 8,
  maxBlocks: 12,
  calmThinkMs: 80,
  hasLayers: true,
};
/** Values of each clone begin at a number of their own. */
const VALUES_APART = 10_000_000;
const MAX_CLONES = 2;
const TROUBLE_MS = 120;
const LIMIT_S = 120;
const KEEP_MS = 3_600_000;

type Act =
  | 'snapshot'
  | 'clone'
  | 'live-clone'
  | 'deep-clone'
  | 'rollback'
  | 'trash'
  | 'cut'
  | 'delete-snapshot'
  | 'delete-clone';
/** The first ones in every run, so that each rule is tried by each seed; then what is drawn. */
const FIRST: readonly Act[] = [
  'snapshot',
  'snapshot',
  'clone',
  'snapshot',
  'deep-clone',
  'delete-snapshot',
  'rollback',
  'cut',
];
const ACTS: readonly Act[] = [
  ...['snapshot', 'clone', 'live-clone', 'deep-clone', 'rollback', 'trash', 'cut'],
  ...['delete-snapshot', 'delete-clone'],
] as readonly Act[];
const DRAWN_ROUNDS = 4;
type Trouble = 'none' | 'node' | 'power' | 'cut';
const TROUBLES: readonly Trouble[] = ['none', 'none', 'node', 'node', 'power', 'cut'];

interface Disk {
  /** Nothing of anybody else's shows in it, once it is copied. */
  readonly isDeep: boolean;
  volume: GuestVolume;
  guest: Guest;
}

interface Snapshot {
  readonly of: Disk;
  readonly name: string;
  readonly tag: string;
  readonly values: readonly number[];
}

interface Run {
  readonly stage: Stage;
  readonly root: Disk;
  readonly disks: Disk[];
  readonly snapshots: Snapshot[];
  /** Numbers tags and clones. */
  count: number;
}

export const layers = scenario('layers', { nodes: 4, copies: 3, smokeSeeds: 3 }, async (stage) => {
  await stage.form();
  const guest = await stage.createVolume({ name: 'disk', sizeMiB: SIZE_MIB });
  await guest.fill(BLOCKS);
  stage.check.watchCopies();
  const root: Disk = { volume: guest.volume, isDeep: false, guest };
  const run: Run = { stage, root, disks: [root], snapshots: [], count: 0 };
  guest.writeForever(WORK);
  for (let round = 0; round < FIRST.length + DRAWN_ROUNDS; round += 1) {
    await stage.run({ seconds: stage.random.unit() / 2 });
    await oneRound(run, FIRST[round] ?? stage.random.pick(ACTS));
  }
  for (const disk of run.disks) await disk.guest.stop();
  await stage.check.converges({ seconds: LIMIT_S });
  await stage.until('all is copied', () => areCopied(run), { seconds: LIMIT_S });
  await checkAll(run);
  await stage.check.replicasAreIdentical({ seconds: LIMIT_S });
  await deleteMost(run);
  await stage.run({ seconds: 2 });
  await checkAll(run);
  for (const { guest: writer } of run.disks) await writer.fill(BLOCKS);
  await stage.until('nothing is left', () => leftOver(run), { seconds: LIMIT_S });
  await checkAll(run);
});

async function oneRound(run: Run, act: Act): Promise<void> {
  const { stage } = run;
  const disk = stage.random.pick(run.disks);
  const trouble = stage.random.pick(TROUBLES);
  stage.world.note('stage', 'act', `${act} of ${disk.volume.name}, ${trouble}`);
  await ACTIONS[act](run, disk, trouble);
  // Often the next thing is asked for while what was broken is still being made whole.
  if (stage.random.chance(0.5)) await stage.check.converges({ seconds: LIMIT_S });
}

type Action = (run: Run, disk: Disk, trouble: Trouble) => Promise<void>;

const ACTIONS: Readonly<Record<Act, Action>> = {
  snapshot: async (run, disk, trouble) => {
    const { name } = disk.volume;
    const tag = `s${next(run)}`;
    const ops = readsOf(disk.volume);
    const isDone = await amid(run, trouble, `snapshot ${name}`, (node) => {
      return run.stage.ask(node, 'snapshot', (handle) => handle.layers().snapshot([name], tag));
    });
    if (!isDone) return;
    for (const op of ops) disk.volume.history.end(op, true);
    await mended(run);
    const values = await readAs(run, `${name}@${tag}`);
    for (const [i, op] of ops.entries()) op.value = values[i] ?? 0;
    run.snapshots.push({ of: disk, name, tag, values });
  },
  clone: (run, _disk, trouble) => cloned(run, trouble, false),
  'deep-clone': (run, _disk, trouble) => cloned(run, trouble, true),
  'live-clone': async (run, disk, trouble) => {
    if (run.disks.length > MAX_CLONES) return;
    const to = `c${next(run)}`;
    const ops = readsOf(disk.volume);
    const isDone = await amid(run, trouble, `clone ${disk.volume.name}`, (node) => {
      return run.stage.ask(node, 'clone', (handle) => handle.layers().clone(disk.volume.name, to));
    });
    if (!isDone) return;
    for (const op of ops) disk.volume.history.end(op, true);
    await mended(run);
    const values = await readAs(run, to);
    for (const [i, op] of ops.entries()) op.value = values[i] ?? 0;
    goOnWith(run, to, values);
  },
  rollback: async (run, disk, trouble) => {
    const snapshot = pickOf(
      run,
      run.snapshots.filter(({ of }) => of === disk),
    );
    if (snapshot === undefined) return;
    await atRest(run, disk);
    const before = viewOf(run).volumeByName(disk.volume.name)?.head;
    await amid(run, trouble, `rollback ${disk.volume.name}`, (node) => {
      return run.stage.ask(node, 'rollback', (handle) => {
        return handle.layers().rollback(disk.volume.name, snapshot.tag);
      });
    });
    await mended(run);
    await run.stage.check.converges({ seconds: LIMIT_S });
    const isDone = viewOf(run).volumeByName(disk.volume.name)?.head !== before;
    if (isDone) beginAnew(run, disk, snapshot.values);
    goOn(run, disk);
  },
  trash: async (run, disk, trouble) => {
    await atRest(run, disk);
    const { name } = disk.volume;
    await amid(run, trouble, `trash ${name}`, (node) => {
      return run.stage.ask(node, 'trash', (handle) => handle.volumes().trash(name, KEEP_MS));
    });
    await mended(run);
    await run.stage.check.converges({ seconds: LIMIT_S });
    const trashed = [...viewOf(run).trash.values()].find(({ volume }) => volume.name === name);
    if (trashed !== undefined) {
      const { id } = trashed.volume;
      if (viewOf(run).volumeByName(name) !== undefined)
        throw new RunFailure('it is in both places');
      await run.stage.ask(run.stage.anyRunning(), 'restore', (handle) => {
        return handle.volumes().restore(id, name);
      });
    }
    goOn(run, disk);
  },
  cut: async (run, disk, trouble) => {
    await atRest(run, disk);
    const { name, history } = disk.volume;
    const first = run.stage.random.between(1, BLOCKS - 1);
    const resize = (node: SimNode, sizeBytes: number) => {
      return run.stage.ask(node, 'resize', (handle) => handle.layers().resize(name, sizeBytes));
    };
    await amid(run, trouble, `cut ${name}`, (node) => resize(node, first * BLOCK_BYTES));
    await mended(run);
    await run.stage.check.converges({ seconds: LIMIT_S });
    if (viewOf(run).volumeByName(name)?.sizeBytes !== SIZE_BYTES) {
      const session = history.openSession();
      for (let block = first; block < BLOCKS; block += 1) {
        const op = { kind: 'zero', block, value: 0, session, isForced: false } as const;
        history.end(history.begin(op), true);
      }
      await resize(run.stage.anyRunning(), SIZE_BYTES);
    }
    goOn(run, disk);
  },
  'delete-snapshot': async (run, _disk, trouble) => {
    const snapshot = pickOf(run, run.snapshots);
    if (snapshot === undefined) return;
    const { name, tag } = snapshot;
    run.snapshots.splice(run.snapshots.indexOf(snapshot), 1);
    await amid(run, trouble, `delete ${name}@${tag}`, (node) => {
      return run.stage.ask(node, 'delete', (handle) => handle.layers().deleteSnapshot(name, tag));
    });
    await mended(run);
  },
  'delete-clone': async (run, disk, trouble) => {
    if (disk === run.root) return;
    await atRest(run, disk);
    run.disks.splice(run.disks.indexOf(disk), 1);
    await amid(run, trouble, `delete ${disk.volume.name}`, (node) => {
      return run.stage.ask(node, 'delete', (handle) => handle.deleteVolume(disk.volume.name));
    });
    await mended(run);
  },
};

/** Of a snapshot; a deep one is of a family of its own once all is well. */
async function cloned(run: Run, trouble: Trouble, deep: boolean): Promise<void> {
  const snapshot = pickOf(run, run.snapshots);
  if (snapshot === undefined || run.disks.length > MAX_CLONES) return;
  const to = `c${next(run)}`;
  const from = `${snapshot.name}@${snapshot.tag}`;
  const isDone = await amid(run, trouble, `clone ${from}`, (node) => {
    return run.stage.ask(node, 'clone', (handle) => handle.layers().clone(from, to, { deep }));
  });
  await mended(run);
  if (isDone) goOnWith(run, to, snapshot.values, deep);
}

// -------------------------------------------------------------------------------------------------- troubles

/** One thing that an operator asks for, with something going wrong beside it. False: refused, or nobody knows. */
async function amid(
  { stage }: Run,
  trouble: Trouble,
  what: string,
  call: (node: SimNode) => Promise<unknown>,
): Promise<boolean> {
  const victims = trouble === 'power' ? stage.running.slice(1) : [stage.anyRunning()];
  const asked = stage.anyRunning();
  if (trouble !== 'none') {
    stage.world.schedule(stage.random.unit() * TROUBLE_MS, undefined, () => {
      if (trouble === 'cut') stage.partition(victims);
      else for (const victim of victims) fall(stage, trouble, victim);
    });
  }
  try {
    await call(asked);
    return true;
  } catch (error) {
    stage.world.note('stage', 'act', `${what} failed: ${String(error)}`);
    return false;
  } finally {
    // Also when the answer was quicker than the trouble.
    await stage.run({ seconds: TROUBLE_MS / 1000 });
  }
}

function fall(stage: Stage, trouble: Trouble, victim: SimNode): void {
  if (!victim.isRunning) return;
  if (trouble === 'power' || stage.random.chance(0.5)) victim.losePower();
  else victim.kill();
}

/** All nodes run, whole or not yet; each guest has a gateway. */
async function mended({ stage, disks }: Run): Promise<void> {
  await stage.run({ seconds: stage.random.unit() });
  stage.heal();
  const dead = stage.nodes.filter((node) => !node.isRunning);
  for (const node of dead) await node.start();
  if (dead.length > 0) await stage.check.converges({ seconds: LIMIT_S });
  for (const disk of disks) {
    const { guest } = disk;
    if (guest.gatewayIsAlive && !guest.errors.includes('fenced')) continue;
    reattach({ stage }, disk);
  }
}

function reattach({ stage }: Pick<Run, 'stage'>, disk: Disk): void {
  disk.guest.freeze();
  disk.guest = stage.guestOf(disk.volume);
  disk.guest.attach(stage.anyRunning());
  disk.guest.writeForever(WORK);
}

// -------------------------------------------------------------------------------------------------- guests

/** Nobody has it. */
async function atRest(run: Run, disk: Disk): Promise<void> {
  await mended(run);
  await disk.guest.stop();
  await disk.guest.detach();
}

function goOn(run: Run, disk: Disk): void {
  reattach(run, disk);
}

/** The volume shows this from here on, whatever was written before. */
function beginAnew({ stage }: Run, disk: Disk, values: readonly number[]): void {
  const { volume } = disk;
  disk.volume = { ...volume, history: historyOf(values), nextValue: volume.nextValue };
  stage.volumes.push(disk.volume);
}

function goOnWith(run: Run, name: string, values: readonly number[], isDeep = false): void {
  const { stage, root } = run;
  const nextValue = run.count * VALUES_APART;
  const volume: GuestVolume = { ...root.volume, name, history: historyOf(values), nextValue };
  stage.volumes.push(volume);
  const disk = { volume, isDeep, guest: stage.guestOf(volume) };
  run.disks.push(disk);
  reattach(run, disk);
}

function historyOf(values: readonly number[]): History {
  const history = new History();
  const session = history.openSession();
  for (const [block, value] of values.entries()) {
    const kind = value === 0 ? 'zero' : 'write';
    history.end(history.begin({ kind, block, value, session, isForced: false }), true);
  }
  return history;
}

/** A read of each block that begins now; what it sees is found out later. */
function readsOf({ history }: GuestVolume): readonly BlockOp[] {
  const session = history.lastSession;
  return Array.from({ length: BLOCKS }, (_, block) => {
    return history.begin({ kind: 'read', block, value: 0, session, isForced: false });
  });
}

function readAs({ stage, root }: Run, name: string): Promise<readonly number[]> {
  return valuesOf(stage, { name, tagged: root.volume.id, blocks: BLOCKS });
}

// -------------------------------------------------------------------------------------------------- the end

/** Deep clones depend on nobody. */
function areCopied(run: Run): true | string {
  const view = viewOf(run);
  if (view.moves.size > 0) return `${view.moves.size} volumes still move`;
  const { family } = view.volumeByName(run.root.volume.name) ?? {};
  for (const { isDeep, volume } of run.disks) {
    const head = view.generations.get(view.volumeByName(volume.name)?.head ?? (0 as GenerationId));
    if (isDeep && head?.family === family) return `${volume.name} is of its source's family`;
  }
  return true;
}

/** Each snapshot shows what it showed, each volume what its history allows. */
async function checkAll(run: Run): Promise<void> {
  for (const { name, tag, values } of run.snapshots) {
    const now = await readAs(run, `${name}@${tag}`);
    const block = now.findIndex((value, i) => value !== values[i]);
    if (block < 0) continue;
    const text = `${name}@${tag} read as ${values[block]}, then as ${now[block]}`;
    run.stage.world.fail(`C-snap: block ${block} of ${text}`);
  }
  for (const { guest } of run.disks) {
    await run.stage.check.everyAcknowledgedWriteIsReadable(guest);
  }
}

/** All but the root and one clone, in any order, also what came to be though nobody was told so. */
async function deleteMost(run: Run): Promise<void> {
  const { stage } = run;
  const { generations, volumes } = viewOf(run);
  run.snapshots.length = 0;
  const kept = run.disks.slice(0, 2);
  for (const disk of run.disks.splice(2)) await disk.guest.detach();
  const names = [...volumes.values()]
    .map(({ name }) => name)
    .filter((name) => kept.every(({ volume }) => volume.name !== name));
  const tags = [...generations.values()]
    .filter(({ state }) => state === 'frozen')
    .map(({ name, tag }) => `${name}@${tag}`);
  for (const text of shuffled([...names, ...tags], stage.random.between(1, 2 ** 30))) {
    const [name = '', tag] = text.split('@');
    await stage.ask(stage.anyRunning(), `delete ${text}`, (handle) => {
      return tag === undefined
        ? handle.deleteVolume(name)
        : handle.layers().deleteSnapshot(name, tag);
    });
  }
}

/** Rows or records of anything but heads. */
function leftOver({ stage }: Run): true | string {
  for (const node of stage.running) {
    const { store, view } = node.running().handle.inspect();
    const heads = new Set([...(view?.volumes.values() ?? [])].map(({ head }) => head));
    const layer = [...(view?.generations.values() ?? [])].find(({ id }) => !heads.has(id));
    if (layer !== undefined) return `${node.name} has the record of generation ${layer.id}`;
    for (const key of store?.partitionsHeld() ?? []) {
      const old = store?.rowsOf(key).find(({ generation }) => !heads.has(generation));
      if (old === undefined) continue;
      return `${node.name} has object ${old.index} of generation ${old.generation}`;
    }
  }
  return true;
}

function viewOf({ stage }: Run): ClusterView {
  const view = stage.running[0]?.running().handle.view();
  if (view === undefined) throw new RunFailure('no view');
  return view;
}

function next(run: Run): number {
  run.count += 1;
  return run.count;
}

function pickOf<T>({ stage }: Run, list: readonly T[]): T | undefined {
  return list.length === 0 ? undefined : stage.random.pick(list);
}
