// NBD bytes: numbers of the protocol (proto.md of the NBD project) and the packing and unpacking of requests and replies;
// option-codec.ts has those of the handshake. All integers are big-endian. It knows no volume and no socket. Offsets are
// plain numbers: one of 2^53 or more loses its low bits, which does no harm, for it lies beyond every volume's end.

import type { ErrorCode } from '../core/errors.ts';
import type { AttachMode } from '../core/view.ts';

export const COMMAND = {
  read: 0,
  write: 1,
  disc: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const;

export const COMMAND_FLAG = { fua: 1, noHole: 2, df: 4, reqOne: 8, fastZero: 16 } as const;

export const ERRNO = {
  EPERM: 1,
  EIO: 5,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;

/**
 * What an export can do: HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES, SEND_DF, CAN_MULTI_CONN (all
 * connections of an export on one node are one session), SEND_CACHE, SEND_FAST_ZERO.
 */
export const TRANSMISSION_FLAGS =
  1 | (1 << 2) | (1 << 3) | (1 << 5) | (1 << 6) | (1 << 7) | (1 << 8) | (1 << 10) | (1 << 11);

/** Nobody writes it, whoever asks. */
const READ_ONLY_FLAG = 1 << 1;
const MULTI_CONN_FLAG = 1 << 8;

/** A volume that is `exclusive` takes one connection, one that is `shared-read` no writes. */
export function transmissionFlagsOf(attachMode: AttachMode): number {
  if (attachMode === 'exclusive') return TRANSMISSION_FLAGS & ~MULTI_CONN_FLAG;
  return attachMode === 'shared-read' ? TRANSMISSION_FLAGS | READ_ONLY_FLAG : TRANSMISSION_FLAGS;
}

/** Block sizes told to clients: any alignment works, whole sectors are quickest. Bytes. */
export const MIN_BLOCK_BYTES = 1;
export const PREFERRED_BLOCK_BYTES = 4096;
/** Longest READ or WRITE. A longer one is EINVAL. */
export const MAX_REQUEST_BYTES = 32 * 1024 * 1024;
/** Longest string of the protocol. */
export const MAX_STRING_BYTES = 4096;

export const REQUEST_BYTES = 28;
export const SIMPLE_REPLY_BYTES = 16;
/** A structured reply of a READ: chunk header and offset, before the data. */
export const READ_CHUNK_BYTES = 28;
/** A hole in a structured reply of a READ: chunk header, offset, length. */
export const HOLE_CHUNK_BYTES = 32;

const REQUEST_MAGIC = 0x25609513;
const SIMPLE_REPLY_MAGIC = 0x67446698;
const CHUNK_MAGIC = 0x668e33ef;
const CHUNK_DONE = 1;
const CHUNK_OFFSET_DATA = 1;
const CHUNK_OFFSET_HOLE = 2;
const CHUNK_BLOCK_STATUS = 5;
const CHUNK_ERROR = 0x8001;
const CHUNK_HEADER_BYTES = 20;

/** One request header. Reused by the parser: copy what has to outlive the call. `cookie` = high and low half. */
export interface RequestHeader {
  flags: number;
  type: number;
  cookieHigh: number;
  cookieLow: number;
  offset: number;
  length: number;
}

export function emptyRequest(): RequestHeader {
  return { flags: 0, type: 0, cookieHigh: 0, cookieLow: 0, offset: 0, length: 0 };
}

export function readU16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

export function readU32(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16);
  return (high | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
}

export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export function writeU64(bytes: Uint8Array, at: number, value: number): void {
  writeU32(bytes, at, Math.floor(value / 0x1_0000_0000));
  writeU32(bytes, at + 4, value % 0x1_0000_0000);
}

// ------------------------------------------------------------------------------------------- transmission

/** Unpacks 28 bytes at `at` into `header`; false when they are no request: the stream is lost, close it. */
export function decodeRequest(bytes: Uint8Array, at: number, header: RequestHeader): boolean {
  if (readU32(bytes, at) !== REQUEST_MAGIC) return false;
  header.flags = readU16(bytes, at + 4);
  header.type = readU16(bytes, at + 6);
  header.cookieHigh = readU32(bytes, at + 8);
  header.cookieLow = readU32(bytes, at + 12);
  header.offset = readU32(bytes, at + 16) * 0x1_0000_0000 + readU32(bytes, at + 20);
  header.length = readU32(bytes, at + 24);
  return true;
}

/** Packs a request: for clients (tests, measurements) and for properties of `decodeRequest`. */
export function encodeRequest(header: RequestHeader): Uint8Array {
  const bytes = new Uint8Array(REQUEST_BYTES);
  writeU32(bytes, 0, REQUEST_MAGIC);
  writeU16(bytes, 4, header.flags);
  writeU16(bytes, 6, header.type);
  writeU32(bytes, 8, header.cookieHigh);
  writeU32(bytes, 12, header.cookieLow);
  writeU64(bytes, 16, header.offset);
  writeU32(bytes, 24, header.length);
  return bytes;
}

/** The cookie of a request, to be told apart in a reply. */
export interface Cookie {
  readonly cookieHigh: number;
  readonly cookieLow: number;
}

/** 16 bytes at `at`. */
export function putSimpleReply(out: Uint8Array, at: number, cookie: Cookie, errno: number): void {
  writeU32(out, at, SIMPLE_REPLY_MAGIC);
  writeU32(out, at + 4, errno);
  writeU32(out, at + 8, cookie.cookieHigh);
  writeU32(out, at + 12, cookie.cookieLow);
}

/** A part of what a READ asked for. */
interface ReadPart {
  readonly offset: number;
  readonly length: number;
}

/** 28 bytes at `at`; `length` bytes of data follow. */
export function putReadChunk(
  out: Uint8Array,
  at: number,
  cookie: Cookie,
  data: ReadPart,
  isLast = true,
): void {
  putChunkHeader(out, at, cookie, CHUNK_OFFSET_DATA, data.length + 8, isLast);
  writeU64(out, at + CHUNK_HEADER_BYTES, data.offset);
}

/** 32 bytes at `at`: this part is zeroes. */
export function putHoleChunk(
  out: Uint8Array,
  at: number,
  cookie: Cookie,
  hole: ReadPart,
  isLast = true,
): void {
  putChunkHeader(out, at, cookie, CHUNK_OFFSET_HOLE, 12, isLast);
  writeU64(out, at + CHUNK_HEADER_BYTES, hole.offset);
  writeU32(out, at + CHUNK_HEADER_BYTES + 8, hole.length);
}

/** An extent of a BLOCK_STATUS reply. */
export interface StatusExtent {
  readonly length: number;
  readonly flags: number;
}

/** The answer of one context; `isLast` of the last context. */
export function encodeStatusChunk(
  cookie: Cookie,
  contextId: number,
  extents: readonly StatusExtent[],
  isLast: boolean,
): Uint8Array {
  const length = 4 + 8 * extents.length;
  const bytes = new Uint8Array(CHUNK_HEADER_BYTES + length);
  putChunkHeader(bytes, 0, cookie, CHUNK_BLOCK_STATUS, length, isLast);
  writeU32(bytes, CHUNK_HEADER_BYTES, contextId);
  extents.forEach((extent, i) => {
    const at = CHUNK_HEADER_BYTES + 4 + 8 * i;
    writeU32(bytes, at, extent.length);
    writeU32(bytes, at + 4, extent.flags);
  });
  return bytes;
}

/** A structured error with a text for people, cut to what the protocol allows. */
export function encodeErrorChunk(cookie: Cookie, errno: number, text: string): Uint8Array {
  const message = encodeText(text);
  const bytes = new Uint8Array(CHUNK_HEADER_BYTES + 6 + message.length);
  putChunkHeader(bytes, 0, cookie, CHUNK_ERROR, 6 + message.length, true);
  writeU32(bytes, CHUNK_HEADER_BYTES, errno);
  writeU16(bytes, CHUNK_HEADER_BYTES + 4, message.length);
  bytes.set(message, CHUNK_HEADER_BYTES + 6);
  return bytes;
}

function putChunkHeader(
  out: Uint8Array,
  at: number,
  cookie: Cookie,
  type: number,
  length: number,
  isLast: boolean,
): void {
  writeU32(out, at, CHUNK_MAGIC);
  writeU16(out, at + 4, isLast ? CHUNK_DONE : 0);
  writeU16(out, at + 6, type);
  writeU32(out, at + 8, cookie.cookieHigh);
  writeU32(out, at + 12, cookie.cookieLow);
  writeU32(out, at + 16, length);
}

/** The error number a guest sees for an operating error. Whatever has no better word is EIO. */
export function errnoOf(code: ErrorCode): number {
  switch (code) {
    case 'held':
      return ERRNO.EPERM;
    case 'usage':
      return ERRNO.EINVAL;
    case 'no-space':
      return ERRNO.ENOSPC;
    case 'too-large':
      return ERRNO.EOVERFLOW;
    case 'unsupported':
      return ERRNO.ENOTSUP;
    case 'shutting-down':
      return ERRNO.ESHUTDOWN;
    default:
      return ERRNO.EIO;
  }
}

/** UTF-8 bytes of a text, at most MAX_STRING_BYTES of them, never half a character. */
export function encodeText(text: string): Uint8Array {
  const target = new Uint8Array(MAX_STRING_BYTES);
  return target.subarray(0, new TextEncoder().encodeInto(text, target).written);
}
