// Block frames of the data channel, byte by byte in docs/FORMATS.md ("Data channel"). Little-endian.
// A frame = base header (32) + second header (40, flag SECOND) + sums (flag SUMS) + payload.

import { allocUnsafe } from 'uint8arrays/alloc';
import { crc32 } from '../core/checksum.ts';
import type { ConfigVersion, FencingToken, GenerationId, MapIndex, VolumeId } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import { lendMemory } from '../core/lent-memory.ts';
import { divideUp, KIB, MAX_PAYLOAD_BYTES, SECTOR_BYTES } from '../core/units.ts';
import { badFrame, getU16, getU32, getU48, putU16, putU32, putU48 } from './bytes.ts';

export const FRAME_VERSION = 1;
export const BASE_HEADER_BYTES = 32;
export const SECOND_HEADER_BYTES = 40;

export const OP = {
  READ: 1,
  WRITE: 2,
  ZERO: 3,
  SYNC: 4,
  SEAL: 16,
  EQUALISE: 17,
  VERSIONS: 18,
  CLOSE: 19,
  ENSURE: 20,
  HANDOVER: 21,
  HOLD: 22,
  CONFIRM: 32,
  DIRTY: 33,
  LIST: 34,
  FETCH: 35,
  HASHES: 36,
  REGIONS: 37,
  SURVEY: 38,
  CONTENTS: 39,
  LAYERS: 40,
  HELLO: 48,
  PING: 49,
  MAP: 50,
  CONDITION: 51,
  RECOVERY: 52,
  MOVES: 53,
  LOOK: 56,
  USAGE: 57,
} as const;
/** Added to the op in a reply. */
export const REPLY_BIT = 128;

export const FLAG = {
  SECOND: 1,
  SUMS: 2,
  SYNC: 4,
  STANDBY: 8,
  MORE: 16,
  UNMAP: 32,
  NO_COW: 64,
  READ_ONLY: 128,
} as const;

export const STATUS = {
  OK: 0,
  STALE: 1,
  FENCED: 2,
  GAP: 3,
  DIVERGED: 4,
  BEHIND: 5,
  FROZEN: 6,
  NOT_MEMBER: 7,
  SUSPECT: 8,
  NOSPC: 9,
  BUSY: 10,
  BAD: 11,
  IO: 12,
  GONE: 13,
  CHANGED: 14,
  OVERFLOW: 15,
  NOT_HOLDER: 16,
} as const;
export type Status = (typeof STATUS)[keyof typeof STATUS];

/** A frame as values. Requests between a node and itself are passed as this, never encoded. */
export interface Frame {
  op: number;
  status: number;
  flags: number;
  requestId: number;
  generation: GenerationId;
  index: number;
  offset: number;
  count: number;
  /** Second header; zeroes when the frame has none. */
  cfg: ConfigVersion;
  partition: number;
  mapIndex: MapIndex;
  token: FencingToken;
  verToken: FencingToken;
  verCount: number;
  closed: number;
  volume: VolumeId;
  /** One u32 (little-endian) per sector touched, as stored; empty without flag SUMS. */
  sums: Uint8Array;
  payload: Uint8Array;
}

/** Largest payload of one frame. */
const MAX_FRAME_PAYLOAD_BYTES = MAX_PAYLOAD_BYTES;
/** Largest `length` field: bytes after the base header, all parts. A longer frame closes the channel. */
export const MAX_FRAME_LENGTH = MAX_FRAME_PAYLOAD_BYTES + 4 * KIB;
const SUM_BYTES = 4;
const HEADERS_BYTES = BASE_HEADER_BYTES + SECOND_HEADER_BYTES;
/** Covered by headerSum: base header without the sum itself, then the second header. */
const SUMMED_BYTES = HEADERS_BYTES - SUM_BYTES;
const HEADER_SUM_AT = 28;
const PAYLOAD_SUM_AT = BASE_HEADER_BYTES + 36;
const KNOWN_FLAGS = 255;
const NO_BYTES = new Uint8Array(0);

/** Reused by every frame of the process: filled and read within one synchronous call. */
const summed = new Uint8Array(SUMMED_BYTES);

/** A request without a place: set what it needs. Has a second header. */
export function emptyFrame(): Frame {
  return {
    op: 0,
    status: STATUS.OK,
    flags: FLAG.SECOND,
    requestId: 0,
    generation: 0 as GenerationId,
    index: 0,
    offset: 0,
    count: 0,
    cfg: 0 as ConfigVersion,
    partition: 0,
    mapIndex: 0 as MapIndex,
    token: 0 as FencingToken,
    verToken: 0 as FencingToken,
    verCount: 0,
    closed: 0,
    volume: 0 as VolumeId,
    sums: NO_BYTES,
    payload: NO_BYTES,
  };
}

/** The reply to `frame`, at the same place; versions, cfg, map index, sums and payload are the caller's to fill. */
export function replyTo(frame: Frame, status: Status): Frame {
  const reply = emptyFrame();
  reply.op = frame.op + REPLY_BIT;
  reply.status = status;
  reply.flags = frame.flags & FLAG.SECOND;
  reply.requestId = frame.requestId;
  reply.generation = frame.generation;
  reply.index = frame.index;
  reply.offset = frame.offset;
  reply.count = frame.count;
  reply.partition = frame.partition;
  reply.volume = frame.volume;
  return reply;
}

/** Sectors that `count` bytes at `offset` touch: the length of a table of sums. */
export function sectorsTouched(offset: number, count: number): number {
  if (count === 0) return 0;
  return divideUp(offset + count, SECTOR_BYTES) - Math.floor(offset / SECTOR_BYTES);
}

/** Bytes of a frame on the wire, all parts. */
export function frameBytes(frame: Frame): number {
  const second = (frame.flags & FLAG.SECOND) === 0 ? 0 : SECOND_HEADER_BYTES;
  return BASE_HEADER_BYTES + second + frame.sums.length + frame.payload.length;
}

/**
 * Headers and sums of a frame, all but its payload: what is sent is [encodeHeaders(frame), frame.payload].
 * Sets flag SUMS by the table's presence. The fields are our own: wrong ones are a broken invariant.
 */
export function encodeHeaders(frame: Frame): Uint8Array {
  const hasSecond = (frame.flags & FLAG.SECOND) !== 0;
  const sumsBytes = frame.sums.length;
  invariant(frame.payload.length <= MAX_FRAME_PAYLOAD_BYTES, 'a payload is at most 1 MiB');
  invariant(
    sumsBytes === 0 || sumsBytes === SUM_BYTES * sectorsTouched(frame.offset, frame.count),
    'a table of sums has one sum per sector touched',
  );
  const flags = sumsBytes === 0 ? frame.flags & ~FLAG.SUMS : frame.flags | FLAG.SUMS;
  const sumsAt = hasSecond ? HEADERS_BYTES : BASE_HEADER_BYTES;
  const bytes = allocUnsafe(sumsAt + sumsBytes);
  putU32(bytes, 0, sumsAt - BASE_HEADER_BYTES + sumsBytes + frame.payload.length);
  putU32(bytes, 4, frame.requestId);
  bytes[8] = frame.op;
  bytes[9] = frame.status;
  putU16(bytes, 10, flags);
  putU32(bytes, 12, frame.generation);
  putU32(bytes, 16, frame.index);
  putU32(bytes, 20, frame.offset);
  putU32(bytes, 24, frame.count);
  if (sumsBytes > 0) bytes.set(frame.sums, sumsAt);
  if (hasSecond) putSecond(bytes, frame);
  putU32(bytes, HEADER_SUM_AT, headerSum(bytes, hasSecond));
  return bytes;
}

function putSecond(bytes: Uint8Array, frame: Frame): void {
  putU32(bytes, 32, frame.cfg);
  putU16(bytes, 36, frame.partition);
  putU48(bytes, 38, frame.mapIndex);
  putU32(bytes, 44, frame.token);
  putU32(bytes, 48, frame.verToken);
  putU48(bytes, 52, frame.verCount);
  putU48(bytes, 58, frame.closed);
  putU32(bytes, 64, frame.volume);
  putU32(bytes, PAYLOAD_SUM_AT, payloadSum(frame.sums, frame.payload));
}

/** With a table of sums, the table vouches for the sectors and the sum for the table. */
function payloadSum(sums: Uint8Array, payload: Uint8Array): number {
  if (sums.length > 0) return crc32(sums);
  return payload.length === 0 ? 0 : crc32(payload);
}

function headerSum(bytes: Uint8Array, hasSecond: boolean): number {
  for (let at = 0; at < HEADER_SUM_AT; at += 1) summed[at] = bytes[at] as number;
  if (!hasSecond) return crc32(summed, 0, HEADER_SUM_AT);
  for (let at = BASE_HEADER_BYTES; at < HEADERS_BYTES; at += 1) {
    summed[at - SUM_BYTES] = bytes[at] as number;
  }
  return crc32(summed);
}

/**
 * One whole frame, checked: lengths, header sum, payload sum, flags. `sums` and `payload` are views of `buffer`. The
 * sums of the sectors themselves are checked by who uses them.
 * @throws OperatingError 'bad-frame': close the channel
 */
export function decodeFrame(buffer: Uint8Array): Frame {
  if (buffer.length < BASE_HEADER_BYTES) throw badFrame('shorter than a header');
  if (getU32(buffer, 0) !== buffer.length - BASE_HEADER_BYTES) throw badFrame('length of frame');
  const flags = getU16(buffer, 10);
  if ((flags & ~KNOWN_FLAGS) !== 0) throw badFrame(`flags ${flags}`);
  const hasSecond = (flags & FLAG.SECOND) !== 0;
  const sumsAt = hasSecond ? HEADERS_BYTES : BASE_HEADER_BYTES;
  if (buffer.length < sumsAt) throw badFrame('no second header');
  if (getU32(buffer, HEADER_SUM_AT) !== headerSum(buffer, hasSecond)) throw badFrame('header sum');

  const frame = emptyFrame();
  frame.requestId = getU32(buffer, 4);
  frame.op = buffer[8] as number;
  frame.status = buffer[9] as number;
  frame.flags = flags;
  frame.generation = getU32(buffer, 12) as GenerationId;
  frame.index = getU32(buffer, 16);
  frame.offset = getU32(buffer, 20);
  frame.count = getU32(buffer, 24);
  if (hasSecond) getSecond(buffer, frame);
  splitBody(buffer, sumsAt, frame);
  return frame;
}

function getSecond(buffer: Uint8Array, frame: Frame): void {
  frame.cfg = getU32(buffer, 32) as ConfigVersion;
  frame.partition = getU16(buffer, 36);
  frame.mapIndex = getU48(buffer, 38) as MapIndex;
  frame.token = getU32(buffer, 44) as FencingToken;
  frame.verToken = getU32(buffer, 48) as FencingToken;
  frame.verCount = getU48(buffer, 52);
  frame.closed = getU48(buffer, 58);
  frame.volume = getU32(buffer, 64) as VolumeId;
}

function splitBody(buffer: Uint8Array, sumsAt: number, frame: Frame): void {
  let payloadAt = sumsAt;
  if ((frame.flags & FLAG.SUMS) !== 0) {
    payloadAt += SUM_BYTES * sectorsTouched(frame.offset, frame.count);
    if (payloadAt === sumsAt || payloadAt > buffer.length) throw badFrame('table of sums');
    frame.sums = buffer.subarray(sumsAt, payloadAt);
  }
  frame.payload = buffer.subarray(payloadAt);
  if (frame.payload.length > MAX_FRAME_PAYLOAD_BYTES) throw badFrame('payload above 1 MiB');
  if ((frame.flags & FLAG.SECOND) === 0) return;
  if (getU32(buffer, PAYLOAD_SUM_AT) !== payloadSum(frame.sums, frame.payload)) {
    throw badFrame('payload sum');
  }
}

/**
 * Cuts a byte stream into whole frames. Copies each byte once, into one buffer per frame, which the receiver owns and
 * may give back (lent-memory.ts).
 * Holds at most one frame.
 */
export class FrameAssembler {
  readonly #onFrame: (frame: Uint8Array) => void;
  readonly #limit: number;
  readonly #lengthField = new Uint8Array(4);
  #lengthHave = 0;
  #frame: Uint8Array | undefined;
  #have = 0;

  /** @param limit largest `length` field that is taken */
  constructor(onFrame: (frame: Uint8Array) => void, limit: number = MAX_FRAME_LENGTH) {
    this.#onFrame = onFrame;
    this.#limit = limit;
  }

  /**
   * Takes the next bytes of the stream; calls back for each frame they complete. `chunk` may be reused afterwards.
   * @throws OperatingError 'bad-frame' for a length above the limit: close the channel, the stream is lost
   */
  feed(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#frame === undefined) {
        this.#lengthField[this.#lengthHave] = chunk[at] as number;
        this.#lengthHave += 1;
        at += 1;
        if (this.#lengthHave === this.#lengthField.length) this.#begin();
        continue;
      }
      const count = Math.min(chunk.length - at, this.#frame.length - this.#have);
      this.#frame.set(chunk.subarray(at, at + count), this.#have);
      this.#have += count;
      at += count;
      if (this.#have === this.#frame.length) this.#finish(this.#frame);
    }
  }

  #begin(): void {
    const length = getU32(this.#lengthField, 0);
    if (length > this.#limit) throw badFrame(`a frame of ${length} bytes`);
    this.#frame = lendMemory(BASE_HEADER_BYTES + length);
    this.#frame.set(this.#lengthField);
    this.#have = this.#lengthField.length;
    this.#lengthHave = 0;
  }

  #finish(frame: Uint8Array): void {
    this.#frame = undefined;
    this.#have = 0;
    this.#onFrame(frame);
  }
}
