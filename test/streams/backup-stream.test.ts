// Backup streams: what goes in comes out, full and differential; garbage, cuts and flips are refused with their place, and a
// cut stream goes on to be the same as one that was never cut.

import test from 'ava';
import fc from 'fast-check';
import { OperatingError } from '../../src/core/errors.ts';
import { KIB, MIB, REGION_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import { type BackupSource, writeBackup } from '../../src/streams/backup.ts';
import { HEADER_BYTES } from '../../src/streams/backup-format.ts';
import type { BackupHead } from '../../src/streams/backup-head.ts';
import { RecordWriter, recordBytes, recordsOf } from '../../src/streams/backup-records.ts';
import { lookThrough, openStream, restoreInto } from '../../src/streams/restore.ts';
import { FarMemory } from './far-memory.ts';

const PIECE = 64 * KIB;
const SIZE = 512 * KIB + 512;
const STREAM = 77;

function headOf(sizeBytes: number, isDifference = false): BackupHead {
  return {
    ...{ cluster: 'c0ffee', volume: 'db', family: 3, sizeBytes },
    target: { tag: 'new', generation: 9 },
    base: isDifference ? { tag: 'old', generation: 5 } : null,
    madeAt: '2026-01-01T00:00:00Z',
  };
}

async function* cutAnyhow(bytes: Uint8Array, step: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}

async function streamOf(source: BackupSource, writer = new RecordWriter(STREAM)) {
  const parts: Uint8Array[] = [];
  const head = headOf(source.target.sizeBytes, source.base !== undefined);
  await writeBackup(source, head, writer, async (bytes) => void parts.push(bytes.slice()));
  return Buffer.concat(parts);
}

async function restored(bytes: Uint8Array, onto = new FarMemory(SIZE), isFresh = true) {
  const stream = await openStream(cutAnyhow(bytes, 10_007));
  await restoreInto(onto, stream, { isFresh });
  return onto;
}

const isEqual = (one: Uint8Array, other: Uint8Array): boolean => Buffer.from(one).equals(other);

/** Bytes that zstd makes smaller, and some that it does not. */
function filled(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed + 1;
  for (let at = 0; at < length; at += 1) {
    if (seed % 2 === 0) bytes[at] = (at % 23) + seed;
    else {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      bytes[at] = state >>> 16;
    }
  }
  return bytes;
}

interface Write {
  readonly sector: number;
  readonly sectors: number;
  readonly seed: number;
}

const WRITES = fc.array(
  fc.record({
    sector: fc.nat(Math.floor(SIZE / SECTOR_BYTES) - 1),
    sectors: fc.integer({ min: 1, max: 24 }),
    // 0: zeroes
    seed: fc.nat(6),
  }),
  { maxLength: 6 },
);

function written(volume: FarMemory, writes: readonly Write[], layer: number): void {
  for (const { sector, sectors, seed } of writes) {
    const offset = sector * SECTOR_BYTES;
    const length = Math.min(sectors * SECTOR_BYTES, volume.sizeBytes - offset);
    volume.put(offset, seed === 0 ? new Uint8Array(length) : filled(length, seed), layer);
  }
}

test('what is backed up comes back, from nothing and onto its base, whatever was written and zeroed', async (t) => {
  await fc.assert(
    fc.asyncProperty(WRITES, WRITES, async (first, second) => {
      const old = new FarMemory(SIZE, PIECE);
      written(old, first, 5);
      const full = await streamOf({ target: old });
      const copy = await restored(full);
      t.true(isEqual(copy.bytes, old.bytes));
      const now = old.below();
      written(now, second, 9);
      const difference = await streamOf({ target: now, base: old });
      await restored(difference, copy, false);
      t.true(isEqual(copy.bytes, now.bytes));
    }),
    { numRuns: 25 },
  );
});

test('a volume that grew, and one that shrank, have differences as well', async (t) => {
  const old = new FarMemory(SIZE, PIECE);
  written(old, [{ sector: 3, sectors: 100, seed: 3 }], 5);
  const grown = new FarMemory(2 * SIZE, PIECE, [...old.layers, ...new Array(8).fill(0)]);
  grown.bytes.set(old.bytes);
  grown.put(SIZE - 512, filled(8192, 3), 9);
  const copy = new FarMemory(2 * SIZE);
  copy.bytes.set(old.bytes);
  await restored(await streamOf({ target: grown, base: old }), copy, false);
  t.true(isEqual(copy.bytes, grown.bytes));
  const half = 256 * KIB;
  const cut = new FarMemory(half, PIECE, old.layers.slice(0, 4));
  cut.bytes.set(old.bytes.subarray(0, half));
  cut.put(0, filled(5000, 1), 9);
  const shorter = new FarMemory(half);
  shorter.bytes.set(old.bytes.subarray(0, half));
  await restored(await streamOf({ target: cut, base: old }), shorter, false);
  t.true(isEqual(shorter.bytes, cut.bytes));
});

test('holes are not read, zeroes take no space, a change of 1 % is about 1 %, in sectors', async (t) => {
  const big = 16 * MIB;
  const old = new FarMemory(big);
  t.true((await streamOf({ target: old })).length < 1000);
  t.is(old.readBytes, 0);
  for (let at = 0; at < big; at += 2 * MIB) old.put(at, filled(MIB, 1 + 2 * (at / MIB)), 5);
  const full = await streamOf({ target: old });
  t.is(old.readBytes, big / 2);
  const now = old.below();
  // One sector of each hundred of those with data.
  const changed = Math.floor(big / 2 / SECTOR_BYTES / 100);
  for (let at = 0; at < changed; at += 1) {
    const sector = Math.floor((at * 100) / 256) * 512 + ((at * 100) % 256);
    now.put(sector * SECTOR_BYTES, filled(SECTOR_BYTES, 3 + 2 * at), 9);
  }
  const difference = await streamOf({ target: now, base: old });
  const share = difference.length / full.length;
  t.true(share > 0.009 && share < 0.013, `${(share * 100).toFixed(2)} %`);
  const copy = await restored(full, new FarMemory(big));
  await restored(difference, copy, false);
  t.true(isEqual(copy.bytes, now.bytes));
});

/** A stream of some records of all kinds. */
async function sample(): Promise<Buffer> {
  const old = new FarMemory(SIZE, PIECE);
  written(
    old,
    [
      { sector: 0, sectors: 30, seed: 3 },
      { sector: 60, sectors: 30, seed: 2 },
    ],
    5,
  );
  const now = old.below();
  written(
    now,
    [
      { sector: 10, sectors: 3, seed: 0 },
      { sector: 40, sectors: 20, seed: 5 },
    ],
    9,
  );
  now.layers[4] = 0;
  now.bytes.fill(0, 4 * REGION_BYTES, 5 * REGION_BYTES);
  return streamOf({ target: now, base: old });
}

test('every flipped byte is refused, at the record that it is in', async (t) => {
  const bytes = await sample();
  const ends: number[] = [];
  for await (const record of recordsOf(cutAnyhow(bytes, 999))) {
    ends.push(record.position + recordBytes(record));
  }
  t.true(ends.length >= 5);
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (at, by) => {
      const bad = Buffer.from(bytes);
      bad[at] = (bad[at] as number) ^ by;
      const error = await t.throwsAsync(restored(bad, new FarMemory(SIZE), false));
      const record = ends.findIndex((end) => end > at);
      const start = record === 0 ? 0 : (ends[record - 1] ?? 0);
      const place = /(?:at byte|between bytes) (\d+)/.exec(error?.message ?? '')?.[1];
      t.is(Number(place), start, error?.message);
      t.true(error instanceof OperatingError && error.code === 'corrupt');
    }),
    { numRuns: 60 },
  );
});

test('every cut is refused as a cut, with the place; what stands behind it is looked for', async (t) => {
  const bytes = await sample();
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length - 1), async (at) => {
      const error = await t.throwsAsync(
        restored(bytes.subarray(0, at), new FarMemory(SIZE), false),
      );
      t.regex(error?.message ?? '', /the stream is cut: it ends at byte/);
      t.true((error?.message ?? '').endsWith(` ${at}`), error?.message);
    }),
    { numRuns: 40 },
  );
  await t.throwsAsync(restored(Buffer.concat([bytes, bytes]), new FarMemory(SIZE), false), {
    message: /damaged at byte \d+: something stands behind the end/,
  });
});

test('a record that is missing, twice, or of another stream is refused', async (t) => {
  const bytes = await sample();
  const places: number[] = [];
  for await (const { position } of recordsOf(cutAnyhow(bytes, 999))) places.push(position);
  const part = (from: number, to: number) => bytes.subarray(places[from], places[to]);
  const missing = Buffer.concat([part(0, 1), bytes.subarray(places[2])]);
  await t.throwsAsync(restored(missing), { message: /record 2 stands where 1 should/ });
  const twice = Buffer.concat([part(0, 2), bytes.subarray(places[1])]);
  await t.throwsAsync(restored(twice), { message: /record 1 stands where 2 should/ });
  const far = new FarMemory(SIZE, PIECE);
  written(far, [{ sector: 0, sectors: 40, seed: 3 }], 5);
  const other = await streamOf({ target: far }, new RecordWriter(STREAM + 1));
  let second = 0;
  for await (const { header, position } of recordsOf(cutAnyhow(other, 999))) {
    if (header.number === 1) second = position;
  }
  const mixed = Buffer.concat([part(0, 1), other.subarray(second)]);
  await t.throwsAsync(restored(mixed), { message: /of another stream/ });
});

test('garbage is no backup, and a newer format says so', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: HEADER_BYTES, maxLength: 500 }), async (bytes) => {
      await t.throwsAsync(openStream(cutAnyhow(bytes, 77)), {
        message: /damaged at byte 0: this is no backup/,
      });
    }),
  );
  await t.throwsAsync(openStream(cutAnyhow(new Uint8Array(0), 1)), { message: /ends at byte 0/ });
});

test('a stream that was cut anywhere goes on behind its last whole record, to the very same bytes', async (t) => {
  const far = new FarMemory(SIZE, PIECE);
  written(
    far,
    [
      { sector: 0, sectors: 50, seed: 3 },
      { sector: 100, sectors: 20, seed: 2 },
    ],
    5,
  );
  const whole = await streamOf({ target: far });
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length - 1), async (at) => {
      const found = await lookThrough(cutAnyhow(whole.subarray(0, at), 5001));
      t.false(found.isComplete);
      t.true(found.wholeBytes <= at);
      const before = far.readBytes;
      const rest = await streamOf({ target: far }, new RecordWriter(found.state ?? STREAM));
      const joined = Buffer.concat([whole.subarray(0, found.wholeBytes), rest]);
      t.true(isEqual(joined, whole));
      t.true(far.readBytes - before <= SIZE - (found.state?.offset ?? 0));
    }),
    { numRuns: 20 },
  );
  t.true((await lookThrough(cutAnyhow(whole, 5001))).isComplete);
});

test('what the volume says ends a restore and a backup', async (t) => {
  const far = new FarMemory(SIZE, PIECE);
  written(far, [{ sector: 0, sectors: 100, seed: 3 }], 5);
  const whole = await streamOf({ target: far });
  const error = new OperatingError('no-space', 'the disks are full');
  const full = new FarMemory(SIZE);
  full.failure = { at: 200 * KIB, error };
  await t.throwsAsync(restored(whole, full), { is: error });
  far.failure = { at: 200 * KIB, error };
  await t.throwsAsync(streamOf({ target: far }), { is: error });
});
