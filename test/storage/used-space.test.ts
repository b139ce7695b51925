// What a store counts as used is what its files hold: sectors that were trimmed count no more, and their space is back
// with the file system, which is what nearfull and full are decided by (4.9). On the real disk, through restarts of both
// kinds. That the count is right after a power loss at any step is part of test/storage/store-model.ts.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { sumsOf } from '../../src/core/checksum.ts';
import type { FamilyId, FencingToken, GenerationId } from '../../src/core/ids.ts';
import {
  MIB,
  OBJECT_BYTES,
  REGION_BYTES,
  SECTOR_BYTES,
  SECTORS_PER_OBJECT,
} from '../../src/core/units.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import { createRealClock } from '../../src/io/real-clock.ts';
import { createRealRandom } from '../../src/io/real-random.ts';
import { DATA_OFFSET } from '../../src/storage/layout.ts';
import type { LocalObjectStore } from '../../src/storage/local-store.ts';
import { countRegions } from '../../src/storage/object-state.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import type { Row, StoreDone } from '../../src/storage/store-types.ts';
import { expectedObjects, unpackFolder } from '../fixtures/data-directory.ts';

const GENERATION = 1 as GenerationId;
const FAMILY = 1 as FamilyId;
const OBJECTS = 4;
/** Blocks that the file system itself needs for a file: maps of extents. */
const SLACK_BYTES = 64 * 1024;

function temporaryFolder(t: ExecutionContext): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-used-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

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

function placeOf(
  store: LocalObjectStore,
  index: number,
  first: number,
  sectors: number,
  generation = GENERATION,
) {
  const row = store.row(generation, index);
  return {
    generation,
    index,
    family: FAMILY,
    partition: 5,
    prev: { token: (row?.verToken ?? 0) as FencingToken, count: row?.verCount ?? 0 },
    next: { token: (row?.verToken ?? 1) as FencingToken, count: (row?.verCount ?? 0) + 1 },
    cfg: 1,
    closed: 0,
    offset: first * SECTOR_BYTES,
    count: sectors * SECTOR_BYTES,
  };
}

async function write(store: LocalObjectStore, index: number, first: number, sectors: number) {
  for (let at = first; at < first + sectors; at += 256) {
    const count = Math.min(256, first + sectors - at);
    const data = new Uint8Array(count * SECTOR_BYTES).fill(at + 1);
    const place = placeOf(store, index, at, count);
    const sums = sumsOf(GENERATION, index, place.offset, data);
    await finished((done) => store.write(place, data, sums, done));
  }
}

function zero(store: LocalObjectStore, index: number, first: number, sectors: number) {
  return finished((done) => store.zero(placeOf(store, index, first, sectors), done));
}

/** What the file system gave to the data of all objects. */
function heldOnDisk(folder: string): number {
  let bytes = 0;
  const names = fs.readdirSync(path.join(folder, 'objects'), { recursive: true, encoding: 'utf8' });
  for (const name of names) {
    const stat = fs.statSync(path.join(folder, 'objects', name));
    if (stat.isFile()) bytes += stat.blocks * 512 - DATA_OFFSET;
  }
  return bytes;
}

/** The same bytes in a folder of their own: what a process that is killed now leaves. */
function copyOf(t: ExecutionContext, folder: string): string {
  const copy = temporaryFolder(t);
  fs.cpSync(folder, copy, { recursive: true });
  return copy;
}

function regionBytes({ kind, ownLow, ownHigh }: Row): number {
  return kind === 'data' ? countRegions(ownLow, ownHigh) * REGION_BYTES : 0;
}

const MAY_PUNCH = process.platform === 'linux';

(MAY_PUNCH ? test : test.skip)(
  'what is trimmed is not counted any more, and the file system has it back',
  async (t) => {
    const folder = temporaryFolder(t);
    const store = await opened(folder);
    for (let i = 0; i < OBJECTS; i += 1) await write(store, i, 0, SECTORS_PER_OBJECT);
    for (let round = 0; round < 2; round += 1) {
      await write(store, 0, 0, 1);
      await finished((done) => store.checkpoint(done));
    }
    t.is(store.usedBytes, OBJECTS * OBJECT_BYTES);
    t.true(Math.abs(heldOnDisk(folder) - store.usedBytes) < OBJECTS * SLACK_BYTES);

    // All but eight sectors of each: no region is freed as a whole, and a count of regions would not move.
    for (let i = 0; i < OBJECTS; i += 1) {
      for (let region = 0; region < 64; region += 1) {
        const first = region * 16 + (region % 8 === 0 ? 1 : 0);
        await zero(store, i, first, (region + 1) * 16 - first);
      }
    }
    const left = OBJECTS * 8 * SECTOR_BYTES;
    t.is(store.usedBytes, left, 'counted as soon as the trim is done');
    await finished((done) => store.checkpoint(done));
    const held = heldOnDisk(folder);
    t.true(held < left + OBJECTS * SLACK_BYTES, `${held} bytes are still taken`);
    await finished((done) => store.stop(done));
  },
);

test('the count outlives a stop, a kill, copies, and objects that go', async (t) => {
  const folder = temporaryFolder(t);
  let store = await opened(folder);
  await write(store, 0, 0, 40);
  await write(store, 1, 100, 10);
  await finished((done) => store.checkpoint(done));
  await zero(store, 0, 8, 16);
  await write(store, 0, 30, 20);
  const used = (40 - 16 + 10 + 10) * SECTOR_BYTES;
  t.is(store.usedBytes, used);

  const killed = await opened(copyOf(t, folder));
  t.is(killed.usedBytes, used, 'replayed over what the index counted');
  await finished((done) => killed.stop(done));

  await finished((done) => store.stop(done));
  store = await opened(folder);
  t.is(store.usedBytes, used, 'from the index');

  const version = { token: 7 as FencingToken, count: 9 };
  const image = { generation: GENERATION, index: 2, family: FAMILY, partition: 5, version };
  const regions = { ownLow: 3, ownHigh: 0, closed: 0, openLow: 0, openHigh: 0 };
  const staged = store.stage({ ...image, kind: 'data', ...regions });
  const data = new Uint8Array(3 * SECTOR_BYTES).fill(9);
  staged.writeSectors(0, sumsOf(GENERATION, 2, 0, data), data);
  await finished((done) => staged.commit(done));
  t.is(store.usedBytes, used + 3 * SECTOR_BYTES, 'a copy counts what it got');
  const killedAgain = await opened(copyOf(t, folder));
  t.is(killedAgain.usedBytes, used + 3 * SECTOR_BYTES);
  await finished((done) => killedAgain.stop(done));

  await finished((done) => store.drop({ generation: GENERATION, index: 1 }, done));
  t.is(store.usedBytes, used - 7 * SECTOR_BYTES);
  await zero(store, 0, 0, SECTORS_PER_OBJECT);
  t.is(store.usedBytes, 3 * SECTOR_BYTES);
  await finished((done) => store.stop(done));
});

test('an index of before the count: whole regions are counted, until an object is written', async (t) => {
  const folder = temporaryFolder(t);
  unpackFolder(new URL('../fixtures/data-directory-2', import.meta.url).pathname, folder);
  const store = await opened(folder);
  const rows = store.partitionsHeld().flatMap((partition) => store.rowsOf(partition));
  const held = expectedObjects().map((tags) => (tags?.size ?? 0) * SECTOR_BYTES);
  const regions = rows.map((row) => regionBytes(row));
  const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
  const before = store.usedBytes;
  t.true(before > sum(held), 'some are not counted');
  t.true(before <= sum(regions));
  for (const row of rows) {
    if (row.kind !== 'data') continue;
    const tags = expectedObjects()[row.index] ?? new Map<number, number>();
    const [first = 0] = tags.keys();
    if (tags.size === 0) held.push(SECTOR_BYTES);
    const { family, partition } = row;
    const place = { ...placeOf(store, row.index, first, 1, row.generation), family, partition };
    const data = new Uint8Array(SECTOR_BYTES).fill(1);
    const sums = sumsOf(row.generation, row.index, place.offset, data);
    await finished((done) => store.write(place, data, sums, done));
  }
  t.is(store.usedBytes, sum(held));
  await finished((done) => store.stop(done));
});
