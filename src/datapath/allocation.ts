// Where a volume holds data, for whoever wants to skip the rest (block status): by regions, from the rows of its objects.
// It reads no block and takes part in no write. What it can not know it calls allocated: a region that holds only zeroes
// may be called data, never the other way round.

import { readersOf } from '../core/partition.ts';
import { alignDown, divideUp, OBJECT_BYTES, REGION_BYTES } from '../core/units.ts';
import { configOf, type Parts, partitionOfObject } from './context.ts';
import { partDone, startJob } from './job.ts';
import { type FoundRow, lookUpShown } from './lookup.ts';
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

/** Regions 0-31 and 32-63 of an object that hold data. */
interface Held {
  readonly low: number;
  readonly high: number;
}

const NOTHING: Held = { low: 0, high: 0 };
const ALL: Held = { low: 0xffffffff, high: 0xffffffff };

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
  const held = new Map<number, Held>();
  const job = startJob(groups.size, () => done(extentsOf(held, range.offset, end)));
  for (const [p, indexes] of groups) {
    lookUpGroup(parts, path, { p, indexes }, (rows) => {
      if (rows !== undefined) noteRows(held, indexes, rows);
      noteOwn(parts, path, { p, indexes }, held);
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
  then: (rows: readonly FoundRow[] | undefined) => void,
): void {
  const [first = 0] = asked.indexes;
  reconciler.whenReadable(asked.p, first, () => {
    if (!cell.isHeld || !reconciler.isTouched(asked.p)) return then(undefined);
    lookUpShown(parts, cell, asked, then);
  });
}

/** A row says what was ever written; this node's own copy, while it is in sync, what of that is zeroes again. */
function noteOwn(
  parts: Parts,
  { cell }: VolumePath,
  { p, indexes }: Asked,
  held: Map<number, Held>,
): void {
  const { self, store, views } = parts;
  const { durability, head } = cell.volume;
  const config = configOf(views.current(), cell.volume, p);
  if (!readersOf(config, durability).includes(self)) return;
  for (const index of indexes) {
    const mask = held.get(index);
    if (mask === undefined) continue;
    const { low, high } = store.heldRegions(head, index);
    held.set(index, { low: (mask.low & low) >>> 0, high: (mask.high & high) >>> 0 });
  }
}

function noteRows(
  held: Map<number, Held>,
  indexes: readonly number[],
  rows: readonly FoundRow[],
): void {
  for (const index of indexes) held.set(index, NOTHING);
  for (const { index, kind, ownLow, ownHigh } of rows) {
    if (kind === 'data') held.set(index, { low: ownLow, high: ownHigh });
  }
}

/** The range as extents, neighbours of one kind as one. */
function extentsOf(
  held: ReadonlyMap<number, Held>,
  offset: number,
  end: number,
): AllocationExtent[] {
  const extents: { length: number; isAllocated: boolean }[] = [];
  for (let at = offset; at < end; ) {
    const to = Math.min(end, alignDown(at, REGION_BYTES) + REGION_BYTES);
    const inObject = at % OBJECT_BYTES;
    const isAllocated = holds(
      held.get((at - inObject) / OBJECT_BYTES) ?? ALL,
      Math.floor(inObject / REGION_BYTES),
    );
    const last = extents.at(-1);
    if (last?.isAllocated === isAllocated) last.length += to - at;
    else extents.push({ length: to - at, isAllocated });
    at = to;
  }
  return extents;
}

function holds({ low, high }: Held, region: number): boolean {
  return ((region < 32 ? low >>> region : high >>> (region - 32)) & 1) === 1;
}
