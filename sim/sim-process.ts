// One life of a node's process. A crash ends it: events that belong to it are dropped, calls on its ports are swallowed,
// and nothing that it awaited ever comes. The next start of the same node is another process.

import type { EventOwner } from './event-heap.ts';
import type { World } from './world.ts';

export class SimProcess implements EventOwner {
  readonly name: string;
  /** Timers set and not yet run or cleared, for the bounds checker. */
  timerCount = 0;
  pausedUntilMs = 0;
  /** Before that it is at a call that takes time. */
  blockedUntilMs = 0;
  /** Sum of such calls. */
  blockedMs = 0;
  /** What an event of this process threw; the node's owner decides what it means. */
  onCrash: (error: unknown) => void = () => {};
  readonly #world: World;
  #isAlive = true;

  constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  end(): void {
    this.#isAlive = false;
  }

  /** All of its events, timers too, come late by this much. */
  pause(ms: number): void {
    this.pausedUntilMs = this.#world.nowMs + ms;
    this.#world.inject('pause', this.name);
  }

  /** What it is at takes so long: its clock goes on at once, all of its other events come late by this much. */
  block(ms: number): void {
    this.pausedUntilMs = Math.max(this.pausedUntilMs, this.#world.nowMs) + ms;
    this.blockedUntilMs = this.pausedUntilMs;
    this.blockedMs += ms;
  }

  onThrow(error: unknown): void {
    this.onCrash(error);
  }
}
