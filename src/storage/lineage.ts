// Who owns what a generation shows (S1): per region the nearest layer on the way to the root whose row owns it, as far as
// the limits let it show. Rows as accepted: nothing here looks at a disk. The tree itself comes from outside.

import { type RegionMask, regionMask } from '../core/extent.ts';
import { type Layer, NO_LIMIT } from '../core/generations.ts';
import type { GenerationId } from '../core/ids.ts';
import { OBJECT_BYTES, REGION_BYTES } from '../core/units.ts';
import { RECORD_COPY } from './journal-codec.ts';
import { hasRegion, type ObjectState } from './object-state.ts';
import type { PartitionTable } from './partition-table.ts';
import { decodeMask } from './region-copy.ts';
import type { LayersOf } from './store-types.ts';

/** Regions of one object that a copy takes, and how many bytes of that object show. */
export interface CopySource {
  readonly state: ObjectState;
  readonly low: number;
  readonly high: number;
  readonly limit: number;
}

/** What has to be copied before a write. */
export interface RegionCopies {
  readonly sources: readonly CopySource[];
  readonly mask: RegionMask;
  readonly regions: number;
}

/** A run of bytes that one layer shows. */
export interface Run {
  readonly end: number;
  /** Its object; undefined: zeroes. */
  readonly state: ObjectState | undefined;
  /** Accepted changes of these go over it, the deepest first: their regions are being copied. */
  readonly over: readonly ObjectState[];
}

/** Bytes of one object of a generation. */
export interface LayeredRange {
  readonly generation: number;
  readonly index: number;
  readonly offset: number;
  readonly count: number;
}

const NOTHING: readonly Layer[] = [];
const NO_COPIES: RegionCopies = { sources: [], mask: { low: 0, high: 0 }, regions: 0 };
const NOBODY: readonly ObjectState[] = [];

export class Lineage {
  readonly #table: PartitionTable;
  #layersOf: LayersOf = () => NOTHING;

  constructor(table: PartitionTable) {
    this.#table = table;
  }

  follow(layersOf: LayersOf): void {
    this.#layersOf = layersOf;
  }

  /** True when nothing shows through this generation. */
  isRoot(generation: number): boolean {
    return this.#layersOf(generation as GenerationId).length < 2;
  }

  /** True when all of the range lies in regions that the row owns and that are not being copied. */
  isOwn(state: ObjectState, offset: number, count: number): boolean {
    if (state.pendingCopies > 0) return false;
    const low = regionMask(offset, count, 0) & ~state.ownLow;
    const high = regionMask(offset, count, 1) & ~state.ownHigh;
    return low === 0 && high === 0;
  }

  /** The layer that shows at `offset`, and how far. */
  runAt({ generation, index, offset, count }: LayeredRange): Run {
    let end = offset + count;
    let over: ObjectState[] | undefined;
    for (const [depth, layer] of this.#path(generation).entries()) {
      if (depth > 0) {
        const visible = visibleBytes(layer, index);
        if (visible <= offset) break;
        end = Math.min(end, visible);
      }
      const state = this.#table.find(layer.generation, index);
      if (state === undefined) continue;
      const copying = copiesOf(state);
      const isThere = (at: number): boolean => isOwner(state, copying, at);
      const isHere = isThere(offset);
      let to = regionEnd(offset);
      while (to < end && isThere(to) === isHere) to = regionEnd(to);
      end = Math.min(end, to);
      if (isHere) return { end, state, over: over ?? NOBODY };
      if (copying !== undefined) {
        over ??= [];
        over.unshift(state);
      }
    }
    return { end, state: undefined, over: over ?? NOBODY };
  }

  /** What a write must have copied first: the regions at its ends that it covers in part and that its row does not own. */
  copiesFor(range: LayeredRange): RegionCopies {
    const { generation, index, offset, count } = range;
    if (count === 0 || this.isRoot(generation)) return NO_COPIES;
    const ends = endsOf(offset, offset + count);
    const own = this.#table.find(generation, index);
    let low = (ends.low & ~(own?.ownLow ?? 0)) >>> 0;
    let high = (ends.high & ~(own?.ownHigh ?? 0)) >>> 0;
    const sources: CopySource[] = [];
    for (const layer of this.#path(generation).slice(1)) {
      const limit = visibleBytes(layer, index);
      // No region above: what does not show is zeroes.
      low &= regionMask(0, limit, 0);
      high &= regionMask(0, limit, 1);
      if (low === 0 && high === 0) break;
      const state = this.#table.find(layer.generation, index);
      if (state === undefined) continue;
      const hit = { low: (low & state.ownLow) >>> 0, high: (high & state.ownHigh) >>> 0 };
      low = (low & ~hit.low) >>> 0;
      high = (high & ~hit.high) >>> 0;
      if (state.kind === 'data' && (hit.low | hit.high) !== 0) {
        sources.push({ state, ...hit, limit });
      }
    }
    return sources.length === 0 ? NO_COPIES : copiesFrom(sources);
  }

  /** A trim without the parts, at its ends, of regions that its row does not own (S2a). */
  ownPart(range: LayeredRange): { readonly offset: number; readonly count: number } {
    const { generation, index, offset, count } = range;
    const own = this.#table.find(generation, index);
    const isOwned = (region: number): boolean =>
      own !== undefined && hasRegion(own.ownLow, own.ownHigh, region);
    let start = offset;
    let end = offset + count;
    if (start % REGION_BYTES !== 0 && !isOwned(Math.floor(start / REGION_BYTES))) {
      start = regionEnd(start);
    }
    if (end > start && end % REGION_BYTES !== 0 && !isOwned(Math.floor(end / REGION_BYTES))) {
      end -= end % REGION_BYTES;
    }
    return end > start ? { offset: start, count: end - start } : { offset: 0, count: 0 };
  }

  /** Visits the rows that show in this object, nearest first, with the regions that each one shows. */
  *shown(generation: number, index: number): Generator<RegionMask & { state: ObjectState }> {
    let low = 0xffffffff;
    let high = 0xffffffff;
    for (const [depth, layer] of this.#path(generation).entries()) {
      const limit = depth === 0 ? OBJECT_BYTES : visibleBytes(layer, index);
      low &= regionMask(0, limit, 0);
      high &= regionMask(0, limit, 1);
      const state = this.#table.find(layer.generation, index);
      if (state === undefined) continue;
      yield { state, low: (low & state.ownLow) >>> 0, high: (high & state.ownHigh) >>> 0 };
      low &= ~state.ownLow;
      high &= ~state.ownHigh;
    }
  }

  #path(generation: number): readonly Layer[] {
    const id = generation as GenerationId;
    const path = this.#layersOf(id);
    return path.length > 0 ? path : [{ generation: id, limitBytes: NO_LIMIT }];
  }
}

/** Regions of accepted, unapplied copies: their bytes are not in the object's file yet. Undefined: there is none. */
export function copiesOf(state: ObjectState): RegionMask | undefined {
  if (state.pendingCopies === 0) return undefined;
  let low = 0;
  let high = 0;
  for (const record of state.pending) {
    if (record.kind !== RECORD_COPY) continue;
    const mask = decodeMask(record.stagedId);
    low |= mask.low;
    high |= mask.high;
  }
  return { low: low >>> 0, high: high >>> 0 };
}

function isOwner(state: ObjectState, copying: RegionMask | undefined, at: number): boolean {
  const region = Math.floor(at / REGION_BYTES);
  if (!hasRegion(state.ownLow, state.ownHigh, region)) return false;
  return copying === undefined || !hasRegion(copying.low, copying.high, region);
}

/** How many bytes of an object of this layer show. */
function visibleBytes({ limitBytes }: Layer, index: number): number {
  return Math.max(0, Math.min(OBJECT_BYTES, limitBytes - index * OBJECT_BYTES));
}

/** The regions at the ends of a range that it covers in part. */
function endsOf(offset: number, end: number): RegionMask {
  const first = offset % REGION_BYTES === 0 ? 0 : 1;
  const last = end % REGION_BYTES === 0 ? 0 : 1;
  const low = regionMask(offset, first, 0) | regionMask(end - 1, last, 0);
  const high = regionMask(offset, first, 1) | regionMask(end - 1, last, 1);
  return { low: low >>> 0, high: high >>> 0 };
}

function copiesFrom(sources: readonly CopySource[]): RegionCopies {
  const low = sources.reduce((mask, source) => mask | source.low, 0) >>> 0;
  const high = sources.reduce((mask, source) => mask | source.high, 0) >>> 0;
  // The two ends of one range.
  const regions = sources.reduce((sum, source) => sum + bits(source.low) + bits(source.high), 0);
  return { sources, mask: { low, high }, regions };
}

function bits(mask: number): number {
  let count = 0;
  for (let left = mask; left !== 0; left = (left & (left - 1)) >>> 0) count += 1;
  return count;
}

function regionEnd(offset: number): number {
  return offset - (offset % REGION_BYTES) + REGION_BYTES;
}
