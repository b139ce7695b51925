// Reading objects: what the file holds, checked sector by sector (I8), with accepted but unapplied writes laid over it
// (R4). A sector without a sum is zeroes and the file is not looked at. The synchronous path serves what is loaded and
// allocates nothing; the asynchronous one loads first, and looks again when the object changed under it.

import { getSum, setSum, verifySector } from '../core/checksum.ts';
import { ColdReads } from '../core/cold-reads.ts';
import type { OperatingError } from '../core/errors.ts';
import { objectName } from '../core/ids.ts';
import { alignDown, alignUp, KIB, SECTOR_BYTES } from '../core/units.ts';
import type { Clock, DiskFile, Trace } from '../ports/ports.ts';
import { asOperatingError } from './disk-errors.ts';
import { RECORD_COPY } from './journal-codec.ts';
import { DATA_OFFSET } from './layout.ts';
import type { ObjectCache } from './object-cache.ts';
import type { ObjectState, PendingRecord } from './object-state.ts';
import type { ReadOutcome } from './store-types.ts';

/** Longest synchronous read. */
export const MAX_SYNC_READ_BYTES = 64 * KIB;
/** An object that changes during each asynchronous look is read synchronously after so many. */
export const MAX_READ_LOOKS = 8;

/** Called with what became of a whole-sector read. */
export type SectorsDone = (outcome: 'ok' | 'suspect', error: OperatingError | undefined) => void;

export class ObjectReader {
  readonly #cache: ObjectCache;
  readonly #clock: Clock;
  readonly #trace: Trace;
  readonly #cold = new ColdReads();
  readonly #blocksRead: () => number | undefined;
  readonly #scratch = new Uint8Array(MAX_SYNC_READ_BYTES + 2 * SECTOR_BYTES);

  /** @param blocksRead so many blocks came from the disk for this process; undefined = nobody counts */
  constructor(
    cache: ObjectCache,
    clock: Clock,
    trace: Trace,
    blocksRead: () => number | undefined = () => undefined,
  ) {
    this.#blocksRead = blocksRead;
    this.#cache = cache;
    this.#clock = clock;
    this.#trace = trace;
  }

  /** Any alignment, at most MAX_SYNC_READ_BYTES; `cold` when something must be loaded first, or the disk is slow. */
  readNow(
    state: ObjectState,
    offset: number,
    count: number,
    target: Uint8Array,
    at: number,
  ): ReadOutcome {
    if (state.isLost) return 'suspect';
    if (state.hasFile && state.page === undefined) return 'cold';
    if (state.hasFile && !this.#cold.mayBlock(this.#clock.now())) return 'cold';
    state.wasUsed = true;
    if (offset % SECTOR_BYTES === 0 && count % SECTOR_BYTES === 0) {
      return this.#readSectors(state, offset, count, target, at);
    }
    const from = alignDown(offset, SECTOR_BYTES);
    const length = alignUp(offset + count, SECTOR_BYTES) - from;
    const outcome = this.#readSectors(state, from, length, this.#scratch, 0);
    if (outcome === 'ok') {
      const start = offset - from;
      target.set(this.#scratch.subarray(start, start + count), at);
    }
    return outcome;
  }

  /** Any alignment and count; `target` may change before it is done. */
  readBytes(
    state: ObjectState,
    offset: number,
    count: number,
    target: Uint8Array,
    at: number,
    done: SectorsDone,
  ): void {
    const from = alignDown(offset, SECTOR_BYTES);
    const length = alignUp(offset + count, SECTOR_BYTES) - from;
    if (length === count) {
      this.read(state, from, length, target.subarray(at, at + count), done);
      return;
    }
    const bytes = new Uint8Array(length);
    this.read(state, from, length, bytes, (outcome, error) => {
      if (outcome === 'ok') target.set(bytes.subarray(offset - from, offset - from + count), at);
      done(outcome, error);
    });
  }

  /** Whole sectors of any count; `target` may change before it is done. */
  read(
    state: ObjectState,
    offset: number,
    count: number,
    target: Uint8Array,
    done: SectorsDone,
    looks = 0,
  ): void {
    if (state.isLost) {
      done('suspect', undefined);
      return;
    }
    if (!state.hasFile) {
      target.fill(0, 0, count);
      overlay(state, offset, count, target, 0);
      done('ok', undefined);
      return;
    }
    if (looks >= MAX_READ_LOOKS) {
      this.#readBlocking(state, offset, count, target, done);
      return;
    }
    const again = (): void => this.read(state, offset, count, target, done, looks + 1);
    try {
      if (state.page === undefined) {
        this.#cache.loadPageLater(state, again);
        return;
      }
      const file = this.#cache.file(state);
      if (file === undefined) {
        this.#cache.lose(state, 'file is gone');
        done('suspect', undefined);
        return;
      }
      const { pageChanges, fileLife } = state;
      this.#cache.hold(file);
      file.read(target, 0, count, DATA_OFFSET + offset, (error) => {
        this.#cache.release(file);
        // Perhaps in a sector without a sum, which nobody needs: only the others are read again.
        if (error !== undefined) return this.#readBlocking(state, offset, count, target, done);
        const isSame = state.pageChanges === pageChanges && state.fileLife === fileLife;
        if (state.page === undefined || state.fileLife !== fileLife) return again();
        const bad = checkSectors(state, state.page, offset, count, target, 0);
        if (bad >= 0 && !isSame) return again();
        if (bad >= 0) return done(this.#suspect(state, bad), undefined);
        overlay(state, offset, count, target, 0);
        done('ok', undefined);
      });
    } catch (error) {
      done('suspect', asOperatingError(error));
    }
  }

  /** Sums of whole sectors as accepted, in the form in which they travel. The page is loaded, or there is no file. */
  sumsOf(state: ObjectState, offset: number, count: number): Uint8Array {
    const first = offset / SECTOR_BYTES;
    const sectors = count / SECTOR_BYTES;
    const sums = new Uint8Array(sectors * 4);
    for (let i = 0; i < sectors; i += 1) setSum(sums, i, state.page?.[first + i] ?? 0);
    for (const record of state.pending) overlaySums(record, first, sectors, sums);
    return sums;
  }

  #readSectors(
    state: ObjectState,
    offset: number,
    count: number,
    target: Uint8Array,
    at: number,
  ): ReadOutcome {
    if (!state.hasFile) {
      target.fill(0, at, at + count);
    } else {
      const outcome = this.#readFile(state, offset, count, target, at);
      if (outcome !== 'ok') return outcome;
    }
    if (state.pending.length > 0) overlay(state, offset, count, target, at);
    return 'ok';
  }

  /** Sectors with a sum are read, in runs, and checked; the others are zeroed. */
  #readFile(
    state: ObjectState,
    offset: number,
    count: number,
    target: Uint8Array,
    at: number,
  ): ReadOutcome {
    const page = state.page as Uint32Array;
    const first = offset / SECTOR_BYTES;
    const end = first + count / SECTOR_BYTES;
    let sector = first;
    while (sector < end) {
      const to = at + (sector - first) * SECTOR_BYTES;
      if (page[sector] === 0) {
        target.fill(0, to, to + SECTOR_BYTES);
        sector += 1;
        continue;
      }
      let runEnd = sector + 1;
      while (runEnd < end && page[runEnd] !== 0) runEnd += 1;
      const file = state.file;
      if (file === undefined) return 'cold';
      const length = (runEnd - sector) * SECTOR_BYTES;
      try {
        this.#readTimed(file, target, to, length, DATA_OFFSET + sector * SECTOR_BYTES);
      } catch (error) {
        this.#trace.warn('store.read-failed', { error: asOperatingError(error).message });
        return this.#suspect(state, sector);
      }
      for (; sector < runEnd; sector += 1) {
        const place = at + (sector - first) * SECTOR_BYTES;
        const sum = page[sector] as number;
        if (!verifySector(state.generation, state.index, sector, target, place, sum)) {
          return this.#suspect(state, sector);
        }
      }
    }
    return 'ok';
  }

  /** Everybody waits for it: when the disk takes too long, it is the last one for a while. */
  #readTimed(
    file: DiskFile,
    target: Uint8Array,
    at: number,
    length: number,
    position: number,
  ): void {
    const startMs = this.#clock.now();
    file.readSync(target, at, length, position);
    const coldMs = this.#cold.took(startMs, this.#clock.now(), this.#blocksRead);
    if (coldMs > 0) this.#trace.event('store.disk-cold', { coldMs });
  }

  #readBlocking(
    state: ObjectState,
    offset: number,
    count: number,
    target: Uint8Array,
    done: SectorsDone,
  ): void {
    let outcome: ReadOutcome = 'suspect';
    let failure: OperatingError | undefined;
    try {
      if (this.#cache.loadPage(state)) {
        if (this.#cache.file(state) === undefined) this.#cache.lose(state, 'file is gone');
        else outcome = this.#readSectors(state, offset, count, target, 0);
      }
    } catch (error) {
      failure = asOperatingError(error);
    }
    done(outcome === 'ok' ? 'ok' : 'suspect', failure);
  }

  #suspect(state: ObjectState, sector: number): 'suspect' {
    this.#cache.suspects.note(state, false);
    this.#trace.warn('store.sector-suspect', { object: objectName(state), sector });
    return 'suspect';
  }
}

/** Checks sectors that were read; those without a sum become zeroes. Returns the first bad one, or -1. */
function checkSectors(
  state: ObjectState,
  page: Uint32Array,
  offset: number,
  count: number,
  bytes: Uint8Array,
  at: number,
): number {
  const first = offset / SECTOR_BYTES;
  for (let i = 0; i < count / SECTOR_BYTES; i += 1) {
    const place = at + i * SECTOR_BYTES;
    const sum = page[first + i] as number;
    if (sum === 0) bytes.fill(0, place, place + SECTOR_BYTES);
    else if (!verifySector(state.generation, state.index, first + i, bytes, place, sum)) {
      return first + i;
    }
  }
  return -1;
}

/** Lays accepted, unapplied changes over what was read, in their order; copies of regions are what lies below (S2). */
export function overlay(
  state: ObjectState,
  offset: number,
  count: number,
  target: Uint8Array,
  at: number,
): void {
  for (const record of state.pending) {
    if (record.kind === RECORD_COPY) continue;
    const from = Math.max(offset, record.offset);
    const to = Math.min(offset + count, record.offset + record.count);
    if (from >= to) continue;
    const place = at + from - offset;
    const data = record.extent?.data ?? record.data;
    if (data.length === 0) target.fill(0, place, place + to - from);
    else target.set(data.subarray(from - record.offset, to - record.offset), place);
  }
}

/** Lays the sums of an accepted, unapplied change over a table that starts at sector `first`. */
export function overlaySums(
  record: PendingRecord,
  first: number,
  sectors: number,
  sums: Uint8Array,
): void {
  if (record.kind === RECORD_COPY) return;
  const start = record.offset / SECTOR_BYTES;
  const end = start + record.count / SECTOR_BYTES;
  for (let sector = Math.max(first, start); sector < Math.min(first + sectors, end); sector += 1) {
    const sum = record.sums.length === 0 ? 0 : getSum(record.sums, sector - start);
    setSum(sums, sector - first, sum);
  }
}
