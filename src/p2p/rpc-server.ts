// The serving side of a data channel that a peer dialled: HELLO, then frame -> handler -> frame. Bytes in flight are
// bounded by the credits that our HELLO announced; a peer that breaks a rule loses its channel, never our process.

import { messageOf } from '../core/errors.ts';
import type { NodeId, PeerKey } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { Clock, DataChannel, TimerHandle, Trace } from '../ports/ports.ts';
import { decodeFrame, type Frame, OP, REPLY_BIT, replyTo, STATUS } from '../wire/frame.ts';
import { decodeHello, encodeHello, type Hello } from '../wire/payloads.ts';
import { helloFault, piecesOf, requestCost, requestFault } from './channel-rules.ts';

/** Requests of one channel without a reply. */
export const MAX_REQUESTS_PER_CHANNEL = 4096;
/** From the dial to the peer's HELLO, in ms. */
export const GREETING_TIMEOUT_MS = 5000;

export interface ServeOptions {
  readonly hello: () => Hello;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly nodeOfKey: (peer: PeerKey) => NodeId | undefined;
  /**
   * Answers by calling `reply` once, now or later. After the channel closed a reply is dropped silently. Op and request
   * id of the reply are set here.
   */
  readonly handle: (from: NodeId, frame: Frame, reply: (frame: Frame) => void) => void;
}

/** Serves until the channel closes. Returns at once. */
export function serveChannel(channel: DataChannel, options: ServeOptions): void {
  new ServedChannel(channel, options).start();
}

class ServedChannel {
  readonly #channel: DataChannel;
  readonly #options: ServeOptions;
  #from: NodeId | undefined;
  #credits = 0;
  #requests = 0;
  #bytes = 0;
  #greeting: TimerHandle | undefined;

  constructor(channel: DataChannel, options: ServeOptions) {
    this.#channel = channel;
    this.#options = options;
  }

  start(): void {
    this.#greeting = this.#options.clock.setTimer(GREETING_TIMEOUT_MS, () => {
      this.#greeting = undefined;
      this.#refuse('no HELLO in time');
    });
    this.#channel.onClose(() => this.#endGreeting());
    this.#channel.onFrame((bytes) => this.#receive(bytes));
  }

  #receive(bytes: Uint8Array): void {
    if (!this.#channel.isOpen) return;
    let frame: Frame;
    let hello: Hello | undefined;
    try {
      frame = decodeFrame(bytes);
      if (this.#from === undefined) hello = helloOf(frame);
    } catch (error) {
      this.#refuse(messageOf(error));
      return;
    }
    if (hello !== undefined || this.#from === undefined) {
      this.#greet(frame, hello);
      return;
    }
    const cost = requestCost(frame);
    const fault = requestFault(frame) ?? this.#creditFault(cost);
    if (fault !== undefined) {
      // A peer of ours never asks so: a bug at one of the two ends.
      this.#options.trace.warn('rpc.request.wrong', { op: frame.op, reason: fault });
      this.#refuse(fault);
      return;
    }
    this.#requests += 1;
    this.#bytes += cost;
    let isAnswered = false;
    const { op, requestId } = frame;
    this.#options.handle(this.#from, frame, (reply) => {
      invariant(!isAnswered, 'a request is answered once');
      isAnswered = true;
      this.#requests -= 1;
      this.#bytes -= cost;
      this.#send(reply, op, requestId);
    });
  }

  #creditFault(cost: number): string | undefined {
    if (this.#requests >= MAX_REQUESTS_PER_CHANNEL) return 'too many requests in flight';
    // One request always may, whatever it costs: the client counts the same way.
    if (this.#requests > 0 && this.#bytes + cost > this.#credits) return 'more bytes than credits';
    return undefined;
  }

  #send(reply: Frame, op: number, requestId: number): void {
    if (!this.#channel.isOpen) return;
    reply.op = op + REPLY_BIT;
    reply.requestId = requestId;
    this.#channel.send(piecesOf(reply));
  }

  #greet(frame: Frame, hello: Hello | undefined): void {
    if (hello === undefined) {
      this.#refuse('no HELLO first');
      return;
    }
    const node = this.#options.nodeOfKey(this.#channel.peer);
    if (node === undefined) {
      this.#refuse('not a member');
      return;
    }
    const ours = this.#options.hello();
    const fault = helloFault(hello, ours, node);
    if (fault !== undefined) {
      this.#refuse(fault);
      return;
    }
    this.#endGreeting();
    this.#from = node;
    this.#credits = ours.creditsBytes;
    const reply = replyTo(frame, STATUS.OK);
    reply.payload = encodeHello(ours);
    this.#send(reply, OP.HELLO, frame.requestId);
  }

  #endGreeting(): void {
    if (this.#greeting !== undefined) this.#options.clock.clearTimer(this.#greeting);
    this.#greeting = undefined;
  }

  #refuse(reason: string): void {
    this.#endGreeting();
    this.#options.trace.warn('rpc.channel.refused', { peer: this.#channel.peer, reason });
    this.#channel.close();
  }
}

function helloOf(frame: Frame): Hello | undefined {
  return frame.op === OP.HELLO ? decodeHello(frame.payload) : undefined;
}
