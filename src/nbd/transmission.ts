// The request loop of one attached connection: parse, check, hand to the session, answer out of order. Bytes are parsed
// where they lie in the socket's buffer; a write's payload is copied once, into the buffer that travels on; a read that
// the session can serve now lands in the reply buffer, and all replies of a tick leave together. No promise per request.
//
// Bounded: at MAX_CONNECTION_REQUESTS or MAX_CONNECTION_BYTES (requests in flight and replies not yet sent) parsing stops
// and so does the socket; what was read already is kept (one chunk of the socket) until there is room.

import type { OperatingError } from '../core/errors.ts';
import { lendMemory, returnMemory } from '../core/lent-memory.ts';
import { KIB, MIB } from '../core/units.ts';
import type { VolumeSession } from '../datapath/volume-session.ts';
import type { Clock } from '../ports/ports.ts';
import type { ByteChannel } from './byte-channel.ts';
import { type Attachment, MAX_EXPORT_REQUESTS } from './exports.ts';
import type { Agreement } from './handshake.ts';
import type { MetaContext } from './meta-contexts.ts';
import {
  COMMAND,
  COMMAND_FLAG,
  type Cookie,
  decodeRequest,
  emptyRequest,
  encodeErrorChunk,
  errnoOf,
  putSimpleReply,
  REQUEST_BYTES,
  type RequestHeader,
  SIMPLE_REPLY_BYTES,
} from './nbd-codec.ts';
import { prefetch } from './prefetch.ts';
import { ReadReplies } from './read-replies.ts';
import { ReplyBatch } from './reply-batch.ts';
import { judgeRequest, type Refusal, type RequestRules, SHUTTING_DOWN } from './request-rules.ts';
import { askStatus } from './status-reply.ts';

/** Requests in flight of one connection; QEMU sends 16, nbdcopy 64. */
export const MAX_CONNECTION_REQUESTS = 128;
/** Payloads in flight and replies not yet sent, of one connection. One more request may lie on top. Bytes. */
export const MAX_CONNECTION_BYTES = 32 * MIB;
/** A refused write's payload up to this is read and dropped, so that the connection lives on; above, it is closed. */
export const MAX_SKIPPED_BYTES = 128 * MIB;
/** Reads up to this are tried straight into the shared reply buffer. Bytes. */
const MAX_INLINE_READ_BYTES = 64 * KIB;

const NOTHING = new Uint8Array(0);

export interface TransmissionOptions {
  readonly channel: ByteChannel;
  readonly clock: Clock;
  /** The stream is no NBD any more (a reason), or the client said DISC (undefined) and all is answered. */
  readonly onEnd: (reason: string | undefined) => void;
}

export class Transmission {
  readonly #channel: ByteChannel;
  readonly #clock: Clock;
  readonly #onEnd: (reason: string | undefined) => void;
  readonly #session: VolumeSession;
  readonly #attachment: Attachment;
  readonly #isStructured: boolean;
  readonly #contexts: readonly MetaContext[];
  readonly #rules: RequestRules;
  readonly #replies: ReplyBatch;
  readonly #reads: ReadReplies;

  // --- parser: the header in hand, and where its bytes go
  readonly #request = emptyRequest();
  readonly #head = new Uint8Array(REQUEST_BYTES);
  #headHave = 0;
  /** Payload of the write in hand; empty between writes. */
  #payload: Uint8Array = NOTHING;
  #payloadHave = 0;
  #toSkip = 0;
  /** Sent once the refused write's payload is gone. */
  #refusal: Refusal | undefined;

  // --- bounds
  #inFlight = 0;
  #bytesInFlight = 0;
  /** Bytes read but not parsed, while there is no room. */
  #held: Uint8Array = NOTHING;
  #isStalled = false;
  #wakePlanned = false;
  /** One function for ever: a set of those who wait holds it once. */
  readonly #wake = () => this.#planWake();

  /** open: takes requests. ending: answers ESHUTDOWN. deaf: takes nothing. All three answer what is in flight. */
  #state: 'open' | 'ending' | 'deaf' = 'open';
  #isEnded = false;
  #isGone = false;
  #onIdle: (() => void) | undefined;

  constructor(agreement: Agreement, options: TransmissionOptions) {
    this.#attachment = agreement.attachment;
    this.#session = agreement.attachment.session;
    this.#isStructured = agreement.structuredReplies;
    this.#contexts = agreement.contexts;
    this.#rules = {
      sizeBytes: this.#session.volume.sizeBytes,
      isStructured: this.#isStructured,
      hasContexts: this.#contexts.length > 0,
    };
    this.#channel = options.channel;
    this.#clock = options.clock;
    this.#onEnd = options.onEnd;
    this.#replies = new ReplyBatch(options.channel, options.clock, this.#wake);
    this.#reads = new ReadReplies(this.#replies, this.#isStructured);
  }

  /** Ends what is in flight, answers the rest with ESHUTDOWN, then calls `onEnd`. */
  shutDown(): void {
    if (this.#state === 'open') this.#state = 'ending';
    this.#endIfIdle();
  }

  /** The socket is gone. `idle` is called once no request of it is in flight any more. */
  onGone(idle: () => void): void {
    this.#isGone = true;
    this.#state = 'deaf';
    this.#held = NOTHING;
    if (this.#inFlight === 0) idle();
    else this.#onIdle = idle;
  }

  onDrain(): void {
    this.#wake();
  }

  onData(chunk: Uint8Array): void {
    if (this.#state === 'deaf') return;
    if (!this.#isStalled) {
      this.#parse(chunk, 'socket');
      return;
    }
    const joined = new Uint8Array(this.#held.length + chunk.length); // the chunk that was on its way at `pause`
    joined.set(this.#held);
    joined.set(chunk, this.#held.length);
    this.#held = joined;
  }

  // ------------------------------------------------------------------------------------------- parser

  /** A chunk of the socket is overwritten after the call, one that was held is ours. */
  #parse(chunk: Uint8Array, owner: 'socket' | 'us'): void {
    let at = 0;
    while (at < chunk.length && this.#state !== 'deaf') {
      if (this.#payload.length > 0) at += this.#takePayload(chunk, at);
      else if (this.#toSkip > 0) at += this.#skip(chunk.length - at);
      else if (!this.#hasRoom()) {
        const rest = chunk.subarray(at);
        this.#stall(owner === 'us' ? rest : new Uint8Array(rest));
        return;
      } else at += this.#takeHeader(chunk, at);
    }
  }

  /** Returns how many bytes it took: a whole header where it lies, or a part of one that is cut by the chunk's end. */
  #takeHeader(chunk: Uint8Array, at: number): number {
    if (this.#headHave === 0 && chunk.length - at >= REQUEST_BYTES) {
      this.#headerArrived(chunk, at);
      return REQUEST_BYTES;
    }
    const taken = Math.min(REQUEST_BYTES - this.#headHave, chunk.length - at);
    this.#head.set(chunk.subarray(at, at + taken), this.#headHave);
    this.#headHave += taken;
    if (this.#headHave === REQUEST_BYTES) {
      this.#headHave = 0;
      this.#headerArrived(this.#head, 0);
    }
    return taken;
  }

  #takePayload(chunk: Uint8Array, at: number): number {
    const taken = Math.min(this.#payload.length - this.#payloadHave, chunk.length - at);
    this.#payload.set(chunk.subarray(at, at + taken), this.#payloadHave);
    this.#payloadHave += taken;
    if (this.#payloadHave === this.#payload.length) {
      const data = this.#payload;
      this.#payload = NOTHING;
      this.#startWrite(data);
    }
    return taken;
  }

  #skip(available: number): number {
    const skipped = Math.min(this.#toSkip, available);
    this.#toSkip -= skipped;
    if (this.#toSkip === 0 && this.#refusal !== undefined) {
      this.#fail(this.#request, this.#refusal.errno, this.#refusal.text);
    }
    return skipped;
  }

  #headerArrived(bytes: Uint8Array, at: number): void {
    const request = this.#request;
    if (!decodeRequest(bytes, at, request)) {
      this.#giveUp('not an NBD request');
      return;
    }
    if (request.type === COMMAND.disc) {
      this.#state = 'deaf';
      this.#endIfIdle();
      return;
    }
    const refusal = this.#state === 'ending' ? SHUTTING_DOWN : judgeRequest(request, this.#rules);
    if (request.type === COMMAND.write) {
      this.#writeAnnounced(refusal);
      return;
    }
    if (refusal !== undefined) {
      this.#fail(request, refusal.errno, refusal.text);
      return;
    }
    if (request.type === COMMAND.read) {
      this.#startRead();
      return;
    }
    this.#startOther();
  }

  /** A lost stream has no next request: close. */
  #giveUp(reason: string): void {
    this.#state = 'deaf';
    this.#isEnded = true;
    this.#onEnd(reason);
  }

  // ------------------------------------------------------------------------------------------- commands

  #startRead(): void {
    const { offset, length } = this.#request;
    const head = this.#reads.headBytes;
    if (length <= MAX_INLINE_READ_BYTES) {
      const at = this.#replies.reserve(head + length);
      if (this.#session.tryRead(offset, length, this.#replies.buffer, at + head)) {
        this.#reads.answerInline(at, this.#request);
        return;
      }
      this.#replies.giveBack(head + length);
    }
    const reply = lendMemory(head + length);
    if (length > MAX_INLINE_READ_BYTES && this.#session.tryRead(offset, length, reply, head)) {
      this.#reads.answer(reply, this.#request);
      return;
    }
    const request = { ...this.#request };
    this.#begin(reply.length);
    this.#session.read(offset, length, reply, head, (error) => {
      this.#ended(reply.length);
      if (error !== undefined) this.#failBy(request, error);
      else this.#reads.answer(reply, request);
    });
  }

  /** A write's payload follows its header, refused or not. */
  #writeAnnounced(refused: Refusal | undefined): void {
    const { length } = this.#request;
    if (refused === undefined) {
      this.#payload = lendMemory(length);
      this.#payloadHave = 0;
      return;
    }
    if (length > MAX_SKIPPED_BYTES) {
      this.#giveUp('a write of an absurd length');
      return;
    }
    if (length === 0) {
      this.#fail(this.#request, refused.errno, refused.text);
      return;
    }
    this.#toSkip = length;
    this.#refusal = refused;
  }

  #startWrite(data: Uint8Array): void {
    const { offset, flags, cookieHigh, cookieLow } = this.#request;
    this.#begin(data.length);
    const done = (error: OperatingError | undefined): void => {
      this.#ended(data.length);
      this.#answer({ cookieHigh, cookieLow }, error);
      // What was refused may be on its way yet.
      if (error === undefined) returnMemory(data);
    };
    this.#session.write(offset, data, done, isForced(flags));
  }

  #startOther(): void {
    const { type, flags, offset, length, cookieHigh, cookieLow } = this.#request;
    const session = this.#session;
    this.#begin(0);
    const finish = (error: OperatingError | undefined) => {
      this.#ended(0);
      this.#answer({ cookieHigh, cookieLow }, error);
    };
    switch (type) {
      case COMMAND.flush:
        session.flush(finish);
        return;
      case COMMAND.trim:
        session.trim(offset, length, finish, isForced(flags));
        return;
      case COMMAND.cache:
        prefetch(session, offset, length, finish);
        return;
      case COMMAND.blockStatus:
        this.#startStatus({ ...this.#request });
        return;
      default:
        session.writeZeroes(offset, length, finish, isForced(flags));
    }
  }

  #startStatus(request: RequestHeader): void {
    askStatus(request, this.#contexts, this.#attachment, (error, chunks) => {
      this.#ended(0);
      if (error !== undefined) this.#failBy(request, error);
      else for (const chunk of chunks) this.#replies.add(chunk);
    });
  }

  // ------------------------------------------------------------------------------------------- answers

  #answer(cookie: Cookie, error: OperatingError | undefined): void {
    if (error !== undefined) {
      this.#failBy(cookie, error);
      return;
    }
    const at = this.#replies.reserve(SIMPLE_REPLY_BYTES);
    putSimpleReply(this.#replies.buffer, at, cookie, 0);
  }

  #failBy(cookie: Cookie, error: OperatingError): void {
    const text = error.remedy === '' ? error.message : `${error.message}; ${error.remedy}`;
    this.#fail(cookie, errnoOf(error.code), text);
  }

  #fail(cookie: Cookie, errno: number, text: string): void {
    if (this.#isStructured) {
      this.#replies.add(encodeErrorChunk(cookie, errno, text));
      return;
    }
    const at = this.#replies.reserve(SIMPLE_REPLY_BYTES);
    putSimpleReply(this.#replies.buffer, at, cookie, errno);
  }

  // ------------------------------------------------------------------------------------------- bounds

  #begin(bytes: number): void {
    this.#inFlight += 1;
    this.#bytesInFlight += bytes;
  }

  /** Called before the answer is made: replies count as queued from then on. */
  #ended(bytes: number): void {
    this.#inFlight -= 1;
    this.#bytesInFlight -= bytes;
    this.#attachment.requestEnded();
    if (this.#isStalled) this.#planWake();
    if (this.#inFlight > 0) return;
    if (this.#isGone) this.#onIdle?.();
    else if (this.#state !== 'open') this.#clock.soon(() => this.#endIfIdle());
  }

  #hasRoom(): boolean {
    if (this.#inFlight >= MAX_CONNECTION_REQUESTS) return false;
    const bytes = this.#bytesInFlight + this.#replies.queuedBytes + this.#channel.queuedBytes;
    return bytes < MAX_CONNECTION_BYTES && this.#session.inFlight < MAX_EXPORT_REQUESTS;
  }

  #stall(rest: Uint8Array): void {
    this.#held = rest;
    if (this.#isStalled) return;
    this.#isStalled = true;
    this.#channel.pause();
    // The session may be full of other connections' requests: then nothing of ours would ever wake us.
    if (this.#session.inFlight >= MAX_EXPORT_REQUESTS) {
      this.#attachment.whenRoom(this.#wake);
    }
  }

  /** Parsing goes on at the end of this tick, never inside a completion. */
  #planWake(): void {
    if (!this.#isStalled || this.#wakePlanned) return;
    this.#wakePlanned = true;
    this.#clock.soon(() => {
      this.#wakePlanned = false;
      if (this.#state === 'deaf' || !this.#isStalled) return;
      this.#isStalled = false;
      const held = this.#held;
      this.#held = NOTHING;
      this.#parse(held, 'us');
      if (!this.#isStalled) this.#channel.resume();
    });
  }

  #endIfIdle(): void {
    if (this.#state === 'open' || this.#inFlight > 0 || this.#isEnded) return;
    this.#isEnded = true;
    this.#replies.flush();
    this.#onEnd(undefined);
  }
}

/** FUA: durable before it is answered, whatever the volume's mode (R5). */
function isForced(flags: number): boolean {
  return (flags & COMMAND_FLAG.fua) !== 0;
}
