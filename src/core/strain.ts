// What guests feel of recovery: the latency of their requests now, relative to what it is while nothing is recovered.
// A gateway measures it and tells it with each request that it sends to replicas, as one number. Pure; time is given.

import { KIB } from './units.ts';

/** The number for "as without recovery"; twice it: twice the latency. 0: no guest. */
export const CALM = 32;
export const MAX_STRAIN = 255;
/** A look is at requests of this long, and of at least so many; after LONGEST_MS at those there are. */
export const LOOK_MS = 200;
export const LEAST_REQUESTS = 20;
export const LONGEST_MS = 1000;
/** Requests of one look that are kept. */
export const MAX_KEPT_REQUESTS = 1024;
/** Larger requests take longer by nature: they are judged apart. */
export const SMALL_REQUEST_BYTES = 64 * KIB;
/** The latency that this share of requests stays below is what counts: nearly all of them. */
const QUANTILE = 0.97;
/** How fast the calm latency follows what is seen while nothing is recovered, and while something is: hardly. */
const FOLLOW_CALM = 0.2;
const FOLLOW_ANYWAY = 0.002;
/** A word of a guest counts this long. */
export const STRAIN_HOLDS_MS = 1000;

/** Requests of one size class. */
class Latencies {
  readonly #kept: number[] = [];
  #calmMs: number | undefined;
  #strain = 0;
  #beganMs = 0;
  #notedMs = Number.NEGATIVE_INFINITY;
  #endedMs = Number.NEGATIVE_INFINITY;

  note(ms: number, now: number): void {
    if (this.#kept.length === 0) this.#beganMs = now;
    this.#notedMs = now;
    if (this.#kept.length < MAX_KEPT_REQUESTS) this.#kept.push(ms);
  }

  /** @param isCalm nothing is being recovered */
  strain(now: number, isCalm: boolean): number {
    // Who asks late must not take a guest that is gone for one at work.
    if (now - this.#notedMs > LONGEST_MS + STRAIN_HOLDS_MS) this.#kept.length = 0;
    const forMs = now - this.#beganMs;
    const isDue = this.#kept.length >= LEAST_REQUESTS ? forMs >= LOOK_MS : forMs >= LONGEST_MS;
    if (this.#kept.length > 0 && isDue) this.#look(now, isCalm);
    return now - this.#endedMs <= STRAIN_HOLDS_MS ? this.#strain : 0;
  }

  #look(now: number, isCalm: boolean): void {
    const sorted = this.#kept.splice(0).sort((a, b) => a - b);
    const seen = Math.max(sorted[Math.floor((sorted.length - 1) * QUANTILE)] ?? 0, Number.EPSILON);
    const calm = this.#calmMs;
    if (calm === undefined) this.#calmMs = seen;
    else
      this.#calmMs = calm + (seen - calm) * (isCalm || seen < calm ? FOLLOW_CALM : FOLLOW_ANYWAY);
    const ratio = seen / (this.#calmMs as number);
    this.#strain = Math.max(1, Math.min(MAX_STRAIN, Math.round(ratio * CALM)));
    this.#endedMs = now;
  }
}

export class GuestStrain {
  readonly #small = new Latencies();
  readonly #large = new Latencies();
  #heard = 0;
  #heardMs = Number.NEGATIVE_INFINITY;

  /** A request of a guest of this node was answered. */
  note(ms: number, bytes: number, now: number): void {
    (bytes <= SMALL_REQUEST_BYTES ? this.#small : this.#large).note(ms, now);
  }

  /** Another gateway said this with a request. */
  hear(strain: number, now: number): void {
    if (strain === 0) return;
    this.#heard = strain;
    this.#heardMs = now;
  }

  /** Of the guests of this node; 0 = none at work. */
  own(now: number, isCalm: boolean): number {
    return Math.max(this.#small.strain(now, isCalm), this.#large.strain(now, isCalm));
  }

  /** Of guests that this node serves, as gateway or as replica: what it tells those who copy from it. */
  served(now: number, isCalm: boolean): number {
    const heard = now - this.#heardMs <= STRAIN_HOLDS_MS ? this.#heard : 0;
    return Math.max(this.own(now, isCalm), heard);
  }
}
