// A token bucket: at a steady rate, and what was not used for a while may be caught up with, up to a burst. Whoever passes
// pays afterwards: the level may fall below zero, so that a request larger than the burst passes, too, and the next ones
// wait for it. Over any time no more than rate * time + burst + one request passes. Pure; time is given.

/** What was not used within this time is lost. Longer than a process may be busy with something else. */
export const BURST_MS = 250;

export class TokenBucket {
  #perSecond: number;
  #level: number;
  #atMs: number;

  /** Full at first. */
  constructor(perSecond: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#level = this.#burst;
    this.#atMs = nowMs;
  }

  get #burst(): number {
    return (this.#perSecond * BURST_MS) / 1000;
  }

  /** Until the next request may pass; 0 = now. At least a millisecond otherwise. */
  waitMs(nowMs: number): number {
    this.#fill(nowMs);
    if (this.#level >= 0) return 0;
    return Math.max(1, Math.ceil((-this.#level * 1000) / this.#perSecond));
  }

  /** A request passes. */
  take(amount: number, nowMs: number): void {
    this.#fill(nowMs);
    this.#level -= amount;
  }

  /** Another rate from now on: what passed at the former one is paid at the new one. */
  retune(perSecond: number, nowMs: number): void {
    this.#fill(nowMs);
    this.#perSecond = perSecond;
    this.#level = Math.min(this.#level, this.#burst);
  }

  #fill(nowMs: number): void {
    const added = ((nowMs - this.#atMs) * this.#perSecond) / 1000;
    this.#level = Math.min(this.#burst, this.#level + added);
    this.#atMs = nowMs;
  }
}
