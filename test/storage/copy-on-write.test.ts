// Copy-on-write of regions (S2): what it costs, what a limit cuts, that damage stays damage, and that what a replay needs is
// not removed before a checkpoint.

import test from 'ava';
import { movedSum, sectorSum, sumsOf } from '../../src/core/checksum.ts';
import { type Layer, NO_LIMIT } from '../../src/core/generations.ts';
import type { FamilyId, FencingToken, GenerationId } from '../../src/core/ids.ts';
import { OBJECT_BYTES, REGION_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import { JOURNAL_PATH, objectPath } from '../../src/storage/layout.ts';
import type { LocalObjectStore } from '../../src/storage/local-store.ts';
import type { StoreWrite } from '../../src/storage/store-types.ts';
import { CrashWorld } from './crash-world.ts';
import { sectorOf } from './store-model.ts';
import { finished, opened, tagged } from './store-steps.ts';

const [BASE, HEAD] = [1 as GenerationId, 2 as GenerationId];
const INDEX = 7;

function layersOf(limitBytes: number): (generation: GenerationId) => readonly Layer[] {
  return (generation) => {
    const own = { generation, limitBytes: NO_LIMIT };
    return generation === HEAD ? [own, { generation: BASE, limitBytes }] : [own];
  };
}

async function started(world: CrashWorld, limitBytes = NO_LIMIT): Promise<LocalObjectStore> {
  const store = await opened(world);
  store.followLayers(layersOf(limitBytes));
  return store;
}

function placeOf(store: LocalObjectStore, at: { g: GenerationId; first: number; sectors: number }) {
  const count = store.row(at.g, INDEX)?.verCount ?? 0;
  const place: StoreWrite = {
    ...{ generation: at.g, index: INDEX, family: 1 as FamilyId, partition: 1, cfg: 1, closed: 0 },
    prev: { token: (count === 0 ? 0 : 1) as FencingToken, count },
    next: { token: 1 as FencingToken, count: count + 1 },
    offset: at.first * SECTOR_BYTES,
    count: at.sectors * SECTOR_BYTES,
  };
  return place;
}

function write(
  world: CrashWorld,
  store: LocalObjectStore,
  at: { readonly g: GenerationId; readonly first: number; readonly sectors: number; tag: number },
): Promise<void> {
  const place = placeOf(store, at);
  const data = tagged(at.tag, at.sectors);
  const sums = sumsOf(at.g, INDEX, place.offset, data);
  return finished(world, (done) => store.write(place, data, sums, done));
}

/** The tag of a sector as a generation shows it; -1 = suspect. */
async function tagAt(
  world: CrashWorld,
  store: LocalObjectStore,
  g: GenerationId,
  sector: number,
): Promise<number> {
  const bytes = new Uint8Array(SECTOR_BYTES);
  let outcome = '';
  store.read(g, INDEX, sector * SECTOR_BYTES, SECTOR_BYTES, bytes, 0, (found) => {
    outcome = found;
  });
  await world.runUntil(() => outcome !== '');
  if (outcome === 'suspect') return -1;
  const tag = Array.from({ length: 10 }, (_, i) => i).find((one) => {
    return Buffer.compare(sectorOf(one), bytes) === 0;
  });
  if (tag === undefined) throw new TypeError(`sector ${sector} is nobody's`);
  return tag;
}

test('copy-on-write: 4 KiB into a clone copy 64 KiB, and once', async (t) => {
  const world = new CrashWorld(1);
  const store = await started(world);
  await write(world, store, { g: BASE, first: 0, sectors: 512, tag: 1 });
  const before = store.usedBytes;
  await write(world, store, { g: HEAD, first: 20, sectors: 1, tag: 2 });
  t.is(store.usedBytes - before, REGION_BYTES);
  await write(world, store, { g: HEAD, first: 22, sectors: 1, tag: 3 });
  t.is(store.usedBytes - before, REGION_BYTES);
  t.is(world.counts.get('store.regions-copied'), 1);
  const seen = (g: GenerationId) =>
    Promise.all([15, 16, 20, 21, 22, 31, 32].map((sector) => tagAt(world, store, g, sector)));
  t.deepEqual(await seen(HEAD), [1, 1, 2, 1, 3, 1, 1]);
  t.deepEqual(await seen(BASE), [1, 1, 1, 1, 1, 1, 1]);
});

test('copy-on-write: a write that covers its regions copies nothing', async (t) => {
  const world = new CrashWorld(2);
  const store = await started(world);
  await write(world, store, { g: BASE, first: 0, sectors: 64, tag: 1 });
  await write(world, store, { g: HEAD, first: 16, sectors: 32, tag: 2 });
  t.is(world.counts.get('store.regions-copied'), undefined);
  t.deepEqual([await tagAt(world, store, HEAD, 15), await tagAt(world, store, HEAD, 16)], [1, 2]);
});

test('copy-on-write: nothing beyond the limit is shown or copied', async (t) => {
  const world = new CrashWorld(3);
  const store = await started(world, INDEX * OBJECT_BYTES + 20 * SECTOR_BYTES);
  await write(world, store, { g: BASE, first: 0, sectors: 64, tag: 1 });
  t.deepEqual([await tagAt(world, store, HEAD, 19), await tagAt(world, store, HEAD, 20)], [1, 0]);
  const before = store.usedBytes;
  await write(world, store, { g: HEAD, first: 30, sectors: 1, tag: 2 });
  t.is(store.usedBytes - before, 5 * SECTOR_BYTES, '16 to 19, and the one that was written');
  const around = [19, 20, 30, 31, 40];
  const seen = () => Promise.all(around.map((sector) => tagAt(world, store, HEAD, sector)));
  t.deepEqual(await seen(), [1, 0, 2, 0, 0]);
  world.crash(0);
  world.restart();
  const next = await started(world, INDEX * OBJECT_BYTES + 20 * SECTOR_BYTES);
  t.deepEqual(
    await Promise.all(around.map((one) => tagAt(world, next, HEAD, one))),
    [1, 0, 2, 0, 0],
  );
});

test('copy-on-write: a damaged sector is copied as a damaged one, and no other', async (t) => {
  const world = new CrashWorld(4);
  const store = await started(world);
  await write(world, store, { g: BASE, first: 0, sectors: 16, tag: 1 });
  await finished(world, (done) => store.checkpoint(done));
  world.damage(objectPath(BASE, INDEX), 16_384 + 3 * SECTOR_BYTES + 9, (byte) => byte ^ 1);
  await write(world, store, { g: HEAD, first: 8, sectors: 1, tag: 2 });
  const seen = await Promise.all([2, 3, 4, 8].map((sector) => tagAt(world, store, HEAD, sector)));
  t.deepEqual(seen, [1, -1, 1, 2]);
});

test('copy-on-write: rot in the record of a copy costs its regions, until they are repaired', async (t) => {
  const world = new CrashWorld(5);
  const store = await started(world);
  await write(world, store, { g: BASE, first: 0, sectors: 32, tag: 1 });
  await finished(world, (done) => store.checkpoint(done));
  await write(world, store, { g: HEAD, first: 8, sectors: 1, tag: 2 });
  // Another batch names this one as synced.
  await write(world, store, { g: HEAD, first: 40, sectors: 1, tag: 3 });
  world.crash(100);
  world.restart();
  const file = world.disk().open(JOURNAL_PATH, { create: false });
  const bytes = Buffer.alloc(file?.sizeSync() ?? 0);
  file?.readSync(bytes, 0, bytes.length, 0);
  const record = bytes.findIndex((byte, at) => {
    return byte === 6 && at >= 8192 && bytes.readUInt32LE(at - 4) === 16 && bytes[at + 74] === 1;
  });
  t.true(record > 0);
  // Two headers of 92 bytes behind the header of the batch, then the body.
  world.damage(JOURNAL_PATH, record - 4 + 2 * 92 + 5, (byte) => byte ^ 4);
  const next = await started(world);
  const seen = await Promise.all([7, 8, 16, 40].map((sector) => tagAt(world, next, HEAD, sector)));
  t.deepEqual(seen, [-1, 2, 1, 3]);
  t.is(await tagAt(world, next, BASE, 7), 1);
});

test('copy-on-write: what a replay would copy from again is not removed before a checkpoint', async (t) => {
  const world = new CrashWorld(6);
  const store = await started(world);
  await write(world, store, { g: BASE, first: 0, sectors: 16, tag: 1 });
  await write(world, store, { g: HEAD, first: 8, sectors: 1, tag: 2 });
  const before = world.counts.get('store.checkpoints') ?? 0;
  await finished(world, (done) => store.drop({ generation: BASE, index: INDEX }, done));
  t.is(world.counts.get('store.checkpoints'), before + 1);
  world.crash(0);
  world.restart();
  const next = await opened(world);
  const seen = await Promise.all([7, 8].map((sector) => tagAt(world, next, HEAD, sector)));
  t.deepEqual(seen, [1, 2]);
});

test('copy-on-write: a part of a trim that is not its own stays, the rest goes', async (t) => {
  const world = new CrashWorld(7);
  const store = await started(world);
  await write(world, store, { g: BASE, first: 0, sectors: 80, tag: 1 });
  await write(world, store, { g: HEAD, first: 64, sectors: 1, tag: 2 });
  const place = { ...placeOf(store, { g: HEAD, first: 8, sectors: 64 }), keepsUnowned: true };
  await finished(world, (done) => store.zero(place, done));
  const around = [8, 15, 16, 63, 64, 71, 72];
  const seen = await Promise.all(around.map((sector) => tagAt(world, store, HEAD, sector)));
  t.deepEqual(seen, [1, 1, 0, 0, 0, 0, 1]);
  const row = store.row(HEAD, INDEX);
  t.deepEqual([row?.ownLow, row?.verCount], [0b11110, 2]);
});

test('copy-on-write: a sum is moved without the bytes', (t) => {
  for (let sector = 0; sector < 200; sector += 1) {
    const bytes = sectorOf(sector + 1);
    const sum = sectorSum(5, INDEX, sector, bytes, 0);
    t.is(movedSum(sum, 5, 9, INDEX, sector), sectorSum(9, INDEX, sector, bytes, 0));
  }
  t.is(movedSum(1, 5, 9, INDEX, 3), undefined, 'it may stand for 0');
});
