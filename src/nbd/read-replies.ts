// Answers to READ, simple or structured: the head is put before data that lies in the reply already, and zeroes are named
// instead of sent where the client understands that.

import { returnMemory } from '../core/lent-memory.ts';
import {
  COMMAND_FLAG,
  HOLE_CHUNK_BYTES,
  putHoleChunk,
  putReadChunk,
  putSimpleReply,
  READ_CHUNK_BYTES,
  type RequestHeader,
  SIMPLE_REPLY_BYTES,
} from './nbd-codec.ts';
import type { ReplyBatch } from './reply-batch.ts';
import { isZero, sparsePieces } from './sparse-reply.ts';

export class ReadReplies {
  readonly #replies: ReplyBatch;
  readonly #isStructured: boolean;
  /** Room to leave before the data. */
  readonly headBytes: number;

  constructor(replies: ReplyBatch, isStructured: boolean) {
    this.#replies = replies;
    this.#isStructured = isStructured;
    this.headBytes = isStructured ? READ_CHUNK_BYTES : SIMPLE_REPLY_BYTES;
  }

  /** The reply is what was reserved last, at `at` of the shared buffer. */
  answerInline(at: number, request: RequestHeader): void {
    const { buffer } = this.#replies;
    if (!this.#isStructured) {
      putSimpleReply(buffer, at, request, 0);
    } else if (isZero(buffer, at + READ_CHUNK_BYTES, request.length)) {
      this.#replies.giveBack(READ_CHUNK_BYTES + request.length);
      const place = this.#replies.reserve(HOLE_CHUNK_BYTES);
      putHoleChunk(this.#replies.buffer, place, request, request);
    } else putReadChunk(buffer, at, request, request);
  }

  /** The reply lies in lent memory, which goes back. DF: in one chunk. */
  answer(reply: Uint8Array, request: RequestHeader): void {
    if (!this.#isStructured) putSimpleReply(reply, 0, request, 0);
    else if ((request.flags & COMMAND_FLAG.df) !== 0) putReadChunk(reply, 0, request, request);
    else {
      this.#answerSparse(reply, request);
      return;
    }
    this.#replies.add(reply, true);
  }

  #answerSparse(reply: Uint8Array, request: RequestHeader): void {
    const pieces = sparsePieces(reply, request);
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    // A few bytes must not keep a long buffer alive that the bounds do not know of.
    const isMostlyHoles = bytes < reply.length / 2;
    const last = pieces.length - 1;
    for (const [i, piece] of pieces.entries()) {
      if (isMostlyHoles) this.#replies.add(new Uint8Array(piece));
      else this.#replies.add(piece, i === last);
    }
    if (isMostlyHoles) returnMemory(reply);
  }
}
