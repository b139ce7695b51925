// Trimmed sectors give their space back with the checkpoint that makes the trim durable, and no other sector ever does.
// The crash tests run with holes, too: a hole in the wrong place is a sum that does not fit.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { sumsOf } from '../../src/core/checksum.ts';
import type { FamilyId, FencingToken, GenerationId } from '../../src/core/ids.ts';
import { MIB, OBJECT_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import { createRealClock } from '../../src/io/real-clock.ts';
import { createRealRandom } from '../../src/io/real-random.ts';
import { HoleLedger } from '../../src/storage/holes.ts';
import type { LocalObjectStore } from '../../src/storage/local-store.ts';
import { ObjectState } from '../../src/storage/object-state.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import type { StoreDone } from '../../src/storage/store-types.ts';
import { CrashWorld } from './crash-world.ts';
import { ModelledStore } from './store-model.ts';

const GENERATION = 1 as GenerationId;

function opened(folder: string): Promise<LocalObjectStore> {
  return openObjectStore({
    disk: openFileDisk(folder),
    clock: createRealClock(),
    random: createRealRandom(),
    trace: { event: () => undefined, warn: () => undefined, count: () => undefined },
    journalBytes: 16 * MIB,
    onFatal: (error) => {
      throw error;
    },
  });
}

function finished(start: (done: StoreDone) => void): Promise<void> {
  return new Promise((resolve, reject) =>
    start((error) => (error === undefined ? resolve() : reject(error))),
  );
}

function placeOf(store: LocalObjectStore, index: number, first: number, sectors: number) {
  const row = store.row(GENERATION, index);
  return {
    generation: GENERATION,
    index,
    family: 1 as FamilyId,
    partition: 5,
    prev: { token: (row?.verToken ?? 0) as FencingToken, count: row?.verCount ?? 0 },
    next: { token: 1 as FencingToken, count: (row?.verCount ?? 0) + 1 },
    cfg: 1,
    closed: 0,
    offset: first * SECTOR_BYTES,
    count: sectors * SECTOR_BYTES,
  };
}

function write(store: LocalObjectStore, first: number, sectors: number, fill: number) {
  const data = new Uint8Array(sectors * SECTOR_BYTES).fill(fill);
  const place = placeOf(store, 0, first, sectors);
  const sums = sumsOf(GENERATION, 0, place.offset, data);
  return finished((done) => store.write(place, data, sums, done));
}

function zero(store: LocalObjectStore, first: number, sectors: number) {
  return finished((done) => store.zero(placeOf(store, 0, first, sectors), done));
}

/** Both slots of sums take their space now, not in the midst of a count. */
async function bothSlots(store: LocalObjectStore): Promise<void> {
  for (let i = 0; i < 2; i += 1) {
    await write(store, 0, 1, 7);
    await finished((done) => store.checkpoint(done));
  }
}

/** The first byte of each sector. */
async function contents(store: LocalObjectStore): Promise<number[]> {
  const bytes = new Uint8Array(OBJECT_BYTES);
  await new Promise<void>((resolve, reject) => {
    store.read(GENERATION, 0, 0, OBJECT_BYTES, bytes, 0, (outcome, error) => {
      if (outcome === 'ok') resolve();
      else reject(error ?? new TypeError(outcome));
    });
  });
  return Array.from(
    { length: OBJECT_BYTES / SECTOR_BYTES },
    (_, i) => bytes[i * SECTOR_BYTES] ?? 0,
  );
}

/** Bytes that all object files of a data directory take. */
function allocated(folder: string): number {
  let blocks = 0;
  for (const name of fs.readdirSync(path.join(folder, 'objects'), { recursive: true })) {
    const stat = fs.statSync(path.join(folder, 'objects', String(name)));
    if (stat.isFile()) blocks += stat.blocks;
  }
  return blocks * 512;
}

function temporaryFolder(t: ExecutionContext): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-holes-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test('holes: trims give their blocks back with the next checkpoint, and only theirs', async (t) => {
  const folder = temporaryFolder(t);
  const store = await opened(folder);
  for (let first = 0; first < 1024; first += 128) await write(store, first, 128, 7);
  await bothSlots(store);
  const full = allocated(folder);
  t.true(full >= OBJECT_BYTES);
  for (let first = 100; first < 900; first += 50) await zero(store, first, 50);
  await write(store, 500, 10, 8);
  t.true(allocated(folder) >= full, 'nothing goes before the trim is durable');
  await finished((done) => store.checkpoint(done));
  // The file system may take or free a block of its own for the list of the file's pieces.
  const freed = full - allocated(folder);
  t.true(Math.abs(freed - (800 - 10) * SECTOR_BYTES) <= 2 * SECTOR_BYTES, `${freed} bytes freed`);
  const expected = Array.from({ length: 1024 }, (_, i): number => {
    if (i >= 500 && i < 510) return 8;
    return i >= 100 && i < 900 ? 0 : 7;
  });
  t.deepEqual(await contents(store), expected);
  await finished((done) => store.stop(done));
  const again = await opened(folder);
  t.deepEqual(await contents(again), expected);
  await write(again, 300, 1, 9);
  expected[300] = 9;
  t.deepEqual(await contents(again), expected, 'a hole can be filled again');
  await finished((done) => again.stop(done));
});

test('holes: trims that only the journal knows give their blocks back after a crash, too', async (t) => {
  const folder = temporaryFolder(t);
  const store = await opened(folder);
  await write(store, 0, 128, 7);
  await bothSlots(store);
  await zero(store, 0, 64);
  const full = allocated(folder);
  // The files as a killed process leaves them.
  const copy = temporaryFolder(t);
  fs.cpSync(folder, copy, { recursive: true });
  const again = await opened(copy);
  await finished((done) => again.checkpoint(done));
  t.true(full - allocated(copy) >= 64 * SECTOR_BYTES);
  await finished((done) => again.stop(done));
  await finished((done) => store.stop(done));
});

test('holes: a trim on a store that is silent afterwards gives its space back by itself', async (t) => {
  const world = new CrashWorld(5);
  const model = new ModelledStore(world, 1);
  model.mayCheckpoint = false;
  await model.open();
  for (let i = 0; i < 30; i += 1) {
    model.trimOrWrite();
    await model.settle();
  }
  const isPunched = (): boolean => (world.counts.get('store.punched') ?? 0) > 0;
  await world.runUntil(isPunched);
  t.true(isPunched());
});

for (let seed = 1; seed <= 8; seed += 1) {
  test(`holes: trims and writes of the same sectors under checkpoints, seed ${seed}`, async (t) => {
    const world = new CrashWorld(seed);
    const model = new ModelledStore(world, 1);
    await model.open();
    for (let i = 0; i < 400; i += 1) {
      model.trimOrWrite();
      for (let k = world.random.below(8); k > 0; k -= 1) world.step();
      if (i % 100 === 99) await model.check(false);
    }
    await model.settle();
    await t.notThrowsAsync(model.check(false));
    t.true((world.counts.get('store.punched') ?? 0) > 0);
    world.crash();
    world.restart();
    await model.open();
    await t.notThrowsAsync(model.check(true));
  });
}

test('holes: a sector is punched after its batch and its checkpoint, unless it is written meanwhile', (t) => {
  const state = new ObjectState({
    generation: GENERATION,
    index: 1,
    family: 1 as FamilyId,
    partition: 0,
  });
  state.hasFile = true;
  const ledger = new HoleLedger();
  const taken = (): number[][] => [...ledger.runs()].map(({ first, count }) => [first, count]);
  ledger.drop(state, 0, 64 * SECTOR_BYTES);
  ledger.take();
  t.deepEqual(taken(), [], 'its batch is not applied yet');
  ledger.settle();
  t.true(ledger.isWaiting);
  ledger.fill(state, 10 * SECTOR_BYTES, SECTOR_BYTES);
  ledger.take();
  ledger.fill(state, 20 * SECTOR_BYTES, 2 * SECTOR_BYTES);
  ledger.drop(state, 20 * SECTOR_BYTES, SECTOR_BYTES);
  t.deepEqual(taken(), [
    [0, 10],
    [11, 9],
    [22, 42],
  ]);
  t.deepEqual(taken(), [], 'each once');
  ledger.settle();
  ledger.take();
  ledger.forget(state);
  t.deepEqual(taken(), [], 'a file that is gone has no holes');
});
