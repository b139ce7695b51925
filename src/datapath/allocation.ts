// Where a volume holds data, and which layer shows there, for whoever wants to skip the rest (block status, S7): by regions,
// from the rows of its objects on members in sync. It reads no block and takes part in no write. What it can not know it
// calls allocated: a region that holds only zeroes may be called data, never the other way round.

import { addRun, cutRuns, type ShownRun, shownRuns } from '../core/changed-regions.ts';
import { readersOf } from '../core/partition.ts';
import { divideUp, OBJECT_BYTES } from '../core/units.ts';
import { configOf, type Parts, partitionOfObject } from './context.ts';
import { partDone, startJob } from './job.ts';
import { lookUpStack, type StackRows } from './lookup.ts';
import type { VolumePath } from './volume-path.ts';
import type { AllocationExtent } from './volume-session.ts';

/** Objects that one question is answered for: a longer range gets a shorter answer (1 GiB). */
export const MAX_ALLOCATION_OBJECTS = 256;

interface Range {
  readonly offset: number;
  readonly length: number;
}

/** Objects of one partition. */
interface Asked {
  readonly p: number;
  readonly indexes: readonly number[];
}

/** Of an object that nobody can say anything of. */
const NOT_KNOWN: readonly ShownRun[] = [{ length: OBJECT_BYTES, isAllocated: true }];

/** `done` with extents from the start of the range, at least one; once, perhaps before this returns. */
export function lookUpAllocation(
  parts: Parts,
  path: VolumePath,
  range: Range,
  done: (extents: readonly AllocationExtent[]) => void,
): void {
  const first = Math.floor(range.offset / OBJECT_BYTES);
  const wanted = divideUp(range.offset + range.length, OBJECT_BYTES) - first;
  const count = Math.min(wanted, MAX_ALLOCATION_OBJECTS);
  const end = Math.min(range.offset + range.length, (first + count) * OBJECT_BYTES);
  const groups = indexesByPartition(parts, path, first, count);
  const shown = new Map<number, readonly ShownRun[]>();
  const job = startJob(groups.size, () => done(extentsOf(shown, range.offset, end)));
  for (const [p, indexes] of groups) {
    lookUpGroup(parts, path, { p, indexes }, (rows) => {
      if (rows !== undefined) noteRows(parts, path, { p, indexes }, rows, shown);
      partDone(job, undefined);
    });
  }
}

function indexesByPartition(
  parts: Parts,
  { cell }: VolumePath,
  first: number,
  count: number,
): ReadonlyMap<number, number[]> {
  const view = parts.views.current();
  const groups = new Map<number, number[]>();
  for (let index = first; index < first + count; index += 1) {
    const p = partitionOfObject(view, cell.volume, index);
    const group = groups.get(p);
    if (group === undefined) groups.set(p, [index]);
    else group.push(index);
  }
  return groups;
}

/** Rows count from the touch on: before it, members of I may still differ (4.5). Without one, nobody can say. */
function lookUpGroup(
  parts: Parts,
  { cell, reconciler }: VolumePath,
  asked: Asked,
  then: (rows: StackRows | undefined) => void,
): void {
  const [first = 0] = asked.indexes;
  reconciler.whenReadable(asked.p, first, () => {
    if (!cell.isHeld || !reconciler.isTouched(asked.p)) return then(undefined);
    lookUpStack(parts, cell, asked, then);
  });
}

/** A row says what was ever written; this node's own copy, while it is in sync, what of that is zeroes again. */
function noteRows(
  { self, store, views }: Parts,
  { cell }: VolumePath,
  { p, indexes }: Asked,
  { path, rowOf }: StackRows,
  shown: Map<number, readonly ShownRun[]>,
): void {
  const { durability, head } = cell.volume;
  const config = configOf(views.current(), cell.volume, p);
  const isHere = readersOf(config, durability).includes(self);
  for (const index of indexes) {
    const held = isHere ? store.heldRegions(head, index) : undefined;
    shown.set(
      index,
      shownRuns(path, index, (generation) => rowOf(generation, index), held),
    );
  }
}

/** The range as extents, neighbours of one kind as one. */
function extentsOf(
  shown: ReadonlyMap<number, readonly ShownRun[]>,
  offset: number,
  end: number,
): AllocationExtent[] {
  const extents: AllocationExtent[] = [];
  for (let at = offset; at < end; ) {
    const inObject = at % OBJECT_BYTES;
    const to = Math.min(end, at - inObject + OBJECT_BYTES);
    const runs = shown.get((at - inObject) / OBJECT_BYTES) ?? NOT_KNOWN;
    for (const run of cutRuns(runs, inObject, inObject + to - at)) addRun(extents, run);
    at = to;
  }
  return extents;
}
