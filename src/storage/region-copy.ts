// Copies of regions from the objects of other generations (S2): how the journal names them, and how they are done. Sums
// are mixed anew without reading data for it, so damage is copied as damage: it fails its sum here as there, and is
// healed from other copies. Doing one again does no harm: what is copied from is frozen.

import {
  getSum,
  movedSum,
  NO_SUM,
  SUM_BYTES,
  sectorSum,
  setSum,
  verifySector,
} from '../core/checksum.ts';
import { type RegionMask, regionRuns } from '../core/extent.ts';
import { REGION_BYTES, SECTOR_BYTES } from '../core/units.ts';
import type { JournalRecord } from './journal-codec.ts';
import { COPY_SOURCE_BYTES, DATA_OFFSET, viewOfBytes } from './layout.ts';
import type { ObjectCache } from './object-cache.ts';
import { badSum } from './object-file.ts';
import { countRegions, type ObjectState } from './object-state.ts';

const SECTORS_PER_REGION = REGION_BYTES / SECTOR_BYTES;
const MASK_BYTES = 8;

/** One generation that regions are copied from, as the journal has it. */
export interface SourceEntry extends RegionMask {
  readonly generation: number;
  /** Bytes of the object that show. */
  readonly limit: number;
}

/** A region on its way: sums of all its sectors, the data of those that have one, and how much was bad. */
export interface CopiedRegion {
  readonly offset: number;
  readonly sums: Uint8Array;
  /** All of the region; what has no sum means nothing. */
  readonly bytes: Uint8Array;
  readonly isDamaged: boolean;
}

/** The body of a copy record. */
export function encodeSources(sources: readonly SourceEntry[]): Uint8Array {
  const bytes = new Uint8Array(sources.length * COPY_SOURCE_BYTES);
  const view = viewOfBytes(bytes);
  for (const [i, { generation, low, high, limit }] of sources.entries()) {
    const at = i * COPY_SOURCE_BYTES;
    view.setUint32(at, generation, true);
    view.setUint32(at + 4, low, true);
    view.setUint32(at + 8, high, true);
    view.setUint32(at + 12, limit, true);
  }
  return bytes;
}

/** Inverse of `encodeSources`. */
export function decodeSources(bytes: Uint8Array): SourceEntry[] {
  const view = viewOfBytes(bytes);
  return Array.from({ length: bytes.length / COPY_SOURCE_BYTES }, (_, i) => {
    const at = i * COPY_SOURCE_BYTES;
    return {
      generation: view.getUint32(at, true),
      low: view.getUint32(at + 4, true),
      high: view.getUint32(at + 8, true),
      limit: view.getUint32(at + 12, true),
    };
  });
}

/** The mask of a copy's regions as it stands in the header of its record. */
export function encodeMask({ low, high }: RegionMask): Uint8Array {
  const bytes = new Uint8Array(MASK_BYTES);
  viewOfBytes(bytes).setUint32(0, low, true);
  viewOfBytes(bytes).setUint32(4, high, true);
  return bytes;
}

/** Inverse of `encodeMask`. */
export function decodeMask(bytes: Uint8Array): RegionMask {
  const view = viewOfBytes(bytes);
  return { low: view.getUint32(0, true), high: view.getUint32(4, true) };
}

/** Bytes that a copy takes at most. */
export function copiedBytes({ stagedId }: Pick<JournalRecord, 'stagedId'>): number {
  const { low, high } = decodeMask(stagedId);
  return countRegions(low, high) * REGION_BYTES;
}

/** First byte, and bytes up to the end of the last region, of a mask that has some. */
export function hullOf(mask: RegionMask): { readonly offset: number; readonly count: number } {
  const runs = regionRuns(mask, 1);
  const offset = runs[0]?.offset ?? 0;
  return { offset, count: (runs.at(-1)?.offset ?? offset) + REGION_BYTES - offset };
}

/** Reads a region of `source` as it will be in `target`. Of one that is not there, or lost, every sector is damaged. */
export function readRegion(
  cache: ObjectCache,
  source: ObjectState | undefined,
  target: ObjectState,
  { offset, limit }: { readonly offset: number; readonly limit: number },
): CopiedRegion {
  const sums = new Uint8Array(SECTORS_PER_REGION * SUM_BYTES);
  const bytes = new Uint8Array(REGION_BYTES);
  const page = pageOf(cache, source);
  const isRead = page !== undefined && readAll(cache, source, page, offset, bytes);
  let isDamaged = false;
  for (let i = 0; i < SECTORS_PER_REGION && offset + i * SECTOR_BYTES < limit; i += 1) {
    const sector = offset / SECTOR_BYTES + i;
    const old = page === undefined ? 1 : (page[sector] as number);
    if (old === NO_SUM) continue;
    const sum = isRead && source ? sumIn(target, source, sector, old, bytes, i) : undefined;
    if (sum === undefined) bytes.fill(0, i * SECTOR_BYTES, (i + 1) * SECTOR_BYTES);
    isDamaged ||= sum === undefined;
    setSum(sums, i, sum ?? badSum(target.generation, target.index, sector));
  }
  return { offset, sums, bytes, isDamaged };
}

/** The sum of a sector in its new place; undefined: it can not be right. */
function sumIn(
  target: ObjectState,
  source: ObjectState,
  sector: number,
  old: number,
  bytes: Uint8Array,
  i: number,
): number | undefined {
  const { generation, index } = target;
  const moved = movedSum(old, source.generation, generation, index, sector);
  if (moved !== undefined) return moved;
  const at = i * SECTOR_BYTES;
  if (!verifySector(source.generation, index, sector, bytes, at, old)) return undefined;
  return sectorSum(generation, index, sector, bytes, at);
}

/** The sums of an object that may have none: undefined = lost, or there is no such object. */
function pageOf(cache: ObjectCache, source: ObjectState | undefined): Uint32Array | undefined {
  if (source === undefined || source.isDead) return undefined;
  try {
    return cache.loadPage(source) ? source.page : undefined;
  } catch {
    // A disk that can not be read: the sectors are damaged here, others have them.
    return undefined;
  }
}

/** False: nothing could be read where there should be something. */
function readAll(
  cache: ObjectCache,
  source: ObjectState | undefined,
  page: Uint32Array,
  offset: number,
  bytes: Uint8Array,
): boolean {
  if (source === undefined || !source.hasFile) return true;
  const first = offset / SECTOR_BYTES;
  if (page.subarray(first, first + SECTORS_PER_REGION).every((sum) => sum === NO_SUM)) return true;
  try {
    const file = cache.file(source);
    file?.readSync(bytes, 0, REGION_BYTES, DATA_OFFSET + offset);
    return file !== undefined;
  } catch {
    return false;
  }
}

/** Runs of sectors of a copied region that have data, as ranges of it. */
export function* dataRuns(sums: Uint8Array): Generator<{ at: number; end: number }> {
  for (let i = 0; i < SECTORS_PER_REGION; i += 1) {
    if (getSum(sums, i) === NO_SUM) continue;
    let end = i + 1;
    while (end < SECTORS_PER_REGION && getSum(sums, end) !== NO_SUM) end += 1;
    yield { at: i * SECTOR_BYTES, end: end * SECTOR_BYTES };
    i = end;
  }
}
