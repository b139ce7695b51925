// The partition table on disk: a file of checksummed batches of rows. A checkpoint appends the rows that changed; the
// journal's head then names how many bytes count, so a torn append is never looked at. When the file is more than twice
// as long as its live rows, a new one is written whole under the next generation. Bytes: layout.ts.

import { crc32 } from '../core/checksum.ts';
import { OperatingError } from '../core/errors.ts';
import type { FamilyId, GenerationId, ObjectId } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import { REPLACE_OR_RESTORE } from '../core/remedies.ts';
import { KIB } from '../core/units.ts';
import type { Disk, DiskFile } from '../ports/ports.ts';
import {
  DISK_FORMAT_VERSION,
  getU48,
  INDEX_BATCH_HEADER_BYTES,
  INDEX_BATCH_MAGIC,
  INDEX_HEADER_BYTES,
  INDEX_MAGIC,
  INDEX_PREFIX,
  INDEX_ROW_BYTES,
  indexPath,
  setU48,
  viewOfBytes,
} from './layout.ts';
import { ObjectState } from './object-state.ts';

/** Rows per batch: 64 KiB, well below a millisecond to encode. */
export const INDEX_BATCH_ROWS = 1024;
/** A file shorter than this is never rewritten. */
const MIN_REWRITE_BYTES = 256 * KIB;
const KIND_DATA = 0;
const KIND_ZERO = 1;
const KIND_DROPPED = 2;

/** The index file in use, or the next one in the making. */
export class IndexFile {
  readonly generation: number;
  readonly #file: DiskFile;
  #bytes: number;

  constructor(file: DiskFile, generation: number, bytes: number) {
    this.#file = file;
    this.generation = generation;
    this.#bytes = bytes;
  }

  /** Bytes written, whether synced or not. */
  get bytes(): number {
    return this.#bytes;
  }

  /** True when most of the file is about rows that changed since. */
  isWasteful(liveRows: number): boolean {
    return this.#bytes > MIN_REWRITE_BYTES && this.#bytes > 2 * liveRows * INDEX_ROW_BYTES;
  }

  /** Appends one batch of at most INDEX_BATCH_ROWS; durable after `sync`. */
  append(dropped: readonly ObjectId[], states: readonly ObjectState[]): void {
    const count = dropped.length + states.length;
    invariant(count <= INDEX_BATCH_ROWS, 'an index batch is bounded');
    if (count === 0) return;
    const bytes = new Uint8Array(INDEX_BATCH_HEADER_BYTES + count * INDEX_ROW_BYTES);
    const view = viewOfBytes(bytes);
    view.setUint32(0, INDEX_BATCH_MAGIC, true);
    view.setUint32(4, count, true);
    let at = INDEX_BATCH_HEADER_BYTES;
    for (const id of dropped) {
      view.setUint32(at, id.generation, true);
      view.setUint32(at + 4, id.index, true);
      bytes[at + 26] = KIND_DROPPED;
      at += INDEX_ROW_BYTES;
    }
    for (const state of states) {
      encodeRow(bytes, view, at, state);
      at += INDEX_ROW_BYTES;
    }
    view.setUint32(8, batchSum(bytes), true);
    this.#file.writeSync(bytes, this.#bytes);
    this.#bytes += bytes.length;
  }

  sync(done: (error: Error | undefined) => void): void {
    this.#file.sync(done);
  }

  close(): void {
    this.#file.close();
  }
}

/** Starts an empty index of this generation; durable after `sync` and a sync of the top folder. */
export function createIndex(disk: Disk, generation: number): IndexFile {
  disk.remove(indexPath(generation));
  const file = disk.open(indexPath(generation), { create: true });
  invariant(file !== undefined, 'create gives a file');
  const header = new Uint8Array(INDEX_HEADER_BYTES);
  const view = viewOfBytes(header);
  view.setUint32(0, INDEX_MAGIC, true);
  view.setUint32(4, DISK_FORMAT_VERSION, true);
  view.setUint32(8, generation, true);
  view.setUint32(12, crc32(header, 0, 12), true);
  file.writeSync(header, 0);
  return new IndexFile(file, generation, INDEX_HEADER_BYTES);
}

/** What a walk through an index finds, in order; a later word on an object counts. */
export interface IndexVisitor {
  row(state: ObjectState): void;
  drop(generation: number, index: number): void;
}

/**
 * Opens the index that the journal's head names and visits its rows; removes other index files.
 * @throws OperatingError 'newer-format', or 'corrupt' when named bytes are missing or damaged
 */
export function openIndex(
  disk: Disk,
  generation: number,
  bytes: number,
  visit: IndexVisitor,
): IndexFile {
  const path = indexPath(generation);
  const file = disk.open(path, { create: false });
  if (file === undefined) {
    throw new OperatingError('corrupt', `${path} is missing, but the journal names it`, {
      remedy: `put the file back; else ${REPLACE_OR_RESTORE}`,
    });
  }
  checkHeader(file, path);
  let at = INDEX_HEADER_BYTES;
  while (at < bytes) at += visitBatch(file, path, at, bytes, visit);
  for (const name of disk.list('')) {
    if (name.startsWith(INDEX_PREFIX) && name !== path) disk.remove(name);
  }
  return new IndexFile(file, generation, bytes);
}

function checkHeader(file: DiskFile, path: string): void {
  const header = new Uint8Array(INDEX_HEADER_BYTES);
  file.readSync(header, 0, INDEX_HEADER_BYTES, 0);
  const view = viewOfBytes(header);
  const isOurs = view.getUint32(0, true) === INDEX_MAGIC;
  if (!isOurs || view.getUint32(12, true) !== crc32(header, 0, 12)) {
    throw indexCorrupt(path, 0, 'its header is bad');
  }
  const version = view.getUint32(4, true);
  if (version <= DISK_FORMAT_VERSION) return;
  throw new OperatingError(
    'newer-format',
    `${path} has format ${version}, this program knows ${DISK_FORMAT_VERSION}`,
    { remedy: 'start a newer version of Sheepdog on this data directory' },
  );
}

/** Visits the batch at `at`; returns its bytes. */
function visitBatch(
  file: DiskFile,
  path: string,
  at: number,
  end: number,
  visit: IndexVisitor,
): number {
  const header = new Uint8Array(INDEX_BATCH_HEADER_BYTES);
  file.readSync(header, 0, header.length, at);
  const head = viewOfBytes(header);
  const count = head.getUint32(4, true);
  const total = INDEX_BATCH_HEADER_BYTES + count * INDEX_ROW_BYTES;
  const isOurs = head.getUint32(0, true) === INDEX_BATCH_MAGIC;
  if (!isOurs || count === 0 || count > INDEX_BATCH_ROWS || at + total > end) {
    throw indexCorrupt(path, at, 'a batch of rows is bad');
  }
  const bytes = new Uint8Array(total);
  file.readSync(bytes, 0, total, at);
  if (head.getUint32(8, true) !== batchSum(bytes)) {
    throw indexCorrupt(path, at, 'a batch of rows fails its checksum');
  }
  const view = viewOfBytes(bytes);
  for (let i = 0; i < count; i += 1) {
    visitRow(bytes, view, INDEX_BATCH_HEADER_BYTES + i * INDEX_ROW_BYTES, visit);
  }
  return total;
}

function visitRow(bytes: Uint8Array, view: DataView, at: number, visit: IndexVisitor): void {
  const generation = view.getUint32(at, true) as GenerationId;
  const index = view.getUint32(at + 4, true);
  const kind = bytes[at + 26];
  if (kind === KIND_DROPPED) {
    visit.drop(generation, index);
    return;
  }
  const family = view.getUint32(at + 8, true) as FamilyId;
  const partition = view.getUint32(at + 12, true);
  const state = new ObjectState({ generation, index, family, partition });
  state.verToken = view.getUint32(at + 16, true);
  state.verCount = getU48(view, at + 20);
  state.kind = kind === KIND_ZERO ? 'zero' : 'data';
  state.ownLow = view.getUint32(at + 28, true);
  state.ownHigh = view.getUint32(at + 32, true);
  state.closed = getU48(view, at + 36);
  state.openLow = view.getUint32(at + 42, true);
  state.openHigh = view.getUint32(at + 46, true);
  state.slotSequence = getU48(view, at + 50);
  state.hasFile = state.kind === 'data';
  const counted = view.getUint16(at + 56, true);
  state.heldSectors = counted === 0 ? undefined : counted - 1;
  visit.row(state);
}

function encodeRow(bytes: Uint8Array, view: DataView, at: number, state: ObjectState): void {
  const row = state.durable;
  invariant(row !== undefined, 'only durable rows go into the index');
  view.setUint32(at, state.generation, true);
  view.setUint32(at + 4, state.index, true);
  view.setUint32(at + 8, state.family, true);
  view.setUint32(at + 12, state.partition, true);
  view.setUint32(at + 16, row.verToken, true);
  setU48(view, at + 20, row.verCount);
  bytes[at + 26] = row.kind === 'zero' ? KIND_ZERO : KIND_DATA;
  view.setUint32(at + 28, row.ownLow, true);
  view.setUint32(at + 32, row.ownHigh, true);
  setU48(view, at + 36, row.closed);
  view.setUint32(at + 42, row.openLow, true);
  view.setUint32(at + 46, row.openHigh, true);
  setU48(view, at + 50, row.kind === 'zero' ? 0 : state.slotSequence);
  const isCounted = row.kind === 'data' && state.heldSectors !== undefined;
  view.setUint16(at + 56, isCounted ? (state.heldSectors ?? 0) + 1 : 0, true);
}

function batchSum(bytes: Uint8Array): number {
  return (crc32(bytes, 0, 8) ^ crc32(bytes, INDEX_BATCH_HEADER_BYTES)) >>> 0;
}

function indexCorrupt(path: string, offset: number, what: string): OperatingError {
  return new OperatingError('corrupt', `${path} is damaged at byte ${offset}: ${what}`, {
    remedy: REPLACE_OR_RESTORE,
  });
}
