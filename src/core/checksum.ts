// Checksums of sectors. One CRC-32 (IEEE, as zlib) per sector, XORed with a mix of (generation, index, sector) so that
// a sector written to the wrong place does not pass. The holder computes a sum once; it travels and is stored unchanged
// (PROTOCOL 4.10, I8). The sum 0 means "no data here": a sum that comes out as 0 is stored as 1.

import { createRequire } from 'node:module';
import * as zlib from 'node:zlib';
import { invariant } from './invariant.ts';
import { SECTOR_BYTES } from './units.ts';

export type Crc32Function = (bytes: Uint8Array) => number;

/** Bytes of one sum in a table of sums (u32, little-endian). */
export const SUM_BYTES = 4;
/** Stored sum of a sector that was never written or was zeroed. */
export const NO_SUM = 0;

/** The native one of `@node-rs/crc32`; undefined where there is no build for this machine. */
export function loadNativeCrc32(): Crc32Function | undefined {
  try {
    const loaded = createRequire(import.meta.url)('@node-rs/crc32') as { crc32: Crc32Function };
    return (bytes) => loaded.crc32(bytes);
  } catch {
    // Not an error: the same sums come from zlib, about half as fast.
    return undefined;
  }
}

/** The one of Node itself. Equal results. */
export const zlibCrc32: Crc32Function = (bytes) => zlib.crc32(bytes);

const crc32Of: Crc32Function = loadNativeCrc32() ?? zlibCrc32;

/** Up to here a loop is done before a call of native code has begun: headers, slots, pings. */
const SHORT_BYTES = 64;
/** IEEE 802.3, reflected. */
const POLYNOMIAL = 0xedb88320;

/** What each byte does to the sum. */
function byteTable(): Int32Array {
  return Int32Array.from({ length: 256 }, (_, byte) => {
    let sum = byte;
    for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? POLYNOMIAL ^ (sum >>> 1) : sum >>> 1;
    return sum;
  });
}

const TABLE = byteTable();

function shortCrc32(bytes: Uint8Array, start: number, end: number): number {
  let sum = -1;
  for (let at = start; at < end; at += 1) {
    sum = (TABLE[(sum ^ (bytes[at] as number)) & 0xff] as number) ^ (sum >>> 8);
  }
  return ~sum >>> 0;
}

/** CRC-32 (IEEE) of `bytes[start .. end)`, as u32. */
export function crc32(bytes: Uint8Array, start = 0, end = bytes.length): number {
  invariant(start >= 0 && start <= end && end <= bytes.length, 'the range lies inside the bytes');
  if (end - start <= SHORT_BYTES) return shortCrc32(bytes, start, end);
  return crc32Of(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end));
}

/** What a sector's place adds to its sum. Signed 32 bits. */
function placeMix(generation: number, index: number, sector: number): number {
  let h = Math.imul(generation, 0x9e3779b1) ^ Math.imul(index, 0x85ebca77);
  h = Math.imul(h ^ (h >>> 15) ^ sector, 0xc2b2ae3d);
  h = Math.imul(h ^ (h >>> 13) ^ index, 0x27d4eb2f);
  return h ^ (h >>> 16);
}

/**
 * The sum of the sector at `bytes[at .. at + SECTOR_BYTES)`, as stored. Never 0.
 * @param sector number of the sector in its object
 */
export function sectorSum(
  generation: number,
  index: number,
  sector: number,
  bytes: Uint8Array,
  at: number,
): number {
  const sum = crc32(bytes, at, at + SECTOR_BYTES) ^ placeMix(generation, index, sector);
  return sum === 0 ? 1 : sum >>> 0;
}

/**
 * The sum of a sector that moves from one generation to another at the same place, without reading it (S2); damage stays
 * damage. Undefined: it can not be told from the sum alone, and must be computed from the bytes.
 * @param sum as stored, not NO_SUM
 */
export function movedSum(
  sum: number,
  from: number,
  to: number,
  index: number,
  sector: number,
): number | undefined {
  // Stored instead of 0, or a sum of its own.
  if (sum === 1) return undefined;
  const moved = (sum ^ placeMix(from, index, sector) ^ placeMix(to, index, sector)) >>> 0;
  return moved === 0 ? 1 : moved;
}

/** True when the sector at `bytes[at..]` has this sum. A sum of 0 never passes: there is no data to check. */
export function verifySector(
  generation: number,
  index: number,
  sector: number,
  bytes: Uint8Array,
  at: number,
  sum: number,
): boolean {
  return sum !== NO_SUM && sectorSum(generation, index, sector, bytes, at) === sum;
}

/**
 * The table of sums of whole sectors: one u32 (LE) per sector of `data`.
 * @param offset place of `data` in the object, a multiple of SECTOR_BYTES, as is `data.length`
 */
export function sumsOf(
  generation: number,
  index: number,
  offset: number,
  data: Uint8Array,
): Uint8Array {
  invariant(offset % SECTOR_BYTES === 0, 'the offset is sector aligned');
  invariant(data.length % SECTOR_BYTES === 0, 'the data is whole sectors');
  const count = data.length / SECTOR_BYTES;
  const first = offset / SECTOR_BYTES;
  const sums = new Uint8Array(count * SUM_BYTES);
  for (let i = 0; i < count; i += 1) {
    setSum(sums, i, sectorSum(generation, index, first + i, data, i * SECTOR_BYTES));
  }
  return sums;
}

/** Sum number `i` of a table. */
export function getSum(sums: Uint8Array, i: number): number {
  const at = i * SUM_BYTES;
  invariant(at + SUM_BYTES <= sums.length, 'the table has this sum');
  const low = (sums[at] as number) | ((sums[at + 1] as number) << 8);
  return (low | ((sums[at + 2] as number) << 16) | ((sums[at + 3] as number) << 24)) >>> 0;
}

/** Sets sum number `i` of a table. */
export function setSum(sums: Uint8Array, i: number, sum: number): void {
  const at = i * SUM_BYTES;
  invariant(at + SUM_BYTES <= sums.length, 'the table has this sum');
  sums[at] = sum & 0xff;
  sums[at + 1] = (sum >>> 8) & 0xff;
  sums[at + 2] = (sum >>> 16) & 0xff;
  sums[at + 3] = sum >>> 24;
}

/**
 * Checks whole sectors against their table, as `sumsOf` made it.
 * @returns -1 when all pass, else the number (in the object) of the first sector that does not
 */
export function firstBadSector(
  generation: number,
  index: number,
  offset: number,
  data: Uint8Array,
  sums: Uint8Array,
): number {
  const count = data.length / SECTOR_BYTES;
  if (count * SUM_BYTES !== sums.length || !Number.isInteger(count)) return offset / SECTOR_BYTES;
  const first = offset / SECTOR_BYTES;
  for (let i = 0; i < count; i += 1) {
    const sum = getSum(sums, i);
    if (!verifySector(generation, index, first + i, data, i * SECTOR_BYTES, sum)) return first + i;
  }
  return -1;
}
