// What differs between two generations that are open here as sessions: each says what it shows, from rows of members in
// sync, and core decides. No block is read. For block status, `dog vdi diff` and whoever copies only what changed.

import { type ChangedRun, changedRuns, holeOf, type ShownRun } from '../core/changed-regions.ts';
import type { OperatingError } from '../core/errors.ts';
import { partDone, startJob } from './job.ts';
import type { VolumeSession } from './volume-session.ts';

/** A session, as much of it as says what it shows. */
export type Shown = Pick<VolumeSession, 'volume' | 'allocation'>;

/** Runs from the start of the range, at least one, perhaps of its first part only; none with an error. */
export type ChangesDone = (error: OperatingError | undefined, runs: readonly ChangedRun[]) => void;

/** What of `after` may differ from `before`; beyond the end of `before` all that holds data. The range lies in `after`. */
export function lookUpChanges(
  before: Shown,
  after: Shown,
  range: { readonly offset: number; readonly length: number },
  done: ChangesDone,
): void {
  let [former, latter]: (readonly ShownRun[])[] = [[], []];
  const job = startJob(2, (error) => {
    done(error, error === undefined ? changedRuns(former ?? [], latter ?? []) : []);
  });
  shownBy(before, range, (error, runs) => {
    former = runs;
    partDone(job, error);
  });
  after.allocation(range.offset, range.length, (error, runs) => {
    latter = runs;
    partDone(job, error);
  });
}

/** What a session shows of a range; beyond its end nothing: zeroes. */
export function shownBy(
  session: Shown,
  { offset, length }: { readonly offset: number; readonly length: number },
  done: (error: OperatingError | undefined, runs: readonly ShownRun[]) => void,
): void {
  const within = Math.min(length, session.volume.sizeBytes - offset);
  if (within <= 0) {
    done(undefined, [holeOf(length)]);
    return;
  }
  session.allocation(offset, within, (error, runs) => {
    const isAll = runs.reduce((sum, run) => sum + run.length, 0) === within;
    const beyond = isAll && within < length ? [holeOf(length - within)] : [];
    done(error, [...runs, ...beyond]);
  });
}
