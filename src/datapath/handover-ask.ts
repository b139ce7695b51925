// The side of a hand-over that wants the lock (3.2). Beside a live holder it says at once that a client is here: only what
// the holder's guest flushes after that can be its last flush (H1 b). Once a write waits it asks, again and again, until
// the holder answers that it is drained; then the lock actor asks the log to complete it, under the token that was drained.

import type { HandoverReason } from '../core/guest-traffic.ts';
import type { FencingToken } from '../core/ids.ts';
import { isHolderDead } from '../core/lock.ts';
import type { ClusterView, VolumeLock } from '../core/view.ts';
import { STATUS } from '../wire/frame.ts';
import type { Parts } from './context.ts';
import { handoverFrame, reasonIn } from './handover-frames.ts';
import type { OpenVolume } from './open-volume.ts';

/** Between two asks; the holder itself holds an ask for a while. */
export const ASK_AGAIN_MS = 50;
/** A holder waits for quiet, drains and flushes before it answers. */
export const ASK_DEADLINE_MS = 8000;
/** A notice that was not confirmed is said again after this. */
export const NOTICE_AGAIN_MS = 500;

const NO_TOKEN = 0 as FencingToken;

export class HandoverAsk {
  readonly #parts: Parts;
  readonly #open: OpenVolume;
  /** True while a write waits. */
  readonly #isWanted: () => boolean;
  #isConnected = false;
  /** The holder under this token knows of the client. */
  #known = NO_TOKEN;
  #isTelling = false;
  #isAsking = false;
  #reason: HandoverReason = '';

  constructor(parts: Parts, open: OpenVolume, isWanted: () => boolean) {
    this.#parts = parts;
    this.#open = open;
    this.#isWanted = isWanted;
  }

  /** Why the holder did not hand it over when it was asked last; empty when it did not say. */
  get reason(): HandoverReason {
    return this.#reason;
  }

  /** A client is attached. */
  connected(): void {
    this.#isConnected = true;
    this.follow(this.#parts.views.current());
  }

  /** A new view: it may have another holder. */
  follow(view: ClusterView): void {
    const lock = this.#isConnected ? this.#otherHolder(view) : undefined;
    if (lock === undefined || this.#isTelling || lock.token === this.#known) return;
    this.#isTelling = true;
    const { clock, views } = this.#parts;
    const frame = handoverFrame(this.#parts, this.#open, lock.token, true);
    const again = (): void => {
      this.#isTelling = false;
      this.follow(views.current());
    };
    this.#parts.ask(lock.node, frame, ASK_DEADLINE_MS, (reply) => {
      if (reply?.status === STATUS.OK) {
        this.#known = lock.token;
        again();
        return;
      }
      if (reply?.status === STATUS.NOT_HOLDER) this.#parts.pull(reply.mapIndex, lock.node);
      clock.setTimer(NOTICE_AGAIN_MS, again);
    });
  }

  /** A write waits. */
  ask(): void {
    const { state, sessionId } = this.#open;
    const lock = this.#otherHolder(this.#parts.views.current());
    if (lock === undefined || this.#isAsking || state !== 'standby') return;
    this.#isAsking = true;
    this.#parts.trace.count('handover.asked');
    const frame = handoverFrame(this.#parts, this.#open, lock.token, false);
    this.#parts.ask(lock.node, frame, ASK_DEADLINE_MS, (reply) => {
      if (reply?.status === STATUS.OK) {
        this.#isAsking = false;
        const { node, token } = lock;
        this.#parts.trace.event('handover.drained', { node, token, session: sessionId });
        if (this.#isWanted()) this.#parts.lock.offered(this.#open, token);
        else this.#decline(token);
        return;
      }
      if (reply?.status === STATUS.BUSY) this.#reason = reasonIn(reply) ?? '';
      if (reply?.status === STATUS.NOT_HOLDER) this.#parts.pull(reply.mapIndex, lock.node);
      this.#parts.clock.setTimer(ASK_AGAIN_MS, () => {
        this.#isAsking = false;
        if (this.#isWanted()) this.ask();
      });
    });
  }

  /** Who wrote was refused meanwhile: the holder need not find out by waiting that nobody takes it. */
  #decline(token: FencingToken): void {
    this.#parts.propose?.({ type: 'handoverCancel', volume: this.#open.volume.id, token });
  }

  /** The lock of a live holder on another node. */
  #otherHolder(view: ClusterView): VolumeLock | undefined {
    const lock = view.volumes.get(this.#open.volume.id)?.lock;
    if (this.#open.state === 'lost' || this.#open.state === 'held') return undefined;
    if (lock === undefined || lock.state === 'free' || lock.node === this.#parts.self) {
      return undefined;
    }
    return isHolderDead(view, lock) ? undefined : lock;
  }
}
