// When the end of the last batch is named as synced (R4): after a silence, by a batch without records, so that rot of the
// last real one is not taken for a torn tail. It knows time and whether an attest record is still owed; writing it is the
// journal's business.

import type { Clock, TimerHandle } from '../ports/ports.ts';

/** Silence after which the end of the last batch is named as synced by an attest record. */
export const ATTEST_SILENCE_MS = 100;

export class AttestTimer {
  readonly #clock: Clock;
  /** Nothing is written and not synced. */
  readonly #isQuiet: () => boolean;
  readonly #write: () => void;
  #timer: TimerHandle | undefined;
  #lastSyncMs = 0;
  #isOwed = false;
  #isOver = false;

  constructor(clock: Clock, isQuiet: () => boolean, write: () => void) {
    this.#clock = clock;
    this.#isQuiet = isQuiet;
    this.#write = write;
  }

  /** The last sync covered records, and nothing since has named their end. */
  get isOwed(): boolean {
    return this.#isOwed;
  }

  /** A sync has ended. */
  synced(hasRecords: boolean): void {
    this.#lastSyncMs = this.#clock.now();
    this.#isOwed = hasRecords;
  }

  /** Waits for a silence, if one is owed. */
  arm(): void {
    if (!this.#isOwed || this.#timer !== undefined || this.#isOver) return;
    const waitMs = Math.max(1, this.#lastSyncMs + ATTEST_SILENCE_MS - this.#clock.now());
    this.#timer = this.#clock.setTimer(waitMs, () => {
      this.#timer = undefined;
      if (this.#isOver || !this.#isOwed) return;
      const silentMs = this.#clock.now() - this.#lastSyncMs;
      if (silentMs >= ATTEST_SILENCE_MS && this.#isQuiet()) this.#write();
      else this.arm();
    });
  }

  /** No attest record comes by itself any more. */
  stop(): void {
    this.#isOver = true;
    if (this.#timer !== undefined) this.#clock.clearTimer(this.#timer);
  }
}
