// Bytes of the map log, file `map.log` in the data directory. All integers are little-endian; a sum is the CRC-32 (IEEE)
// of the bytes it names. The file only grows, in zero-filled steps of 1 MiB, so that fdatasync has no size to write.
//
// file header, 64 bytes. The file is made as `map.log.new`, synced and renamed: a damaged header is damage, not a crash
//     0 u32 magic "SLOG"        4 u32 format version       8 u32 sum of 0-7            12 zeroes
// batch, aligned to 64 bytes; the first one at 64, each next one where the padding of the one before ends
//     0 u32 magic "SLBT"        4 u32 bytes of contents    8 u48 sequence (first: 1)   14 u48 own position in the file
//    20 u48 synced end: every byte before it was synced when this batch was written (R4)
//    26 u16 0                  28 u32 sum of contents     32 u32 sum of 0-31           36 contents, then zeroes
//   A batch without contents is an attest record: it is there for its synced end.
// record in a batch
//     0 u8 kind                 1 u8 0, u16 0              4 u32 bytes of body          8 body
//   kind 1 hard state: u48 term, u32 vote (0 = none). Terms never fall.
//   kind 2 cut:        u48 index. This entry and all after it go; above the commit index.
//   kind 3 entry:      wire/entry-codec.ts, its index is the last one + 1.
//   kind 4 commit:     u48 index, never falls, at most the last entry.
//   kind 5 base:       index u48, term u48, then the voter set that rules there: u48 index, two lists of u32 (the second
//                      is empty outside of a joint phase). Before the first entry, which is index + 1; commit = index.
//                      What came before is in `map.snapshot`.
//   kind 6 muted:      u8. 1: part of what was synced here is gone, this node does not vote (C2.6); 0: it does again.
// Format 2 has kinds 5 and 6. A log that is compacted, or replaced by a snapshot, is written anew with what is kept, as
// `map.log.new`, synced and renamed. A damaged log is kept as `map.log.damaged`.
// A batch counts as a whole or not at all. Sequences rise by one without gaps. After the last good batch come zeroes, or
// what a crash left: it is overwritten with zeroes, and that is synced, before the next batch.

import { crc32 } from '../core/checksum.ts';
import { OperatingError } from '../core/errors.ts';
import type { NodeId } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { LogEntry } from '../core/log-entry.ts';
import type { HardState, LogBase } from '../core/raft/state.ts';
import { REPLACE_OR_RESTORE } from '../core/remedies.ts';
import { alignUp, MIB } from '../core/units.ts';
import { getU32, getU48, putU32, putU48 } from '../wire/bytes.ts';
import { decode, encode } from '../wire/codec.ts';
import { decodeEntry, encodeEntry } from '../wire/entry-codec.ts';
import { logBase } from '../wire/raft-codec.ts';

export const MAP_LOG_PATH = 'map.log';
/** Raised by any change of this page. A reader refuses a higher one. */
export const MAP_LOG_VERSION = 2;
/** Bytes of the file header; also the alignment of batches. */
export const MAP_LOG_ALIGN = 64;
/** Bytes the file grows by, zero-filled, ahead of what is written. */
export const MAP_LOG_STEP_BYTES = MIB;
/** Most bytes of contents of one batch. More is written as several batches under one sync. */
export const MAX_LOG_BATCH_BYTES = 2 * MIB;

const FILE_MAGIC = 0x474f4c53;
const BATCH_MAGIC = 0x54424c53;
const BATCH_HEADER_BYTES = 36;
const RECORD_HEADER_BYTES = 8;
const KIND = { HARD_STATE: 1, CUT: 2, ENTRY: 3, COMMIT: 4, BASE: 5, MUTED: 6 } as const;

export type LogRecord =
  | { readonly kind: 'hardState'; readonly hardState: HardState }
  | { readonly kind: 'cut'; readonly from: number }
  | { readonly kind: 'entry'; readonly entry: LogEntry }
  | { readonly kind: 'commit'; readonly index: number }
  /** Entries up to it go; with `isReset`, and always when read from a file, all of them do. */
  | { readonly kind: 'base'; readonly base: LogBase; readonly isReset: boolean }
  | { readonly kind: 'muted'; readonly isMuted: boolean };

export interface BatchPlace {
  readonly position: number;
  readonly sequence: number;
  readonly syncedEnd: number;
}

export interface BatchHeader extends BatchPlace {
  readonly contentBytes: number;
  readonly contentSum: number;
  /** Where the next batch starts. */
  readonly end: number;
}

/** The first 64 bytes of a new log. */
export function encodeFileHeader(version: number = MAP_LOG_VERSION): Uint8Array {
  const bytes = new Uint8Array(MAP_LOG_ALIGN);
  putU32(bytes, 0, FILE_MAGIC);
  putU32(bytes, 4, version);
  putU32(bytes, 8, crc32(bytes, 0, 8));
  return bytes;
}

/** Throws 'corrupt' or 'newer-format', naming the file and the cure. */
export function checkFileHeader(bytes: Uint8Array): void {
  const isWhole = bytes.length === MAP_LOG_ALIGN && getU32(bytes, 0) === FILE_MAGIC;
  if (!isWhole || getU32(bytes, 8) !== crc32(bytes, 0, 8))
    throw damagedLog(0, 'its header is damaged');
  const version = getU32(bytes, 4);
  if (version > MAP_LOG_VERSION) {
    throw new OperatingError(
      'newer-format',
      `${MAP_LOG_PATH} has format ${version}, this program knows ${MAP_LOG_VERSION}`,
      { remedy: 'start a newer version of Sheepdog on this data directory' },
    );
  }
}

/** C2.6: a node whose log is damaged must not vote or answer as if it were shorter; it is replaced. */
export function damagedLog(position: number, what: string, cause?: unknown): OperatingError {
  return new OperatingError('corrupt', `${MAP_LOG_PATH} is damaged at byte ${position}: ${what}`, {
    remedy: REPLACE_OR_RESTORE,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Bytes of one record, header included. */
export function encodeRecord(record: LogRecord): Uint8Array {
  const { kind, body } = encodeBody(record);
  const bytes = new Uint8Array(RECORD_HEADER_BYTES + body.length);
  putU32(bytes, 0, kind);
  putU32(bytes, 4, body.length);
  bytes.set(body, RECORD_HEADER_BYTES);
  return bytes;
}

function encodeBody(record: LogRecord): { kind: number; body: Uint8Array } {
  if (record.kind === 'entry') return { kind: KIND.ENTRY, body: encodeEntry(record.entry) };
  if (record.kind === 'base') return { kind: KIND.BASE, body: encode(logBase, record.base) };
  if (record.kind === 'muted') {
    return { kind: KIND.MUTED, body: Uint8Array.of(record.isMuted ? 1 : 0) };
  }
  const body = new Uint8Array(record.kind === 'hardState' ? 10 : 6);
  if (record.kind === 'hardState') {
    putU48(body, 0, record.hardState.term);
    putU32(body, 6, record.hardState.vote);
    return { kind: KIND.HARD_STATE, body };
  }
  putU48(body, 0, record.kind === 'cut' ? record.from : record.index);
  return { kind: record.kind === 'cut' ? KIND.CUT : KIND.COMMIT, body };
}

/** One batch with its padding: what goes to the file at `place.position`. */
export function encodeBatch(place: BatchPlace, records: readonly Uint8Array[]): Uint8Array {
  invariant(place.position % MAP_LOG_ALIGN === 0, 'batches are aligned');
  invariant(place.syncedEnd <= place.position, 'a batch names only what lies before it');
  const contentBytes = records.reduce((sum, record) => sum + record.length, 0);
  invariant(contentBytes <= MAX_LOG_BATCH_BYTES, 'a batch is bounded');
  const bytes = new Uint8Array(alignUp(BATCH_HEADER_BYTES + contentBytes, MAP_LOG_ALIGN));
  let at = BATCH_HEADER_BYTES;
  for (const record of records) {
    bytes.set(record, at);
    at += record.length;
  }
  putU32(bytes, 0, BATCH_MAGIC);
  putU32(bytes, 4, contentBytes);
  putU48(bytes, 8, place.sequence);
  putU48(bytes, 14, place.position);
  putU48(bytes, 20, place.syncedEnd);
  putU32(bytes, 28, crc32(bytes, BATCH_HEADER_BYTES, at));
  putU32(bytes, 32, crc32(bytes, 0, 32));
  return bytes;
}

/**
 * The header of a batch at `position`.
 * @param bytes from there on, at least 64
 * @returns undefined when no whole header is there
 */
export function decodeBatchHeader(bytes: Uint8Array, position: number): BatchHeader | undefined {
  if (getU32(bytes, 0) !== BATCH_MAGIC || getU32(bytes, 32) !== crc32(bytes, 0, 32))
    return undefined;
  const contentBytes = getU32(bytes, 4);
  if (getU48(bytes, 14) !== position || contentBytes > MAX_LOG_BATCH_BYTES) return undefined;
  return {
    position,
    sequence: getU48(bytes, 8),
    syncedEnd: getU48(bytes, 20),
    contentBytes,
    contentSum: getU32(bytes, 28),
    end: position + alignUp(BATCH_HEADER_BYTES + contentBytes, MAP_LOG_ALIGN),
  };
}

/** True when the contents are those that the header names. `bytes` is the whole batch. */
export function isWholeBatch(header: BatchHeader, bytes: Uint8Array): boolean {
  const end = BATCH_HEADER_BYTES + header.contentBytes;
  return bytes.length >= end && crc32(bytes, BATCH_HEADER_BYTES, end) === header.contentSum;
}

/** The records of a batch whose sums are right. Throws 'corrupt' when they make no sense all the same. */
export function decodeRecords(header: BatchHeader, bytes: Uint8Array): readonly LogRecord[] {
  const records: LogRecord[] = [];
  const end = BATCH_HEADER_BYTES + header.contentBytes;
  let at = BATCH_HEADER_BYTES;
  while (at < end) {
    const bodyAt = at + RECORD_HEADER_BYTES;
    const bodyEnd = bodyAt <= end ? bodyAt + getU32(bytes, at + 4) : Infinity;
    if (bodyEnd > end) throw damagedLog(header.position + at, 'a record does not fit its batch');
    try {
      records.push(decodeBody(getU32(bytes, at), bytes.slice(bodyAt, bodyEnd)));
    } catch (error) {
      throw damagedLog(header.position + at, 'a record has no meaning', error);
    }
    at = bodyEnd;
  }
  return records;
}

function decodeBody(kind: number, body: Uint8Array): LogRecord {
  if (kind === KIND.ENTRY) return { kind: 'entry', entry: decodeEntry(body) };
  if (kind === KIND.BASE) return { kind: 'base', base: decode(logBase, body), isReset: true };
  if (kind === KIND.MUTED && body.length === 1) return { kind: 'muted', isMuted: body[0] === 1 };
  const isHardState = kind === KIND.HARD_STATE;
  if (body.length !== (isHardState ? 10 : 6)) {
    throw new OperatingError('corrupt', `record of kind ${kind} with ${body.length} bytes`);
  }
  const value = getU48(body, 0);
  if (isHardState) {
    return { kind: 'hardState', hardState: { term: value, vote: getU32(body, 6) as NodeId | 0 } };
  }
  if (kind === KIND.CUT) return { kind: 'cut', from: value };
  if (kind === KIND.COMMIT) return { kind: 'commit', index: value };
  throw new OperatingError('corrupt', `record of unknown kind ${kind}`);
}
