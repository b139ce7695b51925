// Cuts a client's bytes into its flags and its options. Memory is bounded whatever it sends: one option of MAX_OPTION_BYTES
// is kept, longer ones are skipped unread, and what comes while an answer is awaited is held up to MAX_HELD_BYTES.

import { concat } from 'uint8arrays/concat';
import { readU32 } from './nbd-codec.ts';
import { decodeOptionHeader, OPTION_HEADER_BYTES } from './option-codec.ts';

/** Longest option that is read: a name and a few queries of 4 KiB. A longer one is skipped: TOO_BIG. Bytes. */
export const MAX_OPTION_BYTES = 16 * 1024;
/** What a client may send while the node asks whether a name exists. At the bound the connection is closed. Bytes. */
export const MAX_HELD_BYTES = 16 * 1024;

const CLIENT_FLAGS_BYTES = 4;
const NOTHING = new Uint8Array(0);

/** What the reader finds. Each call may `stop` or `hold` the reader. */
export interface OptionSink {
  flagsArrived(flags: number): void;
  /** A header: whether its data is wanted; false = the connection is over. */
  announced(option: number, isTooLong: boolean): boolean;
  /** `data` is valid during the call, and so is `rest`, the bytes behind it. */
  optionArrived(option: number, data: Uint8Array, rest: Uint8Array): void;
  /** A long option was skipped. */
  skipped(option: number): void;
  /** These bytes are no handshake, or too many. */
  broken(reason: string): void;
}

export class OptionReader {
  readonly #sink: OptionSink;
  #expecting: 'flags' | 'header' | 'data' = 'flags';
  #state: 'reads' | 'holds' | 'over' = 'reads';
  /** What is expected, as far as it came. */
  #piece = new Uint8Array(CLIENT_FLAGS_BYTES);
  #have = 0;
  /** Bytes of an option's data that are too many to be kept, still to come. */
  #toSkip = 0;
  #option = 0;
  #held = NOTHING;

  constructor(sink: OptionSink) {
    this.#sink = sink;
  }

  get isHolding(): boolean {
    return this.#state === 'holds';
  }

  /** Nothing more is read: what comes is dropped, the rest of this chunk included. */
  stop(): void {
    this.#state = 'over';
  }

  /** The end of `stop`: an option comes next. */
  restart(): void {
    this.#state = 'reads';
    this.#expect('header', OPTION_HEADER_BYTES);
  }

  /** What comes is kept until `release`. */
  hold(): void {
    this.#state = 'holds';
    this.#held = NOTHING;
  }

  /** The end of `hold`: gives what was kept to `answer` as what follows the option, then reads on with it. */
  release(answer: (rest: Uint8Array) => void): void {
    const held = this.#held;
    this.#held = NOTHING;
    this.#state = 'reads';
    answer(held);
    this.feed(held);
  }

  feed(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length && this.#state !== 'over') {
      if (this.#state === 'holds') {
        this.#keep(chunk.subarray(at));
        return;
      }
      if (this.#toSkip > 0) at += this.#skip(chunk.length - at);
      else at += this.#take(chunk, at);
    }
  }

  #keep(bytes: Uint8Array): void {
    if (this.#held.length + bytes.length <= MAX_HELD_BYTES) {
      this.#held = concat([this.#held, bytes]);
    } else this.#broken('too much before an answer');
  }

  #skip(available: number): number {
    const skipped = Math.min(this.#toSkip, available);
    this.#toSkip -= skipped;
    if (this.#toSkip === 0) this.#sink.skipped(this.#option);
    return skipped;
  }

  #take(chunk: Uint8Array, at: number): number {
    const taken = Math.min(this.#piece.length - this.#have, chunk.length - at);
    this.#piece.set(chunk.subarray(at, at + taken), this.#have);
    this.#have += taken;
    if (this.#have === this.#piece.length) this.#pieceArrived(chunk.subarray(at + taken));
    return taken;
  }

  #pieceArrived(rest: Uint8Array): void {
    const piece = this.#piece;
    const was = this.#expecting;
    this.#expect('header', OPTION_HEADER_BYTES);
    if (was === 'flags') this.#sink.flagsArrived(readU32(piece, 0));
    else if (was === 'header') this.#headerArrived(piece, rest);
    else this.#sink.optionArrived(this.#option, piece, rest);
  }

  #headerArrived(piece: Uint8Array, rest: Uint8Array): void {
    const header = decodeOptionHeader(piece);
    if (header === undefined) {
      this.#broken('not an NBD option');
      return;
    }
    const { option, length } = header;
    this.#option = option;
    const isTooLong = length > MAX_OPTION_BYTES;
    if (!this.#sink.announced(option, isTooLong)) return;
    if (isTooLong) this.#toSkip = length;
    else if (length > 0) this.#expect('data', length);
    else this.#sink.optionArrived(option, NOTHING, rest);
  }

  #expect(what: 'header' | 'data', bytes: number): void {
    this.#expecting = what;
    this.#piece = new Uint8Array(bytes);
    this.#have = 0;
  }

  #broken(reason: string): void {
    this.stop();
    this.#sink.broken(reason);
  }
}
