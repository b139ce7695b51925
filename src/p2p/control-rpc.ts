// Requests, replies and notes over control messages. Promises are fine here: this is not the data path. A request ends
// in a reply, in 'timeout', or at once in 'unreachable'; whether it happened is then unknown.

import { messageOf, OperatingError } from '../core/errors.ts';
import type { PeerKey } from '../core/ids.ts';
import {
  type Clock,
  MAX_MESSAGE_BYTES,
  type Network,
  type TimerHandle,
  type Trace,
} from '../ports/ports.ts';
import {
  type ControlMessage,
  decodeControl,
  encodeControl,
  MAX_REFUSAL_CHARS,
  type NoteMessage,
  type ReplyBody,
  type RequestBody,
} from '../wire/messages.ts';

/** Own requests without a reply, to all peers together; a further one fails with 'busy'. */
export const MAX_PENDING_REQUESTS = 1024;
/** Requests of one peer that are being answered; a further one is refused with 'busy'. */
export const MAX_SERVED_PER_PEER = 128;
const ID_END = 2 ** 32;

interface Pending {
  readonly peer: PeerKey;
  readonly resolve: (body: ReplyBody) => void;
  readonly timer: TimerHandle;
}

export interface ControlRpcOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly trace: Trace;
}

/** Takes over `network.onMessage`. */
export class ControlRpc {
  readonly #options: ControlRpcOptions;
  readonly #pending = new Map<number, Pending>();
  readonly #served = new Map<PeerKey, number>();
  #nextId = 1;
  #answer: ((peer: PeerKey, body: RequestBody) => Promise<ReplyBody>) | undefined;
  #note: ((peer: PeerKey, note: NoteMessage) => void) | undefined;

  constructor(options: ControlRpcOptions) {
    this.#options = options;
    options.network.onMessage((peer, bytes) => this.#receive(peer, bytes));
  }

  /** Rejects with 'timeout', 'unreachable' or 'busy'. A refusal by the peer is a reply: look at its type. */
  request(peer: PeerKey, body: RequestBody, timeoutMs: number): Promise<ReplyBody> {
    if (this.#pending.size >= MAX_PENDING_REQUESTS) {
      return Promise.reject(new OperatingError('busy', 'too many control requests in flight'));
    }
    const id = this.#nextId;
    this.#nextId = (id + 1) % ID_END;
    return new Promise((resolve, reject) => {
      if (!this.#send(peer, { kind: 'request', id, body })) {
        reject(new OperatingError('unreachable', `${peer} is not reachable`, { advice: 'retry' }));
        return;
      }
      const timer = this.#options.clock.setTimer(timeoutMs, () => {
        this.#pending.delete(id);
        reject(new OperatingError('timeout', `no answer to ${body.type}`, { advice: 'retry' }));
      });
      this.#pending.set(id, { peer, resolve, timer });
    });
  }

  /** Best effort; false when it was dropped at once. */
  note(peer: PeerKey, note: NoteMessage): boolean {
    return this.#send(peer, note);
  }

  /** Set once. An OperatingError that `fn` rejects with becomes a refusal with its code. */
  onRequest(fn: (peer: PeerKey, body: RequestBody) => Promise<ReplyBody>): void {
    this.#answer = fn;
  }

  /** Set once. */
  onNote(fn: (peer: PeerKey, note: NoteMessage) => void): void {
    this.#note = fn;
  }

  #send(peer: PeerKey, message: ControlMessage): boolean {
    const bytes = encodeControl(message);
    if (bytes.length <= MAX_MESSAGE_BYTES) return this.#options.network.send(peer, bytes);
    this.#options.trace.warn('control.message.too-large', {
      kind: message.kind,
      bytes: bytes.length,
    });
    return false;
  }

  #receive(peer: PeerKey, bytes: Uint8Array): void {
    let message: ControlMessage;
    try {
      message = decodeControl(bytes);
    } catch (error) {
      this.#options.trace.warn('control.message.bad', { peer, reason: messageOf(error) });
      return;
    }
    if (message.kind === 'request') this.#serve(peer, message.id, message.body);
    else if (message.kind === 'reply') this.#settle(peer, message.id, message.body);
    else this.#note?.(peer, message);
  }

  #settle(peer: PeerKey, id: number, body: ReplyBody): void {
    const pending = this.#pending.get(id);
    // Late, or from somebody who was not asked.
    if (pending === undefined || pending.peer !== peer) return;
    this.#pending.delete(id);
    this.#options.clock.clearTimer(pending.timer);
    pending.resolve(body);
  }

  #serve(peer: PeerKey, id: number, body: RequestBody): void {
    const served = this.#served.get(peer) ?? 0;
    if (this.#answer === undefined || served >= MAX_SERVED_PER_PEER) {
      this.#reply(peer, id, { type: 'refusal', code: 'busy', text: 'too many requests' });
      return;
    }
    this.#served.set(peer, served + 1);
    this.#answer(peer, body).then(
      (reply) => this.#finish(peer, id, reply),
      (error: unknown) => this.#finish(peer, id, refusalOf(error)),
    );
  }

  #finish(peer: PeerKey, id: number, reply: ReplyBody): void {
    const served = this.#served.get(peer) ?? 1;
    if (served <= 1) this.#served.delete(peer);
    else this.#served.set(peer, served - 1);
    this.#reply(peer, id, reply);
  }

  #reply(peer: PeerKey, id: number, body: ReplyBody): void {
    this.#send(peer, { kind: 'reply', id, body });
  }
}

/** Anything but an operating error is a bug here: it must not be hidden from our own process. */
function refusalOf(error: unknown): ReplyBody {
  if (!(error instanceof OperatingError)) throw error;
  const text = error.message.slice(0, MAX_REFUSAL_CHARS).toWellFormed();
  return { type: 'refusal', code: error.code, text };
}
