// Option negotiation of one connection: fixed newstyle. Bytes come in by `onData`; the end is one of two calls: `attached`
// (GO or EXPORT_NAME went well; the rest of the bytes belongs to transmission) or `failed` (the connection is to be closed).
// option-reader.ts cuts the bytes and bounds them; the time is bounded by connection.ts.

import { messageOf, OperatingError } from '../core/errors.ts';
import { ALL_ALLOWED, type NbdClient } from './access.ts';
import type { ByteChannel, TlsDoor, TlsOutcome } from './byte-channel.ts';
import { type Attachment, type ExportInfo, type Exports, volumeOf } from './exports.ts';
import {
  chosenContexts,
  listedContexts,
  type MetaContext,
  snapshotsAsked,
} from './meta-contexts.ts';
import { encodeText, MAX_STRING_BYTES, transmissionFlagsOf } from './nbd-codec.ts';
import {
  type BadOption,
  decodeInfoRequest,
  decodeMetaRequest,
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
  REPLY,
} from './option-codec.ts';
import { OptionReader } from './option-reader.ts';

/** Options of one handshake; a client needs five. At the bound the connection is closed. */
export const MAX_OPTIONS = 128;
/** Options more for each export that was listed: qemu-nbd --list asks two of each, on the same connection. */
export const OPTIONS_PER_LISTED_EXPORT = 4;
/** Answers that the client does not read. At the bound the connection is closed. Bytes. */
export const MAX_HANDSHAKE_QUEUE_BYTES = 1024 * 1024;

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

/** Who comes in without TLS: whoever reaches the socket may attach all. */
const ANYBODY = ALL_ALLOWED('');
const NOBODY: NbdClient = { name: '', isKnown: false, mayAttach: () => false };

export class Handshake {
  readonly #channel: ByteChannel;
  readonly #exports: Exports;
  readonly #end: HandshakeEnd;
  readonly #reader: OptionReader;
  #option = 0;
  #optionCount = 0;
  /** Of the longest list that was told. */
  #listed = 0;
  #noZeroes = false;
  #structuredReplies = false;
  /** Of the latest SET_META_CONTEXT, and the export that they were chosen for. */
  #contexts: readonly MetaContext[] = [];
  #contextsOf = '';
  #shuttingDown = false;
  readonly #tls: TlsDoor | undefined;
  /** Undefined: it has to prove who it is before anything else. */
  #client: NbdClient | undefined;

  /** @param tls set: without TLS nothing is answered but STARTTLS and ABORT */
  constructor(channel: ByteChannel, exports: Exports, end: HandshakeEnd, tls?: TlsDoor) {
    this.#tls = tls;
    this.#client = tls === undefined ? ANYBODY : undefined;
    this.#channel = channel;
    this.#exports = exports;
    this.#end = end;
    this.#reader = new OptionReader({
      flagsArrived: (flags) => this.#flagsArrived(flags),
      announced: (option, isTooLong) => this.#announced(option, isTooLong),
      optionArrived: (_option, data, rest) => this.#optionArrived(data, rest),
      skipped: () => this.#refuse(REPLY.errTooBig, 'this option is too long'),
      broken: (reason) => this.#fail(reason),
    });
    channel.write(encodeGreeting());
  }

  /** From now on every option is answered with ERR_SHUTDOWN. */
  shutDown(): void {
    this.#shuttingDown = true;
  }

  /** TLS stands. Nothing of what was agreed before it counts; whatever came in the clear after STARTTLS was dropped. */
  secured(client: NbdClient): void {
    this.#client = client;
    this.#structuredReplies = false;
    this.#contexts = [];
    this.#reader.restart();
  }

  /** The connection is gone: nobody is to be attached any more. */
  stop(): void {
    this.#reader.stop();
  }

  onData(chunk: Uint8Array): void {
    this.#reader.feed(chunk);
  }

  #fail(reason: string): void {
    this.#reader.stop();
    this.#end.failed(reason);
  }

  #flagsArrived(flags: number): void {
    if ((flags & ~(FIXED_NEWSTYLE | NO_ZEROES)) !== 0) this.#fail('unknown client flags');
    else this.#noZeroes = (flags & NO_ZEROES) !== 0;
  }

  #announced(option: number, isTooLong: boolean): boolean {
    this.#optionCount += 1;
    this.#option = option;
    // It replaces what was chosen before, also when it fails.
    if (option === OPTION.setMetaContext) this.#contexts = [];
    const over = this.#endOf(option, isTooLong);
    if (over !== undefined) this.#fail(over);
    return over === undefined;
  }

  /** Why an option ends the connection before it is read. */
  #endOf(option: number, isTooLong: boolean): string | undefined {
    const most = MAX_OPTIONS + OPTIONS_PER_LISTED_EXPORT * this.#listed;
    if (this.#optionCount > most) return 'too many options';
    if (this.#channel.queuedBytes > MAX_HANDSHAKE_QUEUE_BYTES) return 'answers unread';
    // EXPORT_NAME has no error reply: its only refusal is the end.
    return isTooLong && option === OPTION.exportName ? 'export name too long' : undefined;
  }

  #reply(reply: number, data: Uint8Array = NOTHING): void {
    this.#channel.write(encodeOptionReply(this.#option, reply, data));
  }

  #refuse(reply: number, text: string): void {
    this.#reply(reply, encodeText(text));
  }

  /** Another node may have made a volume that this one has not heard of: then the option waits for the answer (C2.3). */
  #optionArrived(data: Uint8Array, rest: Uint8Array): void {
    const doubt = this.#doubtOf(data);
    if (doubt === undefined) {
      this.#answerOption(data, rest);
      return;
    }
    this.#reader.hold();
    const option = data.slice();
    doubt.then(
      () => this.#lookedUp(option),
      (error: unknown) => this.#lookedUp(option, error),
    );
  }

  /** Names that a client may not attach are not looked up: they are refused anyway. */
  #doubtOf(data: Uint8Array): Promise<void> | undefined {
    if (this.#shuttingDown || this.#client === undefined) return undefined;
    for (const name of namesIn(this.#option, data)) {
      const doubt = this.#client.mayAttach(volumeOf(name)) ? this.#exports.doubt(name) : undefined;
      // One look tells of all that was made by now.
      if (doubt !== undefined) return doubt;
    }
    return undefined;
  }

  #lookedUp(data: Uint8Array, error?: unknown): void {
    if (!this.#reader.isHolding) return;
    if (error !== undefined && !(error instanceof OperatingError)) throw error;
    this.#reader.release((rest) => {
      // What is missing now is missing: `find` has the words for it.
      if (error === undefined || error.code === 'missing') this.#answerOption(data, rest);
      else if (this.#option === OPTION.exportName) this.#fail(messageOf(error));
      else this.#refuse(refusalOf(error), messageOf(error));
    });
  }

  #answerOption(data: Uint8Array, rest: Uint8Array): void {
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
    this.#reader.stop();
    this.#end.startTls(begin);
  }

  #list(data: Uint8Array): void {
    if (data.length > 0) {
      this.#refuse(REPLY.errInvalid, 'LIST takes no data');
      return;
    }
    const listed = this.#orRefuse(() => this.#exports.list(this.#client ?? NOBODY));
    if (listed === undefined) return;
    const { names, omitted } = listed;
    this.#listed = Math.max(this.#listed, names.length);
    for (const [i, name] of names.entries()) {
      const isCut = omitted > 0 && i === names.length - 1;
      const hint = isCut ? `${omitted} older snapshots are not listed; see dog vdi list` : '';
      this.#reply(REPLY.server, encodeListEntry(name, hint));
    }
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
    const of = this.#exports.snapshotted(found.name);
    const contexts = this.#orRefuse(() => {
      return isSet ? chosenContexts(queries, of) : listedContexts(queries, of);
    });
    if (contexts === undefined) return;
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
    this.#reply(REPLY.info, encodeExportInfo(found.sizeBytes, flagsOf(found)));
    if (request.infos.includes(INFO.name)) {
      this.#reply(REPLY.info, encodeTextInfo(INFO.name, found.name));
    }
    if (request.infos.includes(INFO.description)) {
      const kind = found.name.includes('@') ? 'snapshot' : 'volume';
      this.#reply(REPLY.info, encodeTextInfo(INFO.description, `Sheepdog ${kind} ${found.name}`));
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
      const attachment = this.#exports.attach(found.name, this.#origin());
      const { sizeBytes } = found;
      this.#channel.write(encodeExportNameAnswer(sizeBytes, this.#noZeroes, flagsOf(found)));
      this.#finish(attachment, rest);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#fail(messageOf(error));
    }
  }

  #finish(attachment: Attachment, rest: Uint8Array): void {
    this.#reader.stop();
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
    return this.#orRefuse(() => this.#exports.attach(name, this.#origin()));
  }

  /** Where the client came from, and who it proved to be. */
  #origin(): string {
    const name = this.#client?.name ?? '';
    const place = this.#channel.from ?? '';
    return name === '' ? place : `${name} at ${place}`;
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

/** The export that an option asks for, and the snapshots it is to be compared with; none when it is malformed. */
function namesIn(option: number, data: Uint8Array): readonly string[] {
  if (option === OPTION.exportName) {
    const name = data.length <= MAX_STRING_BYTES ? decodeText(data) : undefined;
    return name === undefined ? [] : [name];
  }
  if (option === OPTION.info || option === OPTION.go) {
    const request = decodeInfoRequest(data);
    return typeof request === 'string' ? [] : [request.name];
  }
  if (option !== OPTION.listMetaContext && option !== OPTION.setMetaContext) return [];
  const request = decodeMetaRequest(data);
  if (typeof request === 'string') return [];
  const { name, queries } = request;
  return [name, ...(name === '' ? [] : snapshotsAsked(volumeOf(name), queries))];
}

function flagsOf({ attachMode = 'handover' }: ExportInfo): number {
  return transmissionFlagsOf(attachMode);
}

function refusalOf(error: OperatingError): number {
  if (error.code === 'missing') return REPLY.errUnknown;
  if (error.code === 'shutting-down') return REPLY.errShutdown;
  if (error.code === 'too-large') return REPLY.errTooBig;
  return REPLY.errPolicy;
}
