// The replies of one tick, sent together: small ones side by side in one shared buffer, long ones as buffers of their own.
// The shared buffer is used again from its start as soon as the socket has taken all of it.

import { returnMemory } from '../core/lent-memory.ts';
import { KIB } from '../core/units.ts';
import type { Clock } from '../ports/ports.ts';
import type { ByteChannel } from './byte-channel.ts';

/** Size of the shared buffer. */
const BATCH_BYTES = 256 * KIB;

export class ReplyBatch {
  readonly #channel: ByteChannel;
  readonly #clock: Clock;
  #buffer: Uint8Array = Buffer.allocUnsafeSlow(BATCH_BYTES);
  /** Before `#start`: given to the channel. Up to `#end`: replies of this tick. */
  #start = 0;
  #end = 0;
  #pieces: Uint8Array[] = [];
  /** Pieces behind which nobody looks at their memory any more. */
  readonly #lastOfLent = new Set<Uint8Array>();
  #pieceBytes = 0;
  #flushPlanned = false;
  readonly #onFlushed: () => void;

  /** `onFlushed` is called after the replies of a tick went to the channel. */
  constructor(channel: ByteChannel, clock: Clock, onFlushed: () => void) {
    this.#channel = channel;
    this.#clock = clock;
    this.#onFlushed = onFlushed;
  }

  /** The shared buffer: ask again after each `reserve`. */
  get buffer(): Uint8Array {
    return this.#buffer;
  }

  /** Bytes of this tick that the channel does not know of yet. */
  get queuedBytes(): number {
    return this.#pieceBytes + this.#end - this.#start;
  }

  /** Room for one reply in `buffer`, from the offset returned; at most BATCH_BYTES. To be filled in this call. */
  reserve(bytes: number): number {
    if (!this.#flushPlanned) this.#planFlush();
    if (this.#end + bytes > this.#buffer.length) {
      this.#seal();
      this.#buffer = Buffer.allocUnsafeSlow(BATCH_BYTES);
      this.#start = 0;
      this.#end = 0;
    }
    const at = this.#end;
    this.#end += bytes;
    return at;
  }

  /** Takes the latest `reserve` back. */
  giveBack(bytes: number): void {
    this.#end -= bytes;
  }

  /**
   * Queues a reply in its own buffer, which is not touched any more.
   * @param isLastOfLent its memory was lent, and goes back when this is sent
   */
  add(reply: Uint8Array, isLastOfLent = false): void {
    if (!this.#flushPlanned) this.#planFlush();
    this.#pieces.push(reply);
    if (isLastOfLent) this.#lastOfLent.add(reply);
    this.#pieceBytes += reply.length;
  }

  /** Hands all to the channel now. Replies may go in any order, so long ones do not cut the shared buffer. */
  flush(): void {
    this.#seal();
    for (const piece of this.#pieces) {
      if (!this.#lastOfLent.has(piece)) this.#channel.write(piece);
      else this.#channel.write(piece, () => returnMemory(piece));
    }
    this.#lastOfLent.clear();
    this.#pieces.length = 0;
    this.#pieceBytes = 0;
  }

  #seal(): void {
    if (this.#end === this.#start) return;
    this.#pieces.push(this.#buffer.subarray(this.#start, this.#end));
    this.#pieceBytes += this.#end - this.#start;
    this.#start = this.#end;
  }

  #planFlush(): void {
    this.#flushPlanned = true;
    // A tick that begins with everything sent begins at the buffer's start: no new buffer while the client keeps up.
    if (this.#channel.queuedBytes === 0 && this.#end === this.#start && this.#pieces.length === 0) {
      this.#start = 0;
      this.#end = 0;
    }
    this.#clock.soon(() => {
      this.#flushPlanned = false;
      this.flush();
      this.#onFlushed();
    });
  }
}
