// Pieces of volumes as a directory of backups keeps them: each called by the SHA-256 of its contents, so that the same
// contents are kept once, whoever wrote them; and lists of pieces, which are pieces themselves. Pure; docs/FORMATS.md has
// every byte. What is read is checked before it is used.

import { hash } from 'node:crypto';
import { crc32 } from '../core/checksum.ts';
import { OperatingError } from '../core/errors.ts';
import { MIB } from '../core/units.ts';
import { getU16, getU32, putU16, putU32 } from '../wire/bytes.ts';
import { decoded, encoded } from './coding.ts';

/** What a volume is cut into. */
export const PIECE_BYTES = MIB;
/** Pieces of one list: 4 GiB of a volume. */
export const LIST_PIECES = 4096;
export const PIECE_VERSION = 1;
/** "SBKP" */
const MAGIC = 0x504b4253;
const HEADER_BYTES = 32;
const SUM_AT = 28;
const HASH_BYTES = 32;
const ENTRY_BYTES = 4 + HASH_BYTES;

/** SHA-256, as 64 hexadecimal digits. */
export type PieceHash = string;

/** A piece of a volume that is not all zeroes. */
export interface ListEntry {
  /** The volume's bytes from `index * PIECE_BYTES` on. */
  readonly index: number;
  readonly hash: PieceHash;
}

export function hashOf(content: Uint8Array): PieceHash {
  return hash('sha256', content, 'hex');
}

export function isHash(text: unknown): text is PieceHash {
  return typeof text === 'string' && /^[0-9a-f]{64}$/.test(text);
}

/** The file of a piece: its header, and its content as small as it gets. */
export function encodePiece(content: Uint8Array): readonly Uint8Array[] {
  const { coding, bytes } = encoded(content);
  const header = new Uint8Array(HEADER_BYTES);
  putU32(header, 0, MAGIC);
  putU16(header, 4, PIECE_VERSION);
  header[6] = coding === 'zstd' ? 1 : 0;
  putU32(header, 8, content.length);
  putU32(header, 12, bytes.length);
  putU32(header, 16, crc32(bytes));
  putU32(header, SUM_AT, crc32(header, 0, SUM_AT));
  return [header, bytes];
}

/** The content of a piece's file. @throws OperatingError 'corrupt', 'newer-format' */
export function decodePiece(file: Uint8Array, name: PieceHash): Uint8Array {
  const isHeader = file.length >= HEADER_BYTES && getU32(file, 0) === MAGIC;
  if (!isHeader || getU32(file, SUM_AT) !== crc32(file, 0, SUM_AT)) throw bad(name, 'header');
  if (getU16(file, 4) !== PIECE_VERSION) {
    throw new OperatingError('newer-format', `piece ${name} has format ${getU16(file, 4)}`, {
      remedy: 'use a newer dog',
    });
  }
  const bytes = file.subarray(HEADER_BYTES);
  const contentBytes = getU32(file, 8);
  const isWhole = bytes.length === getU32(file, 12) && crc32(bytes) === getU32(file, 16);
  if (!isWhole || contentBytes > PIECE_BYTES) throw bad(name, 'bytes');
  const content = decoded({ coding: file[6] === 1 ? 'zstd' : 'plain', bytes }, contentBytes);
  if (content === undefined || hashOf(content) !== name) throw bad(name, 'contents');
  return content;
}

function bad(name: PieceHash, what: string): OperatingError {
  return new OperatingError('corrupt', `piece ${name} is damaged: its ${what} fail their check`, {
    remedy: 'remove that file and back up again, if the volume still has it; or use another backup',
  });
}

export function encodeList(entries: readonly ListEntry[]): Uint8Array {
  const bytes = Buffer.alloc(entries.length * ENTRY_BYTES);
  for (const [at, { index, hash: name }] of entries.entries()) {
    putU32(bytes, at * ENTRY_BYTES, index);
    bytes.write(name, at * ENTRY_BYTES + 4, 'hex');
  }
  return bytes;
}

/** Entries of the pieces from `first` on, in order. @throws OperatingError 'corrupt' */
export function decodeList(bytes: Uint8Array, first: number): readonly ListEntry[] {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const entries: ListEntry[] = [];
  let past = first;
  for (let at = 0; at < bytes.length; at += ENTRY_BYTES) {
    const index = getU32(bytes, at);
    const isRight =
      index >= past && index < first + LIST_PIECES && at + ENTRY_BYTES <= bytes.length;
    if (!isRight) throw new OperatingError('corrupt', 'a list of pieces is not in order');
    past = index + 1;
    entries.push({ index, hash: view.toString('hex', at + 4, at + ENTRY_BYTES) });
  }
  return entries;
}
