import test from 'ava';
import fc from 'fast-check';
import {
  narrowToSectors,
  objectSlicesOf,
  overlaps,
  regionRuns,
  regionsOf,
  slicesOf,
  widenToSectors,
} from '../../src/core/extent.ts';
import {
  MAX_PAYLOAD_BYTES,
  MIB,
  OBJECT_BYTES,
  REGION_BYTES,
  SECTOR_BYTES,
} from '../../src/core/units.ts';

const range = fc.record({
  offset: fc.integer({ min: 0, max: 2 ** 42 - 1 }),
  length: fc.integer({ min: 0, max: 33 * MIB }),
});

test('extent: slices cover the range once, in order, each inside one frame when widened', (t) => {
  fc.assert(
    fc.property(range, ({ offset, length }) => {
      let position = offset;
      for (const slice of slicesOf(offset, length)) {
        if (slice.index * OBJECT_BYTES + slice.offset !== position) return false;
        if (slice.at !== position - offset || slice.length < 1) return false;
        if (slice.offset + slice.length > OBJECT_BYTES) return false;
        if (widenToSectors(slice.offset, slice.length).count > MAX_PAYLOAD_BYTES) return false;
        position += slice.length;
      }
      return position === offset + length;
    }),
  );
  t.deepEqual(slicesOf(4096, 0), []);
});

test('extent: a range inside one MiB is one slice; zeroes are cut at objects only', (t) => {
  t.deepEqual(slicesOf(OBJECT_BYTES * 3 + 512, 1024), [
    { index: 3, offset: 512, length: 1024, at: 0 },
  ]);
  t.is(objectSlicesOf(MIB, OBJECT_BYTES * 2).length, 3);
  t.is(slicesOf(512, MIB).length, 2);
});

test('extent: widened contains, narrowed is contained', (t) => {
  const inside = fc.record({
    offset: fc.integer({ min: 0, max: OBJECT_BYTES - MIB }),
    length: fc.integer({ min: 1, max: MIB }),
  });
  fc.assert(
    fc.property(inside, ({ offset, length }) => {
      const wide = widenToSectors(offset, length);
      const narrow = narrowToSectors(offset, length);
      const aligned = [wide.offset, wide.count, narrow.offset, narrow.count];
      if (aligned.some((value) => value % SECTOR_BYTES !== 0)) return false;
      if (wide.offset > offset || wide.offset + wide.count < offset + length) return false;
      if (wide.count - length >= 2 * SECTOR_BYTES) return false;
      if (narrow.count === 0) return length < 2 * SECTOR_BYTES;
      return narrow.offset >= offset && narrow.offset + narrow.count <= offset + length;
    }),
  );
  t.pass();
});

test('extent: the region mask has exactly the regions touched', (t) => {
  const inside = fc
    .tuple(fc.integer({ min: 0, max: OBJECT_BYTES }), fc.integer({ min: 0, max: OBJECT_BYTES }))
    .map(([a, b]) => ({ offset: Math.min(a, b), count: Math.abs(a - b) }));
  fc.assert(
    fc.property(inside, (piece) => {
      const mask = regionsOf(piece.offset, piece.count);
      for (let region = 0; region < 64; region += 1) {
        const word = region < 32 ? mask.low : mask.high;
        const set = ((word >>> (region & 31)) & 1) === 1;
        const touched =
          piece.count > 0 &&
          overlaps(piece, { offset: region * REGION_BYTES, count: REGION_BYTES });
        if (set !== touched) return false;
      }
      return mask.low >= 0 && mask.high >= 0;
    }),
  );
  t.deepEqual(regionsOf(0, OBJECT_BYTES), { low: 0xffffffff, high: 0xffffffff });
});

test('extent: runs of a mask are its regions, each once, in order, none longer than asked', (t) => {
  const u32 = fc.nat(2 ** 32 - 1);
  const most = fc.integer({ min: 1, max: 16 });
  fc.assert(
    fc.property(fc.record({ low: u32, high: u32 }), most, (mask, longest) => {
      let low = 0;
      let high = 0;
      let end = 0;
      for (const { offset, count } of regionRuns(mask, longest)) {
        if (offset < end || count < REGION_BYTES || count > longest * REGION_BYTES) return false;
        end = offset + count;
        const run = regionsOf(offset, count);
        low = (low | run.low) >>> 0;
        high = (high | run.high) >>> 0;
      }
      return low === mask.low && high === mask.high;
    }),
  );
  t.deepEqual(regionRuns({ low: 0b110110, high: 0 }, 16), [
    { offset: REGION_BYTES, count: 2 * REGION_BYTES },
    { offset: 4 * REGION_BYTES, count: 2 * REGION_BYTES },
  ]);
  t.is(regionRuns({ low: 0xffffffff, high: 0xffffffff }, 16).length, 4);
});
