// One object on disk: two slots of sums, then 4 MiB of data, sparse (D5). A slot is valid when its own sum is right and
// it names this object; the newest valid one counts, and it must be at least as new as the row demands: an older one
// would show sectors that were overwritten or zeroed since. Bytes: layout.ts. Nothing here syncs.

import { crc32, getSum, NO_SUM, sectorSum } from '../core/checksum.ts';
import { KIB, SECTOR_BYTES, SECTORS_PER_OBJECT } from '../core/units.ts';
import type { DiskFile } from '../ports/ports.ts';
import {
  DATA_OFFSET,
  DISK_FORMAT_VERSION,
  getU48,
  SLOT_BYTES,
  SLOT_HEADER_BYTES,
  SLOT_MAGIC,
  SUMS_PAGE_BYTES,
  setU48,
  viewOfBytes,
} from './layout.ts';
import type { ObjectState } from './object-state.ts';

/** In-place writes are cut into pieces of this size: larger ones make large folios in the page cache (DATAPLANE 3). */
const PIECE_BYTES = 64 * KIB;
const SLOT_USED_BYTES = SLOT_HEADER_BYTES + SUMS_PAGE_BYTES;
/** Bytes from the start of a file that hold both slots. */
export const SLOTS_BYTES = 2 * SLOT_BYTES;

const ZEROES = new Uint8Array(SECTOR_BYTES);

export interface LoadedSums {
  readonly page: Uint32Array;
  readonly slotSequence: number;
  /** The version that the row had when the slot was written. */
  readonly token: number;
  readonly count: number;
}

/** Writes data of whole sectors in place. */
export function writeData(file: DiskFile, offset: number, data: Uint8Array): void {
  for (let at = 0; at < data.length; at += PIECE_BYTES) {
    const piece = data.length <= PIECE_BYTES ? data : data.subarray(at, at + PIECE_BYTES);
    file.writeSync(piece, DATA_OFFSET + offset + at);
  }
}

/** The same for a copy that nobody reads soon; at most 1 MiB, kept by reference until `done`. */
export function writeBulkData(
  file: DiskFile,
  offset: number,
  data: Uint8Array,
  done: (error: Error | undefined) => void,
): void {
  file.writeBulk(data, DATA_OFFSET + offset, done);
}

/** Puts the sums of `count` bytes at `offset` into a page. */
export function setSums(
  page: Uint32Array,
  offset: number,
  count: number,
  sums: Uint8Array | undefined,
): void {
  const first = offset / SECTOR_BYTES;
  const sectors = count / SECTOR_BYTES;
  for (let i = 0; i < sectors; i += 1) {
    page[first + i] = sums === undefined ? 0 : getSum(sums, i);
  }
}

/** A sum that a sector of zeroes never passes: it stands for bytes that were lost. */
export function badSum(generation: number, index: number, sector: number): number {
  const wrong = ~sectorSum(generation, index, sector, ZEROES, 0) >>> 0;
  return wrong === NO_SUM ? 1 : wrong;
}

/**
 * The page of an object of which nothing is known: every sum is one that the zeroes of a new file do not pass, so each
 * sector is suspect until it is written or the object is copied from a peer.
 */
export function lostPage(generation: number, index: number): Uint32Array {
  return Uint32Array.from({ length: SECTORS_PER_OBJECT }, (_, i) => badSum(generation, index, i));
}

/** Writes the page as slot `sequence`: over the older one of the two. */
export function writeSlot(
  file: DiskFile,
  state: ObjectState,
  page: Uint32Array,
  sequence: number,
): void {
  const bytes = new Uint8Array(SLOT_USED_BYTES);
  const view = viewOfBytes(bytes);
  view.setUint32(0, SLOT_MAGIC, true);
  view.setUint32(4, DISK_FORMAT_VERSION, true);
  view.setUint32(8, state.generation, true);
  view.setUint32(12, state.index, true);
  setU48(view, 16, sequence);
  view.setUint32(22, state.verToken, true);
  setU48(view, 26, state.verCount);
  view.setUint32(32, state.ownLow, true);
  view.setUint32(36, state.ownHigh, true);
  for (let i = 0; i < SECTORS_PER_OBJECT; i += 1) {
    view.setUint32(SLOT_HEADER_BYTES + 4 * i, page[i] as number, true);
  }
  view.setUint32(SLOT_HEADER_BYTES - 4, slotSum(bytes), true);
  file.writeSync(bytes, (sequence % 2) * SLOT_BYTES);
}

/** The newest valid sums in `bytes`, the first SLOTS_BYTES of an object file; undefined when no slot is valid. */
export function decodeSlots(
  bytes: Uint8Array,
  generation: number,
  index: number,
): LoadedSums | undefined {
  const a = decodeSlot(bytes.subarray(0, SLOT_USED_BYTES), generation, index);
  const second = bytes.subarray(SLOT_BYTES, SLOT_BYTES + SLOT_USED_BYTES);
  const b = decodeSlot(second, generation, index);
  if (a === undefined || b === undefined) return a ?? b;
  return a.slotSequence > b.slotSequence ? a : b;
}

/** The newest valid sums of a file, read at once. */
export function readSlots(
  file: DiskFile,
  generation: number,
  index: number,
): LoadedSums | undefined {
  const bytes = new Uint8Array(SLOTS_BYTES);
  file.readSync(bytes, 0, SLOTS_BYTES, 0);
  return decodeSlots(bytes, generation, index);
}

/** What to say of a file that a newer program wrote; undefined when none did. */
export function newerFormat(file: DiskFile): string | undefined {
  const bytes = new Uint8Array(SLOTS_BYTES);
  file.readSync(bytes, 0, SLOTS_BYTES, 0);
  for (const at of [0, SLOT_BYTES]) {
    const slot = bytes.subarray(at, at + SLOT_USED_BYTES);
    const view = viewOfBytes(slot);
    const version = view.getUint32(4, true);
    const isSlot = view.getUint32(0, true) === SLOT_MAGIC && version > DISK_FORMAT_VERSION;
    if (!isSlot || view.getUint32(SLOT_HEADER_BYTES - 4, true) !== slotSum(slot)) continue;
    const known = `this program knows ${DISK_FORMAT_VERSION}`;
    return `format ${version}, ${known}: start a newer version of Sheepdog on this data directory`;
  }
  return undefined;
}

function slotSum(bytes: Uint8Array): number {
  const head = crc32(bytes, 0, SLOT_HEADER_BYTES - 4);
  return (head ^ crc32(bytes, SLOT_HEADER_BYTES, SLOT_USED_BYTES)) >>> 0;
}

function decodeSlot(bytes: Uint8Array, generation: number, index: number): LoadedSums | undefined {
  if (bytes.length < SLOT_USED_BYTES) return undefined;
  const view = viewOfBytes(bytes);
  const isOurs =
    view.getUint32(0, true) === SLOT_MAGIC &&
    view.getUint32(4, true) <= DISK_FORMAT_VERSION &&
    view.getUint32(8, true) === generation &&
    view.getUint32(12, true) === index;
  if (!isOurs || view.getUint32(SLOT_HEADER_BYTES - 4, true) !== slotSum(bytes)) return undefined;
  const page = new Uint32Array(SECTORS_PER_OBJECT);
  for (let i = 0; i < SECTORS_PER_OBJECT; i += 1) {
    page[i] = view.getUint32(SLOT_HEADER_BYTES + 4 * i, true);
  }
  return {
    page,
    slotSequence: getU48(view, 16),
    token: view.getUint32(22, true),
    count: getU48(view, 26),
  };
}
