// Replay at the start of a store: what stands in the journal after the checkpoint is done again, in order. Damage before
// the end that is known as synced costs what it hit: sectors whose bytes are unreadable get a sum that they never pass,
// so they are served by peers and repaired; row and version go on as the record's header says.
//
// The journal is walked twice. A replace, a drop or a whole zero ends an object's earlier life: records before the last of
// them must not touch the file, which may be the new life's already.

import { getSum, SUM_BYTES, setSum, verifySector } from '../core/checksum.ts';
import { type FamilyId, type GenerationId, objectName } from '../core/ids.ts';
import { SECTOR_BYTES } from '../core/units.ts';
import type { Clock, Disk, DiskFile, Trace } from '../ports/ports.ts';
import type { Applier } from './apply.ts';
import type { FoundRecord } from './journal-batch.ts';
import {
  type JournalRecord,
  NO_BYTES,
  RECORD_COPY,
  RECORD_DROP,
  RECORD_EXTENT,
  RECORD_REPLACE,
  RECORD_WRITE,
  RECORD_ZERO,
} from './journal-codec.ts';
import { type JournalHead, syncFile, syncFolder } from './journal-head.ts';
import {
  type JournalTail,
  type RingScan,
  scanRing,
  walkJournal,
  wipeBehind,
} from './journal-replay.ts';
import { DATA_OFFSET, hex32, INCOMING_FOLDER, objectPath, stagedPath } from './layout.ts';
import type { ObjectCache } from './object-cache.ts';
import { badSum, type LoadedSums, readSlots } from './object-file.ts';
import { countSums, ObjectState, setRow } from './object-state.ts';
import type { OutageKeeper } from './outage-keeper.ts';
import type { PartitionTable } from './partition-table.ts';
import { STAGED_SLOT } from './staging.ts';

export interface ReplayParts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly file: DiskFile;
  readonly head: JournalHead;
  readonly table: PartitionTable;
  readonly cache: ObjectCache;
  readonly applier: Applier;
  /** Hears of every record, whatever becomes of it. */
  readonly outages: OutageKeeper;
}

interface Range {
  readonly offset: number;
  readonly count: number;
}

/** Where a record stands in the journal, counted from the checkpoint. */
interface NumberedRecord extends Range {
  readonly number: number;
}

export class Replay {
  readonly #parts: ReplayParts;
  /** Per object: extents, whose bytes are in place already: nothing that is done again may write there before them. */
  readonly #extents = new Map<string, NumberedRecord[]>();
  /** Per object: number of the last record that ended an earlier life. */
  readonly #lifeStart = new Map<string, number>();
  readonly #folders = new Set<string>();
  #scan: RingScan = { syncedEnd: 0, lastSequence: 0 };
  /** Records that were damaged before the end known as synced. */
  damaged = 0;

  constructor(parts: ReplayParts) {
    this.#parts = parts;
  }

  /** @throws OperatingError 'corrupt' when something confirmed is gone and nobody can say of which object */
  async run(): Promise<JournalTail> {
    const { file, head, clock, disk, applier } = this.#parts;
    const scan = await scanRing(file, head, clock);
    this.#scan = scan;
    const tail = await this.#walk((record, number) => {
      this.#parts.outages.replayed(record);
      if (endsLife(record)) {
        this.#lifeStart.set(keyOf(record), number);
        this.#extents.delete(keyOf(record));
      } else if (record.kind === RECORD_EXTENT) this.#noteExtent(record, number);
    });
    await wipeBehind(this.#parts, clock, tail, scan);
    // What a killed process wrote and did not sync is there, but not durable: nothing in place may be ahead of it (R4).
    await syncFile(file);
    await this.#walk((record, number, offset) => {
      const start = this.#lifeStart.get(keyOf(record));
      if (start !== undefined && number < start) return;
      this.#redo(record.isDamaged ? this.#salvaged(record, offset) : record, number);
      if (record.isDamaged) this.#noteSuspect(record);
    });
    for (const folder of this.#folders) await syncFolder(disk, folder);
    applier.holes.settle();
    return tail;
  }

  #walk(
    visit: (record: FoundRecord, number: number, offset: number) => void,
  ): Promise<JournalTail> {
    let number = 0;
    return walkJournal(this.#parts, this.#scan, this.#parts.clock, (records, offset) => {
      for (const record of records) {
        visit(record, number, offset);
        number += 1;
      }
    });
  }

  /** The record with what is damaged of it: sectors that fail their sums as zeroes, and sums that zeroes never pass. */
  #salvaged(record: FoundRecord, offset: number): JournalRecord {
    const { generation, index } = record;
    if (record.kind === RECORD_COPY) {
      // Nobody can say where its regions come from: all of them are damaged.
      this.#tellDamage(record, offset, record.count / SECTOR_BYTES);
      return { ...record, data: NO_BYTES };
    }
    const data = record.kind === RECORD_EXTENT ? this.#dataOf(record) : record.data.slice();
    const sums = record.sums.slice();
    const first = record.offset / SECTOR_BYTES;
    let bad = 0;
    for (let i = 0; i < record.count / SECTOR_BYTES; i += 1) {
      const at = i * SECTOR_BYTES;
      if (verifySector(generation, index, first + i, data, at, getSum(sums, i))) continue;
      data.fill(0, at, at + SECTOR_BYTES);
      setSum(sums, i, badSum(generation, index, first + i));
      bad += 1;
    }
    this.#tellDamage(record, offset, bad);
    return { ...record, kind: RECORD_WRITE, data, sums };
  }

  #tellDamage({ generation, index }: FoundRecord, offset: number, sectors: number): void {
    this.damaged += 1;
    const object = objectName({ generation: generation as GenerationId, index });
    this.#parts.trace.warn('store.journal-damaged', { object, offset, sectors });
  }

  /** What lies in place of an extent. */
  #dataOf({ generation, index, offset, count }: JournalRecord): Uint8Array {
    const data = new Uint8Array(count);
    const file = this.#parts.disk.open(objectPath(generation, index), { create: false });
    file?.readSync(data, 0, count, DATA_OFFSET + offset);
    file?.close();
    return data;
  }

  #noteExtent({ generation, index, offset, count }: JournalRecord, number: number): void {
    const key = keyOf({ generation, index });
    const others = this.#extents.get(key);
    const extent = { number, offset, count };
    if (others === undefined) this.#extents.set(key, [extent]);
    else others.push(extent);
  }

  #noteSuspect(record: FoundRecord): void {
    const { table, cache } = this.#parts;
    const state = table.find(record.generation, record.index);
    if (state !== undefined) cache.suspects.note(state, false);
  }

  #redo(record: JournalRecord, number: number): void {
    const { table } = this.#parts;
    if (record.kind === RECORD_DROP) {
      this.#remove(record);
      table.noteDrop({
        generation: record.generation as GenerationId,
        index: record.index,
      });
      return;
    }
    if (record.kind === RECORD_REPLACE) this.#remove(record);
    const state = this.#stateOf(record);
    // What the index counted may be of a later moment than the page that is changed here.
    table.noteHeld(state, undefined);
    if (record.kind === RECORD_REPLACE) this.#replace(state, record);
    else this.#change(state, record, number);
    table.addUsage(state, -1);
    setRow(state, record);
    table.addUsage(state, 1);
    state.noteDurable();
    table.noteChange(state);
  }

  /** A change, but for what would spoil the bytes of a later extent: those records end what this one says there. */
  #change(state: ObjectState, record: JournalRecord, number: number): void {
    const { applier } = this.#parts;
    const later = this.#extents.get(keyOf(record))?.filter((one) => one.number > number) ?? [];
    if (record.kind === RECORD_ZERO && record.isZeroAfter && later.length > 0) {
      applier.removeFile(state, true);
      return;
    }
    if (record.kind === RECORD_COPY) {
      const isSpared = (sector: number): boolean => {
        const range = { offset: sector * SECTOR_BYTES, count: SECTOR_BYTES };
        return later.some((one) => overlaps(one, range));
      };
      applier.copy(state, record, undefined, isSpared);
      return;
    }
    const isHit = later.some((one) => overlaps(one, record));
    if (record.kind !== RECORD_WRITE || !isHit) {
      applier.change(state, record);
      return;
    }
    if (record.isFresh)
      applier.change(state, { ...record, count: 0, sums: NO_BYTES, data: NO_BYTES });
    for (let at = 0; at < record.count; at += SECTOR_BYTES) {
      const sector = { offset: record.offset + at, count: SECTOR_BYTES };
      if (later.some((one) => overlaps(one, sector))) continue;
      const i = (at / SECTOR_BYTES) * SUM_BYTES;
      const sums = record.sums.subarray(i, i + SUM_BYTES);
      const data = record.data.subarray(at, at + SECTOR_BYTES);
      applier.change(state, { ...record, ...sector, sums, data, isFresh: false });
    }
  }

  #stateOf(record: JournalRecord): ObjectState {
    const { table } = this.#parts;
    const found = table.find(record.generation, record.index);
    if (found !== undefined) return found;
    const state = new ObjectState({
      generation: record.generation as GenerationId,
      index: record.index,
      family: record.family as FamilyId,
      partition: record.partition,
    });
    table.insert(state);
    return state;
  }

  #remove(record: JournalRecord): void {
    const { table, applier } = this.#parts;
    const state = table.find(record.generation, record.index);
    if (state === undefined) return;
    table.leave(state);
    applier.bury(state);
  }

  /** Finishes the rename unless it was done before the crash. */
  #replace(state: ObjectState, record: JournalRecord): void {
    if (record.isZeroAfter) return;
    const { disk, cache } = this.#parts;
    const target = objectPath(record.generation, record.index);
    const staged = stagedPath(record.generation, record.index, record.stagedId);
    const file = disk.open(staged, { create: false });
    state.hasFile = true;
    state.slotSequence = STAGED_SLOT;
    if (file !== undefined) {
      this.#noteHeld(state, readSlots(file, state.generation, state.index));
      file.close();
      disk.rename(staged, target);
      this.#folders.add(INCOMING_FOLDER);
      this.#folders.add(target.slice(0, target.lastIndexOf('/')));
    } else if (!this.#isSince(state, record)) cache.lose(state, 'an earlier copy');
  }

  #noteHeld(state: ObjectState, sums: LoadedSums | undefined): void {
    if (sums !== undefined) this.#parts.table.noteHeld(state, countSums(sums.page));
  }

  /** The object's file is the replacing one, not what it was to replace: its sums are of that version, or later. */
  #isSince(state: ObjectState, { verToken, verCount }: JournalRecord): boolean {
    const file = this.#parts.cache.file(state);
    const found = file === undefined ? undefined : readSlots(file, state.generation, state.index);
    if (found === undefined) return false;
    this.#noteHeld(state, found);
    return found.token > verToken || (found.token === verToken && found.count >= verCount);
  }
}

function keyOf({ generation, index }: { generation: number; index: number }): string {
  return hex32(generation) + hex32(index);
}

function overlaps(one: Range, other: Range): boolean {
  return one.offset < other.offset + other.count && other.offset < one.offset + one.count;
}

function endsLife(record: JournalRecord): boolean {
  const isWholeZero = record.kind === RECORD_ZERO && record.isZeroAfter;
  return record.kind === RECORD_REPLACE || record.kind === RECORD_DROP || isWholeZero;
}
