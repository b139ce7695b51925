// The holder's side of a snapshot (S4). Asked to hold its volume still it issues no write any more, waits for every
// acknowledgement, flushes and says its closes; then its head may be frozen by one entry of the log, here and, of a group,
// everywhere else. Requests wait meanwhile. It goes on when the map names another head. When none comes it asks the log for
// another token: an entry that comes later compares the former one, and freezes nothing. Going on without would let a late
// entry of a group freeze one volume before, and another after, what its guest then wrote.
//
//   open ──hold──▶ draining ──all acknowledged, flushed──▶ held ──another head──▶ open (in the new one)
//     ▲                │ it took too long                     │
//     └────────────────┴──────◀── no entry by then: the next token

import type { TimerHandle } from '../ports/ports.ts';
import type { Parts } from './context.ts';
import type { OpenVolume } from './open-volume.ts';
import type { Done } from './volume-session.ts';

/** What is in flight, the flush and the closes; else the snapshot is refused and writing goes on. */
export const FREEZE_DRAIN_MS = 5000;
/** The log is asked for the end of it after this. */
export const FREEZE_OUTCOME_MS = 5000;
/** The same where the log has not answered. */
export const FREEZE_AGAIN_MS = 1000;

export interface FreezeHooks {
  /** The session holds the lock, and hands it to nobody. */
  readonly isFree: () => boolean;
  /** Makes durable what was acknowledged, and closes it; false = not while the lock was held. */
  readonly flush: (done: (isDone: boolean) => void) => void;
  /** Requests are taken again. */
  readonly reopened: () => void;
}

type FreezeParts = Pick<Parts, 'clock' | 'propose' | 'trace'>;

export class FreezeDesk {
  readonly #parts: FreezeParts;
  readonly #open: Pick<OpenVolume, 'volume' | 'token'>;
  readonly #hooks: FreezeHooks;
  #phase: 'open' | 'draining' | 'held' = 'open';
  /** Counts the holds: what belongs to an earlier one is void. */
  #turn = 0;
  /** Writes that were issued and have not ended. */
  #issued = 0;
  #timer: TimerHandle | undefined;
  #answer: ((isHeld: boolean) => void) | undefined;

  constructor(parts: FreezeParts, open: Pick<OpenVolume, 'volume' | 'token'>, hooks: FreezeHooks) {
    this.#parts = parts;
    this.#open = open;
    this.#hooks = hooks;
  }

  /** True while requests are not taken: they wait. */
  get isClosed(): boolean {
    return this.#phase !== 'open';
  }

  /** A write is issued; the result ends it. */
  issued(finish: Done): Done {
    this.#issued += 1;
    return (error) => {
      this.#issued -= 1;
      finish(error);
      if (this.#phase === 'draining' && this.#issued === 0) this.#flush();
    };
  }

  /** `done` once: true = nothing is under way, and nothing will be before another head or the outcome is known. */
  hold(done: (isHeld: boolean) => void): void {
    if (this.isClosed || !this.#hooks.isFree()) {
      done(false);
      return;
    }
    this.#phase = 'draining';
    this.#turn += 1;
    this.#answer = done;
    this.#timer = this.#parts.clock.setTimer(FREEZE_DRAIN_MS, () => this.#reopen());
    if (this.#issued === 0) this.#flush();
  }

  /** The map names another head, the lock was granted anew, or the session is over. */
  ended(): void {
    if (this.isClosed) this.#reopen();
  }

  #flush(): void {
    const turn = this.#turn;
    this.#hooks.flush((isDone) => {
      if (turn !== this.#turn || this.#phase !== 'draining') return;
      if (!isDone || !this.#hooks.isFree()) {
        this.#reopen();
        return;
      }
      this.#phase = 'held';
      this.#parts.trace.count('freeze.held');
      this.#wait(FREEZE_OUTCOME_MS);
      this.#tell(true);
    });
  }

  #wait(ms: number): void {
    const { clock } = this.#parts;
    if (this.#timer !== undefined) clock.clearTimer(this.#timer);
    this.#timer = clock.setTimer(ms, () => this.#giveUp());
  }

  /** The view says what came of it: another head, or another token. */
  #giveUp(): void {
    const { volume, token } = this.#open;
    this.#parts.trace.event('freeze.given.up', { volume: volume.id, token });
    this.#parts.propose?.({ type: 'holdEnd', volume: volume.id, token });
    this.#wait(FREEZE_AGAIN_MS);
  }

  #reopen(): void {
    this.#phase = 'open';
    this.#turn += 1;
    if (this.#timer !== undefined) this.#parts.clock.clearTimer(this.#timer);
    this.#timer = undefined;
    this.#tell(false);
    this.#hooks.reopened();
  }

  #tell(isHeld: boolean): void {
    const answer = this.#answer;
    this.#answer = undefined;
    answer?.(isHeld);
  }
}
