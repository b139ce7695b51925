// How fast bulk copies may go on one node: a token bucket whose rate follows what guests feel, below what an operator has
// set. Pure; time is given.
//
// Guests are heard of as a strain: their latency now, relative to what it is while nothing is recovered (core/strain.ts).
// Nobody heard for a while: no limit. Else the rate sinks by a share while guests suffer and rises slowly while they do
// not; it never falls below a floor, for a recovery that never ends is a risk, too.

import { CALM } from './strain.ts';
import { MIB } from './units.ts';

/** First rate beside a guest. */
export const START_RATE = 16 * MIB;
/** Recovery goes on at this rate whatever guests feel. */
export const FLOOR_RATE = 4 * MIB;
/** Without a guest's word for so long there is no guest; one that only waits says nothing for a while. */
export const QUIET_MS = 5000;
/** Between two changes of the rate: long enough to see what the last one did. */
export const ADAPT_MS = 250;
/** What was not used in this time is lost: the largest burst. */
export const BURST_MS = 50;
/** Above this strain the rate sinks, below the lower one it rises. */
export const STRAINED = CALM * 1.5;
export const RELAXED = CALM * 1.25;
const SINK = 0.6;
const RISE = 1.15;
const RISE_BYTES = MIB;
/** The rate rises to at most this many times what was used. */
const OVER_USED = 2;

export class Pace {
  #rate = START_RATE;
  #strain = 0;
  #heardMs = Number.NEGATIVE_INFINITY;
  #adaptedMs = 0;
  #used = 0;
  /** When all that was granted so far is within the rate. */
  #freeMs = 0;
  /** At which the last bytes were granted. */
  #lastRate = Number.POSITIVE_INFINITY;

  /** A guest's strain, of this node or of one that hands out copies; 0 says nothing. */
  hear(strain: number, now: number): void {
    if (strain === 0) return;
    const isNew = now - this.#heardMs > QUIET_MS;
    if (isNew) {
      this.#rate = START_RATE;
      this.#adaptedMs = now;
      this.#used = 0;
    }
    this.#strain = isNew ? strain : Math.max(this.#strain, strain);
    this.#heardMs = now;
    if (now - this.#adaptedMs >= ADAPT_MS) this.#adapt(now);
  }

  /** True while guests are at work: then copies travel in small pieces. */
  isBesideGuests(now: number): boolean {
    return now - this.#heardMs <= QUIET_MS;
  }

  /** Bytes per second now; Infinity = no limit. */
  rate(now: number, manual: number | undefined): number {
    const auto = this.isBesideGuests(now) ? this.#rate : Number.POSITIVE_INFINITY;
    return Math.min(auto, manual ?? Number.POSITIVE_INFINITY);
  }

  /**
   * Takes these bytes; returns how long to wait before they are copied.
   * @param isAwaited guests can not go on without them: only an operator's rate holds them back
   */
  spend(bytes: number, now: number, manual: number | undefined, isAwaited = false): number {
    if (!isAwaited) this.#used += bytes;
    const rate = isAwaited ? (manual ?? Number.POSITIVE_INFINITY) : this.rate(now, manual);
    this.#lastRate = rate;
    if (rate === Number.POSITIVE_INFINITY) {
      if (!isAwaited) this.#freeMs = now;
      return 0;
    }
    const from = Math.max(this.#freeMs, now - BURST_MS);
    this.#freeMs = from + (bytes * 1000) / rate;
    return Math.max(0, from - now);
  }

  /** Of what was spent these bytes were not copied. */
  unspent(bytes: number): void {
    this.#used = Math.max(0, this.#used - bytes);
    this.#freeMs -= (bytes * 1000) / this.#lastRate;
  }

  #adapt(now: number): void {
    const usedRate = (this.#used * 1000) / (now - this.#adaptedMs);
    if (this.#strain > STRAINED) this.#rate = Math.max(FLOOR_RATE, this.#rate * SINK);
    else if (this.#strain < RELAXED) {
      const most = Math.max(START_RATE, usedRate * OVER_USED);
      const next = this.#rate * RISE + RISE_BYTES;
      this.#rate = Math.max(Math.min(next, most), Math.min(this.#rate, most), FLOOR_RATE);
    }
    this.#strain = 0;
    this.#used = 0;
    this.#adaptedMs = now;
  }
}
