// The requester's side of one data channel: slots, credits, deadlines, and the channel's life. D: the dialler owns a
// channel, so requests go out on it and only replies come back. No promise and no timer per request; the owner's tick
// (rpc-client.ts) drives deadlines and redials.
//
//   closed ──open()──▶ opening ──dialled──▶ greeting ──HELLO──▶ open
//     ▲                   │ failed             │ mismatch, late   │ broke: every pending request is lost
//     └───────────────────┴────────────────────┴──────────────────┘ dialled again at once, then with backoff

import { hasCode, messageOf } from '../core/errors.ts';
import type { Incarnation, NodeId, PeerKey } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import { MIB } from '../core/units.ts';
import type { Clock, DataChannel, Network, Trace } from '../ports/ports.ts';
import { badFrame } from '../wire/bytes.ts';
import { decodeFrame, emptyFrame, type Frame, OP, REPLY_BIT } from '../wire/frame.ts';
import { decodeHello, encodeHello, type Hello } from '../wire/payloads.ts';
import { helloFault, piecesOf, requestCost } from './channel-rules.ts';

/** Requests of one channel on the wire at once; slot number = low 12 bits of the request id. */
export const SLOTS_PER_PEER = 4096;
const SLOT_MASK = SLOTS_PER_PEER - 1;
/** Slots that a fresh channel has room for; more are made as they are needed. */
const FIRST_SLOTS = 16;
const WRAP_END = 2 ** 20;
/** Requests of one peer that wait for credits, a slot or the channel; a further one is lost at once. */
export const MAX_WAITING_REQUESTS = 8192;
/** Their bytes (credits they will take). */
export const MAX_WAITING_BYTES = 64 * MIB;
/** First and longest wait between two dials of one peer, in ms. */
export const FIRST_BACKOFF_MS = 50;
export const MAX_BACKOFF_MS = 1000;
/** From the end of the dial to the peer's HELLO, in ms. */
export const HELLO_TIMEOUT_MS = 2000;
/** A channel with a request unanswered for this long after its deadline is broken off: its credits are lost. */
export const STUCK_CHANNEL_MS = 30_000;
/** A request other than a ping that is unanswered for this long after its deadline makes pings count as lost (C1.7). */
export const OVERDUE_MS = 1000;
/** A channel that nobody keeps open, and that carried nothing for this long, is closed: no sockets to all of hundreds. */
export const CHANNEL_IDLE_MS = 60_000;

/** The reply, or undefined: lost, late, or the channel closed. Called exactly once, never inside `request`. */
export type ReplyDone = (reply: Frame | undefined) => void;
export type ChannelState = 'open' | 'closed' | 'refused';

export interface PeerClientContext {
  readonly network: Network;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly hello: () => Hello;
  readonly peerKeyOf: (node: NodeId) => PeerKey | undefined;
  readonly report: (node: NodeId, state: ChannelState) => void;
  /** The client has something to wait for: the owner's tick must run. */
  readonly wake: () => void;
}

interface WaitingRequest {
  readonly frame: Frame;
  readonly deadlineAt: number;
  readonly cost: number;
  readonly done: ReplyDone;
}

/** Requests on the wire, by slot. A slot whose deadline passed stays taken until its reply: so do its credits. */
class Slots {
  readonly dones: (ReplyDone | undefined)[] = [];
  /** Of the FIRST_SLOTS, and doubled as depth asks for it: most channels carry pings only. */
  ids = new Uint32Array(FIRST_SLOTS);
  ops = new Uint8Array(FIRST_SLOTS);
  costs = new Uint32Array(FIRST_SLOTS);
  /** Milliseconds of the clock; Infinity = free. */
  deadlines = new Float64Array(FIRST_SLOTS).fill(Number.POSITIVE_INFINITY);
  /** The lowest slots are taken first and again: `used` stays near the real depth. */
  readonly #free: number[] = [];
  #wrap = 0;
  /** Slots at and above were never taken: the tick need not look at them. */
  used = 0;
  bytes = 0;
  inFlight = 0;

  get isFull(): boolean {
    return this.inFlight === SLOTS_PER_PEER;
  }

  take(request: WaitingRequest): number {
    invariant(!this.isFull, 'a slot is free');
    const slot = this.#free.pop() ?? this.#next();
    this.inFlight += 1;
    this.#wrap = (this.#wrap + 1) % WRAP_END;
    this.ids[slot] = this.#wrap * SLOTS_PER_PEER + slot;
    this.ops[slot] = request.frame.op;
    this.costs[slot] = request.cost;
    this.deadlines[slot] = request.deadlineAt;
    this.dones[slot] = request.done;
    this.bytes += request.cost;
    return this.ids[slot] as number;
  }

  #next(): number {
    if (this.used === this.ids.length) this.#grow();
    this.used += 1;
    return this.used - 1;
  }

  #grow(): void {
    const size = this.ids.length * 2;
    const { ids, ops, costs, deadlines } = this;
    this.ids = new Uint32Array(size);
    this.ops = new Uint8Array(size);
    this.costs = new Uint32Array(size);
    this.deadlines = new Float64Array(size).fill(Number.POSITIVE_INFINITY);
    this.ids.set(ids);
    this.ops.set(ops);
    this.costs.set(costs);
    this.deadlines.set(deadlines);
  }

  isTaken(slot: number): boolean {
    return slot < this.used && this.deadlines[slot] !== Number.POSITIVE_INFINITY;
  }

  release(slot: number): ReplyDone | undefined {
    const done = this.dones[slot];
    this.dones[slot] = undefined;
    this.deadlines[slot] = Number.POSITIVE_INFINITY;
    this.bytes -= this.costs[slot] as number;
    this.#free.push(slot);
    this.inFlight -= 1;
    return done;
  }
}

/** One peer. Owned by PeerClients. */
export class PeerClient {
  readonly #context: PeerClientContext;
  readonly #node: NodeId;
  #slots = new Slots();
  #waiting: WaitingRequest[] = [];
  #waitingBytes = 0;
  #channel: DataChannel | undefined;
  #state: 'closed' | 'opening' | 'greeting' | 'open' = 'closed';
  #credits = 0;
  #isKept = false;
  #usedAt = 0;
  #isStopped = false;
  /** Was open in this client's life: only then a refused dial says that a process died (C1.8). */
  #wasOpen = false;
  #backoffMs = 0;
  #redialAt = 0;
  #helloBy = 0;
  #incarnation: Incarnation | undefined;

  constructor(node: NodeId, context: PeerClientContext) {
    this.#node = node;
    this.#context = context;
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** Of the process at the other end of the open channel. */
  get incarnation(): Incarnation | undefined {
    return this.isOpen ? this.#incarnation : undefined;
  }

  /** True while the owner must tick. */
  get isBusy(): boolean {
    if (this.#isStopped) return false;
    if (this.#slots.inFlight > 0 || this.#waiting.length > 0) return true;
    return this.#state === 'greeting' || (this.#state === 'closed' && this.#isKept);
  }

  keepOpen(): void {
    this.#isKept = true;
    this.#openWhenDue();
    this.#context.wake();
  }

  /** Not kept any more: closed once it is idle. */
  release(): void {
    this.#isKept = false;
    this.#usedAt = this.#context.clock.now();
  }

  /** Nobody keeps it, nothing is under way, and nothing was for CHANNEL_IDLE_MS. */
  isIdle(now: number): boolean {
    const isBusy = this.#isKept || this.#slots.inFlight > 0 || this.#waiting.length > 0;
    const isResting = this.#state === 'open' || this.#state === 'closed';
    return !isBusy && isResting && now - this.#usedAt >= CHANNEL_IDLE_MS;
  }

  /** A request other than a ping hangs: whoever answers pings beside it is not well (C1.7). */
  isOverdue(now: number): boolean {
    const { used, deadlines, ops } = this.#slots;
    for (let slot = 0; slot < used; slot += 1) {
      if (now >= (deadlines[slot] as number) + OVERDUE_MS && ops[slot] !== OP.PING) return true;
    }
    return false;
  }

  request(frame: Frame, deadlineMs: number, done: ReplyDone): void {
    const cost = requestCost(frame);
    const isFull =
      this.#waiting.length >= MAX_WAITING_REQUESTS || this.#waitingBytes + cost > MAX_WAITING_BYTES;
    if (this.#isStopped || isFull) {
      this.#context.trace.count('rpc.request.refused');
      this.#context.clock.soon(() => done(undefined));
      return;
    }
    this.#usedAt = this.#context.clock.now();
    const deadlineAt = this.#usedAt + deadlineMs;
    this.#waiting.push({ frame, deadlineAt, cost, done });
    this.#waitingBytes += cost;
    this.#pump();
    this.#openWhenDue();
    this.#context.wake();
  }

  /** Ends what is late. Called by the owner about every TICK_MS while `isBusy`. */
  tick(now: number): void {
    if (this.#state === 'greeting' && now >= this.#helloBy) {
      this.#break('no HELLO in time');
      return;
    }
    const late: ReplyDone[] = [];
    let isStuck = false;
    for (let slot = 0; slot < this.#slots.used; slot += 1) {
      const deadlineAt = this.#slots.deadlines[slot] as number;
      if (now < deadlineAt) continue;
      const done = this.#slots.dones[slot];
      this.#slots.dones[slot] = undefined;
      if (done !== undefined) late.push(done);
      if (now >= deadlineAt + STUCK_CHANNEL_MS) isStuck = true;
    }
    this.#dropLateWaiting(now, late);
    if (isStuck) this.#break('a request was never answered');
    this.#openWhenDue();
    if (late.length > 0) this.#context.trace.count('rpc.request.late', late.length);
    for (const done of late) done(undefined);
  }

  /** Closes for good; what is pending is lost. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#break('stopped');
    this.#loseAll();
  }

  #dropLateWaiting(now: number, late: ReplyDone[]): void {
    if (!this.#waiting.some((request) => now >= request.deadlineAt)) return;
    const kept: WaitingRequest[] = [];
    for (const request of this.#waiting) {
      if (now < request.deadlineAt) {
        kept.push(request);
        continue;
      }
      this.#waitingBytes -= request.cost;
      late.push(request.done);
    }
    this.#waiting = kept;
  }

  #openWhenDue(): void {
    if (this.#isStopped || this.#state !== 'closed') return;
    if (!this.#isKept && this.#waiting.length === 0) return;
    if (this.#context.clock.now() >= this.#redialAt) this.#open();
  }

  #open(): void {
    const peer = this.#context.peerKeyOf(this.#node);
    this.#state = 'opening';
    if (peer === undefined) {
      this.#context.clock.soon(() => this.#dialFailed(undefined));
      return;
    }
    this.#context.network.openChannel(peer).then(
      (channel) => this.#greet(channel),
      (error: unknown) => this.#dialFailed(error),
    );
  }

  #dialFailed(error: unknown): void {
    this.#state = 'closed';
    if (this.#isStopped) return;
    this.#backoffMs = Math.min(MAX_BACKOFF_MS, Math.max(FIRST_BACKOFF_MS, this.#backoffMs * 2));
    this.#redialAt = this.#context.clock.now() + this.#backoffMs;
    this.#context.trace.count('rpc.dial.failed');
    this.#loseAll();
    if (this.#wasOpen && hasCode(error, 'refused')) this.#context.report(this.#node, 'refused');
    this.#context.wake();
  }

  #greet(channel: DataChannel): void {
    if (this.#isStopped || !channel.isOpen) {
      channel.close();
      this.#dialFailed(undefined);
      return;
    }
    this.#channel = channel;
    this.#state = 'greeting';
    this.#helloBy = this.#context.clock.now() + HELLO_TIMEOUT_MS;
    channel.onClose(() => {
      if (this.#channel === channel) this.#break('closed by the peer or the network');
    });
    channel.onFrame((bytes) => {
      if (this.#channel === channel) this.#receive(bytes);
    });
    const frame = emptyFrame();
    frame.op = OP.HELLO;
    frame.flags = 0;
    frame.payload = encodeHello(this.#context.hello());
    channel.send(piecesOf(frame));
    this.#context.wake();
  }

  #receive(bytes: Uint8Array): void {
    let reply: Frame;
    let hello: Hello | undefined;
    try {
      reply = decodeFrame(bytes);
      hello = this.#state === 'greeting' ? helloOf(reply) : undefined;
    } catch (error) {
      this.#break(messageOf(error));
      return;
    }
    if (hello !== undefined) {
      this.#accept(hello);
      return;
    }
    const slot = reply.requestId & SLOT_MASK;
    if (!this.#slots.isTaken(slot) || this.#slots.ids[slot] !== reply.requestId) {
      this.#break('a reply that nobody asked for');
      return;
    }
    if (reply.op !== (this.#slots.ops[slot] as number) + REPLY_BIT) {
      this.#break('a reply to another operation');
      return;
    }
    const done = this.#slots.release(slot);
    this.#pump();
    done?.(reply);
  }

  #accept(hello: Hello): void {
    const fault = helloFault(hello, this.#context.hello(), this.#node);
    if (fault !== undefined) {
      this.#break(fault);
      return;
    }
    this.#state = 'open';
    this.#wasOpen = true;
    this.#backoffMs = 0;
    this.#credits = hello.creditsBytes;
    this.#incarnation = hello.incarnation;
    this.#context.report(this.#node, 'open');
    this.#pump();
  }

  /** Sends what slots and credits allow, in order. One request always may, whatever it costs. */
  #pump(): void {
    while (this.#state === 'open') {
      const request = this.#waiting[0];
      const { inFlight, isFull, bytes } = this.#slots;
      if (request === undefined || isFull) return;
      if (inFlight > 0 && bytes + request.cost > this.#credits) return;
      this.#waiting.shift();
      this.#waitingBytes -= request.cost;
      request.frame.requestId = this.#slots.take(request);
      this.#channel?.send(piecesOf(request.frame));
    }
  }

  #break(reason: string): void {
    const channel = this.#channel;
    const wasOpen = this.#state === 'open';
    if (channel === undefined) return;
    this.#channel = undefined;
    this.#state = 'closed';
    channel.close();
    if (!this.#isStopped) {
      this.#context.trace.warn('rpc.channel.broken', { node: this.#node, reason });
    }
    if (wasOpen) {
      this.#loseAll();
      this.#context.report(this.#node, 'closed');
      // At once, wanted or not: a refused dial now tells the detector that the process is gone (C1.8).
      if (!this.#isStopped && this.#state === 'closed') this.#open();
      return;
    }
    this.#dialFailed(undefined);
  }

  /** Everything pending is lost; callers may send again from inside, into the fresh state. */
  #loseAll(): void {
    const slots = this.#slots;
    const waiting = this.#waiting;
    if (slots.inFlight > 0) this.#slots = new Slots();
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (let slot = 0; slot < slots.used; slot += 1) slots.dones[slot]?.(undefined);
    for (const request of waiting) request.done(undefined);
  }
}

function helloOf(frame: Frame): Hello {
  if (frame.op !== OP.HELLO + REPLY_BIT) throw badFrame('no HELLO first');
  return decodeHello(frame.payload);
}
