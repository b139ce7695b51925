// Large writes into space that holds nothing go past the journal (R4): the bytes in place first, then a sync of the file
// (and of its folder, while its name may not be durable), and only then a record with the sums. Until the record is
// applied the sectors have no sum, so a crash in between leaves zeroes, whatever was written.
//
// Space is fresh when no sector of it has a sum, and nothing that is accepted and not applied touches it or its file:
// what is applied later must not write over these bytes, and neither must a replay (store-replay.ts).

import type { OperatingError } from '../core/errors.ts';
import { invariant } from '../core/invariant.ts';
import { MIB, SECTOR_BYTES } from '../core/units.ts';
import type { Clock, Disk, DiskFile, Trace } from '../ports/ports.ts';
import type { Applier } from './apply.ts';
import { asOperatingError } from './disk-errors.ts';
import { RECORD_EXTENT, RECORD_WRITE, RECORD_ZERO } from './journal-codec.ts';
import type { ObjectCache } from './object-cache.ts';
import { writeData } from './object-file.ts';
import type { Extent, ObjectState, PendingRecord } from './object-state.ts';
import type { PartitionTable } from './partition-table.ts';

/** Smallest write that goes past the journal: below, the sync of a growing file costs more than writing twice. */
export const MIN_EXTENT_BYTES = MIB;
/** Extents that are not durable yet; beyond, writes go through the journal. */
export const MAX_EXTENTS_IN_FLIGHT = 64;
/** Object files that are synced at once for extents: each holds a thread of the pool, which the journal needs, too. */
export const MAX_EXTENT_SYNCS = 2;

export interface ExtentParts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly table: PartitionTable;
  readonly cache: ObjectCache;
  readonly applier: Applier;
  /** Smallest write taken; more than an object: none is. */
  readonly minBytes: number;
  /** Records may have become ready for the journal. */
  readonly onDurable: () => void;
  readonly onFatal: (error: OperatingError) => void;
}

interface Job {
  readonly state: ObjectState;
  readonly extents: Extent[];
}

interface Range {
  readonly offset: number;
  readonly count: number;
}

export class ExtentWriter {
  readonly #parts: ExtentParts;
  /** Files that wait for a sync. */
  readonly #jobs = new Map<DiskFile, Job>();
  #syncing = 0;
  #inFlight = 0;

  constructor(parts: ExtentParts) {
    this.#parts = parts;
  }

  /** Writes the bytes in place when that is safe and pays; undefined: they go through the journal. */
  take(state: ObjectState, range: Range, data: Uint8Array): Extent | undefined {
    if (data.length < this.#parts.minBytes || this.#inFlight >= MAX_EXTENTS_IN_FLIGHT) return;
    const { cache, applier, clock, trace } = this.#parts;
    try {
      if (!this.#isFree(state, range)) return;
      const file = cache.file(state) ?? cache.create(state);
      cache.hold(file);
      this.#inFlight += 1;
      writeData(file, range.offset, data);
      applier.holes.fill(state, range.offset, range.count);
      const extent = { data, file, isDurable: false };
      const job = this.#jobs.get(file);
      if (job === undefined) this.#jobs.set(file, { state, extents: [extent] });
      else job.extents.push(extent);
      // The end of the tick first: one sync for all extents of a file that come together.
      clock.soon(() => this.#startSyncs());
      trace.count('store.extents');
      return extent;
    } catch (error) {
      // Nothing can be seen of it. The journal's way meets the same disk and says what is wrong with it.
      trace.warn('store.extent-failed', { error: asOperatingError(error).message });
      return undefined;
    }
  }

  #isFree(state: ObjectState, range: Range): boolean {
    const { table, cache } = this.#parts;
    if (state.isLost || table.isLeaving(state.generation)) return false;
    for (const record of state.pending) if (!isApart(record, range)) return false;
    if (!state.hasFile) return true;
    if (!cache.loadPage(state) || state.page === undefined) return false;
    const first = range.offset / SECTOR_BYTES;
    const end = first + range.count / SECTOR_BYTES;
    for (let sector = first; sector < end; sector += 1) if (state.page[sector] !== 0) return false;
    return true;
  }

  #startSyncs(): void {
    for (const [file, job] of this.#jobs) {
      if (this.#syncing >= MAX_EXTENT_SYNCS) return;
      this.#jobs.delete(file);
      this.#sync(file, job);
    }
  }

  #sync(file: DiskFile, { state, extents }: Job): void {
    const { disk, onFatal } = this.#parts;
    const isNamed = state.isNamed;
    let left = isNamed ? 1 : 2;
    const ended = (error: Error | undefined): void => {
      if (error !== undefined) {
        onFatal(asOperatingError(error));
        return;
      }
      left -= 1;
      if (left === 0) this.#durable(file, { state, extents });
    };
    this.#syncing += 1;
    file.sync(ended);
    if (!isNamed) disk.syncFolder(state.path.slice(0, state.path.lastIndexOf('/')), ended);
  }

  #durable(file: DiskFile, { state, extents }: Job): void {
    this.#syncing -= 1;
    // A file that was made anew meanwhile has a name that nobody synced.
    if (state.file === file) state.isNamed = true;
    for (const extent of extents) {
      extent.isDurable = true;
      this.#inFlight -= 1;
      this.#parts.cache.release(file);
    }
    invariant(this.#inFlight >= 0, 'every extent becomes durable once');
    this.#parts.onDurable();
    this.#startSyncs();
  }
}

/** An accepted, unapplied record that leaves this range, and the file as such, alone. */
function isApart(record: PendingRecord, range: Range): boolean {
  const isWrite = record.kind === RECORD_WRITE || record.kind === RECORD_EXTENT;
  const isPart = record.kind === RECORD_ZERO && !record.isZeroAfter;
  const isBefore = record.offset + record.count <= range.offset;
  const isBehind = record.offset >= range.offset + range.count;
  return (isWrite || isPart) && (isBefore || isBehind);
}
