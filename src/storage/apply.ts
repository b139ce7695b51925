// What a journal record does to files, pages and rows once it is synced; the same code runs in replay. In-place data is
// not synced here: the record stays in the journal until a checkpoint has synced it (R4). Long batches are cut into
// slices, so that the event loop is never held for long.

import { SUM_BYTES } from '../core/checksum.ts';
import type { OperatingError } from '../core/errors.ts';
import { regionRuns } from '../core/extent.ts';
import { invariant } from '../core/invariant.ts';
import { MIB, OBJECT_BYTES, REGION_BYTES, SECTOR_BYTES } from '../core/units.ts';
import type { Clock, Disk, DiskFile } from '../ports/ports.ts';
import { asOperatingError } from './disk-errors.ts';
import { HoleLedger } from './holes.ts';
import {
  type JournalRecord,
  RECORD_COPY,
  RECORD_DROP,
  RECORD_EXTENT,
  RECORD_REPLACE,
  RECORD_WRITE,
  RECORD_ZERO,
} from './journal-codec.ts';
import { DATA_OFFSET, INCOMING_FOLDER, objectFolder, objectPath, stagedPath } from './layout.ts';
import type { ObjectCache } from './object-cache.ts';
import { lostPage, readSlots, setSums, writeData } from './object-file.ts';
import {
  countSums,
  type Extent,
  emptyPage,
  hasRegion,
  type ObjectState,
  type PendingRecord,
} from './object-state.ts';
import type { PartitionTable } from './partition-table.ts';
import {
  type CopiedRegion,
  copiedBytes,
  dataRuns,
  decodeMask,
  decodeSources,
  readRegion,
} from './region-copy.ts';

/** Data applied per turn of the event loop. */
const SLICE_BYTES = MIB;
const NO_SUMS = new Uint8Array(SUM_BYTES);

export class Applier {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #table: PartitionTable;
  readonly #cache: ObjectCache;
  readonly #onFatal: (error: OperatingError) => void;
  /** Objects whose page has changes that no slot holds. */
  readonly dirty = new Set<ObjectState>();
  /** Sectors of which only the space is left to give back. */
  readonly holes = new HoleLedger();

  constructor(parts: {
    readonly disk: Disk;
    readonly clock: Clock;
    readonly table: PartitionTable;
    readonly cache: ObjectCache;
    readonly onFatal: (error: OperatingError) => void;
  }) {
    this.#disk = parts.disk;
    this.#clock = parts.clock;
    this.#table = parts.table;
    this.#cache = parts.cache;
    this.#onFatal = parts.onFatal;
  }

  /** Applies the records of a synced batch in order; `applied` is called for each, in order, then `done`. */
  applyBatch(
    records: readonly PendingRecord[],
    applied: (record: PendingRecord) => void,
    done: () => void,
  ): void {
    const folders = new Set<string>();
    const slice = (start: number): void => {
      let bytes = 0;
      let i = start;
      try {
        for (; i < records.length && bytes < SLICE_BYTES; i += 1) {
          const record = records[i] as PendingRecord;
          this.#applyPending(record, folders);
          bytes += record.kind === RECORD_COPY ? copiedBytes(record) : record.data.length;
        }
      } catch (error) {
        this.#onFatal(asOperatingError(error));
        return;
      }
      // A rename must be durable before anything that follows it is confirmed, so confirmations wait for the folders.
      if (folders.size === 0)
        for (let k = start; k < i; k += 1) applied(records[k] as PendingRecord);
      if (i < records.length && folders.size === 0) {
        this.#clock.soon(() => slice(i));
        return;
      }
      const settled = (): void => {
        this.holes.settle();
        done();
      };
      if (folders.size === 0) {
        settled();
        return;
      }
      this.#syncFolders(folders, () => {
        for (let k = start; k < i; k += 1) applied(records[k] as PendingRecord);
        folders.clear();
        if (i < records.length) slice(i);
        else settled();
      });
    };
    slice(0);
  }

  /**
   * Copies regions from other generations (S2).
   * @param sources their objects, in the order of the record; looked for in the table unless given
   * @param isSpared sectors whose bytes are those of something later already
   */
  copy(
    state: ObjectState,
    record: JournalRecord,
    sources?: readonly (ObjectState | undefined)[],
    isSpared: (sector: number) => boolean = () => false,
  ): void {
    if (record.isFresh) this.#startFile(state);
    if (!this.#cache.loadPage(state)) this.#rebuild(state);
    const entries = decodeSources(record.data);
    const found = sources ?? entries.map((one) => this.#table.find(one.generation, state.index));
    for (const { offset } of regionRuns(decodeMask(record.stagedId), 1)) {
      const region = offset / REGION_BYTES;
      const i = entries.findIndex(({ low, high }) => hasRegion(low, high, region));
      const limit = entries[i]?.limit ?? OBJECT_BYTES;
      const copied = readRegion(this.#cache, found[i], state, { offset, limit });
      if (copied.isDamaged) this.#cache.suspects.note(state, false);
      this.#putRegion(state, copied, isSpared);
    }
  }

  #putRegion(
    state: ObjectState,
    { offset, sums, bytes }: CopiedRegion,
    isSpared: (sector: number) => boolean,
  ): void {
    const file = this.#fileOf(state);
    for (let at = 0; at < REGION_BYTES; at += SECTOR_BYTES) {
      const sector = (offset + at) / SECTOR_BYTES;
      const i = (at / SECTOR_BYTES) * SUM_BYTES;
      if (isSpared(sector)) sums.set(NO_SUMS, i);
    }
    for (const { at, end } of dataRuns(sums)) {
      writeData(file, offset + at, bytes.subarray(at, end));
      this.holes.fill(state, offset + at, end - at);
    }
    this.#setSums(state, { offset, count: REGION_BYTES }, sums);
  }

  /** Changes files and page as a record says; the row and the list of pending records are the caller's. */
  change(state: ObjectState, record: JournalRecord, extent?: Extent): void {
    if (record.kind === RECORD_ZERO && record.isZeroAfter) {
      this.removeFile(state);
      return;
    }
    if (record.kind === RECORD_ZERO) {
      if (!this.#cache.loadPage(state)) this.#rebuild(state);
      this.#setSums(state, record, undefined);
      this.holes.drop(state, record.offset, record.count);
      return;
    }
    const isExtent = record.kind === RECORD_EXTENT;
    invariant(isExtent || record.kind === RECORD_WRITE, 'the record is a write');
    if (record.isFresh) this.#startFile(state);
    if (!this.#cache.loadPage(state)) this.#rebuild(state);
    const file = this.#fileOf(state);
    if (!isExtent) writeData(file, record.offset, record.data);
    // The file may be a new one since: damage, while memory still has the bytes.
    else if (extent !== undefined && file !== extent.file)
      writeData(file, record.offset, extent.data);
    this.#setSums(state, record, record.sums);
    this.holes.fill(state, record.offset, record.count);
  }

  /**
   * The object is zeroes, or gone: no file, no sums. Also heals an object that was lost.
   * @param keepsFile the file is of a later life already: only what is known of it goes
   */
  removeFile(state: ObjectState, keepsFile = false): void {
    const mayExist = (state.hasFile || state.isLost) && !keepsFile;
    this.#cache.forget(state);
    this.dirty.delete(state);
    this.holes.forget(state);
    if (mayExist) this.#disk.remove(state.path);
    state.hasFile = false;
    state.isNamed = false;
    state.slotSequence = 0;
    state.isLost = false;
    this.#table.noteHeld(state, 0);
    this.#cache.suspects.forget(state);
  }

  /** Forgets a state that was replaced or dropped. */
  bury(state: ObjectState): void {
    this.#cache.forget(state);
    this.dirty.delete(state);
    this.#cache.suspects.forget(state);
    this.holes.forget(state);
    this.#table.bury(state);
  }

  #applyPending(record: PendingRecord, folders: Set<string>): void {
    const { state } = record;
    if (record.kind === RECORD_DROP) {
      this.bury(state);
      this.#disk.remove(objectPath(state.generation, state.index));
      this.#table.noteDrop(state);
      return;
    }
    if (record.kind === RECORD_REPLACE) this.#replace(record, folders);
    else if (record.kind === RECORD_COPY) this.#copyPending(record);
    else this.change(state, record, record.extent);
    invariant(state.pending[0] === record, 'records of an object are applied in order');
    state.endPending(record);
    this.#table.noteChange(state);
  }

  #copyPending(record: PendingRecord): void {
    this.copy(record.state, record, record.sources);
    record.state.pendingCopies -= 1;
  }

  #replace(record: PendingRecord, folders: Set<string>): void {
    const { state } = record;
    const target = objectPath(state.generation, state.index);
    if (record.replaced !== undefined) this.bury(record.replaced);
    if (record.isZeroAfter) {
      this.#disk.remove(target);
      return;
    }
    // It took the name before its record, durably.
    if (state.path === target) return;
    this.#disk.rename(stagedPath(state.generation, state.index, record.stagedId), target);
    state.path = target;
    folders.add(INCOMING_FOLDER);
    folders.add(objectFolder(state.generation, state.index));
  }

  /** A file for an object that has none that counts. Slots of an earlier file must not outlive the new ones. */
  #startFile(state: ObjectState): void {
    if (state.hasFile || state.isLost) this.#cache.forget(state);
    const file = this.#cache.create(state);
    const left = readSlots(file, state.generation, state.index);
    state.slotSequence = left?.slotSequence ?? 0;
    state.hasFile = true;
    state.isLost = false;
    this.#table.noteHeld(state, 0);
    this.#cache.setPage(state, emptyPage());
  }

  /**
   * The copy is lost and is written to. What is confirmed from here on must be kept, so it gets a new file in which all
   * other sectors are known as bad: sums that its zeroes never pass, until the whole is copied from a peer.
   */
  #rebuild(state: ObjectState): void {
    this.#cache.forget(state);
    const file = this.#cache.create(state);
    const left = readSlots(file, state.generation, state.index);
    file.truncateSync(DATA_OFFSET);
    state.slotSequence = Math.max(state.slotSequence, left?.slotSequence ?? 0);
    state.hasFile = true;
    state.isLost = false;
    this.#table.noteHeld(state, undefined);
    this.#cache.setPage(state, lostPage(state.generation, state.index));
    this.markDirty(state);
    this.#cache.suspects.note(state, true);
  }

  /** The file to write to. One whose name is gone is made anew: what it held fails its sums from then on. */
  #fileOf(state: ObjectState): DiskFile {
    const file = this.#cache.file(state);
    if (file !== undefined) return file;
    this.#cache.suspects.note(state, false);
    this.markDirty(state);
    return this.#cache.create(state);
  }

  /** The page has to be written by the next checkpoint. */
  markDirty(state: ObjectState): void {
    state.pageChanges += 1;
    state.isPageDirty = true;
    this.dirty.add(state);
  }

  #setSums(
    state: ObjectState,
    record: Pick<JournalRecord, 'offset' | 'count'>,
    sums: Uint8Array | undefined,
  ): void {
    const page = state.page;
    invariant(page !== undefined, 'the page is loaded');
    const first = record.offset / SECTOR_BYTES;
    const sectors = record.count / SECTOR_BYTES;
    const held = state.heldSectors;
    const before = held === undefined ? 0 : countSums(page, first, sectors);
    setSums(page, record.offset, record.count, sums);
    const now =
      held === undefined ? countSums(page) : held - before + countSums(page, first, sectors);
    this.#table.noteHeld(state, now);
    this.markDirty(state);
  }

  #syncFolders(folders: Set<string>, done: () => void): void {
    let left = folders.size;
    for (const folder of folders) {
      this.#disk.syncFolder(folder, (error) => {
        if (error !== undefined) return this.#onFatal(asOperatingError(error));
        left -= 1;
        if (left === 0) done();
      });
    }
  }
}
