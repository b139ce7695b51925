// A request in several parts: done when all are, with the first error.

import type { OperatingError } from '../core/errors.ts';
import type { Done } from './volume-session.ts';

export interface Job {
  left: number;
  error: OperatingError | undefined;
  readonly done: Done;
}

/** A request of `left` parts; of none it is done at once. */
export function startJob(left: number, done: Done): Job {
  if (left === 0) done(undefined);
  return { left, error: undefined, done };
}

/** One part is done. */
export function partDone(job: Job, error: OperatingError | undefined): void {
  job.left -= 1;
  job.error ??= error;
  if (job.left === 0) job.done(job.error);
}
