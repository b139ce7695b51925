// Requests of one session that wait for its lock: for the first judgement of it, beside a live holder for that one to hand
// over or leave (3.2), and at a holder that is handing over for what the log says of it (3.3). The lock itself is the
// actors' business: here is only who asks, who waits, and for how long.

import type { OperatingError } from '../core/errors.ts';
import { attachModeOf, heldError, isPreparedFor } from './attach-rules.ts';
import { isUp, type Parts } from './context.ts';
import { HandoverAsk } from './handover-ask.ts';
import type { OpenVolume } from './open-volume.ts';
import { HANDOVER_TIMEOUT_MS, StandbyWrites } from './standby.ts';
import type { Done } from './volume-session.ts';

/** Nobody could say whether the holder lives: asked again after this. */
export const ASK_HOLDER_MS = 1000;

export class LockWait {
  readonly #parts: Parts;
  readonly #open: OpenVolume;
  readonly #standbyWrites: StandbyWrites;
  /** Requests that wait for the lock to be judged. Bounded by the session's requests in flight. */
  #parked: (() => void)[] = [];
  /** Requests that wait for a current read. Bounded likewise. */
  readonly #doubts: ((isCurrent: boolean) => void)[] = [];
  /** Of a session beside a holder. */
  readonly #handover: HandoverAsk;
  /** This session hands over: its requests wait. */
  readonly #isHandingOver: () => boolean;
  /** A write was refused beside the holder of this token: the next ones are, until then. */
  #refusal = { token: 0, untilMs: 0 };

  constructor(parts: Parts, open: OpenVolume, isHandingOver: () => boolean) {
    this.#parts = parts;
    this.#open = open;
    this.#isHandingOver = isHandingOver;
    this.#standbyWrites = new StandbyWrites(parts.clock);
    this.#handover = new HandoverAsk(parts, open, () => !this.#standbyWrites.isEmpty);
  }

  /** A client is attached. */
  connected(): void {
    this.#handover.connected();
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
        if (this.#isHandingOver()) this.#parked.push(() => this.whenJudged(go, finish));
        else go();
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

  /** Mode `exclusive`: there is nobody beside a holder but its prepared successor. Said after a majority said so. */
  #besideHolder(go: () => void, finish: Done): void {
    const view = this.#parts.views.current();
    const { self } = this.#parts;
    const mayStand = isPreparedFor(view, this.#open.volume, self);
    if (mayStand || attachModeOf(view, this.#open.volume) !== 'exclusive') {
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

  /** Runs `go` as the holder. Beside a live one the request waits: for the hand-over, its end, or its death. */
  whenHolder(finish: Done, go: () => void): void {
    const { clock } = this.#parts;
    let deadline = clock.now() + HANDOVER_TIMEOUT_MS;
    const judged = (): void => {
      if (this.#open.state === 'held') {
        go();
        return;
      }
      if (this.#isRefused()) {
        finish(this.#heldElsewhere());
        return;
      }
      if (clock.now() < deadline) {
        this.#handover.ask();
        this.#standbyWrites.wait(deadline, () => this.whenJudged(judged, finish));
        return;
      }
      this.#whenCurrent((isCurrent) => {
        if (isCurrent && this.#open.state === 'standby' && this.#isHolderAlive()) {
          const untilMs = clock.now() + HANDOVER_TIMEOUT_MS;
          this.#refusal = { token: this.#tokenNow(), untilMs };
          finish(this.#heldElsewhere());
          return;
        }
        deadline = clock.now() + HANDOVER_TIMEOUT_MS;
        this.whenJudged(judged, finish);
      });
    };
    this.whenJudged(judged, finish);
  }

  /** Refused lately, beside this same holder (3.2, 5). */
  #isRefused(): boolean {
    const { token, untilMs } = this.#refusal;
    return this.#parts.clock.now() < untilMs && token === this.#tokenNow();
  }

  #tokenNow(): number {
    return this.#parts.views.current().volumes.get(this.#open.volume.id)?.lock.token ?? 0;
  }

  #heldElsewhere(): OperatingError {
    const { holder } = this.#open;
    const known = this.#parts.views.current().volumes.get(this.#open.volume.id);
    const volume = known ?? this.#open.volume;
    const { lock } = volume;
    const of = lock.node === holder ? lock : { node: holder, sinceMs: 0, from: '' };
    return heldError(volume, of, this.#handover.reason);
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

  /** A new view. */
  viewChanged(): void {
    this.lookAtHolder();
    this.#handover.follow(this.#parts.views.current());
  }

  /** A standby whose holder is gone is none. */
  lookAtHolder(): void {
    if (this.#open.state === 'standby' && !this.#isHolderAlive()) this.#open.idle();
  }
}
