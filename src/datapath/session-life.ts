// The end of a session: its connections are counted; after the last one what is in flight may end (bounded), what is
// closed is said, and the lock is given back. A new connection that comes while it drains takes the session up again.
//
//   open ──last disconnect──▶ draining ──idle, or DRAIN_MS──▶ releasing ──lock is free──▶ ended
//    ▲                            │
//    └────────── connect ─────────┘

import { OperatingError } from '../core/errors.ts';
import type { ClusterView } from '../core/view.ts';
import type { Parts } from './context.ts';
import type { OpenVolume } from './open-volume.ts';

/** A drain gives up after this; what hangs then is failed, not acknowledged. */
export const DRAIN_MS = 5000;
/** The release is not waited for longer; the sweep of the lock actors gives back what is left. */
export const RELEASE_MS = 5000;

export interface LifeHooks {
  readonly isIdle: () => boolean;
  /** Says what is closed (R6), so that the next first touch is quick. */
  readonly sayCloses: (done: () => void) => void;
  readonly onEnded: () => void;
}

export class SessionLife {
  readonly #parts: Parts;
  readonly #open: OpenVolume;
  readonly #hooks: LifeHooks;
  #phase: 'open' | 'draining' | 'releasing' | 'ended' = 'open';
  #connections = 0;
  #onIdle: (() => void) | undefined;
  #waiters: (() => void)[] = [];

  constructor(parts: Parts, open: OpenVolume, hooks: LifeHooks) {
    this.#parts = parts;
    this.#open = open;
    this.#hooks = hooks;
    open.onReleased(() => this.#ended());
  }

  /** True while requests are taken and connections may share the session. */
  get isTaking(): boolean {
    return this.#phase === 'open' || this.#phase === 'draining';
  }

  get connections(): number {
    return this.#connections;
  }

  connect(): void {
    this.#connections += 1;
    if (this.#phase === 'draining') this.#phase = 'open';
  }

  disconnect(): Promise<void> {
    this.#connections = Math.max(0, this.#connections - 1);
    return this.#connections > 0 ? Promise.resolve() : this.end();
  }

  /** Ends the session for all its connections. Never rejects. */
  end(): Promise<void> {
    if (this.#phase === 'ended') return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
      this.#drain();
    });
  }

  /** The last request in flight was answered. */
  idle(): void {
    this.#onIdle?.();
  }

  #drain(): void {
    if (this.#phase !== 'open') return;
    this.#phase = 'draining';
    const { clock } = this.#parts;
    const over = (): void => {
      if (this.#onIdle !== over) return;
      this.#onIdle = undefined;
      clock.clearTimer(timer);
      if (this.#phase === 'draining') this.#release();
      else this.#tellWaiters();
    };
    const timer = clock.setTimer(DRAIN_MS, over);
    this.#onIdle = over;
    if (this.#hooks.isIdle()) over();
  }

  #release(): void {
    this.#phase = 'releasing';
    this.#hooks.sayCloses(() => {
      const { clock, lock, views } = this.#parts;
      const { token } = this.#open;
      const isFree = token === 0 || this.#isReleased(views.current(), token);
      if (this.#open.wasAsked) lock.drained(this.#open);
      // Whatever still hangs is failed, never acknowledged.
      this.#open.lost(new OperatingError('shutting-down', 'the session was closed'));
      if (isFree) {
        this.#ended();
        return;
      }
      const timer = clock.setTimer(RELEASE_MS, () => this.#ended());
      const stop = views.onChange((view) => {
        if (this.#isReleased(view, token)) this.#ended();
      });
      this.#waiters.push(() => {
        clock.clearTimer(timer);
        stop();
      });
    });
  }

  #isReleased(view: ClusterView, token: number): boolean {
    const lock = view.volumes.get(this.#open.volume.id)?.lock;
    return lock === undefined || lock.state !== 'held' || lock.token !== token;
  }

  #ended(): void {
    if (this.#phase === 'ended') return;
    this.#phase = 'ended';
    this.#hooks.onEnded();
    this.#tellWaiters();
  }

  #tellWaiters(): void {
    for (const fn of this.#waiters.splice(0)) fn();
  }
}
