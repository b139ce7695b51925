// NBD bytes: numbers of the protocol (proto.md of the NBD project) and the packing and unpacking of its messages. All
// integers are big-endian. It knows no volume and no socket. Offsets are plain numbers: an offset of 2^53 or more loses
// its low bits, which does no harm, for it lies beyond every volume's end all the same.

import type { ErrorCode } from '../core/errors.ts';

/** Handshake flags: fixed newstyle, no zeroes. */
export const FIXED_NEWSTYLE = 1;
export const NO_ZEROES = 2;

export const OPTION = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const;

export const REPLY = {
  ack: 1,
  server: 2,
  info: 3,
  errUnsup: 0x80000001,
  errPolicy: 0x80000002,
  errInvalid: 0x80000003,
  errUnknown: 0x80000006,
  errShutdown: 0x80000007,
  errTooBig: 0x80000009,
} as const;

export const INFO = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

export const COMMAND = {
  read: 0,
  write: 1,
  disc: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
} as const;

export const COMMAND_FLAG = { fua: 1, noHole: 2, df: 4 } as const;

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
 * connections of an export on one node are one session).
 */
export const TRANSMISSION_FLAGS =
  1 | (1 << 2) | (1 << 3) | (1 << 5) | (1 << 6) | (1 << 7) | (1 << 8);

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
export const OPTION_HEADER_BYTES = 16;
const OPTION_REPLY_BYTES = 20;

const REQUEST_MAGIC = 0x25609513;
const SIMPLE_REPLY_MAGIC = 0x67446698;
const CHUNK_MAGIC = 0x668e33ef;
const CHUNK_DONE = 1;
const CHUNK_OFFSET_DATA = 1;
const CHUNK_ERROR = 0x8001;
const CHUNK_HEADER_BYTES = 20;
/** "NBDMAGIC", "IHAVEOPT" and the magic of option replies, as two halves each. */
const GREETING_MAGIC = [0x4e42444d, 0x41474943] as const;
const OPTION_MAGIC = [0x49484156, 0x454f5054] as const;
const OPTION_REPLY_MAGIC = [0x0003e889, 0x045565a9] as const;

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

function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

function writeU64(bytes: Uint8Array, at: number, value: number): void {
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

/** 28 bytes at `at`; `length` bytes of data follow. One chunk answers the whole READ: right with and without DF. */
export function putReadChunk(
  out: Uint8Array,
  at: number,
  cookie: Cookie,
  data: { readonly offset: number; readonly length: number },
): void {
  putChunkHeader(out, at, cookie, { type: CHUNK_OFFSET_DATA, length: data.length + 8 });
  writeU64(out, at + CHUNK_HEADER_BYTES, data.offset);
}

/** A structured error with a text for people, cut to what the protocol allows. */
export function encodeErrorChunk(cookie: Cookie, errno: number, text: string): Uint8Array {
  const message = encodeText(text);
  const bytes = new Uint8Array(CHUNK_HEADER_BYTES + 6 + message.length);
  putChunkHeader(bytes, 0, cookie, { type: CHUNK_ERROR, length: 6 + message.length });
  writeU32(bytes, CHUNK_HEADER_BYTES, errno);
  writeU16(bytes, CHUNK_HEADER_BYTES + 4, message.length);
  bytes.set(message, CHUNK_HEADER_BYTES + 6);
  return bytes;
}

function putChunkHeader(
  out: Uint8Array,
  at: number,
  cookie: Cookie,
  chunk: { readonly type: number; readonly length: number },
): void {
  writeU32(out, at, CHUNK_MAGIC);
  writeU16(out, at + 4, CHUNK_DONE);
  writeU16(out, at + 6, chunk.type);
  writeU32(out, at + 8, cookie.cookieHigh);
  writeU32(out, at + 12, cookie.cookieLow);
  writeU32(out, at + 16, chunk.length);
}

/** The error number a guest sees for an operating error. Whatever has no better word is EIO. */
export function errnoOf(code: ErrorCode): number {
  switch (code) {
    case 'held':
    case 'refused':
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

// ------------------------------------------------------------------------------------------- handshake

/** The server's first 18 bytes. */
export function encodeGreeting(): Uint8Array {
  const bytes = new Uint8Array(18);
  writeU32(bytes, 0, GREETING_MAGIC[0]);
  writeU32(bytes, 4, GREETING_MAGIC[1]);
  writeU32(bytes, 8, OPTION_MAGIC[0]);
  writeU32(bytes, 12, OPTION_MAGIC[1]);
  writeU16(bytes, 16, FIXED_NEWSTYLE | NO_ZEROES);
  return bytes;
}

/** Unpacks 16 bytes; undefined when they are no option: close. */
export function decodeOptionHeader(
  bytes: Uint8Array,
): { option: number; length: number } | undefined {
  if (readU32(bytes, 0) !== OPTION_MAGIC[0] || readU32(bytes, 4) !== OPTION_MAGIC[1]) {
    return undefined;
  }
  return { option: readU32(bytes, 8), length: readU32(bytes, 12) };
}

/** Packs an option with its data, as a client sends it. */
export function encodeOption(option: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(OPTION_HEADER_BYTES + data.length);
  writeU32(bytes, 0, OPTION_MAGIC[0]);
  writeU32(bytes, 4, OPTION_MAGIC[1]);
  writeU32(bytes, 8, option);
  writeU32(bytes, 12, data.length);
  bytes.set(data, OPTION_HEADER_BYTES);
  return bytes;
}

export function encodeOptionReply(option: number, reply: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(OPTION_REPLY_BYTES + data.length);
  writeU32(bytes, 0, OPTION_REPLY_MAGIC[0]);
  writeU32(bytes, 4, OPTION_REPLY_MAGIC[1]);
  writeU32(bytes, 8, option);
  writeU32(bytes, 12, reply);
  writeU32(bytes, 16, data.length);
  bytes.set(data, OPTION_REPLY_BYTES);
  return bytes;
}

/** UTF-8 bytes of a text, at most MAX_STRING_BYTES of them, never half a character. */
export function encodeText(text: string): Uint8Array {
  const target = new Uint8Array(MAX_STRING_BYTES);
  return target.subarray(0, new TextEncoder().encodeInto(text, target).written);
}

/** INFO_EXPORT: size and transmission flags. */
export function encodeExportInfo(sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(12);
  writeU16(bytes, 0, INFO.export);
  writeU64(bytes, 2, sizeBytes);
  writeU16(bytes, 10, TRANSMISSION_FLAGS);
  return bytes;
}

/** INFO_NAME or INFO_DESCRIPTION. */
export function encodeTextInfo(info: number, text: string): Uint8Array {
  const message = encodeText(text);
  const bytes = new Uint8Array(2 + message.length);
  writeU16(bytes, 0, info);
  bytes.set(message, 2);
  return bytes;
}

export function encodeBlockSizeInfo(): Uint8Array {
  const bytes = new Uint8Array(14);
  writeU16(bytes, 0, INFO.blockSize);
  writeU32(bytes, 2, MIN_BLOCK_BYTES);
  writeU32(bytes, 6, PREFERRED_BLOCK_BYTES);
  writeU32(bytes, 10, MAX_REQUEST_BYTES);
  return bytes;
}

/** Answer to EXPORT_NAME, which has no reply header: size, flags, and 124 zeroes unless both sides do without. */
export function encodeExportNameAnswer(sizeBytes: number, noZeroes: boolean): Uint8Array {
  const bytes = new Uint8Array(noZeroes ? 10 : 134);
  writeU64(bytes, 0, sizeBytes);
  writeU16(bytes, 8, TRANSMISSION_FLAGS);
  return bytes;
}

/** One export of a LIST answer. */
export function encodeListEntry(name: string): Uint8Array {
  const message = encodeText(name);
  const bytes = new Uint8Array(4 + message.length);
  writeU32(bytes, 0, message.length);
  bytes.set(message, 4);
  return bytes;
}

/** Why option data could not be read: malformed, or a string above MAX_STRING_BYTES. */
export type BadOption = 'invalid' | 'too-big';

/** Data of GO and INFO: the name, and which informations are asked for. */
export function decodeInfoRequest(data: Uint8Array): { name: string; infos: number[] } | BadOption {
  const name = decodeString(data, 0);
  if (typeof name === 'string') return name;
  if (data.length < name.end + 2) return 'invalid';
  const count = readU16(data, name.end);
  if (data.length !== name.end + 2 + 2 * count) return 'invalid';
  const infos: number[] = [];
  for (let i = 0; i < count; i += 1) infos.push(readU16(data, name.end + 2 + 2 * i));
  return { name: name.text, infos };
}

/** Packs the data of GO and INFO, as a client does. */
export function encodeInfoRequest(name: string, infos: readonly number[]): Uint8Array {
  const text = encodeText(name);
  const bytes = new Uint8Array(4 + text.length + 2 + 2 * infos.length);
  writeU32(bytes, 0, text.length);
  bytes.set(text, 4);
  writeU16(bytes, 4 + text.length, infos.length);
  infos.forEach((info, i) => {
    writeU16(bytes, 6 + text.length + 2 * i, info);
  });
  return bytes;
}

/** Data of LIST_META_CONTEXT and SET_META_CONTEXT: the export's name, and queries (checked, then not kept). */
export function decodeMetaRequest(data: Uint8Array): { name: string } | BadOption {
  const name = decodeString(data, 0);
  if (typeof name === 'string') return name;
  if (data.length < name.end + 4) return 'invalid';
  const count = readU32(data, name.end);
  let at = name.end + 4;
  for (let i = 0; i < count; i += 1) {
    const query = decodeString(data, at);
    if (typeof query === 'string') return query;
    at = query.end;
  }
  return at === data.length ? { name: name.text } : 'invalid';
}

/** UTF-8 bytes as text, undefined when they are none. */
export function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined; // the decoder's only error: not UTF-8
  }
}

function decodeString(data: Uint8Array, at: number): { text: string; end: number } | BadOption {
  if (data.length < at + 4) return 'invalid';
  const length = readU32(data, at);
  if (length > MAX_STRING_BYTES) return 'too-big';
  const end = at + 4 + length;
  if (data.length < end) return 'invalid';
  const text = decodeText(data.subarray(at + 4, end));
  return text === undefined ? 'invalid' : { text, end };
}
