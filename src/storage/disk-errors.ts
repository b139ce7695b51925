// What the disk throws, as the errors that the store's callers know.

import { messageOf, OperatingError } from '../core/errors.ts';

/** The error itself when it is an operating one; anything else is 'io'. */
export function asOperatingError(error: unknown): OperatingError {
  if (error instanceof OperatingError) return error;
  return new OperatingError('io', messageOf(error), { cause: error });
}
