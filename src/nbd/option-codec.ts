// NBD bytes of the handshake (fixed newstyle): options, their data and their answers. Decoders take whatever a client
// sends and say what is wrong with it; they never throw and never read beyond what they were given.

import { concat } from 'uint8arrays/concat';
import {
  encodeText,
  MAX_REQUEST_BYTES,
  MAX_STRING_BYTES,
  MIN_BLOCK_BYTES,
  PREFERRED_BLOCK_BYTES,
  readU16,
  readU32,
  TRANSMISSION_FLAGS,
  writeU16,
  writeU32,
  writeU64,
} from './nbd-codec.ts';

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
  metaContext: 4,
  errUnsup: 0x80000001,
  errPolicy: 0x80000002,
  errInvalid: 0x80000003,
  errTlsReqd: 0x80000005,
  errUnknown: 0x80000006,
  errShutdown: 0x80000007,
  errTooBig: 0x80000009,
} as const;

export const INFO = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

export const OPTION_HEADER_BYTES = 16;
const OPTION_REPLY_BYTES = 20;
/** "NBDMAGIC", "IHAVEOPT" and the magic of option replies, as two halves each. */
const GREETING_MAGIC = [0x4e42444d, 0x41474943] as const;
const OPTION_MAGIC = [0x49484156, 0x454f5054] as const;
const OPTION_REPLY_MAGIC = [0x0003e889, 0x045565a9] as const;

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

/** INFO_EXPORT: size and transmission flags. */
export function encodeExportInfo(sizeBytes: number, flags = TRANSMISSION_FLAGS): Uint8Array {
  const bytes = new Uint8Array(12);
  writeU16(bytes, 0, INFO.export);
  writeU64(bytes, 2, sizeBytes);
  writeU16(bytes, 10, flags);
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
export function encodeExportNameAnswer(
  sizeBytes: number,
  noZeroes: boolean,
  flags = TRANSMISSION_FLAGS,
): Uint8Array {
  const bytes = new Uint8Array(noZeroes ? 10 : 134);
  writeU64(bytes, 0, sizeBytes);
  writeU16(bytes, 8, flags);
  return bytes;
}

/** One export of a LIST answer, with a text for people. */
export function encodeListEntry(name: string, details = ''): Uint8Array {
  const message = encodeText(name);
  const text = encodeText(details);
  const bytes = new Uint8Array(4 + message.length + text.length);
  writeU32(bytes, 0, message.length);
  bytes.set(message, 4);
  bytes.set(text, 4 + message.length);
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

/** One context of an answer to LIST_META_CONTEXT or SET_META_CONTEXT. */
export function encodeMetaContext(id: number, name: string): Uint8Array {
  const text = encodeText(name);
  const bytes = new Uint8Array(4 + text.length);
  writeU32(bytes, 0, id);
  bytes.set(text, 4);
  return bytes;
}

/** Packs the data of LIST_META_CONTEXT and SET_META_CONTEXT, as a client does. */
export function encodeMetaRequest(name: string, queries: readonly string[]): Uint8Array {
  const pieces = [
    encodeListEntry(name),
    new Uint8Array(4),
    ...queries.map((one) => encodeListEntry(one)),
  ];
  writeU32(pieces[1] as Uint8Array, 0, queries.length);
  return concat(pieces);
}

/** Data of LIST_META_CONTEXT and SET_META_CONTEXT: the export's name, and the contexts asked for. */
export function decodeMetaRequest(
  data: Uint8Array,
): { name: string; queries: string[] } | BadOption {
  const name = decodeString(data, 0);
  if (typeof name === 'string') return name;
  if (data.length < name.end + 4) return 'invalid';
  const count = readU32(data, name.end);
  let at = name.end + 4;
  const queries: string[] = [];
  for (let i = 0; i < count; i += 1) {
    const query = decodeString(data, at);
    if (typeof query === 'string') return query;
    queries.push(query.text);
    at = query.end;
  }
  return at === data.length ? { name: name.text, queries } : 'invalid';
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
