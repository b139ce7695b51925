// Walks the journal from its checkpoint to its tail (R4). Each batch, and the head, names an end that was synced by then;
// the tail begins at the first bad batch after the last end so named, and is what a crash tore. A bad batch before it is
// damage: what can be read of it is given out all the same, record by record, each said to be damaged or not; a batch of
// which nobody can say what it was about stops the start, because a confirmed write of some object would be missing.

import { alignUp, MIB } from '../core/units.ts';
import type { Clock, DiskFile } from '../ports/ports.ts';
import {
  type BatchContents,
  type BatchHeader,
  decodeBatch,
  decodeBatchHeader,
  type FoundRecord,
} from './journal-batch.ts';
import { batchBytes, MAX_BATCH_BYTES } from './journal-codec.ts';
import { type JournalHead, journalCorrupt, pause } from './journal-head.ts';
import {
  BATCH_HEADER_BYTES,
  BATCH_MAGIC,
  BATCH_MAGIC_1,
  BLOCK_BYTES,
  RING_OFFSET,
  viewOfBytes,
} from './layout.ts';

export interface JournalTail {
  /** Position behind the last good batch. */
  readonly end: number;
  /** Sequence of the batch that comes next. */
  readonly sequence: number;
}

/** Called once per batch, in order. The records are valid during the call only. */
export type VisitBatch = (records: readonly FoundRecord[], offset: number) => void;

/** Bytes read per turn of the event loop. */
const SCAN_BYTES = MIB;

interface Place {
  readonly file: DiskFile;
  readonly head: JournalHead;
}

/** What a look at all batches in the ring says, whichever lap they are of. */
export interface RingScan {
  /** Everything before this position was synced: the highest end that the head or any batch names. */
  readonly syncedEnd: number;
  /** Of any batch; 0 = there is none. */
  readonly lastSequence: number;
}

/** Looks at every header in the ring, of whichever lap. */
export async function scanRing(file: DiskFile, head: JournalHead, clock: Clock): Promise<RingScan> {
  let { syncedEnd } = head;
  let lastSequence = 0;
  await scanHeaders({ file, head }, clock, (header) => {
    syncedEnd = Math.max(syncedEnd, header.syncedEnd);
    lastSequence = Math.max(lastSequence, header.sequence);
  });
  return { syncedEnd, lastSequence };
}

/**
 * Batches that were written and not synced may have come through a power cut behind one that did not. Theirs are
 * sequences that will be given again, so their headers go, before anything new is written, lest one of them passes for
 * the successor of a new batch. Durable with the next sync of the file.
 */
export async function wipeBehind(
  { file, head }: Place,
  clock: Clock,
  tail: JournalTail,
  scan: RingScan,
): Promise<void> {
  if (scan.lastSequence < tail.sequence) return;
  const stale: number[] = [];
  await scanHeaders({ file, head }, clock, (header, ringOffset) => {
    if (header.sequence >= tail.sequence) stale.push(ringOffset);
  });
  const nothing = new Uint8Array(BLOCK_BYTES);
  for (const ringOffset of stale) file.writeSync(nothing, RING_OFFSET + ringOffset);
}

/** Calls `found` for each header of this journal, and for each copy of one, with the offset of its block. */
async function scanHeaders(
  { file, head }: Place,
  clock: Clock,
  found: (header: BatchHeader, ringOffset: number) => void,
): Promise<void> {
  const buffer = new Uint8Array(SCAN_BYTES);
  for (let at = 0; at < head.ringBytes; at += SCAN_BYTES) {
    const length = Math.min(SCAN_BYTES, head.ringBytes - at);
    const chunk = buffer.subarray(0, file.readSync(buffer, 0, length, RING_OFFSET + at));
    const view = viewOfBytes(chunk);
    for (let block = 0; block + BLOCK_BYTES <= chunk.length; block += BLOCK_BYTES) {
      const first = headerIn(chunk, view, block, head);
      const last = headerIn(chunk, view, twinIn(block), head);
      if (first !== undefined && first.position % head.ringBytes === at + block) {
        found(first, at + block);
      }
      const end = at + block + BLOCK_BYTES;
      if (last !== undefined && (last.position % head.ringBytes) + last.bytes === end) {
        found(last, at + block);
      }
    }
    await pause(clock);
  }
}

/**
 * Visits every batch after the checkpoint.
 * @param scan what a look at the whole ring found, before or after `wipeBehind`
 * @throws OperatingError 'corrupt' naming the offset when a synced batch is gone
 */
export async function walkJournal(
  place: Place,
  { syncedEnd, lastSequence }: RingScan,
  clock: Clock,
  visit: VisitBatch,
): Promise<JournalTail> {
  const { head } = place;
  let end = head.checkpoint;
  let sequence = head.batchSequence;
  let turnBytes = 0;
  for (;;) {
    // No header and no copy of one is left: nothing to look for.
    if (sequence > lastSequence && end >= syncedEnd) break;
    const batch = batchAt(place, { end, sequence });
    const next = batch === undefined ? end + 1 : batch.header.position + batch.header.bytes;
    const offset = RING_OFFSET + ((batch?.header.position ?? end) % head.ringBytes);
    if (batch?.records === undefined || !batch.isWhole) {
      if (next > syncedEnd) break;
    }
    if (batch?.records === undefined) throw unreadable(offset, sequence, syncedEnd);
    visit(batch.records, offset);
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

/** The same as decodeBatchHeader, cheap where there is none: this looks at every block of the ring. */
function headerIn(
  chunk: Uint8Array,
  view: DataView,
  at: number,
  head: JournalHead,
): BatchHeader | undefined {
  const magic = view.getUint32(at, true);
  if (magic !== BATCH_MAGIC && magic !== BATCH_MAGIC_1) return undefined;
  return decodeBatchHeader(chunk, at, head.journalId);
}

function unreadable(offset: number, sequence: number, syncedEnd: number): Error {
  return journalCorrupt(
    offset,
    `batch ${sequence} is unreadable, but everything up to position ${syncedEnd} was synced`,
  );
}

/** Where the copy of a batch header stands in the last block of its batch. */
function twinIn(block: number): number {
  return block + BLOCK_BYTES - BATCH_HEADER_BYTES;
}

type FoundBatch = BatchContents & { readonly header: BatchHeader };

/** The batch that follows `expected.end`: right there, or at the next start of the ring. */
function batchAt(place: Place, expected: JournalTail): FoundBatch | undefined {
  const { ringBytes } = place.head;
  const wrapped = alignUp(expected.end, ringBytes);
  const starts = wrapped === expected.end ? [wrapped] : [expected.end, wrapped];
  for (const find of [headerAt, twinOf]) {
    for (const position of starts) {
      const header = find(place, position, expected);
      if (header !== undefined) return { header, ...readContents(place, header) };
    }
  }
  return undefined;
}

function headerAt(place: Place, position: number, expected: JournalTail): BatchHeader | undefined {
  const start = new Uint8Array(BATCH_HEADER_BYTES);
  const at = position % place.head.ringBytes;
  place.file.readSync(start, 0, BATCH_HEADER_BYTES, RING_OFFSET + at);
  return fitting(place.head, decodeBatchHeader(start, 0, place.head.journalId), position, expected);
}

/** The header of the batch at `position` by its copy, wherever the batch ends. */
function twinOf(place: Place, position: number, expected: JournalTail): BatchHeader | undefined {
  const { file, head } = place;
  const at = position % head.ringBytes;
  const bytes = new Uint8Array(Math.min(batchBytes(MAX_BATCH_BYTES), head.ringBytes - at));
  file.readSync(bytes, 0, bytes.length, RING_OFFSET + at);
  const view = viewOfBytes(bytes);
  for (let block = 0; block + BLOCK_BYTES <= bytes.length; block += BLOCK_BYTES) {
    const found = headerIn(bytes, view, twinIn(block), head);
    const header = fitting(head, found, position, expected);
    if (header?.format === 2 && header.bytes === block + BLOCK_BYTES) return header;
  }
  return undefined;
}

function fitting(
  head: JournalHead,
  header: BatchHeader | undefined,
  position: number,
  expected: JournalTail,
): BatchHeader | undefined {
  if (header === undefined || header.position !== position) return undefined;
  if (header.sequence !== expected.sequence || header.prevEnd !== expected.end) return undefined;
  return (position % head.ringBytes) + header.bytes > head.ringBytes ? undefined : header;
}

function readContents({ file, head }: Place, header: BatchHeader): BatchContents {
  const bytes = new Uint8Array(header.bytes);
  file.readSync(bytes, 0, bytes.length, RING_OFFSET + (header.position % head.ringBytes));
  return decodeBatch(header, bytes);
}
