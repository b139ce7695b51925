import test from 'ava';
import {
  crc32,
  firstBadSector,
  getSum,
  loadNativeCrc32,
  sectorSum,
  setSum,
  sumsOf,
  verifySector,
  zlibCrc32,
} from '../../src/core/checksum.ts';
import { SECTOR_BYTES } from '../../src/core/units.ts';

function pattern(count: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => (i * 31 + seed * 7 + (i >> 8)) & 255);
}

test('checksum: it is the CRC-32 of zlib, from a known answer', (t) => {
  t.is(crc32(new TextEncoder().encode('123456789')), 0xcbf43926);
  t.is(crc32(new TextEncoder().encode('..123456789.'), 2, 11), 0xcbf43926);
});

test('checksum: both implementations give the same sums', (t) => {
  const native = loadNativeCrc32();
  if (native === undefined) return void t.pass('no native build for this machine');
  for (const count of [0, 1, 7, 4096, 65537]) {
    t.is(native(pattern(count, count)), zlibCrc32(pattern(count, count)));
  }
});

test('checksum: short ranges have the same sums as long ones, wherever they lie', (t) => {
  const bytes = pattern(200, 5);
  for (let length = 0; length <= 130; length += 1) {
    const start = length % 7;
    const expected = zlibCrc32(bytes.subarray(start, start + length));
    t.is(crc32(bytes, start, start + length), expected, `${length} bytes from ${start} on`);
  }
});

test('checksum: a sum is never 0', (t) => {
  const data = pattern(SECTOR_BYTES, 1);
  for (let index = 0; index < 2000; index += 1) t.not(sectorSum(1, index, 0, data, 0), 0);
  t.false(verifySector(1, 1, 0, data, 0, 0));
});

// Method: the right bytes in the wrong place, for each part of the place; and one flipped bit in the right place.
test('checksum: a misdirected or damaged sector does not pass', (t) => {
  const data = pattern(SECTOR_BYTES * 2, 3);
  const sum = sectorSum(7, 9, 5, data, SECTOR_BYTES);
  t.true(verifySector(7, 9, 5, data, SECTOR_BYTES, sum));
  t.false(verifySector(8, 9, 5, data, SECTOR_BYTES, sum));
  t.false(verifySector(7, 10, 5, data, SECTOR_BYTES, sum));
  t.false(verifySector(7, 9, 6, data, SECTOR_BYTES, sum));
  t.false(verifySector(9, 7, 5, data, SECTOR_BYTES, sum));
  data[SECTOR_BYTES + 100] = (data[SECTOR_BYTES + 100] as number) ^ 1;
  t.false(verifySector(7, 9, 5, data, SECTOR_BYTES, sum));
});

test('checksum: places near each other have different mixes', (t) => {
  const data = pattern(SECTOR_BYTES, 1);
  const seen = new Set<number>();
  for (let generation = 1; generation <= 8; generation += 1) {
    for (let index = 0; index < 64; index += 1) {
      for (let sector = 0; sector < 16; sector += 1) {
        seen.add(sectorSum(generation, index, sector, data, 0));
      }
    }
  }
  // 8192 random u32 collide less than 0.01 times on average.
  t.true(seen.size >= 8 * 64 * 16 - 1, `${seen.size} different`);
});

test('checksum: a table of sums names the first bad sector', (t) => {
  const data = pattern(SECTOR_BYTES * 4, 5);
  const sums = sumsOf(1, 2, 8 * SECTOR_BYTES, data);
  t.is(sums.length, 16);
  t.is(getSum(sums, 1), sectorSum(1, 2, 9, data, SECTOR_BYTES));
  t.is(firstBadSector(1, 2, 8 * SECTOR_BYTES, data, sums), -1);
  setSum(sums, 2, 0xfffffffe);
  t.is(getSum(sums, 2), 0xfffffffe);
  t.is(firstBadSector(1, 2, 8 * SECTOR_BYTES, data, sums), 10);
  t.is(firstBadSector(1, 2, 8 * SECTOR_BYTES, data, sums.subarray(4)), 8);
});
