// Operating errors: what a network, a disk, a full cluster or a user can cause. Each has a code that crosses the wire,
// says what the caller does next, and, where a person may read it, names the cure. Programmer errors: invariant.ts.

/** What the caller does: ask again after a map change, ask the next replica, or give up. */
export type Advice = 'retry' | 'next-replica' | 'give-up';

export type ErrorCode =
  | 'usage'
  | 'exists'
  | 'missing'
  | 'busy'
  | 'held'
  | 'not-formatted'
  | 'already-formatted'
  | 'no-quorum'
  | 'halted'
  | 'degraded'
  | 'fenced'
  | 'stale-config'
  | 'gap'
  | 'diverged'
  | 'behind'
  | 'not-member'
  | 'not-holder'
  | 'suspect'
  | 'gone'
  | 'no-space'
  | 'changed'
  | 'bad-frame'
  | 'io'
  | 'corrupt'
  | 'timeout'
  | 'unreachable'
  | 'refused'
  | 'wrong-cluster'
  | 'newer-format'
  | 'locked'
  | 'shutting-down'
  | 'too-large'
  | 'unsupported'
  | 'cache-lost';

/** Base of every operating error. Compare by `code`: the class does not cross the wire. */
export class OperatingError extends Error {
  override readonly name: string = 'OperatingError';
  readonly code: ErrorCode;
  readonly advice: Advice;
  /** The cure, as a sentence or a command; empty when there is none to name. */
  readonly remedy: string;

  constructor(
    code: ErrorCode,
    message: string,
    options: { advice?: Advice; remedy?: string; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.advice = options.advice ?? 'give-up';
    this.remedy = options.remedy ?? '';
  }
}

/** True for an operating error with this code. */
export function hasCode(error: unknown, code: ErrorCode): error is OperatingError {
  return error instanceof OperatingError && error.code === code;
}

/** The text of anything that was thrown, without a stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
