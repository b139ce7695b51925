// The Clock port of one process: the run's time seen through an offset and a drift of its own. Monotonic.

import type { Clock, RarePoint, TimerHandle } from '../src/ports/ports.ts';
import type { SimProcess } from './sim-process.ts';
import type { Scheduled, World } from './world.ts';

/** How one node's clock differs: what it showed at time 0, and by which factor it runs fast. */
export interface ClockSkew {
  readonly offsetMs: number;
  readonly rate: number;
  /** What was added to its date since: jumps, by people or by NTP. Monotonic time knows none. */
  dateJumpMs?: number;
}

/** 2026-01-01. */
const STORY_DATE_MS = 1_767_225_600_000;

interface Timer {
  readonly event: Scheduled;
  isPending: boolean;
}

export class SimClock implements Clock {
  readonly #world: World;
  readonly #process: SimProcess;
  readonly #skew: ClockSkew;

  constructor(world: World, process: SimProcess, skew: ClockSkew) {
    this.#world = world;
    this.#process = process;
    this.#skew = skew;
  }

  now(): number {
    const nowMs = Math.max(this.#world.nowMs, this.#process.blockedUntilMs);
    return this.#skew.offsetMs + nowMs * this.#skew.rate;
  }

  /** The story begins on one date for all hosts; each runs off as its clock does. */
  date(): number {
    const { rate, dateJumpMs = 0 } = this.#skew;
    return STORY_DATE_MS + Math.round(this.#world.nowMs * rate) + dateJumpMs;
  }

  setTimer(ms: number, fn: () => void): TimerHandle {
    const delayMs = Math.max(0, ms) / this.#skew.rate;
    const event = this.#world.schedule(delayMs, this.#process, () => {
      timer.isPending = false;
      this.#process.timerCount -= 1;
      fn();
    });
    const timer: Timer = { event, isPending: true };
    this.#process.timerCount += 1;
    return timer as unknown as TimerHandle;
  }

  clearTimer(handle: TimerHandle): void {
    const timer = handle as unknown as Timer;
    if (!timer.isPending) return;
    timer.isPending = false;
    timer.event.cancelled = true;
    this.#process.timerCount -= 1;
  }

  rarely(point: RarePoint): boolean {
    return this.#world.takesRare(point, this.#process.name);
  }

  /** An event of the same instant, after those that are due. */
  soon(fn: () => void): void {
    this.#world.schedule(0, this.#process, fn);
  }
}
