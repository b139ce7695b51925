// Long zeroes and trims: object by object, a bounded number at once, without buffers for what is whole sectors. A trim
// leaves the edges alone, a zero writes them.

import { narrowToSectors, type ObjectRange, objectSlicesOf, type Slice } from '../core/extent.ts';
import { OBJECT_BYTES } from '../core/units.ts';
import { type Job, partDone, startJob } from './job.ts';
import type { Done } from './volume-session.ts';

/** Objects of one long zero or trim that are worked on at once. */
export const ZERO_SLICES_IN_FLIGHT = 16;

export interface ZeroHooks {
  /** Writes zero bytes of less than whole sectors. */
  readonly writeEdge: (slice: Slice, done: Done) => void;
  /** Zeroes whole sectors of one object. */
  readonly zeroSectors: (index: number, range: ObjectRange, done: Done) => void;
  readonly soon: (fn: () => void) => void;
}

export interface ZeroRange {
  readonly offset: number;
  readonly length: number;
  readonly keepsEdges: boolean;
}

/** Zeroes a range of the volume; `done` after the last part, or after those begun before the first error. */
export function zeroRange(hooks: ZeroHooks, range: ZeroRange, done: Done): void {
  const end = range.offset + range.length;
  let position = range.offset;
  const starts = Math.min(ZERO_SLICES_IN_FLIGHT, Math.ceil(range.length / OBJECT_BYTES) + 1);
  const job: Job = startJob(starts, done);
  const next: Done = (error) => {
    if (error === undefined && job.error === undefined && position < end) {
      const count = Math.min(end - position, OBJECT_BYTES - (position % OBJECT_BYTES));
      const [slice] = objectSlicesOf(position, count);
      position += count;
      job.left += 1;
      // Through `soon`: what is done at once must not nest once per object.
      const later: Done = (failed) => hooks.soon(() => next(failed));
      zeroSlice(hooks, slice as Slice, range.keepsEdges, later);
    }
    partDone(job, error);
  };
  for (let i = 0; i < starts; i += 1) next(undefined);
}

function zeroSlice(hooks: ZeroHooks, slice: Slice, keepsEdges: boolean, done: Done): void {
  const { index, offset, length } = slice;
  const end = offset + length;
  const whole = narrowToSectors(offset, length);
  const headEnd = whole.count > 0 ? whole.offset : end;
  const tailStart = whole.count > 0 ? whole.offset + whole.count : end;
  const edges: Slice[] = keepsEdges ? [] : edgesOf(index, [offset, headEnd], [tailStart, end]);
  const job = startJob(edges.length + (whole.count > 0 ? 1 : 0), done);
  const one: Done = (error) => partDone(job, error);
  for (const edge of edges) hooks.writeEdge(edge, one);
  if (whole.count > 0) hooks.zeroSectors(index, whole, one);
}

function edgesOf(index: number, ...ranges: (readonly [number, number])[]): Slice[] {
  return ranges
    .filter(([start, end]) => start < end)
    .map(([start, end]) => ({ index, offset: start, length: end - start, at: 0 }));
}
