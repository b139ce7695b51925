// Walks the journal from its checkpoint to its tail (R4). A batch proves by its header that the end of the batch before
// it was synced. So a bad batch with nothing valid behind it is the torn tail of a crash; a bad one before a later valid
// batch, or before an end that the head names, is damage: confirmed writes are missing, and the store refuses to start.

import { crc32 } from '../core/checksum.ts';
import { alignUp, MIB } from '../core/units.ts';
import type { Clock, DiskFile } from '../ports/ports.ts';
import { type BatchHeader, batchBytes, decodeBatchHeader } from './journal-codec.ts';
import { type JournalHead, journalCorrupt, pause } from './journal-head.ts';
import { BATCH_HEADER_BYTES, BLOCK_BYTES, RING_OFFSET } from './layout.ts';

export interface JournalTail {
  /** Position behind the last good batch. */
  readonly end: number;
  /** Sequence of the batch that comes next. */
  readonly sequence: number;
}

/** Called once per good batch, in order. `contents` is valid during the call only. */
export type VisitBatch = (contents: Uint8Array, records: number, position: number) => void;

/** Bytes read per turn of the event loop. */
const SCAN_BYTES = MIB;

/**
 * Visits every batch after the checkpoint.
 * @throws OperatingError 'corrupt' naming the offset when synced batches are missing
 */
export async function walkJournal(
  file: DiskFile,
  head: JournalHead,
  clock: Clock,
  visit: VisitBatch,
): Promise<JournalTail> {
  let end = head.checkpoint;
  let sequence = head.batchSequence;
  let turnBytes = 0;
  for (;;) {
    const batch = batchAt(file, head, end, sequence);
    if (batch === undefined) break;
    visit(batch.contents, batch.header.records, batch.header.position);
    const next = batch.header.position + batchBytes(batch.header.contentBytes);
    turnBytes += next - end;
    end = next;
    sequence += 1;
    if (turnBytes >= SCAN_BYTES) {
      turnBytes = 0;
      await pause(clock);
    }
  }
  return { end, sequence };
}

/** Refuses a tail that is not one: something later is known to have been synced. */
export async function checkTail(
  file: DiskFile,
  head: JournalHead,
  clock: Clock,
  tail: JournalTail,
): Promise<void> {
  const offset = RING_OFFSET + (tail.end % head.ringBytes);
  if (tail.end < head.syncedEnd) {
    throw journalCorrupt(
      offset,
      `synced up to position ${head.syncedEnd}, readable to ${tail.end}`,
    );
  }
  const buffer = new Uint8Array(SCAN_BYTES);
  for (let at = 0; at < head.ringBytes; at += SCAN_BYTES) {
    const length = Math.min(SCAN_BYTES, head.ringBytes - at);
    const count = file.readSync(buffer, 0, length, RING_OFFSET + at);
    const later = laterBatch(buffer, count, at, head, tail.sequence);
    if (later !== undefined) {
      throw journalCorrupt(offset, `batch ${tail.sequence} is bad, batch ${later.sequence} is not`);
    }
    await pause(clock);
  }
}

function laterBatch(
  buffer: Uint8Array,
  count: number,
  ringOffset: number,
  head: JournalHead,
  sequence: number,
): BatchHeader | undefined {
  for (let at = 0; at + BLOCK_BYTES <= count; at += BLOCK_BYTES) {
    const header = decodeBatchHeader(buffer, at, head.journalId);
    if (header === undefined || header.sequence <= sequence) continue;
    if (header.position % head.ringBytes === ringOffset + at) return header;
  }
  return undefined;
}

interface FoundBatch {
  readonly header: BatchHeader;
  readonly contents: Uint8Array;
}

/** The batch that follows `end`: right there, or at the next start of the ring. */
function batchAt(
  file: DiskFile,
  head: JournalHead,
  end: number,
  sequence: number,
): FoundBatch | undefined {
  const here = readBatch(file, head, end, { end, sequence });
  if (here !== undefined) return here;
  const wrapped = alignUp(end, head.ringBytes);
  return wrapped === end ? undefined : readBatch(file, head, wrapped, { end, sequence });
}

function readBatch(
  file: DiskFile,
  head: JournalHead,
  position: number,
  expected: JournalTail,
): FoundBatch | undefined {
  const at = position % head.ringBytes;
  const start = new Uint8Array(BATCH_HEADER_BYTES);
  file.readSync(start, 0, BATCH_HEADER_BYTES, RING_OFFSET + at);
  const header = decodeBatchHeader(start, 0, head.journalId);
  if (header === undefined || header.position !== position) return undefined;
  if (header.sequence !== expected.sequence || header.prevEnd !== expected.end) return undefined;
  if (at + batchBytes(header.contentBytes) > head.ringBytes) return undefined;
  const contents = new Uint8Array(header.contentBytes);
  file.readSync(contents, 0, contents.length, RING_OFFSET + at + BATCH_HEADER_BYTES);
  return crc32(contents) === header.contentSum ? { header, contents } : undefined;
}
