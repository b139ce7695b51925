// What a store does about damage: it names it, never serves it, takes the same version again from outside (4.10), and
// keeps what is written to an object that it has lost (R3).

import test from 'ava';
import { sumsOf } from '../../src/core/checksum.ts';
import type { FamilyId, FencingToken, GenerationId, Version } from '../../src/core/ids.ts';
import { MIB, OBJECT_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import { objectPath } from '../../src/storage/layout.ts';
import type { LocalObjectStore } from '../../src/storage/local-store.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import type { CheckFound } from '../../src/storage/store-types.ts';
import { CrashWorld } from './crash-world.ts';

const GENERATION = 1 as GenerationId;
const INDEX = 3;
const PATH = objectPath(GENERATION, INDEX);
const DATA_AT = 16384;
const WHOLE = { offset: 0, count: OBJECT_BYTES };

function version(count: number): Version {
  return { token: (count === 0 ? 0 : 1) as FencingToken, count };
}

async function opened(world: CrashWorld): Promise<LocalObjectStore> {
  let store: LocalObjectStore | undefined;
  let failure: unknown;
  openObjectStore({
    disk: world.disk(),
    clock: world.clock(),
    random: world.random.fork('store'),
    trace: world.trace(),
    journalBytes: 8 * MIB,
    onFatal: (error) => {
      failure = error;
    },
  }).then(
    (made) => {
      store = made;
    },
    (error: unknown) => {
      failure = error;
    },
  );
  await world.runUntil(() => store !== undefined || failure !== undefined);
  if (store === undefined) throw failure;
  return store;
}

async function answer<T>(world: CrashWorld, start: (done: (value: T) => void) => void): Promise<T> {
  const answers: T[] = [];
  start((value) => answers.push(value));
  await world.runUntil(() => answers.length > 0);
  if (answers.length === 0) throw new TypeError('never answered');
  return answers[0] as T;
}

const sector = (fill: number): Uint8Array => new Uint8Array(SECTOR_BYTES).fill(fill);

/** Sector `number` gets bytes `fill`, as version `count`. */
async function write(world: CrashWorld, store: LocalObjectStore, number: number, count: number) {
  const data = sector(count);
  const offset = number * SECTOR_BYTES;
  const place = { generation: GENERATION, index: INDEX, family: 1 as FamilyId, partition: 0 };
  const change = { ...place, prev: version(count - 1), next: version(count), cfg: 1, closed: 0 };
  const range = { offset, count: SECTOR_BYTES };
  const sums = sumsOf(GENERATION, INDEX, offset, data);
  return answer(world, (done) => store.write({ ...change, ...range }, data, sums, done));
}

async function read(world: CrashWorld, store: LocalObjectStore, number: number) {
  const bytes = new Uint8Array(SECTOR_BYTES);
  const at = number * SECTOR_BYTES;
  const outcome = await answer<string>(world, (done) =>
    store.read(GENERATION, INDEX, at, SECTOR_BYTES, bytes, 0, done),
  );
  return outcome === 'ok' ? bytes[17] : outcome;
}

function check(world: CrashWorld, store: LocalObjectStore): Promise<CheckFound> {
  return answer(world, (done) => store.check(GENERATION, INDEX, WHOLE, done));
}

function repair(world: CrashWorld, store: LocalObjectStore, number: number, at: Version) {
  const data = sector(number + 1);
  const offset = number * SECTOR_BYTES;
  const place = { generation: GENERATION, index: INDEX, version: at, offset, count: SECTOR_BYTES };
  const sums = sumsOf(GENERATION, INDEX, offset, data);
  return answer<Error | undefined>(world, (done) => store.repair(place, data, sums, done));
}

function stop(world: CrashWorld, store: LocalObjectStore) {
  return answer(world, (done) => store.stop(done));
}

/** Sectors 0 and 1, with bytes 1 and 2, as versions 1 and 2. */
async function filled(seed: number) {
  const world = new CrashWorld(seed);
  const store = await opened(world);
  for (const number of [0, 1]) await write(world, store, number, number + 1);
  return { world, store };
}

test('store: a bad sector is named, repaired at its own version only, and stays repaired', async (t) => {
  const { world, store } = await filled(1);
  await answer(world, (done) => store.checkpoint(done));
  world.damage(PATH, DATA_AT + SECTOR_BYTES + 9, (byte) => byte ^ 1);
  t.is(await read(world, store, 0), 1);
  t.is(await read(world, store, 1), 'suspect');
  t.is(store.suspects.list()[0]?.index, INDEX);
  t.deepEqual((await check(world, store)).bad, [1]);
  for (const other of [version(1), version(3)]) {
    t.is((await repair(world, store, 1, other))?.message, 'the copy has another version now');
  }
  t.is(await read(world, store, 1), 'suspect');
  t.is(await repair(world, store, 1, version(2)), undefined);
  t.is(await read(world, store, 1), 2);
  t.is(store.row(GENERATION, INDEX)?.verCount, 2);
  world.crash(0);
  world.restart();
  const again = await opened(world);
  t.deepEqual([await read(world, again, 0), await read(world, again, 1)], [1, 2]);
  t.is(again.row(GENERATION, INDEX)?.verCount, 2);
});

test('store: what is written to a lost object is kept, the rest of it stays suspect', async (t) => {
  const { world, store } = await filled(2);
  await stop(world, store);
  world.restart();
  world.removeFile(PATH);
  const second = await opened(world);
  t.is(await read(world, second, 0), 'suspect');
  t.is(await write(world, second, 5, 3), undefined);
  t.is(await read(world, second, 5), 3);
  t.is(await read(world, second, 0), 'suspect');
  t.is(await read(world, second, 900), 'suspect');
  t.true(second.suspects.list()[0]?.isWhole);
  await answer(world, (done) => second.checkpoint(done));
  world.crash(0);
  world.restart();
  const third = await opened(world);
  t.is(await read(world, third, 5), 3);
  t.is(await read(world, third, 0), 'suspect');
  t.is((await check(world, third)).bad.length, 1023);
});

test('store: a file that vanishes under a running store is found, and gets the sums that memory has', async (t) => {
  const { world, store } = await filled(3);
  await answer(world, (done) => store.checkpoint(done));
  const before = await answer<Uint8Array | undefined>(world, (done) =>
    store.readSums(GENERATION, INDEX, done),
  );
  world.removeFile(PATH);
  t.is(await read(world, store, 0), 1, 'the descriptor outlives the name');
  const after = await answer<Uint8Array | undefined>(world, (done) =>
    store.readSums(GENERATION, INDEX, done),
  );
  t.deepEqual(after, before);
  t.is(await read(world, store, 0), 'suspect');
  t.deepEqual((await check(world, store)).bad, [0, 1]);
  for (const number of [0, 1]) t.is(await repair(world, store, number, version(2)), undefined);
  await stop(world, store);
  world.restart();
  const again = await opened(world);
  t.deepEqual([await read(world, again, 0), await read(world, again, 1)], [1, 2]);
});

test('store: damaged slots under a running store are found and written again', async (t) => {
  const { world, store } = await filled(4);
  await answer(world, (done) => store.checkpoint(done));
  for (const at of [100, 8192 + 100]) world.damage(PATH, at, (byte) => byte ^ 1);
  const sums = await answer<Uint8Array | undefined>(world, (done) =>
    store.readSums(GENERATION, INDEX, done),
  );
  t.is(sums?.length, 4096);
  await stop(world, store);
  world.restart();
  const again = await opened(world);
  t.deepEqual([await read(world, again, 0), await read(world, again, 1)], [1, 2]);
});

test('store: an object file that somebody made longer is cut back when it is looked at', async (t) => {
  const { world, store } = await filled(5);
  await answer(world, (done) => store.checkpoint(done));
  const file = world.disk().open(PATH, { create: false });
  file?.writeSync(new Uint8Array(4096), 16_384 + 4 * MIB);
  const sums = () =>
    answer<Uint8Array | undefined>(world, (done) => store.readSums(GENERATION, INDEX, done));
  t.is((await sums())?.length, 4096);
  t.is(file?.sizeSync(), 16_384 + 4 * MIB);
  t.is(await read(world, store, 0), 1);
  file?.close();
});
