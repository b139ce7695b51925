// The holder's side of a hand-over (3.2, 3.3). Asked for its volume it waits, bounded, until its guest looks stopped (H1),
// takes no request any more, flushes, says its closes and answers `drained`. From then on nothing is executed under its
// token (H4): requests wait for what the log says. Another holder: this session is fenced for good. Itself again, with a
// new token (cancelled): they go on.
//
//   open ──quiet──▶ draining ──flushed, closed──▶ drained ──another's token──▶ (the session is lost)
//     ▲                 │ it took too long           │
//     └─────────────────┴──◀──── the next token ◀────┴── cancels: the successor died, or said nothing for long

import type { GuestTraffic, HandoverReason } from '../core/guest-traffic.ts';
import type { AnswerHandover, Asker, HandoverAnswer } from '../core/handover.ts';
import type { Incarnation, NodeId, SessionId } from '../core/ids.ts';
import type { ClusterView, Volume } from '../core/view.ts';
import type { TimerHandle } from '../ports/ports.ts';
import type { Parts } from './context.ts';
import type { OpenVolume } from './open-volume.ts';

/** An ask is answered with the reason after this, if the guest does not fall silent before. */
export const HOLD_ASK_MS = 1000;
/** Quiet is judged after one more turn of all sockets: after a pause timers fire before sockets are read (H1). */
export const SOCKET_TURN_MS = 1;
/** What is in flight, the last flush and the closes; else the guest goes on. */
export const HANDOVER_DRAIN_MS = 5000;
/** A successor that neither completes nor asks again for so long is given up. */
export const OUTCOME_MS = 10_000;
/** The log is asked to cancel so often. */
export const CANCEL_AGAIN_MS = 1000;
/** Sessions beside this one that are remembered; the oldest is forgotten, and has to wait for another flush. */
export const MAX_BESIDE = 64;

export interface DeskHooks {
  /** The session holds the lock and is not ending. */
  readonly isHolder: () => boolean;
  /** The session has no guest, and gives the lock back. */
  readonly letGo: () => boolean;
  /**
   * Ends what is under way under this token; false = it does not end, nothing was given up.
   * @param isWanted false: the drain was given up, and must end nothing any more
   */
  readonly drain: (isWanted: () => boolean, done: (isDone: boolean) => void) => void;
  /** Requests are taken again. */
  readonly reopened: () => void;
}

/** Who is asking now. */
interface Waiting extends Asker {
  readonly answer: AnswerHandover;
  readonly holdTimer: TimerHandle;
}

/** Who was told that all is drained, or will be. */
interface Successor {
  readonly node: NodeId;
  readonly incarnation: Incarnation | undefined;
}

export class HandoverDesk {
  readonly #parts: Parts;
  readonly #open: OpenVolume;
  readonly #traffic: GuestTraffic;
  readonly #hooks: DeskHooks;
  /** What had been flushed when a client of that node connected. */
  readonly #beside = new Map<NodeId, { readonly session: SessionId; readonly flushes: number }>();
  #phase: 'open' | 'draining' | 'drained' = 'open';
  #waiting: Waiting | undefined;
  #reason: HandoverReason = '';
  #lookTimer: TimerHandle | undefined;
  #successor: Successor | undefined;
  #outcomeTimer: TimerHandle | undefined;
  #isCancelling = false;

  constructor(parts: Parts, open: OpenVolume, traffic: GuestTraffic, hooks: DeskHooks) {
    this.#parts = parts;
    this.#open = open;
    this.#traffic = traffic;
    this.#hooks = hooks;
  }

  /** True while requests are not taken: they wait. */
  get isClosed(): boolean {
    return this.#phase !== 'open';
  }

  /** A client connected on another node. Said twice by one session, the first time counts. */
  noteBeside({ node, session }: Asker): void {
    if (this.#beside.get(node)?.session === session) return;
    this.#beside.delete(node);
    const [oldest] = this.#beside.keys();
    if (this.#beside.size >= MAX_BESIDE && oldest !== undefined) this.#beside.delete(oldest);
    this.#beside.set(node, { session, flushes: this.#traffic.flushes });
  }

  /** Another node asks for the volume. `answer` exactly once, within HOLD_ASK_MS and the drain. */
  ask(asker: Asker, answer: AnswerHandover): void {
    const known = this.#answerTo(asker);
    if (known !== undefined) {
      answer(known);
      return;
    }
    this.#refuse(this.#reason);
    const { clock } = this.#parts;
    const holdTimer = clock.setTimer(HOLD_ASK_MS, () => this.#refuse(this.#reason));
    this.#waiting = { ...asker, answer, holdTimer };
    this.look();
  }

  /** What needs no waiting. */
  #answerTo(asker: Asker): HandoverAnswer | undefined {
    const { node, token } = asker;
    const volume = this.#volume();
    const isMine = volume?.lock.token === token && this.#open.token === token;
    if (!isMine || !this.#hooks.isHolder()) return 'not-holder';
    if (this.#hooks.letGo()) return 'it is being given back';
    const bar = barOf(volume, node);
    if (bar !== undefined) return bar;
    this.noteBeside(asker);
    const isItsOwn = this.#successor?.node === node && !this.#isCancelling;
    if (this.#phase === 'drained' && isItsOwn) {
      this.#awaitOutcome();
      return 'drained';
    }
    const isOthers = this.#waiting !== undefined && this.#waiting.node !== node;
    return isOthers || this.isClosed ? 'it is being handed to another node' : undefined;
  }

  /** Something ended, or time passed: is it quiet now? */
  look(): void {
    const waiting = this.#waiting;
    if (waiting === undefined || this.#phase !== 'open') return;
    const verdict = this.#traffic.judge(this.#termsOf(waiting), this.#parts.clock.now());
    if (verdict.isQuiet) {
      this.#reason = '';
      // Announced: a guest that only reads need not fall silent.
      if (this.#termsOf(waiting).isPrepared) this.#drain(waiting);
      else this.#lookTwice(waiting);
      return;
    }
    this.#reason = verdict.reason;
    if (verdict.waitMs > 0) this.#lookLater(verdict.waitMs);
  }

  /** H1: what a paused process finds in its sockets comes after its timers. */
  #lookTwice(waiting: Waiting): void {
    const { clock } = this.#parts;
    const { requests } = this.#traffic;
    clock.setTimer(SOCKET_TURN_MS, () => {
      clock.soon(() => {
        if (waiting !== this.#waiting || this.#phase !== 'open') return;
        if (requests === this.#traffic.requests) this.#drain(waiting);
        else this.look();
      });
    });
  }

  #termsOf({ node }: Waiting): { readonly isPrepared: boolean; readonly flushesBefore: number } {
    const flushesBefore = this.#beside.get(node)?.flushes ?? this.#traffic.flushes;
    return { isPrepared: this.#volume()?.lock.next === node, flushesBefore };
  }

  #lookLater(ms: number): void {
    if (this.#lookTimer !== undefined) return;
    this.#lookTimer = this.#parts.clock.setTimer(ms, () => {
      this.#lookTimer = undefined;
      this.look();
    });
  }

  // ------------------------------------------------------------------------------------------ draining

  #drain(waiting: Waiting): void {
    const { clock, views, trace } = this.#parts;
    const { node } = waiting;
    clock.clearTimer(waiting.holdTimer);
    this.#phase = 'draining';
    this.#successor = { node, incarnation: views.current().members.get(node)?.incarnation };
    let isOver = false;
    const over = (isDone: boolean): void => {
      if (isOver) return;
      isOver = true;
      clock.clearTimer(timer);
      // The session may be over by now: it has answered then.
      if (this.#phase !== 'draining') return;
      if (isDone && this.#hooks.isHolder()) this.#drained();
      else this.#reopen('what it has in flight does not end');
    };
    const timer = clock.setTimer(HANDOVER_DRAIN_MS, () => over(false));
    trace.event('handover.draining', { volume: this.#open.volume.id, to: node });
    this.#hooks.drain(() => !isOver && this.#phase === 'draining', over);
  }

  #drained(): void {
    this.#phase = 'drained';
    this.#awaitOutcome();
    this.#answer('drained');
  }

  #reopen(reason: HandoverReason): void {
    this.#phase = 'open';
    this.#successor = undefined;
    this.#answer(reason);
    this.#hooks.reopened();
  }

  // ------------------------------------------------------------------------------------------ the outcome

  #awaitOutcome(): void {
    const { clock } = this.#parts;
    if (this.#outcomeTimer !== undefined) clock.clearTimer(this.#outcomeTimer);
    this.#outcomeTimer = clock.setTimer(OUTCOME_MS, () => this.#cancel());
  }

  /** 3.3.6: only the log lets this session go on. Compared by token: the successor may have been quicker. */
  #cancel(): void {
    const { clock, trace } = this.#parts;
    const { volume, token } = this.#open;
    if (this.#phase !== 'drained') return;
    this.#isCancelling = true;
    trace.event('handover.cancelled', { volume: volume.id, token });
    this.#parts.propose?.({ type: 'handoverCancel', volume: volume.id, token });
    this.#outcomeTimer = clock.setTimer(CANCEL_AGAIN_MS, () => this.#cancel());
  }

  viewChanged(view: ClusterView): void {
    if (this.#phase !== 'drained' || this.#isCancelling || this.#successor === undefined) return;
    const { node, incarnation } = this.#successor;
    const member = view.members.get(node);
    if (member?.state === 'up' && member.incarnation === incarnation) return;
    this.#stopWaiting();
    this.#cancel();
  }

  /** A grant: the log's last word on all before. */
  granted(): void {
    this.#stopWaiting();
    this.#phase = 'open';
    this.#successor = undefined;
  }

  /** The session is over. */
  lost(): void {
    this.granted();
    this.#refuse('not-holder');
  }

  #stopWaiting(): void {
    const { clock } = this.#parts;
    for (const timer of [this.#outcomeTimer, this.#lookTimer]) {
      if (timer !== undefined) clock.clearTimer(timer);
    }
    this.#outcomeTimer = undefined;
    this.#lookTimer = undefined;
    this.#isCancelling = false;
  }

  // ------------------------------------------------------------------------------------------ answers

  #refuse(answer: HandoverAnswer): void {
    if (this.#phase === 'open') this.#answer(answer);
  }

  #answer(answer: HandoverAnswer): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    this.#parts.clock.clearTimer(waiting.holdTimer);
    waiting.answer(answer);
  }

  #volume(): Volume | undefined {
    return this.#parts.views.current().volumes.get(this.#open.volume.id);
  }
}

/** Why this node is not given the volume, whatever its guest does. */
function barOf({ lock, attachMode }: Volume, node: NodeId): HandoverReason | undefined {
  if (lock.next === node) return undefined;
  if (lock.next !== 0) return 'a hand-over to another node is prepared';
  const isExclusive = attachMode === 'exclusive';
  return isExclusive ? 'its mode is exclusive, and no hand-over is prepared' : undefined;
}
