// Journal records <-> bytes, and the writing of batches (layout.ts). A batch is encoded into one buffer that its journal
// owns. Its headers stand in it twice, far apart, and each body has a sum of its own: rot costs what it hits, no more.
// Reading batches: journal-batch.ts.

import { crc32 } from '../core/checksum.ts';
import { invariant } from '../core/invariant.ts';
import { alignUp } from '../core/units.ts';
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
/** A write whose data lies in place already. */
export const RECORD_EXTENT = 5;
/** Regions copied from other generations before a write to a part of them (region-copy.ts). */
export const RECORD_COPY = 6;

const FLAG_ZERO_AFTER = 1;
const FLAG_FRESH = 2;
export const BATCH_SUM_AT = BATCH_HEADER_BYTES - 4;
const BODY_SUM_AT = RECORD_HEADER_BYTES - 4;
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
  /** Of a `replace` with data the name of the staged file; of a `copy` the mask of its regions; else empty. */
  readonly stagedId: Uint8Array;
  readonly sums: Uint8Array;
  readonly data: Uint8Array;
}

/** The header of a record in a batch. */
export type RecordHeader = Omit<JournalRecord, 'sums' | 'data'>;

export interface BatchPlace {
  readonly position: number;
  readonly sequence: number;
  readonly prevEnd: number;
  /** Everything before this position was synced when the batch was written; at most `prevEnd`. */
  readonly syncedEnd: number;
}

/** Bytes of a record in a batch: two headers, one body. */
export function recordBytes(record: Pick<JournalRecord, 'sums' | 'data'>): number {
  return 2 * RECORD_HEADER_BYTES + record.sums.length + record.data.length;
}

/** Bytes of a whole batch whose records take this much, aligned. */
export function batchBytes(contentBytes: number): number {
  return alignUp(2 * BATCH_HEADER_BYTES + contentBytes, BLOCK_BYTES);
}

/**
 * Encodes a batch at the start of `buffer`, which is large enough.
 * @returns bytes of the batch, a multiple of BLOCK_BYTES
 */
export function encodeBatch(
  buffer: Uint8Array,
  journalId: Uint8Array,
  place: BatchPlace,
  records: readonly JournalRecord[],
): number {
  const view = viewOfBytes(buffer);
  const tableBytes = records.length * RECORD_HEADER_BYTES;
  const tableEnd = BATCH_HEADER_BYTES + tableBytes;
  let at = tableEnd;
  let headerAt = BATCH_HEADER_BYTES;
  for (const record of records) {
    const end = at + record.sums.length + record.data.length;
    invariant(end <= buffer.length, 'the batch has room for the record');
    buffer.set(record.sums, at);
    buffer.set(record.data, at + record.sums.length);
    encodeHeader(buffer, view, headerAt, record);
    view.setUint32(headerAt, end - at, true);
    view.setUint32(headerAt + BODY_SUM_AT, crc32(buffer, at, end), true);
    at = end;
    headerAt += RECORD_HEADER_BYTES;
  }
  const total = batchBytes(at - tableEnd + 2 * tableBytes);
  const twinAt = total - BATCH_HEADER_BYTES - tableBytes;
  buffer.fill(0, at, twinAt);
  buffer.fill(0, 0, BATCH_HEADER_BYTES);
  view.setUint32(0, BATCH_MAGIC, true);
  view.setUint32(4, records.length, true);
  buffer.set(journalId, 8);
  setU48(view, 16, place.sequence);
  setU48(view, 22, place.position);
  setU48(view, 28, place.prevEnd);
  view.setUint32(34, total, true);
  view.setUint32(38, crc32(buffer, BATCH_HEADER_BYTES, tableEnd), true);
  setU48(view, 42, place.syncedEnd);
  view.setUint32(BATCH_SUM_AT, crc32(buffer, 0, BATCH_SUM_AT), true);
  buffer.copyWithin(twinAt, BATCH_HEADER_BYTES, tableEnd);
  buffer.copyWithin(total - BATCH_HEADER_BYTES, 0, BATCH_HEADER_BYTES);
  return total;
}

function encodeHeader(buffer: Uint8Array, view: DataView, at: number, record: JournalRecord): void {
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
  buffer.fill(0, at + STAGED_ID_AT, at + BODY_SUM_AT);
  buffer.set(record.stagedId, at + STAGED_ID_AT);
}

/** The record header at `bytes[at..]`, of any format; its first and its last field are the batch's business. */
export function decodeHeader(bytes: Uint8Array, view: DataView, at: number): RecordHeader {
  const flags = bytes[at + 5] as number;
  return {
    kind: bytes[at + 4] as number,
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
    count: view.getUint32(at + 74, true),
    stagedId: bytes.slice(at + STAGED_ID_AT, at + STAGED_ID_AT + STAGED_ID_BYTES),
  };
}
