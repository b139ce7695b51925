// Option negotiation of one connection: fixed newstyle. Bytes come in by `onData`; the end is one of two calls: `attached`
// (GO or EXPORT_NAME went well; the rest of the bytes belongs to transmission) or `failed` (the connection is to be closed).
// Memory is bounded whatever a client sends: one option of MAX_OPTION_BYTES is kept, longer ones are skipped unread. The
// time is bounded by connection.ts.

import { concat } from 'uint8arrays/concat';
import { messageOf, OperatingError } from '../core/errors.ts';
import { ALL_ALLOWED, type NbdClient } from './access.ts';
import type { ByteChannel, TlsDoor, TlsOutcome } from './byte-channel.ts';
import type { Attachment, ExportInfo, Exports } from './exports.ts';
import { chosenContexts, listedContexts, type MetaContext } from './meta-contexts.ts';
import { encodeText, MAX_STRING_BYTES, readU32 } from './nbd-codec.ts';
import {
  type BadOption,
  decodeInfoRequest,
  decodeMetaRequest,
  decodeOptionHeader,
  decodeText,
  encodeBlockSizeInfo,
  encodeExportInfo,
  encodeExportNameAnswer,
  encodeGreeting,
  encodeListEntry,
  encodeMetaContext,
  encodeOptionReply,
  encodeTextInfo,
  FIXED_NEWSTYLE,
  INFO,
  NO_ZEROES,
  OPTION,
  OPTION_HEADER_BYTES,
  REPLY,
} from './option-codec.ts';

/** Longest option that is read: a name and a few queries of 4 KiB. A longer one is skipped: TOO_BIG. Bytes. */
export const MAX_OPTION_BYTES = 16 * 1024;
/** Options of one handshake; a client needs five. At the bound the connection is closed. */
export const MAX_OPTIONS = 128;
/** What a client may send while the node asks whether a name exists. At the bound the connection is closed. Bytes. */
export const MAX_HELD_BYTES = 16 * 1024;
/** Answers that the client does not read. At the bound the connection is closed. Bytes. */
export const MAX_HANDSHAKE_QUEUE_BYTES = 1024 * 1024;

const CLIENT_FLAGS_BYTES = 4;
const NOTHING = new Uint8Array(0);

/** What the two sides agreed on. */
export interface Agreement {
  readonly attachment: Attachment;
  readonly structuredReplies: boolean;
  /** What BLOCK_STATUS answers; empty: it is not served. */
  readonly contexts: readonly MetaContext[];
}

export interface HandshakeEnd {
  /** `rest`: bytes after the last option, valid during the call. */
  attached(agreement: Agreement, rest: Uint8Array): void;
  /** STARTTLS was accepted: begin it; `secured` of the handshake goes on. */
  startTls(begin: (outcome: TlsOutcome) => void): void;
  /** Nothing more will be answered; what was written should still be sent. */
  failed(reason: string): void;
}

type Expecting = 'flags' | 'option' | 'data' | 'look-up' | 'nothing';

/** Who comes in without TLS: whoever reaches the socket may attach all. */
const ANYBODY = ALL_ALLOWED('');
const NOBODY: NbdClient = { name: '', isKnown: false, mayAttach: () => false };

export class Handshake {
  readonly #channel: ByteChannel;
  readonly #exports: Exports;
  readonly #end: HandshakeEnd;
  #expecting: Expecting = 'flags';
  /** What is expected, as far as it came. */
  #piece = new Uint8Array(CLIENT_FLAGS_BYTES);
  #have = 0;
  /** Bytes of an option's data that are too many to be kept, still to come. */
  #toSkip = 0;
  #option = 0;
  #optionCount = 0;
  #noZeroes = false;
  #structuredReplies = false;
  /** Of the latest SET_META_CONTEXT, and the export that they were chosen for. */
  #contexts: readonly MetaContext[] = [];
  #contextsOf = '';
  #shuttingDown = false;
  readonly #tls: TlsDoor | undefined;
  /** Undefined: it has to prove who it is before anything else. */
  #client: NbdClient | undefined;
  /** What came while a name was looked up. */
  #held = NOTHING;

  /** @param tls set: without TLS nothing is answered but STARTTLS and ABORT */
  constructor(channel: ByteChannel, exports: Exports, end: HandshakeEnd, tls?: TlsDoor) {
    this.#tls = tls;
    this.#client = tls === undefined ? ANYBODY : undefined;
    this.#channel = channel;
    this.#exports = exports;
    this.#end = end;
    channel.write(encodeGreeting());
  }

  /** From now on every option is answered with ERR_SHUTDOWN. */
  shutDown(): void {
    this.#shuttingDown = true;
  }

  /** TLS stands. Nothing of what was agreed before it counts; whatever came in the clear after STARTTLS was dropped. */
  secured(client: NbdClient): void {
    if (this.#expecting !== 'nothing') return;
    this.#client = client;
    this.#structuredReplies = false;
    this.#contexts = [];
    this.#expect('option', OPTION_HEADER_BYTES);
  }

  /** The connection is gone: nobody is to be attached any more. */
  stop(): void {
    this.#expecting = 'nothing';
  }

  onData(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length && this.#expecting !== 'nothing') {
      if (this.#expecting === 'look-up') {
        this.#hold(chunk.subarray(at));
        return;
      }
      if (this.#toSkip > 0) {
        const skipped = Math.min(this.#toSkip, chunk.length - at);
        this.#toSkip -= skipped;
        at += skipped;
        if (this.#toSkip === 0) this.#refuse(REPLY.errTooBig, 'this option is too long');
        continue;
      }
      const taken = Math.min(this.#piece.length - this.#have, chunk.length - at);
      this.#piece.set(chunk.subarray(at, at + taken), this.#have);
      this.#have += taken;
      at += taken;
      if (this.#have === this.#piece.length) this.#pieceArrived(chunk.subarray(at));
    }
  }

  #hold(bytes: Uint8Array): void {
    if (this.#held.length + bytes.length > MAX_HELD_BYTES) this.#fail('too much before an answer');
    else this.#held = concat([this.#held, bytes]);
  }

  #pieceArrived(rest: Uint8Array): void {
    const piece = this.#piece;
    if (this.#expecting === 'flags') this.#flagsArrived(readU32(piece, 0));
    else if (this.#expecting === 'option') this.#headerArrived(piece, rest);
    else if (this.#expecting === 'data') this.#optionArrived(piece, rest);
  }

  #expect(what: Expecting, bytes: number): void {
    this.#expecting = what;
    this.#piece = new Uint8Array(bytes);
    this.#have = 0;
  }

  #fail(reason: string): void {
    this.#expecting = 'nothing';
    this.#end.failed(reason);
  }

  #flagsArrived(flags: number): void {
    if ((flags & ~(FIXED_NEWSTYLE | NO_ZEROES)) !== 0) {
      this.#fail('unknown client flags');
      return;
    }
    this.#noZeroes = (flags & NO_ZEROES) !== 0;
    this.#expect('option', OPTION_HEADER_BYTES);
  }

  #headerArrived(piece: Uint8Array, rest: Uint8Array): void {
    const header = decodeOptionHeader(piece);
    if (header === undefined) {
      this.#fail('not an NBD option');
      return;
    }
    this.#optionCount += 1;
    if (this.#optionCount > MAX_OPTIONS) {
      this.#fail('too many options');
      return;
    }
    if (this.#channel.queuedBytes > MAX_HANDSHAKE_QUEUE_BYTES) {
      this.#fail('answers unread');
      return;
    }
    this.#option = header.option;
    // It replaces what was chosen before, also when it fails.
    if (header.option === OPTION.setMetaContext) this.#contexts = [];
    this.#expect('option', OPTION_HEADER_BYTES);
    if (header.length > MAX_OPTION_BYTES) {
      // EXPORT_NAME has no error reply: its only refusal is the end.
      if (header.option === OPTION.exportName) {
        this.#fail('export name too long');
        return;
      }
      this.#toSkip = header.length;
    } else if (header.length > 0) this.#expect('data', header.length);
    else this.#optionArrived(NOTHING, rest);
  }

  #reply(reply: number, data: Uint8Array = NOTHING): void {
    this.#channel.write(encodeOptionReply(this.#option, reply, data));
  }

  #refuse(reply: number, text: string): void {
    this.#reply(reply, encodeText(text));
  }

  /** Another node may have made a volume that this one has not heard of: then the option waits for the answer (C2.3). */
  #optionArrived(data: Uint8Array, rest: Uint8Array): void {
    const isAsked = !this.#shuttingDown && this.#client !== undefined;
    const name = isAsked ? nameIn(this.#option, data) : undefined;
    const doubt = name === undefined ? undefined : this.#exports.doubt(name);
    if (doubt === undefined) {
      this.#answerOption(data, rest);
      return;
    }
    this.#expecting = 'look-up';
    this.#held = NOTHING;
    const option = data.slice();
    doubt.then(
      () => this.#lookedUp(option),
      (error: unknown) => this.#lookedUp(option, error),
    );
  }

  #lookedUp(data: Uint8Array, error?: unknown): void {
    if (this.#expecting !== 'look-up') return;
    if (error !== undefined && !(error instanceof OperatingError)) throw error;
    const held = this.#held;
    // What is missing now is missing: `find` has the words for it.
    if (error === undefined || error.code === 'missing') this.#answerOption(data, held);
    else if (this.#option === OPTION.exportName) this.#fail(messageOf(error));
    else {
      this.#expect('option', OPTION_HEADER_BYTES);
      this.#refuse(refusalOf(error), messageOf(error));
    }
    this.#held = NOTHING;
    this.onData(held);
  }

  #answerOption(data: Uint8Array, rest: Uint8Array): void {
    this.#expect('option', OPTION_HEADER_BYTES);
    if (this.#option === OPTION.exportName) {
      this.#exportName(data, rest);
      return;
    }
    if (this.#option === OPTION.abort) {
      this.#reply(REPLY.ack);
      this.#fail('aborted by the client');
      return;
    }
    if (this.#shuttingDown) {
      this.#refuse(REPLY.errShutdown, 'this node is shutting down');
      return;
    }
    if (this.#option === OPTION.startTls) {
      this.#startTls(data);
      return;
    }
    if (this.#client === undefined) {
      this.#refuse(REPLY.errTlsReqd, 'this address is served with TLS only');
      return;
    }
    switch (this.#option) {
      case OPTION.list:
        this.#list(data);
        return;
      case OPTION.info:
      case OPTION.go:
        this.#infoOrGo(data, rest);
        return;
      case OPTION.structuredReply:
        this.#structured(data);
        return;
      case OPTION.listMetaContext:
      case OPTION.setMetaContext:
        this.#metaContext(data);
        return;
      default:
        this.#refuse(REPLY.errUnsup, 'unknown option');
        return;
    }
  }

  #startTls(data: Uint8Array): void {
    if (this.#tls === undefined) {
      this.#refuse(REPLY.errUnsup, 'this address is served without TLS');
      return;
    }
    if (data.length > 0 || this.#client !== undefined) {
      this.#refuse(
        REPLY.errInvalid,
        data.length > 0 ? 'STARTTLS takes no data' : 'TLS stands already',
      );
      return;
    }
    const begin = this.#orRefuse(() => this.#tls?.prepare());
    if (begin === undefined) return;
    this.#reply(REPLY.ack);
    this.#expecting = 'nothing';
    this.#end.startTls(begin);
  }

  #list(data: Uint8Array): void {
    if (data.length > 0) {
      this.#refuse(REPLY.errInvalid, 'LIST takes no data');
      return;
    }
    const listed = this.#orRefuse(() => this.#exports.list(this.#client ?? NOBODY));
    if (listed === undefined) return;
    for (const { name } of listed) this.#reply(REPLY.server, encodeListEntry(name));
    this.#reply(REPLY.ack);
  }

  #structured(data: Uint8Array): void {
    if (data.length > 0) {
      this.#refuse(REPLY.errInvalid, 'STRUCTURED_REPLY takes no data');
      return;
    }
    this.#structuredReplies = true;
    this.#reply(REPLY.ack);
  }

  #metaContext(data: Uint8Array): void {
    const isSet = this.#option === OPTION.setMetaContext;
    if (!this.#structuredReplies) {
      this.#refuse(REPLY.errInvalid, 'structured replies must be negotiated first');
      return;
    }
    const request = decodeMetaRequest(data);
    if (typeof request === 'string') {
      this.#refuseBad(request);
      return;
    }
    const found = this.#find(request.name);
    if (found === undefined) return;
    const { queries } = request;
    const contexts = isSet ? chosenContexts(queries) : listedContexts(queries);
    if (isSet) {
      this.#contexts = contexts;
      this.#contextsOf = found.name;
    }
    for (const { id, name } of contexts)
      this.#reply(REPLY.metaContext, encodeMetaContext(id, name));
    this.#reply(REPLY.ack);
  }

  #infoOrGo(data: Uint8Array, rest: Uint8Array): void {
    const request = decodeInfoRequest(data);
    if (typeof request === 'string') {
      this.#refuseBad(request);
      return;
    }
    const found = this.#find(request.name);
    if (found === undefined) return;
    const attachment = this.#option === OPTION.go ? this.#attach(found.name) : undefined;
    if (this.#option === OPTION.go && attachment === undefined) return;
    this.#reply(REPLY.info, encodeExportInfo(found.sizeBytes));
    if (request.infos.includes(INFO.name)) {
      this.#reply(REPLY.info, encodeTextInfo(INFO.name, found.name));
    }
    if (request.infos.includes(INFO.description)) {
      this.#reply(REPLY.info, encodeTextInfo(INFO.description, `Sheepdog volume ${found.name}`));
    }
    if (request.infos.includes(INFO.blockSize)) this.#reply(REPLY.info, encodeBlockSizeInfo());
    this.#reply(REPLY.ack);
    if (attachment !== undefined) this.#finish(attachment, rest);
  }

  /** EXPORT_NAME can only say yes or close. */
  #exportName(data: Uint8Array, rest: Uint8Array): void {
    const name = data.length <= MAX_STRING_BYTES ? decodeText(data) : undefined;
    if (name === undefined) {
      this.#fail('bad export name');
      return;
    }
    if (this.#shuttingDown || this.#client === undefined) {
      this.#fail(this.#shuttingDown ? 'shutting down' : 'no TLS');
      return;
    }
    try {
      const found = this.#exports.find(name, this.#client);
      const attachment = this.#exports.attach(found.name);
      this.#channel.write(encodeExportNameAnswer(found.sizeBytes, this.#noZeroes));
      this.#finish(attachment, rest);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#fail(messageOf(error));
    }
  }

  #finish(attachment: Attachment, rest: Uint8Array): void {
    this.#expecting = 'nothing';
    const isOfThis = this.#contextsOf === attachment.session.volume.name;
    const contexts = isOfThis ? this.#contexts : [];
    const structuredReplies = this.#structuredReplies;
    this.#end.attached({ attachment, structuredReplies, contexts }, rest);
  }

  /** The export, or undefined when the client was told why not. */
  #find(name: string): ExportInfo | undefined {
    return this.#orRefuse(() => this.#exports.find(name, this.#client ?? NOBODY));
  }

  #attach(name: string): Attachment | undefined {
    return this.#orRefuse(() => this.#exports.attach(name));
  }

  #orRefuse<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#refuse(refusalOf(error), messageOf(error));
      return undefined;
    }
  }

  #refuseBad(why: BadOption): void {
    if (why === 'too-big')
      this.#refuse(REPLY.errTooBig, `strings have ${MAX_STRING_BYTES} bytes at most`);
    else this.#refuse(REPLY.errInvalid, 'malformed option');
  }
}

/** The export that an option asks for; undefined when it asks for none, or is malformed. */
function nameIn(option: number, data: Uint8Array): string | undefined {
  if (option === OPTION.exportName) {
    return data.length <= MAX_STRING_BYTES ? decodeText(data) : undefined;
  }
  const isMeta = option === OPTION.listMetaContext || option === OPTION.setMetaContext;
  if (!isMeta && option !== OPTION.info && option !== OPTION.go) return undefined;
  const request = isMeta ? decodeMetaRequest(data) : decodeInfoRequest(data);
  return typeof request === 'string' ? undefined : request.name;
}

function refusalOf(error: OperatingError): number {
  if (error.code === 'missing') return REPLY.errUnknown;
  if (error.code === 'shutting-down') return REPLY.errShutdown;
  return REPLY.errPolicy;
}
