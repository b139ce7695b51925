// Which layer shows where, and what differs between two generations: decided by rows alone, no block is read (S7). A region
// shows the nearest layer that owns it, as far as the limits let it. Layers that show to two generations are frozen, so the
// same layer at the same place means the same bytes, and another one may mean others: what differs is always called changed,
// and what is called changed may be equal. Deleted layers in between, their rows dropped or not, change nothing: a row goes
// only where it shows to nobody (reclaim.ts). Pure; the rows have to be those of members in sync.

import type { RegionMask } from './extent.ts';
import type { Layer } from './generations.ts';
import type { GenerationId } from './ids.ts';
import { OBJECT_BYTES, REGION_BYTES, REGIONS_PER_OBJECT } from './units.ts';

/** What a replica notes of one generation at one index, as much of it as shows. */
export interface ShownRow {
  readonly kind: 'data' | 'zero';
  readonly ownLow: number;
  readonly ownHigh: number;
}

/** A run of bytes that are all of one kind. */
export interface ShownRun {
  readonly length: number;
  /** False: reads as zeroes and takes no space. True says nothing: it may read as zeroes, too. */
  readonly isAllocated: boolean;
  /** The layer whose bytes show, 0 = nobody's: zeroes. Absent: not known. */
  readonly layer?: GenerationId | 0;
  /** How far down that layer is: 1 = the generation itself. 0 = nobody's. Absent with `layer`. */
  readonly depth?: number;
}

/** A run of bytes that differ, or do not. */
export interface ChangedRun {
  readonly length: number;
  /** False: surely the same bytes in both. */
  readonly isChanged: boolean;
  /** Of the later one: false = zeroes for sure. */
  readonly isAllocated: boolean;
}

interface Shower {
  readonly row: ShownRow;
  readonly layer: GenerationId;
  readonly depth: number;
  readonly visibleBytes: number;
}

const HOLE = { isAllocated: false, layer: 0, depth: 0 } as const;

/**
 * What a generation shows of one object: runs of whole regions, cut at limits, which cover the object.
 * @param path of the generation (`ancestry`)
 * @param rowOf rows of that index on a member in sync; undefined = never written
 * @param held regions that hold data, where that is known better than by rows
 */
export function shownRuns(
  path: readonly Layer[],
  index: number,
  rowOf: (generation: GenerationId) => ShownRow | undefined,
  held?: RegionMask,
): readonly ShownRun[] {
  const showers = showersOf(path, index, rowOf);
  const runs: ShownRun[] = [];
  for (let region = 0; region < REGIONS_PER_OBJECT; region += 1) {
    const start = region * REGION_BYTES;
    const found = showers.find(({ row, visibleBytes }) => {
      return visibleBytes > start && hasBit(row.ownLow, row.ownHigh, region);
    });
    if (found === undefined) {
      addRun(runs, { length: REGION_BYTES, ...HOLE });
      continue;
    }
    const { row, layer, depth, visibleBytes } = found;
    const isAllocated =
      row.kind === 'data' && (held === undefined || hasBit(held.low, held.high, region));
    const length = Math.min(REGION_BYTES, visibleBytes - start);
    addRun(runs, { length, isAllocated, layer, depth });
    if (length < REGION_BYTES) addRun(runs, { length: REGION_BYTES - length, ...HOLE });
  }
  return runs;
}

/** Layers of the path that have a row of which something may show, nearest first. */
function showersOf(
  path: readonly Layer[],
  index: number,
  rowOf: (generation: GenerationId) => ShownRow | undefined,
): readonly Shower[] {
  const showers: Shower[] = [];
  for (const [i, { generation, limitBytes }] of path.entries()) {
    const visibleBytes = Math.min(OBJECT_BYTES, limitBytes - index * OBJECT_BYTES);
    if (visibleBytes <= 0) break;
    const row = rowOf(generation);
    if (row !== undefined) showers.push({ row, layer: generation, depth: i + 1, visibleBytes });
  }
  return showers;
}

/**
 * Where two generations may differ, from what each shows of the same range: as far as both say something. A region that was
 * discarded has changed if it held data. Beyond the end of one of them the caller says `holeOf`. Of two families everything
 * that holds data in either is called changed.
 */
export function changedRuns(
  before: readonly ShownRun[],
  after: readonly ShownRun[],
): readonly ChangedRun[] {
  const runs: { length: number; isChanged: boolean; isAllocated: boolean }[] = [];
  let [i, j] = [0, 0];
  let [leftBefore, leftAfter] = [before[0]?.length ?? 0, after[0]?.length ?? 0];
  // Ends: each step is through with one run at least.
  for (;;) {
    const [one, other] = [before[i], after[j]];
    if (one === undefined || other === undefined) return runs;
    const length = Math.min(leftBefore, leftAfter);
    const { isAllocated } = other;
    const isChanged = mayDiffer(one, other);
    const last = runs.at(-1);
    if (last?.isChanged === isChanged && last.isAllocated === isAllocated) last.length += length;
    else if (length > 0) runs.push({ length, isChanged, isAllocated });
    leftBefore -= length;
    leftAfter -= length;
    if (leftBefore === 0) leftBefore = before[++i]?.length ?? 0;
    if (leftAfter === 0) leftAfter = after[++j]?.length ?? 0;
  }
}

function mayDiffer(one: ShownRun, other: ShownRun): boolean {
  if (!one.isAllocated && !other.isAllocated) return false;
  return one.layer === undefined || one.layer !== other.layer;
}

/** A run of what nobody owns: what lies beyond the end of a volume. */
export function holeOf(length: number): ShownRun {
  return { length, ...HOLE };
}

/** The bytes `[from, to)` of runs that begin at byte 0. */
export function cutRuns(runs: readonly ShownRun[], from: number, to: number): ShownRun[] {
  const kept: ShownRun[] = [];
  let at = 0;
  for (const run of runs) {
    const length = Math.min(to, at + run.length) - Math.max(from, at);
    if (length > 0) addRun(kept, { ...run, length });
    at += run.length;
  }
  return kept;
}

/** Appends a run, joined to the last one where both say the same. */
export function addRun(runs: ShownRun[], run: ShownRun): void {
  const last = runs.at(-1);
  if (last?.isAllocated === run.isAllocated && last.layer === run.layer) {
    runs[runs.length - 1] = { ...last, length: last.length + run.length };
  } else runs.push(run);
}

function hasBit(low: number, high: number, region: number): boolean {
  return ((region < 32 ? low >>> region : high >>> (region - 32)) & 1) === 1;
}
