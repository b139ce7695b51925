// A clock that stands still until told: events by (time, order), `soon` after each of them. And a seeded random.

import type { Clock, Random, TimerHandle } from '../../src/ports/ports.ts';

interface Due {
  readonly at: number;
  readonly order: number;
  readonly fn: () => void;
}

export class FakeClock implements Clock {
  #now = 0;
  #order = 0;
  readonly #due: Due[] = [];
  #soon: (() => void)[] = [];

  now(): number {
    return this.#now;
  }

  date(): number {
    return this.#now;
  }

  setTimer(ms: number, fn: () => void): TimerHandle {
    this.#order += 1;
    const due: Due = { at: this.#now + Math.max(0, ms), order: this.#order, fn };
    let at = this.#due.length;
    while (at > 0 && (this.#due[at - 1] as Due).at > due.at) at -= 1;
    this.#due.splice(at, 0, due);
    return due as unknown as TimerHandle;
  }

  clearTimer(handle: TimerHandle): void {
    const at = this.#due.indexOf(handle as unknown as Due);
    if (at >= 0) this.#due.splice(at, 1);
  }

  soon(fn: () => void): void {
    this.#soon.push(fn);
  }

  /** Ends the present tick. */
  endTick(): void {
    for (let rounds = 0; this.#soon.length > 0; rounds += 1) {
      if (rounds > 100_000) throw new RangeError('soon without end');
      for (const fn of this.#soon.splice(0)) fn();
    }
  }

  /** Runs all that falls due within `ms`. */
  run(ms: number): void {
    const end = this.#now + ms;
    this.endTick();
    for (;;) {
      const next = this.#due[0];
      if (next === undefined || next.at > end) break;
      this.#due.shift();
      this.#now = Math.max(this.#now, next.at);
      next.fn();
      this.endTick();
    }
    this.#now = end;
  }

  /** Runs until `isDone`, at most `ms`. @returns whether it is */
  until(isDone: () => boolean, ms: number): boolean {
    const end = this.#now + ms;
    this.endTick();
    while (!isDone()) {
      const next = this.#due[0];
      if (next === undefined || next.at > end) return isDone();
      this.#due.shift();
      this.#now = Math.max(this.#now, next.at);
      next.fn();
      this.endTick();
    }
    return true;
  }
}

export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  u32(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  }

  below(n: number): number {
    return this.u32() % n;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  fork(label: string): Random {
    let seed = this.#state;
    for (const char of label) seed = Math.imul(seed, 31) + char.charCodeAt(0);
    return new SeededRandom(seed);
  }
}
