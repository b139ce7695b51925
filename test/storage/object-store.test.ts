// The store on the real disk: what it promises without crashes, and its formats as they lie in the files.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { sumsOf } from '../../src/core/checksum.ts';
import { hasCode, type OperatingError } from '../../src/core/errors.ts';
import { regionMask } from '../../src/core/extent.ts';
import type { FamilyId, FencingToken, GenerationId } from '../../src/core/ids.ts';
import { MIB, OBJECT_BYTES, REGION_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import type { Clock, TimerHandle, Trace } from '../../src/ports/ports.ts';
import { decodeBatch, decodeBatchHeader } from '../../src/storage/journal-batch.ts';
import { encodeBatch, type JournalRecord } from '../../src/storage/journal-codec.ts';
import { BATCH_HEADER_BYTES } from '../../src/storage/layout.ts';
import { closeRow, type RowFields } from '../../src/storage/object-state.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import type { ObjectStore, StoreDone, StoreWrite } from '../../src/storage/store-types.ts';
import { SeededRandom } from './crash-world.ts';

const GENERATION = 1 as GenerationId;
const clock: Clock = {
  now: () => performance.now(),
  date: () => performance.now(),
  setTimer: (ms, fn) => setTimeout(fn, ms) as unknown as TimerHandle,
  clearTimer: (handle) => clearTimeout(handle as unknown as NodeJS.Timeout),
  soon: (fn) => void setImmediate(fn),
};
const trace: Trace = { event: () => undefined, warn: () => undefined, count: () => undefined };

function temporaryFolder(t: ExecutionContext): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-store-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

let seeds = 1;

async function opened(folder: string): Promise<ObjectStore> {
  return openObjectStore({
    disk: openFileDisk(folder),
    clock,
    random: new SeededRandom(seeds++),
    trace,
    journalBytes: 8 * MIB,
    onFatal: (error) => {
      throw error;
    },
  });
}

function placeOf(store: ObjectStore, index: number, offset: number, count: number): StoreWrite {
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
    offset,
    count,
  };
}

function finished(start: (done: StoreDone) => void): Promise<OperatingError | undefined> {
  return new Promise((resolve) => start(resolve));
}

function write(store: ObjectStore, index: number, offset: number, data: Uint8Array) {
  const sums = sumsOf(GENERATION, index, offset, data);
  return finished((done) => {
    store.write(placeOf(store, index, offset, data.length), data, sums, done);
  });
}

test('store: a write is visible at once, before it is durable; reads take any alignment', async (t) => {
  const store = await opened(temporaryFolder(t));
  const data = new SeededRandom(1).bytes(2 * SECTOR_BYTES);
  const writing = write(store, 1, SECTOR_BYTES, data);
  t.is(store.row(GENERATION, 1)?.verCount, 1);
  const target = new Uint8Array(10000).fill(7);
  t.is(store.readSync(GENERATION, 1, 4090, 5000, target, 3), 'ok');
  const expected = new Uint8Array(5000);
  expected.set(data.subarray(0, 5000 - 6), 6);
  t.deepEqual(target.subarray(3, 5003), expected);
  t.deepEqual([target[2], target[5003]], [7, 7]);
  t.is(await writing, undefined);
  t.is(store.readSync(GENERATION, 1, 4090, 5000, target, 3), 'ok');
  t.deepEqual(target.subarray(3, 5003), expected);
  t.is(await finished((done) => store.stop(done)), undefined);
});

test('store: rows follow the writes: owned and open regions, closing (R6, D6)', async (t) => {
  const store = await opened(temporaryFolder(t));
  await write(store, 2, 0, new Uint8Array(SECTOR_BYTES).fill(1));
  await write(store, 2, 33 * REGION_BYTES, new Uint8Array(REGION_BYTES + SECTOR_BYTES).fill(1));
  const row = store.row(GENERATION, 2);
  t.deepEqual([row?.ownLow, row?.ownHigh, row?.openLow, row?.openHigh], [1, 6, 1, 6]);
  store.close(GENERATION, 2, 1);
  t.deepEqual([row?.closed, row?.openHigh], [1, 6]);
  store.close(GENERATION, 2, 9);
  t.deepEqual([row?.closed, row?.openLow, row?.openHigh, row?.ownHigh], [2, 0, 0, 6]);
  t.deepEqual(store.partitionsHeld(), [5]);
  t.is(store.rowsOf(5).length, 1);
  t.is(store.usedBytes, REGION_BYTES + 2 * SECTOR_BYTES);
  await finished((done) => store.stop(done));
});

test('store: a wholly zeroed object has no file, keeps its version, and can be written again', async (t) => {
  const folder = temporaryFolder(t);
  const store = await opened(folder);
  await write(store, 3, 0, new Uint8Array(SECTOR_BYTES).fill(5));
  const files = (): string[] =>
    fs
      .readdirSync(path.join(folder, 'objects'), { recursive: true, encoding: 'utf8' })
      .filter((f) => f.includes('/'));
  t.is(files().length, 1);
  await finished((done) => store.zero(placeOf(store, 3, 0, OBJECT_BYTES), done));
  t.deepEqual(files(), []);
  t.deepEqual([store.row(GENERATION, 3)?.kind, store.row(GENERATION, 3)?.verCount], ['zero', 2]);
  await write(store, 3, 8 * SECTOR_BYTES, new Uint8Array(SECTOR_BYTES).fill(6));
  const target = new Uint8Array(9 * SECTOR_BYTES);
  t.is(store.readSync(GENERATION, 3, 0, target.length, target, 0), 'ok');
  t.deepEqual([target[0], target[8 * SECTOR_BYTES], store.row(GENERATION, 3)?.verCount], [0, 6, 3]);
  await finished((done) => store.stop(done));
});

test('store: which regions hold data is known without the disk, before and after it is durable', async (t) => {
  const folder = temporaryFolder(t);
  const store = await opened(folder);
  const held = () => store.heldRegions(GENERATION, 3);
  const bytes = new Uint8Array(SECTOR_BYTES).fill(9);
  t.deepEqual(held(), { low: 0, high: 0 });
  const write = (offset: number) =>
    finished((done) => {
      const sums = sumsOf(GENERATION, 3, offset, bytes);
      store.write(placeOf(store, 3, offset, SECTOR_BYTES), bytes, sums, done);
    });
  const first = write(0);
  t.deepEqual(held(), { low: 1, high: 0 }, 'accepted');
  await first;
  await write(31 * REGION_BYTES);
  await write(63 * REGION_BYTES + SECTOR_BYTES);
  t.deepEqual(held(), { low: 0x80000001, high: 0x80000000 });
  await finished((done) => store.zero(placeOf(store, 3, 0, REGION_BYTES), done));
  t.deepEqual(held(), { low: 0x80000000, high: 0x80000000 });
  await finished((done) => store.stop(done));
  const again = await opened(folder);
  t.deepEqual(
    again.heldRegions(GENERATION, 3),
    { low: 0x80000001, high: 0x80000000 },
    'cold: owned',
  );
  await new Promise<void>((done) =>
    again.read(GENERATION, 3, 0, SECTOR_BYTES, new Uint8Array(SECTOR_BYTES), 0, () => done()),
  );
  t.deepEqual(again.heldRegions(GENERATION, 3), { low: 0x80000000, high: 0x80000000 });
  await finished((done) => again.stop(done));
});

test('store: a staged copy is invisible until its commit; a copy read gives what was put in', async (t) => {
  const store = await opened(temporaryFolder(t));
  await write(store, 4, 0, new Uint8Array(SECTOR_BYTES).fill(1));
  const version = { token: 9 as FencingToken, count: 40 };
  const image = { generation: GENERATION, index: 4, family: 1 as FamilyId, partition: 5, version };
  const masks = { ownLow: 3, ownHigh: 0, closed: 39, openLow: 2, openHigh: 0 };
  const staged = store.stage({ ...image, ...masks, kind: 'data' });
  const sector = new SeededRandom(2).bytes(SECTOR_BYTES);
  const sums = new Uint8Array(12);
  sums.set(sumsOf(GENERATION, 4, 21 * SECTOR_BYTES, sector), 4);
  staged.writeSectors(20 * SECTOR_BYTES, sums, sector);
  t.is(store.row(GENERATION, 4)?.verCount, 1);
  t.is(await finished((done) => staged.commit(done)), undefined);
  t.like(store.row(GENERATION, 4), { verToken: 9, verCount: 40, ...masks, kind: 'data' });
  const copy = await new Promise<[Uint8Array, Uint8Array]>((resolve) => {
    store.readForCopy(GENERATION, 4, 20 * SECTOR_BYTES, 3 * SECTOR_BYTES, (_error, s, d) =>
      resolve([s, d]),
    );
  });
  t.deepEqual(copy, [sums, sector]);
  const target = new Uint8Array(SECTOR_BYTES);
  t.is(store.readSync(GENERATION, 4, 0, SECTOR_BYTES, target, 0), 'ok');
  t.is(target[0], 0, 'nothing of the replaced object shows');
  await finished((done) => store.stop(done));
});

test('store: the index is rewritten when it is mostly history, and nothing is lost by it', async (t) => {
  const folder = temporaryFolder(t);
  const names = new Set<string>();
  for (let round = 1; round <= 16; round += 1) {
    const store = await opened(folder);
    t.is(store.objectCount, round === 1 ? 0 : 400);
    t.is(store.row(GENERATION, 399)?.verCount, round === 1 ? undefined : round - 1);
    const all = Array.from({ length: 400 }, (_, index) =>
      finished((done) => store.zero(placeOf(store, index, 0, SECTOR_BYTES), done)),
    );
    await Promise.all(all);
    await finished((done) => store.stop(done));
    for (const name of fs.readdirSync(folder)) if (name.startsWith('index.')) names.add(name);
  }
  t.true(names.size > 1, [...names].join());
  const left = fs.readdirSync(folder).filter((name) => name.startsWith('index.'));
  t.is(left.length, 1, 'the old index is removed');
});

test('journal: a directory keeps the size it was made with, and says so; sizes out of bounds are refused', async (t) => {
  const folder = temporaryFolder(t);
  const said: unknown[] = [];
  const open = (journalBytes: number) =>
    openObjectStore({
      disk: openFileDisk(folder),
      clock,
      random: new SeededRandom(seeds++),
      trace: { ...trace, event: (name, fields) => said.push([name, fields?.askedBytes]) },
      journalBytes,
      onFatal: (error) => {
        throw error;
      },
    });
  for (const [askedBytes, isSaid] of [
    [8 * MIB, false],
    [64 * MIB, true],
    [8 * MIB, false],
  ] as const) {
    said.length = 0;
    const store = await open(askedBytes);
    const expected = ['store.journal-size-kept', askedBytes];
    t.is(JSON.stringify(said).includes(JSON.stringify(expected)), isSaid, `${askedBytes}`);
    t.is(fs.statSync(path.join(folder, 'journal')).size, 8 * MIB);
    await finished((done) => store.stop(done));
  }
  for (const bytes of [8 * MIB - 1, 4096 * MIB + 1]) {
    const error = await t.throwsAsync(open(bytes));
    t.true(hasCode(error, 'usage'), String(error));
  }
});

test('journal: a batch decodes to what was encoded; a flipped byte costs one body at most, and says whose', (t) => {
  const u32 = fc.integer({ min: 0, max: 0xffffffff });
  const u48 = fc.integer({ min: 0, max: 2 ** 48 - 1 });
  const record = fc.record({
    kind: fc.constant(1),
    isZeroAfter: fc.boolean(),
    isFresh: fc.boolean(),
    ...{ generation: u32, index: u32, family: u32, partition: u32, prevToken: u32, verToken: u32 },
    ...{ prevCount: u48, verCount: u48, closed: u48, cfg: u32, openLow: u32, openHigh: u32 },
    ...{ ownLow: u32, ownHigh: u32, offset: u32 },
    count: fc.constant(SECTOR_BYTES),
    stagedId: fc.uint8Array({ minLength: 8, maxLength: 8 }),
    sums: fc.uint8Array({ minLength: 4, maxLength: 4 }),
    data: fc.uint8Array({ minLength: SECTOR_BYTES, maxLength: SECTOR_BYTES }),
  });
  const id = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  const property = fc.property(fc.array(record, { maxLength: 4 }), fc.nat(), (made, flip) => {
    const records = made as JournalRecord[];
    const buffer = new Uint8Array(32768);
    const place = { position: 512 * 7, sequence: 12, prevEnd: 512 * 3, syncedEnd: 512 * 2 };
    const length = encodeBatch(buffer, id, place, records);
    t.is(length % 512, 0);
    const header = decodeBatchHeader(buffer, 0, id);
    t.like(header, { ...place, records: records.length, bytes: length });
    t.deepEqual(decodeBatchHeader(buffer, length - BATCH_HEADER_BYTES, id), header);
    if (header === undefined) return;
    const whole = records.map((one) => ({ ...one, isDamaged: false }));
    t.deepEqual(decodeBatch(header, buffer.slice(0, length)), { records: whole, isWhole: true });

    // Any one byte: at most one body is lost, and it is known whose.
    const hurt = buffer.slice(0, length);
    const at = flip % length;
    hurt[at] = (hurt[at] as number) ^ 1;
    const first = decodeBatchHeader(hurt, 0, id);
    const twin = decodeBatchHeader(hurt, length - BATCH_HEADER_BYTES, id);
    t.true(at >= BATCH_HEADER_BYTES || first === undefined);
    t.deepEqual(first ?? twin, header);
    const found = decodeBatch(header, hurt).records ?? [];
    const damaged = found.filter((one) => one.isDamaged);
    t.true(damaged.length <= 1);
    t.deepEqual(
      found.map(({ verCount }) => verCount),
      records.map(({ verCount }) => verCount),
    );
  });
  fc.assert(property, { numRuns: 200, seed: 42 });
});

test('row: region masks name exactly the regions that a range touches', (t) => {
  const property = fc.property(
    fc.nat(1023),
    fc.integer({ min: 1, max: 1024 }),
    (first, sectors) => {
      const count = Math.min(sectors, 1024 - first);
      const low = regionMask(first * SECTOR_BYTES, count * SECTOR_BYTES, 0);
      const high = regionMask(first * SECTOR_BYTES, count * SECTOR_BYTES, 1);
      for (let region = 0; region < 64; region += 1) {
        const isTouched = region * 16 < first + count && (region + 1) * 16 > first;
        const bit = ((region < 32 ? low : high) >>> (region % 32)) & 1;
        if (bit !== (isTouched ? 1 : 0)) return false;
      }
      return true;
    },
  );
  fc.assert(property, { seed: 42 });
  const row = { verCount: 5, closed: 3, openLow: 9, openHigh: 1 } as RowFields;
  t.false(closeRow(row, 2));
  t.true(closeRow(row, 4));
  t.is(row.openLow, 9);
  t.true(closeRow(row, 7));
  t.deepEqual([row.closed, row.openLow, row.openHigh], [5, 0, 0]);
});
