// Reads of the holder: slice by slice under shared ranges, on the path of the head; when that one ends (the volume moved,
// or goes on in another generation), on the next.

import { type Slice, slicesOf } from '../core/extent.ts';
import { partDone, startJob } from './job.ts';
import { isPathOver } from './path-cell.ts';
import type { BytesWanted } from './standby-reads.ts';
import type { VolumePath } from './volume-path.ts';
import type { Done } from './volume-session.ts';

/** Calls `go` with the path of the head, or tells `done` why there is none. */
export type OnPath = (done: Done, go: (path: VolumePath) => void) => void;

/** Fills the target; `finish` once. */
export function readHeld(onPath: OnPath, wanted: Omit<BytesWanted, 'done'>, finish: Done): void {
  const slices = slicesOf(wanted.offset, wanted.length);
  const job = startJob(slices.length, finish);
  for (const slice of slices) {
    const place = { target: wanted.target, at: wanted.at + slice.at };
    readSlice(onPath, slice, place, (error) => partDone(job, error));
  }
}

function readSlice(
  onPath: OnPath,
  slice: Slice,
  place: { readonly target: Uint8Array; readonly at: number },
  done: Done,
): void {
  onPath(done, (path) => {
    const pipe = path.pipes.get(slice.index);
    const lost = path.writer.lossOf(pipe);
    if (lost !== undefined) {
      done(lost);
      return;
    }
    const { offset, length: count } = slice;
    pipe.ranges.acquire({ offset, count, isExclusive: false }, (ticket) => {
      path.reader.read({ pipe, offset, count, ...place }, (error) => {
        pipe.ranges.release(ticket);
        if (isPathOver(error)) readSlice(onPath, slice, place, done);
        else done(error);
      });
    });
  });
}
