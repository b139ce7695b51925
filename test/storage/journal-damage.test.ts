// Rot in the journal costs what it hits (R4, I8). One flipped byte: nothing, or the sectors of one record, which are
// suspect and stay so over restarts until they are repaired. What nobody can name stops the start, with file, offset and
// cure. Nothing wrong is ever served, and a torn tail is no damage.

import test, { type ExecutionContext } from 'ava';
import { crc32, sumsOf } from '../../src/core/checksum.ts';
import { hasCode, type OperatingError } from '../../src/core/errors.ts';
import type { FencingToken } from '../../src/core/ids.ts';
import { SECTOR_BYTES } from '../../src/core/units.ts';
import { ATTEST_SILENCE_MS } from '../../src/storage/journal-attest.ts';
import { type BatchHeader, decodeBatchHeader } from '../../src/storage/journal-batch.ts';
import {
  BATCH_HEADER_BYTES,
  BLOCK_BYTES,
  JOURNAL_PATH,
  RING_OFFSET,
  sealBlock,
} from '../../src/storage/layout.ts';
import type { LocalObjectStore } from '../../src/storage/local-store.ts';
import { CrashWorld } from './crash-world.ts';
import { sectorOf } from './store-model.ts';
import { finished, GENERATION, opened, tagged, write } from './store-steps.ts';

const OBJECTS = 4;
const WRITES = 24;
const SECTORS = 3;

/** Write number n of object n % OBJECTS, at sector n * SECTORS: its sectors have the tag n + 1. */
async function writeNumber(world: CrashWorld, store: LocalObjectStore, n: number): Promise<void> {
  const place = { first: n * SECTORS, sectors: SECTORS, tag: n + 1 };
  await finished(world, (done) => write(store, n % OBJECTS, place, done));
}

/** A store with one batch per write, all attested, killed without a checkpoint. */
async function journalled(seed: number): Promise<CrashWorld> {
  const world = new CrashWorld(seed);
  const store = await opened(world);
  for (let n = 0; n < WRITES; n += 1) await writeNumber(world, store, n);
  let isLater = false;
  world.clock().setTimer(5 * ATTEST_SILENCE_MS, () => {
    isLater = true;
  });
  await world.runUntil(() => isLater);
  world.crash(100);
  world.restart();
  return world;
}

function bytesOf(world: CrashWorld, path: string): Uint8Array {
  const file = world.disk().open(path, { create: false });
  const bytes = new Uint8Array(file?.sizeSync() ?? 0);
  file?.readSync(bytes, 0, bytes.length, 0);
  return bytes;
}

interface Found extends BatchHeader {
  /** In the file. */
  readonly at: number;
}

function batchesOf(journal: Uint8Array): Found[] {
  const found: Found[] = [];
  for (let at = RING_OFFSET; at < journal.length; at += BLOCK_BYTES) {
    const header = decodeBatchHeader(journal, at, journal.slice(8, 16));
    if (header !== undefined) found.push({ ...header, at });
  }
  return found;
}

/** Numbers of the writes whose sectors are not all readable; throws at a wrong byte. */
async function suspectWrites(world: CrashWorld, store: LocalObjectStore, upTo = WRITES) {
  const suspect = new Set<number>();
  for (let n = 0; n < upTo; n += 1) {
    for (let i = 0; i < SECTORS; i += 1) {
      const bytes = new Uint8Array(SECTOR_BYTES);
      const offset = (n * SECTORS + i) * SECTOR_BYTES;
      let outcome = '';
      store.read(GENERATION, n % OBJECTS, offset, SECTOR_BYTES, bytes, 0, (o) => {
        outcome = o;
      });
      await world.runUntil(() => outcome !== '');
      if (outcome === 'suspect') suspect.add(n);
      else if (Buffer.compare(bytes, sectorOf(n + 1)) !== 0) throw new TypeError(`wrong: ${n}`);
    }
  }
  return [...suspect];
}

function versions(store: LocalObjectStore): (number | undefined)[] {
  return Array.from({ length: OBJECTS }, (_, i) => store.row(GENERATION, i)?.verCount);
}

const ALL = new Array(OBJECTS).fill(WRITES / OBJECTS);

test('journal: a flipped byte before the synced end costs the sectors of one record at most', async (t) => {
  const used = batchesOf(bytesOf(await journalled(1), JOURNAL_PATH)).at(-1)?.at ?? 0;
  t.true(used > RING_OFFSET + WRITES * SECTORS * SECTOR_BYTES);
  let suspects = 0;
  for (let i = 0; i < 40; i += 1) {
    const world = await journalled(1);
    const at = RING_OFFSET + world.random.fork(`flip ${i}`).below(used - RING_OFFSET);
    world.damage(JOURNAL_PATH, at, (byte) => byte ^ (1 << (i % 8)));
    const store = await opened(world);
    t.deepEqual(versions(store), ALL, `byte ${at}`);
    const first = await suspectWrites(world, store);
    t.true(first.length <= 1, `byte ${at}: ${first.join()}`);
    t.is(store.suspects.size, first.length, `byte ${at}`);
    suspects += first.length;
    if (first.length === 0) continue;
    t.true(world.warnings.some((text) => text.startsWith('store.journal-damaged')));

    // Over a stop in order, which uses the journal space again, it is as damaged as before, not what it was earlier.
    await finished(world, (done) => store.stop(done));
    world.restart();
    const again = await opened(world);
    t.deepEqual(await suspectWrites(world, again), first);
    t.deepEqual(versions(again), ALL);
  }
  t.true(suspects > 20, `${suspects} flips hit a body`);
});

test('journal: what a damaged record hit is healed by a repair at its own version', async (t) => {
  const world = await journalled(2);
  const batch = batchesOf(bytesOf(world, JOURNAL_PATH))[5] as Found;
  world.damage(JOURNAL_PATH, batch.at + 2000, (byte) => byte ^ 1);
  const store = await opened(world);
  t.deepEqual(await suspectWrites(world, store), [5]);
  t.deepEqual(
    store.suspects.list().map(({ index, isWhole }) => [index, isWhole]),
    [[1, false]],
  );
  const offset = 5 * SECTORS * SECTOR_BYTES;
  const data = tagged(6, SECTORS);
  const version = { token: 2 as FencingToken, count: WRITES / OBJECTS };
  const place = { generation: GENERATION, index: 1, version, offset, count: data.length };
  const sums = sumsOf(GENERATION, 1, offset, data);
  await finished(world, (done) => store.repair(place, data, sums, done));
  t.deepEqual(await suspectWrites(world, store), []);
  world.crash(0);
  world.restart();
  t.deepEqual(await suspectWrites(world, await opened(world)), []);
});

test('journal: headers stand twice; the loss of both stops the start with file, offset and cure', async (t) => {
  const places = (b: Found) => [b.at + 20, b.at + b.bytes - BATCH_HEADER_BYTES + 20];
  const tables = (b: Found) => [b.at + 70, b.at + b.bytes - BATCH_HEADER_BYTES - 30];
  for (const where of [places, tables]) {
    for (const harm of [[0], [1], [0, 1]]) {
      const world = await journalled(3);
      const batch = batchesOf(bytesOf(world, JOURNAL_PATH))[7] as Found;
      for (const i of harm) {
        world.damage(JOURNAL_PATH, where(batch)[i] as number, (byte) => byte ^ 1);
      }
      if (harm.length === 1) {
        const store = await opened(world);
        t.deepEqual([versions(store), await suspectWrites(world, store)], [ALL, []]);
        continue;
      }
      const error = await t.throwsAsync(opened(world));
      t.true(hasCode(error, 'corrupt'), String(error));
      t.true(error?.message.includes(`journal is damaged at byte ${batch.at}`), error?.message);
      t.regex(
        (error as OperatingError).remedy,
        /sheep --join TOKEN with an empty one.*one copy.*keep it/,
      );
    }
  }
});

test('journal: whole sectors that are gone are suspect, or stop the start; nothing wrong is served', async (t) => {
  const outcomes = new Set<string>();
  for (let i = 0; i < 16; i += 1) {
    const world = await journalled(4);
    const batches = batchesOf(bytesOf(world, JOURNAL_PATH)).slice(0, WRITES);
    const random = world.random.fork(`hole ${i}`);
    const batch = batches[random.below(batches.length)] as Found;
    const at = batch.at + BLOCK_BYTES * random.below(batch.bytes / BLOCK_BYTES);
    for (let k = 0; k < BLOCK_BYTES; k += 1) world.damage(JOURNAL_PATH, at + k, () => 0);
    const store = await opened(world);
    t.deepEqual(versions(store), ALL);
    const suspect = await suspectWrites(world, store);
    t.true(suspect.length <= 1);
    outcomes.add(suspect.length === 0 ? 'nothing' : 'suspect');
  }
  t.true(outcomes.has('suspect'));
});

test('journal: damage behind the last end named as synced is a torn tail, cut as a whole', async (t) => {
  const world = new CrashWorld(5);
  const store = await opened(world);
  for (let n = 0; n < WRITES; n += 1) await writeNumber(world, store, n);
  world.crash(100);
  world.restart();
  const batches = batchesOf(bytesOf(world, JOURNAL_PATH));
  const last = batches.at(-1) as Found;
  t.is(batches.length, WRITES, 'no attest record yet');
  world.damage(JOURNAL_PATH, last.at + 2000, (byte) => byte ^ 1);
  const next = await opened(world);
  t.is(next.suspects.size, 0);
  t.deepEqual(versions(next), [...ALL.slice(1), WRITES / OBJECTS - 1]);
  t.deepEqual(await suspectWrites(world, next, WRITES - 1), []);
});

// The head before would name space that is used again by the time: it must not be the one that is left.
test('journal: both heads say the same after a checkpoint; one may rot at any byte', async (t) => {
  for (let i = 0; i < 24; i += 1) {
    const world = await journalled(6);
    const store = await opened(world);
    await finished(world, (done) => store.checkpoint(done));
    world.crash(0);
    world.restart();
    const heads = bytesOf(world, JOURNAL_PATH);
    t.deepEqual(heads.slice(22, 508), heads.slice(4096 + 22, 4096 + 508));
    const random = world.random.fork(`head ${i}`);
    const at = (i % 2) * 4096 + random.below(BLOCK_BYTES);
    world.damage(JOURNAL_PATH, at, (byte) => byte ^ (1 << random.below(8)));
    const next = await opened(world);
    t.deepEqual([versions(next), await suspectWrites(world, next)], [ALL, []], `byte ${at}`);
  }
});

/** A stopped store, and one of its files given another version with sums that are right. */
async function newer(path: string, version: number, seal: (bytes: Uint8Array) => void, at = 0) {
  const world = await journalled(7);
  const store = await opened(world);
  await finished(world, (done) => store.stop(done));
  world.restart();
  const name = world.paths().find((one) => one.startsWith(path)) as string;
  const bytes = bytesOf(world, name).slice(at);
  new DataView(bytes.buffer).setUint32(4, version, true);
  seal(bytes);
  const changed = bytes.subarray(0, 8192);
  changed.forEach((byte, i) => {
    world.damage(name, at + i, () => byte);
  });
  return { world, name };
}

async function refused(t: ExecutionContext, world: CrashWorld, name: string): Promise<void> {
  const error = await t.throwsAsync(opened(world));
  t.true(hasCode(error, 'newer-format'), String(error));
  t.true(error?.message.includes(name), error?.message);
  t.regex((error as OperatingError).remedy, /newer version/);
}

test('journal, index: a newer format is refused by name, with the cure', async (t) => {
  const journal = await newer('journal', 4, (bytes) => {
    sealBlock(bytes.subarray(0, BLOCK_BYTES));
  });
  await refused(t, journal.world, journal.name);
  const index = await newer('index.', 2, (bytes) => {
    new DataView(bytes.buffer).setUint32(12, crc32(bytes, 0, 12), true);
  });
  await refused(t, index.world, index.name);
});

test('objects: a file of a newer format is suspect, and the log names file and cure', async (t) => {
  const seal = (bytes: Uint8Array): void => {
    const sum = (crc32(bytes, 0, 60) ^ crc32(bytes, 64, 64 + 4096)) >>> 0;
    new DataView(bytes.buffer).setUint32(60, sum, true);
  };
  const { world, name } = await newer('objects/', 2, seal, 8192);
  const store = await opened(world);
  t.true((await suspectWrites(world, store)).length > 0);
  const warning = world.warnings.find((text) => text.startsWith('store.object-lost')) ?? '';
  t.regex(warning, /format 2, this program knows 1: start a newer version/);
  t.true(warning.includes(name.slice(-8)), `${warning} ${name}`);
});

test('index: a row without its file is suspect from the start, and said so', async (t) => {
  const world = await journalled(8);
  const store = await opened(world);
  await finished(world, (done) => store.stop(done));
  world.restart();
  const name = world.paths().find((path) => path.startsWith('objects/')) as string;
  world.removeFile(name);
  const next = await opened(world);
  t.is(next.suspects.size, 1);
  t.true(next.suspects.list()[0]?.isWhole);
  t.is((await suspectWrites(world, next)).length, WRITES / OBJECTS);
  t.deepEqual(versions(next), ALL);
});
