// Replies of READ with holes: zeroes are not sent but named. A reply lies in one buffer, head and data; the heads of later
// chunks are written over zeroes that are not sent, so nothing is copied and nothing is allocated but views.

import { KIB } from '../core/units.ts';
import {
  type Cookie,
  HOLE_CHUNK_BYTES,
  putHoleChunk,
  putReadChunk,
  READ_CHUNK_BYTES,
} from './nbd-codec.ts';

/**
 * Holes of a long read are whole multiples of this, by their place in the volume: 512 chunks are the most. A read that
 * does not cross one may be a hole as a whole.
 */
export const HOLE_GRAIN_BYTES = 64 * KIB;

const ZEROES = Buffer.alloc(HOLE_GRAIN_BYTES);

/** Whether `length` bytes (HOLE_GRAIN_BYTES at most) are all zero; mostly decided by three of them. */
export function isZero(bytes: Uint8Array, at: number, length: number): boolean {
  if (bytes[at] !== 0 || bytes[at + (length >>> 1)] !== 0 || bytes[at + length - 1] !== 0) {
    return false;
  }
  return ZEROES.compare(bytes, at, at + length, 0, length) === 0;
}

interface Run {
  readonly offset: number;
  readonly length: number;
  readonly isHole: boolean;
}

/**
 * Cuts the reply of a READ, READ_CHUNK_BYTES of room and then its data, into chunks.
 * @returns what to send, in this order and nothing in between: views of `reply`
 */
export function sparsePieces(
  reply: Uint8Array,
  request: Cookie & { readonly offset: number; readonly length: number },
): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  const { offset, length } = request;
  let from = 0; // of the piece that grows
  for (let done = 0; done < length; ) {
    const run = runAt(reply, offset, length, done);
    const at = READ_CHUNK_BYTES + done;
    done += run.length;
    const isLast = done === length;
    if (!run.isHole) {
      putReadChunk(reply, at - READ_CHUNK_BYTES, request, run, isLast);
      if (isLast) pieces.push(reply.subarray(from));
      continue;
    }
    if (at === READ_CHUNK_BYTES) from = at;
    putHoleChunk(reply, at, request, run, isLast);
    pieces.push(reply.subarray(from, at + HOLE_CHUNK_BYTES));
    from = done; // The next head ends where its data begins.
  }
  return pieces;
}

/** The longest run of one kind that begins `done` bytes into the data. */
function runAt(reply: Uint8Array, offset: number, length: number, done: number): Run {
  let end = done;
  let isHole = false;
  while (end < length) {
    const room = HOLE_GRAIN_BYTES - ((offset + end) % HOLE_GRAIN_BYTES);
    const size = Math.min(room, length - end);
    const isWorth = size === HOLE_GRAIN_BYTES || (size === length && size >= HOLE_CHUNK_BYTES);
    const isHoleHere = isWorth && isZero(reply, READ_CHUNK_BYTES + end, size);
    if (end === done) isHole = isHoleHere;
    else if (isHoleHere !== isHole) break;
    end += size;
  }
  return { offset: offset + done, length: end - done, isHole };
}
