// How long to wait before the next try at something that failed some times in a row. Pure; who waits is the caller's.

/** Doublings that are computed: beyond, every pause here is at its maximum. */
const MAX_DOUBLINGS = 20;

/** Doubles from `minMs`, the pause after the first failure, up to `maxMs`. `failures` are those before it. */
export function backoffMs(failures: number, minMs: number, maxMs: number): number {
  return Math.min(maxMs, minMs * 2 ** Math.min(failures, MAX_DOUBLINGS));
}
