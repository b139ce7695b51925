// Reading journal batches of every format (layout.ts). A batch is known by its header or by the copy at its end; in
// format 2 the record headers stand twice, too, and a damaged body is that record's alone. Format 1 has one sum for the
// whole of a batch. What is decoded is a view into the batch's bytes. Sums prove it; bounds are checked all the same.

import { crc32, SUM_BYTES } from '../core/checksum.ts';
import { OperatingError } from '../core/errors.ts';
import { alignUp, SECTOR_BYTES } from '../core/units.ts';
import {
  BATCH_SUM_AT,
  type BatchPlace,
  decodeHeader,
  type JournalRecord,
  NO_BYTES,
  RECORD_COPY,
  RECORD_EXTENT,
  RECORD_WRITE,
  type RecordHeader,
} from './journal-codec.ts';
import {
  BATCH_HEADER_BYTES,
  BATCH_MAGIC,
  BATCH_MAGIC_1,
  BLOCK_BYTES,
  COPY_SOURCE_BYTES,
  getU48,
  RECORD_HEADER_BYTES,
  RECORD_HEADER_BYTES_1,
  viewOfBytes,
} from './layout.ts';

export interface BatchHeader extends BatchPlace {
  readonly format: 1 | 2;
  readonly records: number;
  /** Of the whole batch, a multiple of BLOCK_BYTES. */
  readonly bytes: number;
  /** Format 1: bytes of the contents. */
  readonly contentBytes: number;
  /** Of the record headers; format 1: of the contents. */
  readonly contentSum: number;
}

/** A record as found; `isDamaged`: its body fails its sum, what stands in the header is right. */
export interface FoundRecord extends JournalRecord {
  readonly isDamaged: boolean;
}

export interface BatchContents {
  /** Undefined: nobody can say what the batch was about. */
  readonly records: readonly FoundRecord[] | undefined;
  /** Nothing is damaged. */
  readonly isWhole: boolean;
}

/** The header at `bytes[at..]`, or undefined when there is none of this journal. */
export function decodeBatchHeader(
  bytes: Uint8Array,
  at: number,
  journalId: Uint8Array,
): BatchHeader | undefined {
  if (at < 0 || at + BATCH_HEADER_BYTES > bytes.length) return undefined;
  const header = bytes.subarray(at, at + BATCH_HEADER_BYTES);
  const view = viewOfBytes(header);
  const magic = view.getUint32(0, true);
  if (magic !== BATCH_MAGIC && magic !== BATCH_MAGIC_1) return undefined;
  if (view.getUint32(BATCH_SUM_AT, true) !== crc32(header, 0, BATCH_SUM_AT)) return undefined;
  for (let i = 0; i < journalId.length; i += 1) {
    if (header[8 + i] !== journalId[i]) return undefined;
  }
  const length = view.getUint32(34, true);
  const isOld = magic === BATCH_MAGIC_1;
  return {
    format: isOld ? 1 : 2,
    records: view.getUint32(4, true),
    sequence: getU48(view, 16),
    position: getU48(view, 22),
    prevEnd: getU48(view, 28),
    syncedEnd: getU48(view, isOld ? 28 : 42),
    bytes: isOld ? alignUp(BATCH_HEADER_BYTES + length, BLOCK_BYTES) : length,
    contentBytes: isOld ? length : 0,
    contentSum: view.getUint32(38, true),
  };
}

/**
 * The records of a batch.
 * @param bytes the whole batch, `header.bytes` long
 * @throws OperatingError 'corrupt' when sums are right but the records do not fit together all the same
 */
export function decodeBatch(header: BatchHeader, bytes: Uint8Array): BatchContents {
  return header.format === 1 ? decodeBatch1(header, bytes) : decodeBatch2(header, bytes);
}

function decodeBatch2(header: BatchHeader, bytes: Uint8Array): BatchContents {
  const tableBytes = header.records * RECORD_HEADER_BYTES;
  const twinAt = bytes.length - BATCH_HEADER_BYTES - tableBytes;
  const tableEnd = BATCH_HEADER_BYTES + tableBytes;
  if (twinAt < tableEnd) throw malformed();
  const tables = [BATCH_HEADER_BYTES, twinAt];
  const table = tables.find((at) => crc32(bytes, at, at + tableBytes) === header.contentSum);
  if (table === undefined) return { records: undefined, isWhole: false };
  const view = viewOfBytes(bytes);
  const records: FoundRecord[] = [];
  let bodyAt = tableEnd;
  for (let i = 0; i < header.records; i += 1) {
    const at = table + i * RECORD_HEADER_BYTES;
    const bodyEnd = bodyAt + view.getUint32(at, true);
    if (bodyEnd > twinAt) throw malformed();
    const sum = view.getUint32(at + RECORD_HEADER_BYTES - 4, true);
    const isDamaged = crc32(bytes, bodyAt, bodyEnd) !== sum;
    const record = withBody(decodeHeader(bytes, view, at), bytes.subarray(bodyAt, bodyEnd));
    records.push({ ...record, isDamaged });
    bodyAt = bodyEnd;
  }
  return { records, isWhole: records.every((record) => !record.isDamaged) };
}

function decodeBatch1(header: BatchHeader, bytes: Uint8Array): BatchContents {
  const end = BATCH_HEADER_BYTES + header.contentBytes;
  if (crc32(bytes, BATCH_HEADER_BYTES, end) !== header.contentSum) {
    return { records: undefined, isWhole: false };
  }
  const view = viewOfBytes(bytes);
  const records: FoundRecord[] = [];
  let at = BATCH_HEADER_BYTES;
  for (let i = 0; i < header.records; i += 1) {
    const total = at + RECORD_HEADER_BYTES_1 <= end ? view.getUint32(at, true) : 0;
    if (total < RECORD_HEADER_BYTES_1 || at + total > end) throw malformed();
    const body = bytes.subarray(at + RECORD_HEADER_BYTES_1, at + total);
    records.push({ ...withBody(decodeHeader(bytes, view, at), body), isDamaged: false });
    at += total;
  }
  if (at !== end) throw malformed();
  return { records, isWhole: true };
}

function withBody(header: RecordHeader, body: Uint8Array): JournalRecord {
  if (header.kind === RECORD_COPY) {
    if (body.length === 0 || body.length % COPY_SOURCE_BYTES !== 0) throw malformed();
    return { ...header, sums: NO_BYTES, data: body };
  }
  const hasData = header.kind === RECORD_WRITE;
  const hasSums = hasData || header.kind === RECORD_EXTENT;
  const sumsBytes = hasSums ? (header.count / SECTOR_BYTES) * SUM_BYTES : 0;
  if (body.length !== sumsBytes + (hasData ? header.count : 0)) throw malformed();
  return {
    ...header,
    sums: body.subarray(0, sumsBytes),
    data: hasData ? body.subarray(sumsBytes) : NO_BYTES,
  };
}

function malformed(): OperatingError {
  return new OperatingError('corrupt', 'a journal batch passes its sums but does not fit together');
}
