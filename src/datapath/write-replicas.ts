// Writes of a session on their way to all replicas: one frame to every member of W(p) = I + J under the cfg known now,
// in order per object; sent again under each new cfg and after each failure until all of W confirms (R2, R3, 4.3).
// Acknowledges only what all of W at the cfg known NOW made durable, with at least minCopies in sync.

import { backoffMs } from '../core/backoff.ts';
import { OperatingError } from '../core/errors.ts';
import type { MapIndex, NodeId } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import { keepMemory } from '../core/lent-memory.ts';
import { shrink } from '../core/partition.ts';
import { isAcknowledged, planWrite, type WritePlan, withAnswer } from '../core/write-plan.ts';
import { FLAG, type Frame, OP, STATUS } from '../wire/frame.ts';
import { configOf, isUp, lossOfPart, type Parts, requestFrame } from './context.ts';
import type { PathCell } from './path-cell.ts';
import { stackOf } from './stack.ts';
import {
  type Change,
  type Link,
  MAX_OBJECT_IN_FLIGHT,
  type NumberedWrite,
  type ObjectPipe,
} from './version-pipe.ts';

/** An unanswered write is sent again after this; detection, not the deadline, decides who is gone. */
export const WRITE_DEADLINE_MS = 5000;
/** Pause before a failed stream starts again; doubles up to the maximum. */
export const RESEND_MIN_MS = 10;
export const RESEND_MAX_MS = 1000;
/** Pause after a member had no room. */
export const NO_SPACE_RETRY_MS = 1000;
/** How long a member without room has to leave the in-sync set before the guest is told ENOSPC (4.9). */
export const NO_SPACE_LEAVE_MS = 4000;
/** A write that hangs this long for want of room is answered ENOSPC; its number stays. */
export const NO_SPACE_ANSWER_MS = 5000;

/** What the writer needs from its session. */
export interface WriterHooks {
  /** Learns `pipe.last`; calls `then` later if it succeeds. */
  readonly lookUp: (pipe: ObjectPipe, then: () => void) => void;
  /** Calls `then` when the partition is touched or the session lost. */
  readonly whenTouched: (p: number, then: () => void) => void;
  /** False while the partition must be touched (again): nothing is sent (R8). */
  readonly isTouched: (p: number) => boolean;
  /** `pipe.acked` has risen. */
  readonly onAcked: (pipe: ObjectPipe) => void;
  /** Everything of this object is acknowledged: its close may go out. */
  readonly onQuiet: (pipe: ObjectPipe) => void;
  /** The object hangs for want of room: what waits for a range of it is to be refused (R2). */
  readonly onHang: (pipe: ObjectPipe) => void;
}

export class ReplicaWriter {
  readonly #parts: Parts;
  readonly #open: PathCell;
  readonly #hooks: WriterHooks;
  /** Pipes with something waiting or in flight. Bounded by the session's requests. */
  readonly #active = new Set<ObjectPipe>();

  constructor(parts: Parts, open: PathCell, hooks: WriterHooks) {
    this.#parts = parts;
    this.#open = open;
    this.#hooks = hooks;
  }

  /** Takes a change whose range is held; `change.done` once, without an error only when it is acknowledged (R3). */
  submit(pipe: ObjectPipe, change: Change): void {
    if (!this.#open.isHeld) {
      change.done(this.#lossOf());
      return;
    }
    const bar = this.lossOf(pipe) ?? (pipe.isHanging ? noSpace() : undefined);
    if (bar !== undefined) {
      change.done(bar);
      return;
    }
    pipe.waiting.push(change);
    this.#active.add(pipe);
    this.#advance(pipe);
  }

  /** A new view: what is in flight under another cfg is sent again under the new one (4.3). */
  viewChanged(): void {
    for (const pipe of [...this.#active]) {
      const lost = this.lossOf(pipe);
      if (lost !== undefined) this.#fell(pipe, lost);
      if (pipe.inFlight.length === 0) continue;
      this.#planOf(pipe);
      this.#settle(pipe);
    }
  }

  /** The session is lost: fails everything, once no request refers to the guest's bytes any more. */
  sessionLost(): void {
    const error = this.#lossOf();
    for (const pipe of [...this.#active]) {
      for (const change of pipe.waiting.splice(0)) change.done(error);
      this.#dropLinks(pipe);
      for (const write of pipe.inFlight.slice()) this.#failIfFree(pipe, write);
    }
  }

  #advance(pipe: ObjectPipe): void {
    if (pipe.waiting.length === 0 || !this.#open.isHeld || pipe.isLookingUp) return;
    if (!pipe.isKnown) {
      pipe.isLookingUp = true;
      this.#hooks.whenTouched(pipe.p, () => this.#lookUp(pipe));
      return;
    }
    while (pipe.waiting.length > 0 && pipe.inFlight.length < MAX_OBJECT_IN_FLIGHT) {
      if (pipe.isHanging || !this.#open.isHeld) break;
      this.#issue(pipe, pipe.waiting.shift() as Change);
    }
  }

  #lookUp(pipe: ObjectPipe): void {
    if (!this.#open.isHeld) {
      pipe.isLookingUp = false;
      return;
    }
    this.#hooks.lookUp(pipe, () => {
      pipe.isLookingUp = false;
      this.#advance(pipe);
    });
  }

  #issue(pipe: ObjectPipe, change: Change): void {
    if (change.kind === 'zero' && pipe.last.count === 0 && !this.#showsOthers) {
      // Never written by anybody: reads as zeroes already. Sparse volumes stay sparse under discard.
      this.#leaveIfIdle(pipe);
      change.done(undefined);
      return;
    }
    this.#planOf(pipe);
    // Decided once: each replica is told the same, however often.
    const isWhole = change.isTrim === true && !this.#showsOthers;
    const asked = isWhole ? { ...change, isTrim: false } : change;
    pipe.number(asked, this.#open.token, this.#parts.clock.now());
    this.#pump(pipe);
  }

  /** What was never written in this generation shows what lies above it. */
  get #showsOthers(): boolean {
    return stackOf(this.#parts.views.current(), this.#open.volume.head).size > 1;
  }

  /**
   * The plan under the view known now. Under a new cfg every stream starts again: confirmations given under another
   * cfg do not count, the replicas confirm duplicates (R3).
   */
  #planOf(pipe: ObjectPipe): WritePlan {
    const view = this.#parts.views.current();
    if (pipe.plan !== undefined && pipe.planIndex === view.index) return pipe.plan;
    const { volume } = this.#open;
    const policy = view.policies.get(volume.policy);
    invariant(policy !== undefined, 'the policy of a volume exists');
    const before = pipe.plan;
    const plan = planWrite(configOf(view, volume, pipe.p), policy, (node) => isUp(view, node));
    pipe.plan = plan;
    pipe.planIndex = view.index;
    if (before?.cfg === plan.cfg) return plan;
    this.#dropLinks(pipe);
    for (const write of pipe.inFlight) write.answers = 0;
    this.#pump(pipe);
    return plan;
  }

  #pump(pipe: ObjectPipe): void {
    const { plan } = pipe;
    for (const node of plan?.members ?? []) {
      if (pipe.plan?.cfg !== plan?.cfg) return;
      this.#pumpLink(pipe, pipe.linkOf(node));
    }
  }

  /** Sends what this replica was not sent yet in the present stream, in order. */
  #pumpLink(pipe: ObjectPipe, link: Link): void {
    const { stream } = link;
    const first = pipe.inFlight[0];
    if (first === undefined || link.timer !== undefined || this.#isHeldBack(pipe)) return;
    let at = Math.max(0, link.sent - first.next.count + 1);
    while (at < pipe.inFlight.length) {
      const write = pipe.inFlight[at] as NumberedWrite;
      link.sent = write.next.count;
      if (!hasAnswered(pipe, write, link.node)) this.#send(pipe, link, write);
      // An own copy may answer at once: the stream may have been stopped, or the front acknowledged.
      if (link.stream !== stream || !this.#open.isHeld) return;
      at = Math.max(0, link.sent - (pipe.inFlight[0]?.next.count ?? Infinity) + 1);
      if (pipe.inFlight.length === 0) return;
    }
  }

  /** A member may lack what it confirmed: no write of the partition goes out before the touch has made all equal (R8). */
  #isHeldBack(pipe: ObjectPipe): boolean {
    if (pipe.isHeldBack) return true;
    if (this.#hooks.isTouched(pipe.p)) return false;
    pipe.isHeldBack = true;
    this.#hooks.whenTouched(pipe.p, () => {
      pipe.isHeldBack = false;
      if (!this.#open.isHeld) return;
      this.#planOf(pipe);
      this.#pump(pipe);
    });
    return pipe.isHeldBack;
  }

  #send(pipe: ObjectPipe, link: Link, write: NumberedWrite): void {
    const cfg = pipe.plan?.cfg;
    const { stream } = link;
    write.outstanding += 1;
    this.#parts.ask(link.node, this.#frameOf(pipe, write), WRITE_DEADLINE_MS, (reply) => {
      write.outstanding -= 1;
      // It may lie in a socket yet.
      if (reply === undefined) keepMemory(write.data);
      if (!this.#open.isHeld) return this.#failIfFree(pipe, write);
      if (pipe.plan?.cfg !== cfg) return;
      if (reply?.status === STATUS.OK) {
        const isLost = this.#parts.clock.rarely?.('confirmation-lost') === true;
        if (!isLost) return this.#confirmed(pipe, link, write);
        if (link.stream === stream) this.#failed(pipe, link, undefined);
        return;
      }
      // Also of an older stream: the GAP of the writes behind it comes first, and must not hide the cause.
      if (reply?.status === STATUS.NOSPC) this.#hang(pipe, link.node);
      if (link.stream === stream) this.#failed(pipe, link, reply);
      const lost = this.lossOf(pipe);
      if (lost !== undefined) return this.#giveUp(write, lost);
      // Of many that were refused at once only the first one failed the stream: each is looked at when it is free.
      if (pipe.isHanging) this.#giveUpIfDue(write);
    });
  }

  #frameOf(pipe: ObjectPipe, write: NumberedWrite): Frame {
    const { change } = write;
    const { volume, token } = this.#open;
    const isWrite = change.kind === 'write';
    const frame = requestFrame(this.#parts.views.current(), isWrite ? OP.WRITE : OP.ZERO);
    frame.generation = volume.head;
    frame.index = pipe.index;
    frame.offset = change.offset;
    frame.count = change.count;
    frame.cfg = (pipe.plan as WritePlan).cfg;
    frame.partition = pipe.p;
    frame.token = token;
    frame.verToken = write.prev.token;
    frame.verCount = write.prev.count;
    frame.closed = pipe.durable;
    frame.status = this.#parts.streams.strainTold;
    if (change.isForced) frame.flags |= FLAG.SYNC;
    if (change.isTrim === true) frame.flags |= FLAG.NO_COW;
    frame.volume = volume.id;
    if (isWrite) {
      frame.flags |= FLAG.SUMS;
      frame.sums = change.sums;
      frame.payload = write.data;
    }
    return frame;
  }

  #confirmed(pipe: ObjectPipe, link: Link, write: NumberedWrite): void {
    link.failures = 0;
    write.answers = withAnswer(pipe.plan as WritePlan, write.answers, link.node);
    this.#settle(pipe);
  }

  /** Acknowledges from the front of the pipe whatever the rule allows (R3). */
  #settle(pipe: ObjectPipe): void {
    if (!this.#open.isHeld) return;
    const plan = this.#planOf(pipe);
    let count = 0;
    while (count < pipe.inFlight.length) {
      if (!isAcknowledged(plan, (pipe.inFlight[count] as NumberedWrite).answers)) break;
      count += 1;
    }
    if (count === 0) return;
    const done = pipe.inFlight.splice(0, count);
    pipe.acked = (done.at(-1) as NumberedWrite).next;
    if (this.#open.volume.durability === 'durable') pipe.durable = pipe.acked.count;
    this.#hooks.onAcked(pipe);
    pipe.isHanging = false;
    for (const write of done) this.#answer(write, undefined);
    this.#advance(pipe);
    this.#leaveIfIdle(pipe);
  }

  #failed(pipe: ObjectPipe, link: Link, reply: Frame | undefined): void {
    const { trace } = this.#parts;
    let pauseMs = backoffMs(link.failures, RESEND_MIN_MS, RESEND_MAX_MS);
    switch (reply?.status) {
      case STATUS.FENCED:
        this.#open.fenced();
        return;
      case STATUS.STALE:
      case STATUS.NOT_MEMBER:
      case STATUS.GONE:
      case STATUS.FROZEN:
        // S3: the map names another head by then, and what is not acknowledged goes there.
        this.#parts.pull(reply.mapIndex as MapIndex, link.node);
        break;
      case STATUS.NOSPC:
        pauseMs = NO_SPACE_RETRY_MS;
        break;
      case STATUS.DIVERGED:
      case STATUS.BAD:
      case STATUS.IO:
      case STATUS.SUSPECT:
        trace.warn('write.refused', { node: link.node, status: reply.status, index: pipe.index });
        break;
      default:
        trace.count('write.resent');
    }
    if (this.#open.isHeld) this.#pause(pipe, link, pauseMs);
  }

  #pause(pipe: ObjectPipe, link: Link, ms: number): void {
    link.stream += 1;
    link.failures += 1;
    link.sent = 0;
    link.timer = this.#parts.clock.setTimer(ms, () => {
      link.timer = undefined;
      if (this.#open.isHeld) this.#pumpLink(pipe, link);
    });
  }

  /** A member has no room: waiting writes get ENOSPC before a number, old numbered ones after a while (R2, 4.9). */
  #hang(pipe: ObjectPipe, node: NodeId): void {
    // Where minCopies others hold the partition the full one leaves, and the guest is told nothing (4.9).
    const front = pipe.inFlight[0];
    const waitedMs = this.#parts.clock.now() - (front?.issuedAt ?? 0);
    if (this.#mayLeave(pipe, node) && waitedMs < NO_SPACE_LEAVE_MS) return;
    pipe.isHanging = true;
    for (const change of pipe.waiting.splice(0)) change.done(noSpace());
    this.#hooks.onHang(pipe);
    for (const write of pipe.inFlight) this.#giveUpIfDue(write);
  }

  /** Tells the guest ENOSPC; nothing refers to its bytes any more, and the write goes on with a copy. */
  #giveUpIfDue(write: NumberedWrite): void {
    const ageMs = this.#parts.clock.now() - write.issuedAt;
    if (ageMs >= NO_SPACE_ANSWER_MS) this.#giveUp(write, noSpace());
  }

  /** The guest is told, once nothing refers to its bytes. The number stays (R2). */
  #giveUp(write: NumberedWrite, error: OperatingError): void {
    if (write.isGivenUp || write.isAnswered || write.outstanding > 0) return;
    write.data = write.data.slice();
    write.isGivenUp = true;
    write.change.early(error);
  }

  /** No copy of the partition exists any more: nothing of it will ever be acknowledged (section 6). */
  #fell(pipe: ObjectPipe, lost: OperatingError): void {
    for (const change of pipe.waiting.splice(0)) change.done(lost);
    this.#hooks.onHang(pipe);
    for (const write of pipe.inFlight) this.#giveUp(write, lost);
    this.#leaveIfIdle(pipe);
  }

  /** Why no change of this object will ever be acknowledged. */
  lossOf(pipe: ObjectPipe): OperatingError | undefined {
    return lossOfPart(this.#parts.views.current(), this.#open.volume, pipe.p);
  }

  #mayLeave(pipe: ObjectPipe, node: NodeId): boolean {
    const view = this.#parts.views.current();
    const { volume } = this.#open;
    const config = configOf(view, volume, pipe.p);
    if (config.joining.includes(node)) return true;
    const minCopies = view.policies.get(volume.policy)?.minCopies ?? 0;
    const isLive = (one: NodeId): boolean => isUp(view, one);
    return typeof shrink(config, node, { minCopies, isLive }) !== 'string';
  }

  #answer(write: NumberedWrite, error: OperatingError | undefined): void {
    if (write.isAnswered) return;
    write.isAnswered = true;
    if (write.outstanding > 0) keepMemory(write.data);
    write.change.done(error);
  }

  #failIfFree(pipe: ObjectPipe, write: NumberedWrite): void {
    if (write.outstanding > 0) return;
    const at = pipe.inFlight.indexOf(write);
    if (at >= 0) pipe.inFlight.splice(at, 1);
    this.#answer(write, this.#lossOf());
    this.#leaveIfIdle(pipe);
  }

  #leaveIfIdle(pipe: ObjectPipe): void {
    if (pipe.inFlight.length > 0 || pipe.waiting.length > 0) return;
    if (!this.#active.delete(pipe)) return;
    this.#dropLinks(pipe);
    if (this.#open.isHeld && pipe.durable > 0) this.#hooks.onQuiet(pipe);
  }

  #dropLinks(pipe: ObjectPipe): void {
    for (const link of pipe.links) {
      link.stream += 1;
      if (link.timer !== undefined) this.#parts.clock.clearTimer(link.timer);
      link.timer = undefined;
    }
    pipe.links = [];
  }

  #lossOf(): OperatingError {
    return this.#open.error ?? new OperatingError('fenced', 'the lock is not held');
  }
}

function hasAnswered(pipe: ObjectPipe, write: NumberedWrite, node: NodeId): boolean {
  const { plan } = pipe;
  return plan !== undefined && withAnswer(plan, write.answers, node) === write.answers;
}

/** A replica is full, and the in-sync set can not do without it. */
export function noSpace(): OperatingError {
  return new OperatingError('no-space', 'a replica has no room for this write');
}
