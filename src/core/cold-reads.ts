// When reads of the disk may make everybody wait. What the system has in memory is read at once, which is cheap; a read
// that has to go to the disk stops heartbeats and all guests for as long as the disk takes. Nobody can tell beforehand
// which one it will be, so time lost is counted: when it is too much, nothing is read at once for a while, the longer the
// sooner that comes again. It reads no clock and knows no file.

/** A read that took longer went to the disk. */
export const DISK_READ_MS = 1;
/** Time that reads of the disk may take from everybody within BLOCKED_WINDOW_MS; the one that reaches it is the last. */
export const MAX_BLOCKED_MS = 100;
export const BLOCKED_WINDOW_MS = 1000;
/** Nothing is read at once for so long; twice as long each time that follows within as long as the last one took. */
export const MIN_COLD_MS = 1000;
export const MAX_COLD_MS = 128 * MIN_COLD_MS;

/** One for each disk. */
export class ColdReads {
  #windowAt = Number.NEGATIVE_INFINITY;
  #blockedMs = 0;
  #coldMs = MIN_COLD_MS;
  #coldUntil = Number.NEGATIVE_INFINITY;
  #lastBlocks: number | undefined;

  /** A read may be waited for. */
  mayBlock(nowMs: number): boolean {
    return nowMs >= this.#coldUntil;
  }

  /**
   * A read was waited for.
   * @param blocksRead from the disk by this process since its start; undefined = nobody counts. On a busy host a read of
   * what is in memory takes long, too, when its process has to wait for a processor: that is no reason
   * @returns for how many ms none may be waited for from now on; 0 = they may
   */
  took(
    startMs: number,
    endMs: number,
    blocksRead: () => number | undefined = () => undefined,
  ): number {
    const ms = endMs - startMs;
    if (ms < DISK_READ_MS) return 0;
    const blocks = blocksRead();
    if (blocks !== undefined && blocks === this.#lastBlocks) return 0;
    this.#lastBlocks = blocks;
    if (startMs - this.#windowAt > BLOCKED_WINDOW_MS) {
      this.#windowAt = startMs;
      this.#blockedMs = 0;
    }
    this.#blockedMs += ms;
    if (this.#blockedMs < MAX_BLOCKED_MS) return 0;
    this.#blockedMs = 0;
    const isSoon = endMs - this.#coldUntil <= this.#coldMs;
    this.#coldMs = isSoon ? Math.min(2 * this.#coldMs, MAX_COLD_MS) : MIN_COLD_MS;
    this.#coldUntil = endMs + this.#coldMs;
    return this.#coldMs;
  }
}
