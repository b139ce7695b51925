// Comparing two copies of an object where they may differ (4.7): both sides hash each region in question of what they would
// send, verified against its sums, and only regions whose hashes differ are copied. SHA-256, cut to 128 bits: the stored
// CRC-32 of a sector may be equal by chance, and nothing later would find that.

import { createHash } from 'node:crypto';
import { type ObjectRange, type RegionMask, regionRuns } from '../core/extent.ts';
import type { ObjectId } from '../core/ids.ts';
import { REGION_BYTES, REGIONS_PER_OBJECT, SECTOR_BYTES } from '../core/units.ts';
import type { Parts } from './context.ts';

/** Of one region; all zeroes: damaged there or not asked for, equal to nothing. */
export const REGION_HASH_BYTES = 16;
/** Of one object. */
export const HASHES_BYTES = REGIONS_PER_OBJECT * REGION_HASH_BYTES;

const SUMS_PER_REGION_BYTES = (REGION_BYTES / SECTOR_BYTES) * 4;

/** Reads these regions, a piece per turn; the caller looks at the version before and after. */
export function hashRegions(
  { store, clock, streams }: Pick<Parts, 'store' | 'clock' | 'streams'>,
  { generation, index }: ObjectId,
  mask: RegionMask,
  done: (hashes: Uint8Array) => void,
): void {
  const hashes = new Uint8Array(HASHES_BYTES);
  const pieces = regionRuns(mask, Math.max(1, Math.floor(streams.pieceBytes / REGION_BYTES)));
  const next = (): void => {
    const piece = pieces.shift();
    if (piece === undefined) {
      done(hashes);
      return;
    }
    const { offset, count } = piece;
    store.readForCopy(generation, index, offset, count, (error, sums, data) => {
      if (error === undefined) hashPiece(hashes, offset, sums, data);
      // One bad sector hides one region, not the whole piece.
      else if (count > REGION_BYTES) pieces.unshift(...singles(offset, count));
      clock.soon(next);
    });
  };
  next();
}

function singles(offset: number, count: number): ObjectRange[] {
  return Array.from({ length: count / REGION_BYTES }, (_, i) => {
    return { offset: offset + i * REGION_BYTES, count: REGION_BYTES };
  });
}

function hashPiece(hashes: Uint8Array, offset: number, sums: Uint8Array, data: Uint8Array): void {
  let at = 0;
  for (let i = 0; i < sums.length / SUMS_PER_REGION_BYTES; i += 1) {
    const own = sums.subarray(i * SUMS_PER_REGION_BYTES, (i + 1) * SUMS_PER_REGION_BYTES);
    const bytes = sectorsWithData(own) * SECTOR_BYTES;
    const hash = createHash('sha256')
      .update(own)
      .update(data.subarray(at, at + bytes))
      .digest();
    const region = offset / REGION_BYTES + i;
    hashes.set(hash.subarray(0, REGION_HASH_BYTES), region * REGION_HASH_BYTES);
    at += bytes;
  }
}

function sectorsWithData(sums: Uint8Array): number {
  let count = 0;
  for (let i = 0; i < sums.length; i += 4) {
    if (
      (sums[i] as number) +
        (sums[i + 1] as number) +
        (sums[i + 2] as number) +
        (sums[i + 3] as number) >
      0
    )
      count += 1;
  }
  return count;
}

/** Regions that are not known to be equal. */
export function differingRegions(own: Uint8Array, other: Uint8Array): RegionMask {
  let low = 0;
  let high = 0;
  for (let region = 0; region < REGIONS_PER_OBJECT; region += 1) {
    if (isEqual(own, other, region * REGION_HASH_BYTES)) continue;
    if (region < 32) low = (low | (1 << region)) >>> 0;
    else high = (high | (1 << (region - 32))) >>> 0;
  }
  return { low, high };
}

function isEqual(own: Uint8Array, other: Uint8Array, at: number): boolean {
  let bits = 0;
  for (let i = at; i < at + REGION_HASH_BYTES; i += 1) {
    if (own[i] !== other[i]) return false;
    bits |= own[i] as number;
  }
  return bits !== 0;
}
