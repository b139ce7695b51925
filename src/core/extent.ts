// Ranges: what of a volume lies in which object, widened to sectors for writes, narrowed for trims, and as a mask of
// regions. A guest request above 1 MiB or across objects is several writes (R2). Pure arithmetic on bytes.

import { invariant } from './invariant.ts';
import {
  alignDown,
  alignUp,
  MAX_PAYLOAD_BYTES,
  OBJECT_BYTES,
  REGION_BYTES,
  REGIONS_PER_OBJECT,
  SECTOR_BYTES,
} from './units.ts';

/** A piece of a guest request inside one object. */
export interface Slice {
  /** Object's index in the volume. */
  readonly index: number;
  /** Bytes from the start of the object. */
  readonly offset: number;
  readonly length: number;
  /** Where the piece starts in the request's buffer. */
  readonly at: number;
}

/** Bytes of one object; `count` may be 0. */
export interface ObjectRange {
  readonly offset: number;
  readonly count: number;
}

/** Regions 0-31 and 32-63 of an object, as u32 masks. */
export interface RegionMask {
  readonly low: number;
  readonly high: number;
}

/**
 * Splits `[offset, offset + length)` of a volume at multiples of MAX_PAYLOAD_BYTES (hence at objects, too), so that a
 * piece widened to whole sectors still fits one frame. In order, without gaps; empty for length 0.
 */
export function slicesOf(offset: number, length: number): Slice[] {
  return split(offset, length, MAX_PAYLOAD_BYTES);
}

/** The same, split at objects only: for zeroes and trims, which carry no payload. */
export function objectSlicesOf(offset: number, length: number): Slice[] {
  return split(offset, length, OBJECT_BYTES);
}

function split(offset: number, length: number, pieceBytes: number): Slice[] {
  invariant(offset >= 0 && length >= 0, 'a range has no negative part');
  invariant(Number.isSafeInteger(offset + length), 'a range ends at an exact integer');
  const slices: Slice[] = [];
  const end = offset + length;
  let position = offset;
  while (position < end) {
    const inObject = position % OBJECT_BYTES;
    const room = pieceBytes - (position % pieceBytes);
    const size = Math.min(room, end - position);
    const index = (position - inObject) / OBJECT_BYTES;
    slices.push({ index, offset: inObject, length: size, at: position - offset });
    position += size;
  }
  return slices;
}

/** The whole sectors that cover a range of an object (a write is widened to them). */
export function widenToSectors(offset: number, length: number): ObjectRange {
  const start = alignDown(offset, SECTOR_BYTES);
  return { offset: start, count: alignUp(offset + length, SECTOR_BYTES) - start };
}

/** The whole sectors inside a range (a trim is narrowed to them); `count` 0 when there is none. */
export function narrowToSectors(offset: number, length: number): ObjectRange {
  const start = alignUp(offset, SECTOR_BYTES);
  const end = alignDown(offset + length, SECTOR_BYTES);
  return { offset: start, count: Math.max(0, end - start) };
}

/** The regions that a range of an object touches; none for an empty one. */
export function regionsOf(offset: number, count: number): RegionMask {
  invariant(offset >= 0 && offset + count <= OBJECT_BYTES, 'the range lies inside the object');
  return { low: regionMask(offset, count, 0), high: regionMask(offset, count, 1) };
}

/** Regions 0-31 (`half` 0) or 32-63 (`half` 1) that a byte range touches, as a u32. */
export function regionMask(offset: number, count: number, half: 0 | 1): number {
  if (count === 0) return 0;
  const first = Math.max(Math.floor(offset / REGION_BYTES) - half * 32, 0);
  const last = Math.min(Math.floor((offset + count - 1) / REGION_BYTES) - half * 32, 31);
  if (first > 31 || last < 0) return 0;
  const width = last - first + 1;
  const ones = width === 32 ? 0xffffffff : 2 ** width - 1;
  return (ones << first) >>> 0;
}

/** Runs of neighbouring regions of a mask as ranges of the object, in order, none longer than `most` regions. */
export function regionRuns({ low, high }: RegionMask, most: number): ObjectRange[] {
  const runs: ObjectRange[] = [];
  const has = (region: number): boolean =>
    ((region < 32 ? low >>> region : high >>> (region - 32)) & 1) === 1;
  for (let first = 0; first < REGIONS_PER_OBJECT; ) {
    let end = first;
    while (end < REGIONS_PER_OBJECT && end - first < most && has(end)) end += 1;
    if (end > first) {
      runs.push({ offset: first * REGION_BYTES, count: (end - first) * REGION_BYTES });
    }
    first = Math.max(end, first + 1);
  }
  return runs;
}

/** True when two ranges share a byte. */
export function overlaps(a: ObjectRange, b: ObjectRange): boolean {
  return a.offset < b.offset + b.count && b.offset < a.offset + a.count;
}
