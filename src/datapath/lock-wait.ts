// Requests of one session that wait for its lock: for the first judgement of it, or, beside a live holder, for that one to
// let go (3.2). The lock itself is the actors' business: here is only who asks, who waits, and for how long.

import type { OperatingError } from '../core/errors.ts';
import { attachModeOf, heldError } from './attach-rules.ts';
import { isUp, type Parts } from './context.ts';
import type { OpenVolume } from './open-volume.ts';
import { askToLetGo, HOLDER_WAIT_MS, StandbyWrites } from './standby.ts';
import type { Done } from './volume-session.ts';

/** A holder is asked to let go at most this often. */
export const ASK_HOLDER_MS = 1000;

export class LockWait {
  readonly #parts: Parts;
  readonly #open: OpenVolume;
  readonly #standbyWrites: StandbyWrites;
  /** Requests that wait for the lock to be judged. Bounded by the session's requests in flight. */
  #parked: (() => void)[] = [];
  /** Requests that wait for a current read. Bounded likewise. */
  readonly #doubts: ((isCurrent: boolean) => void)[] = [];
  #nextAskMs = 0;

  constructor(parts: Parts, open: OpenVolume) {
    this.#parts = parts;
    this.#open = open;
    this.#standbyWrites = new StandbyWrites(parts.clock);
  }

  /** True while no request waits for a live holder to let go. */
  get isNobodyWaiting(): boolean {
    return this.#standbyWrites.isEmpty;
  }

  /** Runs `go` when the session holds the lock or knows to be standby; fails the request when it is lost. */
  whenJudged(go: () => void, finish: Done): void {
    const open = this.#open;
    this.lookAtHolder();
    switch (open.state) {
      case 'held':
        go();
        return;
      case 'standby':
        this.#besideHolder(go, finish);
        return;
      case 'lost':
        finish(open.error);
        return;
      default:
        this.#parked.push(() => this.whenJudged(go, finish));
        open.want();
    }
  }

  /** Mode `exclusive`: there is nobody beside a holder. Said after a majority said so. */
  #besideHolder(go: () => void, finish: Done): void {
    const view = this.#parts.views.current();
    if (attachModeOf(view, this.#open.volume) !== 'exclusive') {
      go();
      return;
    }
    this.#whenCurrent((isCurrent) => {
      const isBeside = this.#open.state === 'standby' && this.#isHolderAlive();
      if (isBeside && isCurrent) finish(this.#heldElsewhere());
      else if (isBeside) this.#standbyWrites.wait(this.#soon(), () => this.whenJudged(go, finish));
      else this.whenJudged(go, finish);
    });
  }

  /** When to ask again where nobody could say. */
  #soon(): number {
    return this.#parts.clock.now() + ASK_HOLDER_MS;
  }

  /** Runs `go` as the holder. Beside a live one the request waits: that one may be draining, or dead and not yet known. */
  whenHolder(finish: Done, go: () => void): void {
    const { clock } = this.#parts;
    let deadline = clock.now() + HOLDER_WAIT_MS;
    const judged = (): void => {
      if (this.#open.state === 'held') {
        go();
        return;
      }
      if (clock.now() < deadline) {
        this.#askHolder();
        this.#standbyWrites.wait(deadline, () => this.whenJudged(judged, finish));
        return;
      }
      this.#whenCurrent((isCurrent) => {
        if (isCurrent && this.#open.state === 'standby' && this.#isHolderAlive()) {
          finish(this.#heldElsewhere());
          return;
        }
        deadline = clock.now() + HOLDER_WAIT_MS;
        this.whenJudged(judged, finish);
      });
    };
    this.whenJudged(judged, finish);
  }

  /** A holder that only copies a volume which moves has no guest: it makes room for one (S8). */
  #askHolder(): void {
    const { clock, views } = this.#parts;
    const open = this.#open;
    const isMoving = views.current().moves.has(open.volume.id);
    if (!isMoving || open.state !== 'standby' || clock.now() < this.#nextAskMs) return;
    this.#nextAskMs = clock.now() + ASK_HOLDER_MS;
    askToLetGo(this.#parts, open);
  }

  #heldElsewhere(): OperatingError {
    const { holder } = this.#open;
    const known = this.#parts.views.current().volumes.get(this.#open.volume.id);
    const volume = known ?? this.#open.volume;
    const { lock } = volume;
    return heldError(volume, lock.node === holder ? lock : { node: holder, sinceMs: 0, from: '' });
  }

  /** C2.3: a guest hears of another holder after a majority said so. Who asks meanwhile waits for long: a read is shared. */
  #whenCurrent(then: (isCurrent: boolean) => void): void {
    this.#doubts.push(then);
    if (this.#doubts.length > 1) return;
    this.#parts.readCurrent((isCurrent) => {
      for (const judge of this.#doubts.splice(0)) judge(isCurrent);
    });
  }

  /** There is a standby only beside a live holder (3.2). */
  #isHolderAlive(): boolean {
    const view = this.#parts.views.current();
    const lock = view.volumes.get(this.#open.volume.id)?.lock;
    if (lock === undefined || lock.state !== 'held' || lock.node !== this.#open.holder)
      return false;
    return isUp(view, lock.node) && view.members.get(lock.node)?.incarnation === lock.incarnation;
  }

  /** The lock has changed: all judge again. */
  changed(): void {
    for (const retry of this.#parked.splice(0)) retry();
    this.#standbyWrites.wake();
  }

  /** A standby whose holder is gone is none. */
  lookAtHolder(): void {
    if (this.#open.state === 'standby' && !this.#isHolderAlive()) this.#open.idle();
  }
}
