// Large writes into fresh space go past the journal: in place, synced, then a record without data (R4). A crash at any
// step leaves the state before or after, whole; replay spoils no bytes that lie in place already.

import test from 'ava';
import { SECTOR_BYTES } from '../../src/core/units.ts';
import type { Disk } from '../../src/ports/ports.ts';
import type { LocalObjectStore } from '../../src/storage/local-store.ts';
import { CrashWorld, PowerLoss } from './crash-world.ts';
import { finished, GENERATION, opened, tagsOf, write, zero } from './store-steps.ts';

const LARGE = 16;
const EXTENT_BYTES = LARGE * SECTOR_BYTES;
const tags = (tag: number, sectors: number): number[] => new Array(sectors).fill(tag);

async function fresh(seed: number): Promise<{ world: CrashWorld; store: LocalObjectStore }> {
  const world = new CrashWorld(seed);
  return { world, store: await opened(world, EXTENT_BYTES) };
}

function extents(world: CrashWorld): number {
  return world.counts.get('store.extents') ?? 0;
}

async function afterPowerLoss(world: CrashWorld): Promise<LocalObjectStore> {
  if (!world.isDead) world.crash(0);
  world.restart();
  return opened(world, EXTENT_BYTES);
}

test('extents: read at once, done once durable, and there after a power loss', async (t) => {
  const { world, store } = await fresh(1);
  let isDone = false;
  write(store, 0, { first: 32, sectors: LARGE, tag: 5 }, () => {
    isDone = true;
  });
  const range = { first: 31, sectors: LARGE + 2, tags: [5] };
  const expected = [0, ...tags(5, LARGE), 0];
  t.deepEqual(await tagsOf(world, store, 0, range), expected, 'before it is durable');
  await world.runUntil(() => isDone);
  t.is(extents(world), 1);
  const next = await afterPowerLoss(world);
  t.deepEqual(await tagsOf(world, next, 0, range), expected);
  t.is(next.row(GENERATION, 0)?.verCount, 1);
});

test('extents: what has sums, waits, may lag or is small goes through the journal', async (t) => {
  const { world, store } = await fresh(2);
  const done = (at: { first: number; sectors: number; tag: number }, mayLag = false) =>
    finished(world, (end) => write(store, 0, at, end, mayLag));
  await done({ first: 0, sectors: 4, tag: 1 });
  await done({ first: 3, sectors: LARGE, tag: 2 });
  t.is(extents(world), 0, 'a sector of it has a sum');
  await done({ first: 100, sectors: LARGE, tag: 3 }, true);
  t.is(extents(world), 0, 'a write that may lag');
  let left = 2;
  const ended = (): void => {
    left -= 1;
  };
  write(store, 0, { first: 210, sectors: 1, tag: 4 }, ended);
  write(store, 0, { first: 200, sectors: LARGE, tag: 5 }, ended);
  t.is(extents(world), 0, 'a write below it is not applied');
  await world.runUntil(() => left === 0);
  await done({ first: 300, sectors: LARGE, tag: 6 });
  t.is(extents(world), 1);
  const next = await afterPowerLoss(world);
  const found = await tagsOf(world, next, 0, { first: 200, sectors: LARGE, tags: [4, 5] });
  t.deepEqual(found, tags(5, LARGE));
});

test('extents: records stay in the order of acceptance; a small write over one waits for it and wins', async (t) => {
  const { world, store } = await fresh(3);
  const order: string[] = [];
  write(store, 0, { first: 0, sectors: LARGE, tag: 1 }, () => order.push('large'));
  write(store, 0, { first: 4, sectors: 2, tag: 2 }, () => order.push('over it'));
  write(store, 1, { first: 0, sectors: 1, tag: 3 }, () => order.push('another object'));
  await world.runUntil(() => order.length === 3);
  t.deepEqual(order, ['large', 'over it', 'another object']);
  const next = await afterPowerLoss(world);
  const found = await tagsOf(world, next, 0, { first: 0, sectors: LARGE, tags: [1, 2] });
  t.deepEqual(found, [...tags(1, 4), 2, 2, ...tags(1, LARGE - 6)]);
});

test('extents: replay of a write, a trim or a removal before one does not touch its bytes', async (t) => {
  const kinds = ['trim', 'whole zero', 'drop'] as const;
  for (const [before, isSaved] of kinds.flatMap((k) => [[k, false] as const, [k, true] as const])) {
    const { world, store } = await fresh(4);
    const done = (start: (end: (e?: Error) => void) => void) => finished(world, start);
    await done((end) => write(store, 0, { first: 0, sectors: LARGE - 1, tag: 1 }, end));
    await done((end) => write(store, 0, { first: LARGE, sectors: 8, tag: 9 }, end));
    if (isSaved) await done((end) => store.checkpoint(end));
    if (before === 'trim')
      await done((end) => zero(store, 0, { first: 2, sectors: LARGE + 4 }, end));
    else if (before === 'whole zero') await done((end) => zero(store, 0, undefined, end));
    else await done((end) => store.drop({ generation: GENERATION, index: 0 }, end));
    await done((end) => write(store, 0, { first: 2, sectors: LARGE, tag: 2 }, end));
    t.is(extents(world), 1, before);
    const next = await afterPowerLoss(world);
    const range = { first: 0, sectors: LARGE + 8, tags: [1, 2, 9] };
    const isTrim = before === 'trim';
    const outer = isTrim ? [0, 0, 0, 0, 9, 9] : tags(0, 6);
    const expected = [...tags(isTrim ? 1 : 0, 2), ...tags(2, LARGE), ...outer];
    t.deepEqual(await tagsOf(world, next, 0, range), expected, before);
    // And once more: what replay left is as good as what it found.
    const again = await afterPowerLoss(world);
    t.deepEqual(await tagsOf(world, again, 0, range), expected, before);
  }
});

/** Two extents, the power lost at one operation; what was wrong then. Undefined: the power was never lost. */
async function lostAt(
  draw: number,
  diskOf: (world: CrashWorld) => Disk,
): Promise<string[] | undefined> {
  const world = new CrashWorld(draw);
  const store = await opened(world, EXTENT_BYTES, diskOf(world));
  // Each step under several draws of what the power loss keeps of what was not synced.
  world.crashAt = world.operations + Math.floor(draw / 8);
  const done: number[] = [];
  try {
    write(store, 0, { first: 0, sectors: LARGE, tag: 1 }, () => done.push(1));
    write(store, 0, { first: LARGE, sectors: LARGE, tag: 2 }, () => done.push(2));
  } catch (error) {
    if (!(error instanceof PowerLoss)) throw error;
  }
  await world.runUntil(() => done.length === 2);
  if (!world.isDead) return undefined;
  const next = await afterPowerLoss(world);
  const version = next.row(GENERATION, 0)?.verCount ?? 0;
  const expected = [...tags(version >= 1 ? 1 : 0, LARGE), ...tags(version >= 2 ? 2 : 0, LARGE)];
  const range = { first: 0, sectors: 2 * LARGE, tags: [1, 2] };
  const found = await tagsOf(world, next, 0, range);
  const wrong: string[] = version < done.length ? [`version ${version}`] : [];
  if (found.join() !== expected.join()) wrong.push(`bytes of version ${version}: ${found.join()}`);
  return wrong;
}

async function lostAnywhere(diskOf: (world: CrashWorld) => Disk): Promise<string[]> {
  const all: string[] = [];
  for (let draw = 8; ; draw += 1) {
    const wrong = await lostAt(draw, diskOf);
    if (wrong === undefined) return all;
    all.push(...wrong.map((text) => `draw ${draw}: ${text}`));
  }
}

test('extents: a crash at any disk operation leaves all of it or nothing', async (t) => {
  t.deepEqual(await lostAnywhere((world) => world.disk()), []);
});

/** A disk whose syncs of object files, or of their folders, are said to be done and are not. */
function lying(world: CrashWorld, about: 'files' | 'folders'): Disk {
  const disk = world.disk();
  const clock = world.clock();
  const isObject = (path: string): boolean => path.startsWith('objects/');
  const lie = (done: (error: Error | undefined) => void): void => clock.soon(() => done(undefined));
  return {
    ...disk,
    open: (path, options) => {
      const file = disk.open(path, options);
      const isHit = about === 'files' && isObject(path) && file !== undefined;
      return isHit ? { ...file, sync: lie } : file;
    },
    syncFolder: (path, done) => {
      if (about === 'folders' && isObject(path)) lie(done);
      else disk.syncFolder(path, done);
    },
  };
}

test('extents, mutants: a record before the sync of its file, or of the name of it, is found', async (t) => {
  const files = await lostAnywhere((world) => lying(world, 'files'));
  t.true(
    files.some((text) => text.includes('bytes')),
    files.join('; '),
  );
  const folders = await lostAnywhere((world) => lying(world, 'folders'));
  t.true(
    folders.some((text) => text.includes('bytes')),
    folders.join('; '),
  );
});

test('extents: a damaged record of one says which sums it lost; the bytes that pass theirs are kept', async (t) => {
  const { world, store } = await fresh(6);
  await finished(world, (end) => write(store, 0, { first: 0, sectors: LARGE, tag: 1 }, end));
  await finished(world, (end) => write(store, 1, { first: 0, sectors: 1, tag: 2 }, end));
  world.crash(100);
  world.restart();
  // Batch header, record header, then the sums: the fifth.
  world.damage('journal', 8192 + 64 + 92 + 4 * 4, (byte) => byte ^ 1);
  const next = await opened(world, EXTENT_BYTES);
  t.deepEqual(await tagsOf(world, next, 0, { first: 0, sectors: LARGE, tags: [1] }), [
    ...tags(1, 4),
    -1,
    ...tags(1, LARGE - 5),
  ]);
  t.is(next.suspects.size, 1);
});
