// Journal records and batches <-> bytes (layout.ts). A batch is encoded into one buffer that its journal owns; a record
// decoded from a batch is a view into that batch. Sums prove what is decoded; bounds are checked all the same.

import { crc32, SUM_BYTES } from '../core/checksum.ts';
import { OperatingError } from '../core/errors.ts';
import { invariant } from '../core/invariant.ts';
import { alignUp, SECTOR_BYTES } from '../core/units.ts';
import {
  BATCH_HEADER_BYTES,
  BATCH_MAGIC,
  BLOCK_BYTES,
  getU48,
  RECORD_HEADER_BYTES,
  STAGED_ID_BYTES,
  setU48,
  viewOfBytes,
} from './layout.ts';

export const RECORD_WRITE = 1;
export const RECORD_ZERO = 2;
export const RECORD_REPLACE = 3;
export const RECORD_DROP = 4;

const FLAG_ZERO_AFTER = 1;
const FLAG_FRESH = 2;
const BATCH_SUM_AT = BATCH_HEADER_BYTES - 4;
const STAGED_ID_AT = 78;
export const NO_BYTES = new Uint8Array(0);
/** Contents of one batch never exceed this when written. */
export const MAX_BATCH_BYTES = 2 * 1024 * 1024;

/** One change of one object, with the whole row as it is afterwards: replaying it twice does no harm. */
export interface JournalRecord {
  readonly kind: number;
  /** The row is of kind `zero` afterwards: it has no file. */
  readonly isZeroAfter: boolean;
  /** Every sum of the object is void before this record: whatever its file holds. */
  readonly isFresh: boolean;
  readonly generation: number;
  readonly index: number;
  readonly family: number;
  readonly partition: number;
  readonly prevToken: number;
  readonly prevCount: number;
  readonly verToken: number;
  readonly verCount: number;
  readonly cfg: number;
  readonly closed: number;
  readonly openLow: number;
  readonly openHigh: number;
  readonly ownLow: number;
  readonly ownHigh: number;
  readonly offset: number;
  readonly count: number;
  /** Name of the staged file of a `replace` with data; else empty. */
  readonly stagedId: Uint8Array;
  readonly sums: Uint8Array;
  readonly data: Uint8Array;
}

export interface BatchHeader {
  readonly position: number;
  readonly sequence: number;
  readonly prevEnd: number;
  readonly records: number;
  readonly contentBytes: number;
  readonly contentSum: number;
}

/** Bytes of a record in a batch. */
export function recordBytes(record: Pick<JournalRecord, 'sums' | 'data'>): number {
  return RECORD_HEADER_BYTES + record.sums.length + record.data.length;
}

/** Bytes of a whole batch with contents of this size, aligned. */
export function batchBytes(contentBytes: number): number {
  return alignUp(BATCH_HEADER_BYTES + contentBytes, BLOCK_BYTES);
}

/**
 * Encodes a batch at the start of `buffer`, which is large enough.
 * @returns bytes of the batch, a multiple of BLOCK_BYTES
 */
export function encodeBatch(
  buffer: Uint8Array,
  journalId: Uint8Array,
  place: { readonly position: number; readonly sequence: number; readonly prevEnd: number },
  records: readonly JournalRecord[],
): number {
  const view = viewOfBytes(buffer);
  let at = BATCH_HEADER_BYTES;
  for (const record of records) at = encodeRecord(buffer, view, at, record);
  const contentBytes = at - BATCH_HEADER_BYTES;
  const total = batchBytes(contentBytes);
  buffer.fill(0, at, total);
  buffer.fill(0, 0, BATCH_HEADER_BYTES);
  view.setUint32(0, BATCH_MAGIC, true);
  view.setUint32(4, records.length, true);
  buffer.set(journalId, 8);
  setU48(view, 16, place.sequence);
  setU48(view, 22, place.position);
  setU48(view, 28, place.prevEnd);
  view.setUint32(34, contentBytes, true);
  view.setUint32(38, crc32(buffer, BATCH_HEADER_BYTES, at), true);
  view.setUint32(BATCH_SUM_AT, crc32(buffer, 0, BATCH_SUM_AT), true);
  return total;
}

/** The header at `bytes[at..]`, or undefined when there is none of this journal. */
export function decodeBatchHeader(
  bytes: Uint8Array,
  at: number,
  journalId: Uint8Array,
): BatchHeader | undefined {
  if (at + BATCH_HEADER_BYTES > bytes.length) return undefined;
  const header = bytes.subarray(at, at + BATCH_HEADER_BYTES);
  const view = viewOfBytes(header);
  if (view.getUint32(0, true) !== BATCH_MAGIC) return undefined;
  if (view.getUint32(BATCH_SUM_AT, true) !== crc32(header, 0, BATCH_SUM_AT)) return undefined;
  for (let i = 0; i < journalId.length; i += 1) {
    if (header[8 + i] !== journalId[i]) return undefined;
  }
  return {
    records: view.getUint32(4, true),
    sequence: getU48(view, 16),
    position: getU48(view, 22),
    prevEnd: getU48(view, 28),
    contentBytes: view.getUint32(34, true),
    contentSum: view.getUint32(38, true),
  };
}

function encodeRecord(
  buffer: Uint8Array,
  view: DataView,
  at: number,
  record: JournalRecord,
): number {
  const total = recordBytes(record);
  invariant(at + total <= buffer.length, 'the batch has room for the record');
  view.setUint32(at, total, true);
  buffer[at + 4] = record.kind;
  buffer[at + 5] = (record.isZeroAfter ? FLAG_ZERO_AFTER : 0) | (record.isFresh ? FLAG_FRESH : 0);
  view.setUint16(at + 6, 0, true);
  view.setUint32(at + 8, record.generation, true);
  view.setUint32(at + 12, record.index, true);
  view.setUint32(at + 16, record.family, true);
  view.setUint32(at + 20, record.partition, true);
  view.setUint32(at + 24, record.prevToken, true);
  setU48(view, at + 28, record.prevCount);
  view.setUint32(at + 34, record.verToken, true);
  setU48(view, at + 38, record.verCount);
  view.setUint32(at + 44, record.cfg, true);
  setU48(view, at + 48, record.closed);
  view.setUint32(at + 54, record.openLow, true);
  view.setUint32(at + 58, record.openHigh, true);
  view.setUint32(at + 62, record.ownLow, true);
  view.setUint32(at + 66, record.ownHigh, true);
  view.setUint32(at + 70, record.offset, true);
  view.setUint32(at + 74, record.count, true);
  buffer.fill(0, at + STAGED_ID_AT, at + RECORD_HEADER_BYTES);
  buffer.set(record.stagedId, at + STAGED_ID_AT);
  buffer.set(record.sums, at + RECORD_HEADER_BYTES);
  buffer.set(record.data, at + RECORD_HEADER_BYTES + record.sums.length);
  return at + total;
}

/**
 * The records of a batch whose sum was right.
 * @throws OperatingError 'corrupt' when they do not fit together all the same
 */
export function decodeRecords(contents: Uint8Array, count: number): JournalRecord[] {
  const view = viewOfBytes(contents);
  const records: JournalRecord[] = [];
  let at = 0;
  for (let i = 0; i < count; i += 1) {
    const total = at + RECORD_HEADER_BYTES <= contents.length ? view.getUint32(at, true) : 0;
    if (total < RECORD_HEADER_BYTES || at + total > contents.length) throw malformed();
    records.push(decodeRecord(contents, view, at, total));
    at += total;
  }
  if (at !== contents.length) throw malformed();
  return records;
}

function malformed(): OperatingError {
  return new OperatingError('corrupt', 'a journal batch passes its sum but its records do not fit');
}

function decodeRecord(bytes: Uint8Array, view: DataView, at: number, total: number): JournalRecord {
  const kind = bytes[at + 4] as number;
  const flags = bytes[at + 5] as number;
  const count = view.getUint32(at + 74, true);
  const hasData = kind === RECORD_WRITE;
  const sumsBytes = hasData ? (count / SECTOR_BYTES) * SUM_BYTES : 0;
  const sumsAt = at + RECORD_HEADER_BYTES;
  if (RECORD_HEADER_BYTES + sumsBytes + (hasData ? count : 0) !== total) throw malformed();
  return {
    kind,
    isZeroAfter: (flags & FLAG_ZERO_AFTER) !== 0,
    isFresh: (flags & FLAG_FRESH) !== 0,
    generation: view.getUint32(at + 8, true),
    index: view.getUint32(at + 12, true),
    family: view.getUint32(at + 16, true),
    partition: view.getUint32(at + 20, true),
    prevToken: view.getUint32(at + 24, true),
    prevCount: getU48(view, at + 28),
    verToken: view.getUint32(at + 34, true),
    verCount: getU48(view, at + 38),
    cfg: view.getUint32(at + 44, true),
    closed: getU48(view, at + 48),
    openLow: view.getUint32(at + 54, true),
    openHigh: view.getUint32(at + 58, true),
    ownLow: view.getUint32(at + 62, true),
    ownHigh: view.getUint32(at + 66, true),
    offset: view.getUint32(at + 70, true),
    count,
    stagedId: bytes.slice(at + STAGED_ID_AT, at + STAGED_ID_AT + STAGED_ID_BYTES),
    sums: bytes.subarray(sumsAt, sumsAt + sumsBytes),
    data: hasData ? bytes.subarray(sumsAt + sumsBytes, at + total) : NO_BYTES,
  };
}
