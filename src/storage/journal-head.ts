// The head of the journal file: which journal this is, where replay begins, which bytes of which index count. Two slots,
// each change goes into one, is synced, and then into the other: a torn one leaves the old head, and between changes rot
// of one leaves the same head in the other. Also makes the file: zero-written, because unwritten extents cost a metadata
// commit at their first use. Bytes: layout.ts.

import { OperatingError } from '../core/errors.ts';
import { invariant } from '../core/invariant.ts';
import { REPLACE_OR_RESTORE } from '../core/remedies.ts';
import { alignDown, KIB, MIB } from '../core/units.ts';
import type { Clock, Disk, DiskFile, Random } from '../ports/ports.ts';
import {
  BLOCK_BYTES,
  getU48,
  HEAD_MAGIC,
  HEAD_SLOT_SPACING,
  isSealed,
  JOURNAL_FORMAT_VERSION,
  JOURNAL_PATH,
  MAX_JOURNAL_BYTES,
  MIN_JOURNAL_BYTES,
  RING_OFFSET,
  sealBlock,
  setU48,
  viewOfBytes,
} from './layout.ts';

export interface JournalHead {
  /** As found; what is written has the present one. */
  readonly format: number;
  readonly journalId: Uint8Array;
  readonly slotSequence: number;
  readonly ringBytes: number;
  /** Position where replay begins, and the sequence of the batch that starts there. */
  readonly checkpoint: number;
  readonly batchSequence: number;
  /** Everything before this position was synced when the head was written. */
  readonly syncedEnd: number;
  readonly indexGeneration: number;
  readonly indexBytes: number;
}

/** A place between two batches: everything before it is applied. */
export interface JournalPlace {
  readonly position: number;
  readonly sequence: number;
}

const NEW_PATH = `${JOURNAL_PATH}.new`;
/** Pieces of the first writing: small ones keep the page cache in small folios. */
const ZERO_PIECE_BYTES = 64 * KIB;
/** Zero-written bytes per turn of the event loop. */
const ZERO_TURN_BYTES = MIB;

/** A promise for the end of this tick: long work at the start lets others run. */
export function pause(clock: Clock): Promise<void> {
  return new Promise((resolve) => clock.soon(resolve));
}

/** A promise for a sync of a file. Used at the start only. */
export function syncFile(file: DiskFile): Promise<void> {
  return new Promise((resolve, reject) => {
    file.sync((error) => (error === undefined ? resolve() : reject(error)));
  });
}

/** A promise for a sync of a folder. Used at the start only. */
export function syncFolder(disk: Disk, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    disk.syncFolder(path, (error) => (error === undefined ? resolve() : reject(error)));
  });
}

/** Makes an empty journal of `bytes`; a crash leaves none. Names index generation `indexGeneration`. */
export async function formatJournal(
  ports: { readonly disk: Disk; readonly clock: Clock; readonly random: Random },
  bytes: number,
  index: { readonly generation: number; readonly bytes: number },
): Promise<void> {
  invariant(bytes >= MIN_JOURNAL_BYTES && bytes <= MAX_JOURNAL_BYTES, 'the journal size is legal');
  const { disk, clock } = ports;
  disk.remove(NEW_PATH);
  const file = disk.open(NEW_PATH, { create: true });
  invariant(file !== undefined, 'create gives a file');
  const ringBytes = alignDown(bytes - RING_OFFSET, HEAD_SLOT_SPACING);
  const zeroes = new Uint8Array(ZERO_PIECE_BYTES);
  const end = RING_OFFSET + ringBytes;
  try {
    for (let at = 0; at < end; at += ZERO_PIECE_BYTES) {
      file.writeSync(zeroes.subarray(0, Math.min(ZERO_PIECE_BYTES, end - at)), at);
      if (at % ZERO_TURN_BYTES === 0) await pause(clock);
    }
    const head = {
      format: JOURNAL_FORMAT_VERSION,
      journalId: ports.random.bytes(8),
      slotSequence: 1,
      ringBytes,
      checkpoint: 0,
      batchSequence: 1,
      syncedEnd: 0,
      indexGeneration: index.generation,
      indexBytes: index.bytes,
    };
    for (const slotSequence of [0, 1]) writeHead(file, { ...head, slotSequence });
    await syncFile(file);
  } finally {
    file.close();
  }
  disk.rename(NEW_PATH, JOURNAL_PATH);
  await syncFolder(disk, '');
}

/** The next head: replay begins at `place`, over this index. */
export function movedHead(
  head: JournalHead,
  place: JournalPlace,
  index: { readonly generation: number; readonly bytes: number },
): JournalHead {
  return {
    ...head,
    slotSequence: head.slotSequence + 1,
    checkpoint: place.position,
    batchSequence: place.sequence,
    syncedEnd: place.position,
    indexGeneration: index.generation,
    indexBytes: index.bytes,
  };
}

/** Writes the head into the slot of its sequence; durable after a sync of the file. */
export function writeHead(file: DiskFile, head: JournalHead): void {
  const block = new Uint8Array(BLOCK_BYTES);
  const view = viewOfBytes(block);
  view.setUint32(0, HEAD_MAGIC, true);
  view.setUint32(4, JOURNAL_FORMAT_VERSION, true);
  block.set(head.journalId, 8);
  setU48(view, 16, head.slotSequence);
  setU48(view, 22, head.ringBytes);
  setU48(view, 28, head.checkpoint);
  setU48(view, 34, head.batchSequence);
  setU48(view, 40, head.syncedEnd);
  view.setUint32(46, head.indexGeneration, true);
  setU48(view, 50, head.indexBytes);
  sealBlock(block);
  file.writeSync(block, (head.slotSequence % 2) * HEAD_SLOT_SPACING);
}

/**
 * The newest valid head.
 * @throws OperatingError 'newer-format', or 'corrupt' when neither slot is valid
 */
export function readHead(file: DiskFile): JournalHead {
  const heads = [0, HEAD_SLOT_SPACING].map((at) => readSlot(file, at));
  const [first, second] = heads;
  const newest =
    first !== undefined && second !== undefined
      ? first.slotSequence > second.slotSequence
        ? first
        : second
      : (first ?? second);
  if (newest === undefined) throw journalCorrupt(0, 'neither head is valid');
  if (RING_OFFSET + newest.ringBytes > file.sizeSync()) {
    throw journalCorrupt(file.sizeSync(), 'the file is shorter than its head says');
  }
  return newest;
}

function readSlot(file: DiskFile, at: number): JournalHead | undefined {
  const block = new Uint8Array(BLOCK_BYTES);
  file.readSync(block, 0, BLOCK_BYTES, at);
  const view = viewOfBytes(block);
  if (view.getUint32(0, true) !== HEAD_MAGIC || !isSealed(block)) return undefined;
  const version = view.getUint32(4, true);
  if (version > JOURNAL_FORMAT_VERSION) {
    throw new OperatingError(
      'newer-format',
      `${JOURNAL_PATH} has format ${version}, this program knows ${JOURNAL_FORMAT_VERSION}`,
      { remedy: 'start a newer version of Sheepdog on this data directory' },
    );
  }
  return {
    format: version,
    journalId: block.slice(8, 16),
    slotSequence: getU48(view, 16),
    ringBytes: getU48(view, 22),
    checkpoint: getU48(view, 28),
    batchSequence: getU48(view, 34),
    syncedEnd: getU48(view, 40),
    indexGeneration: view.getUint32(46, true),
    indexBytes: getU48(view, 50),
  };
}

/** Says in both slots that the journal goes on in the present format; an earlier program refuses it from then on. */
export async function raiseFormat(file: DiskFile, head: JournalHead): Promise<JournalHead> {
  if (head.format === JOURNAL_FORMAT_VERSION) return head;
  let next = { ...head, format: JOURNAL_FORMAT_VERSION };
  for (let slot = 0; slot < 2; slot += 1) {
    next = { ...next, slotSequence: next.slotSequence + 1 };
    writeHead(file, next);
    await syncFile(file);
  }
  return next;
}

/** Damage that must stop the start: confirmed writes would be missing (R4, I1). */
export function journalCorrupt(offset: number, what: string): OperatingError {
  return new OperatingError('corrupt', `${JOURNAL_PATH} is damaged at byte ${offset}: ${what}`, {
    remedy: REPLACE_OR_RESTORE,
  });
}
