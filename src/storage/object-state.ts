// One object as the store holds it in memory: the row as accepted, the row as durable, what is accepted but not applied
// yet, and the sums page while it is loaded. Pure bookkeeping: no disk, no clock.
//
// A replaced or dropped object gets a new state (or none): records of the old life keep pointing at the old state.

import { getSum } from '../core/checksum.ts';
import { type RegionMask, regionMask } from '../core/extent.ts';
import type { FamilyId, GenerationId } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import { REGION_BYTES, SECTOR_BYTES, SECTORS_PER_OBJECT } from '../core/units.ts';
import type { DiskFile } from '../ports/ports.ts';
import type { JournalRecord } from './journal-codec.ts';
import { objectPath } from './layout.ts';
import type { Row, StoreDone, StoreWrite } from './store-types.ts';

const SECTORS_PER_REGION = REGION_BYTES / SECTOR_BYTES;

/** The part of a row that changes. */
export interface RowFields {
  verToken: number;
  verCount: number;
  kind: 'data' | 'zero';
  ownLow: number;
  ownHigh: number;
  closed: number;
  openLow: number;
  openHigh: number;
}

/** Bytes that lie in an object's file before their record does in the journal. */
export interface Extent {
  readonly data: Uint8Array;
  readonly file: DiskFile;
  isDurable: boolean;
}

/** A journal record on its way: the object it changes and who waits for it. */
export interface PendingRecord extends JournalRecord {
  readonly state: ObjectState;
  /** What a `replace` replaces. */
  readonly replaced: ObjectState | undefined;
  /** Order of acceptance. */
  readonly ticket: number;
  /** Done when it is written to the journal, before its sync (R5). */
  readonly mayLag: boolean;
  /** Where the data is that the record is without. */
  readonly extent: Extent | undefined;
  /** Of a copy of regions: the objects that they are copied from, in the order of its sources. */
  readonly sources: readonly ObjectState[] | undefined;
  /** Records of the same change that follow, in the same batch. */
  readonly groupLeft: number;
  readonly done: StoreDone;
}

/** Of an object with nothing under way, which is nearly every one: none has an array of its own for that. */
const NOTHING_PENDING: readonly PendingRecord[] = Object.freeze([]);

const IS_DATA = 1;
const HAS_FILE = 2;
const IS_NAMED = 4;
const IS_PAGE_DIRTY = 8;
const IS_LOST = 16;
const IS_DEAD = 32;
const IS_DURABLE = 64;

/**
 * A node holds a quarter of a million of these for a TiB, so what they take counts: flags share a number, masks are kept
 * signed (unsigned ones above 2^31 are objects of their own to the engine), and what is seldom needed is made when it is.
 */
export class ObjectState implements Row, RowFields {
  readonly generation: GenerationId;
  readonly index: number;
  readonly family: FamilyId;
  readonly partition: number;
  verToken = 0;
  verCount = 0;
  closed = 0;
  #ownLow = 0;
  #ownHigh = 0;
  #openLow = 0;
  #openHigh = 0;
  #flags = 0;
  #pending: readonly PendingRecord[] = NOTHING_PENDING;
  /** The durable row while it is not the accepted one. */
  #former: RowFields | undefined = undefined;
  #stagedPath: string | undefined = undefined;
  /** How many of the pending records copy regions from other generations. */
  pendingCopies = 0;
  /** Ticket of the last change that copied regions from here: done again by a replay until a checkpoint covers it. */
  copiedAt = 0;
  /** Sectors with a sum, as applied; undefined = not counted yet. */
  heldSectors: number | undefined = undefined;
  /** Sums of all sectors, while loaded. */
  page: Uint32Array | undefined = undefined;
  /** Counts changes of the page: tells a reader or checkpoint that it is not what it was. */
  pageChanges = 0;
  /** Sequence of the newest sums slot in the file. */
  slotSequence = 0;
  /** Counts the files this state had: a late completion for an earlier one is ignored. */
  fileLife = 0;

  /** Open descriptor, while in the cache. */
  file: DiskFile | undefined = undefined;
  wasUsed = false;

  constructor(id: {
    readonly generation: GenerationId;
    readonly index: number;
    readonly family: FamilyId;
    readonly partition: number;
  }) {
    this.generation = id.generation;
    this.index = id.index;
    this.family = id.family;
    this.partition = id.partition;
  }

  get kind(): 'data' | 'zero' {
    return (this.#flags & IS_DATA) === 0 ? 'zero' : 'data';
  }

  set kind(kind: 'data' | 'zero') {
    this.#setFlag(IS_DATA, kind === 'data');
  }

  get ownLow(): number {
    return this.#ownLow >>> 0;
  }

  set ownLow(mask: number) {
    this.#ownLow = mask | 0;
  }

  get ownHigh(): number {
    return this.#ownHigh >>> 0;
  }

  set ownHigh(mask: number) {
    this.#ownHigh = mask | 0;
  }

  get openLow(): number {
    return this.#openLow >>> 0;
  }

  set openLow(mask: number) {
    this.#openLow = mask | 0;
  }

  get openHigh(): number {
    return this.#openHigh >>> 0;
  }

  set openHigh(mask: number) {
    this.#openHigh = mask | 0;
  }

  /** The applied state has a file whose sums count; false: every sector is zero. */
  get hasFile(): boolean {
    return (this.#flags & HAS_FILE) !== 0;
  }

  set hasFile(has: boolean) {
    this.#setFlag(HAS_FILE, has);
  }

  /** The name of the file is known to be durable. */
  get isNamed(): boolean {
    return (this.#flags & IS_NAMED) !== 0;
  }

  set isNamed(isNamed: boolean) {
    this.#setFlag(IS_NAMED, isNamed);
  }

  get isPageDirty(): boolean {
    return (this.#flags & IS_PAGE_DIRTY) !== 0;
  }

  set isPageDirty(isDirty: boolean) {
    this.#setFlag(IS_PAGE_DIRTY, isDirty);
  }

  /** The copy here is damaged as a whole: no valid sums, or no file. Healed by `replace` or a whole zero. */
  get isLost(): boolean {
    return (this.#flags & IS_LOST) !== 0;
  }

  set isLost(isLost: boolean) {
    this.#setFlag(IS_LOST, isLost);
  }

  /** Replaced or dropped, and that is applied: nobody cares any more. */
  get isDead(): boolean {
    return (this.#flags & IS_DEAD) !== 0;
  }

  set isDead(isDead: boolean) {
    this.#setFlag(IS_DEAD, isDead);
  }

  /** Where the file is; the staged path until a `replace` is applied. */
  get path(): string {
    return this.#stagedPath ?? objectPath(this.generation, this.index);
  }

  set path(path: string) {
    this.#stagedPath = path === objectPath(this.generation, this.index) ? undefined : path;
  }

  /** The row as of the last applied record; undefined before the first. Only this goes into the index. */
  get durable(): RowFields | undefined {
    return (this.#flags & IS_DURABLE) === 0 ? undefined : (this.#former ?? this);
  }

  /** The row is about to change, and a pending record will say how: what is durable stays as it is until then. */
  keepDurable(): void {
    if (this.durable === this) this.#former = rowFieldsOf(this);
  }

  /** The row is durable as it is. */
  noteDurable(): void {
    this.#flags |= IS_DURABLE;
    this.#former = undefined;
  }

  /** Accepted, not applied, oldest first: reads lay them over what the file holds. */
  get pending(): readonly PendingRecord[] {
    return this.#pending;
  }

  /** A record of how the row changed. */
  addPending(record: PendingRecord): void {
    invariant(this.durable !== this, 'the durable row was kept before the row changed');
    if (this.#pending.length === 0) this.#pending = [record];
    else (this.#pending as PendingRecord[]).push(record);
  }

  /** The oldest pending record is applied. After the last one the row is durable as it is. */
  endPending(record: PendingRecord): void {
    if (this.#pending.length === 1) {
      this.#pending = NOTHING_PENDING;
      this.noteDurable();
      return;
    }
    (this.#pending as PendingRecord[]).shift();
    this.#flags |= IS_DURABLE;
    this.#former ??= rowFieldsOf(this);
    setRow(this.#former, record);
  }

  #setFlag(flag: number, isSet: boolean): void {
    this.#flags = isSet ? this.#flags | flag : this.#flags & ~flag;
  }
}

/** A copy of the fields of a row. */
export function rowFieldsOf(row: RowFields): RowFields {
  return {
    verToken: row.verToken,
    verCount: row.verCount,
    kind: row.kind,
    ownLow: row.ownLow,
    ownHigh: row.ownHigh,
    closed: row.closed,
    openLow: row.openLow,
    openHigh: row.openHigh,
  };
}

/** Sets a row to what a record says it is afterwards. */
export function setRow(row: RowFields, record: JournalRecord): void {
  row.verToken = record.verToken;
  row.verCount = record.verCount;
  row.kind = record.isZeroAfter ? 'zero' : 'data';
  row.ownLow = record.ownLow;
  row.ownHigh = record.ownHigh;
  row.closed = record.closed;
  row.openLow = record.openLow;
  row.openHigh = record.openHigh;
}

/** Notes that writes up to `count` are closed (R6); a row without open writes has no open regions (D6). */
export function closeRow(row: RowFields, count: number): boolean {
  const closed = Math.min(count, row.verCount);
  if (closed <= row.closed) return false;
  row.closed = closed;
  if (closed === row.verCount) {
    row.openLow = 0;
    row.openHigh = 0;
  }
  return true;
}

/** True when a mask of 64 regions has this one. */
export function hasRegion(low: number, high: number, region: number): boolean {
  return ((region < 32 ? low >>> region : high >>> (region - 32)) & 1) === 1;
}

/** The row after a write: its version, what it owns, what is open. An empty one changes the version alone. */
export function advanceRow(row: RowFields, write: StoreWrite, kind: 'data' | 'zero'): void {
  closeRow(row, write.closed);
  const low = regionMask(write.offset, write.count, 0);
  const high = regionMask(write.offset, write.count, 1);
  row.verToken = write.next.token;
  row.verCount = write.next.count;
  row.kind = kind;
  row.ownLow = (row.ownLow | low) >>> 0;
  row.ownHigh = (row.ownHigh | high) >>> 0;
  row.openLow = (row.openLow | low) >>> 0;
  row.openHigh = (row.openHigh | high) >>> 0;
}

/** How many regions two masks name. */
export function countRegions(low: number, high: number): number {
  return bitCount(low) + bitCount(high);
}

/** Sectors that an object holds: those with a sum, at most all that the row owns, which are its upper bound. */
export function heldSectorsOf({ heldSectors, ownLow, ownHigh }: ObjectState): number {
  const owned = countRegions(ownLow, ownHigh) * SECTORS_PER_REGION;
  return Math.min(owned, heldSectors ?? owned);
}

/** Regions in which a sector has a sum; `sums` of all sectors as they travel. */
export function regionsWithSums(sums: Uint8Array): RegionMask {
  const halves = [0, 0];
  for (let sector = 0; sector < SECTORS_PER_OBJECT; sector += 1) {
    if (getSum(sums, sector) === 0) continue;
    const region = Math.floor(sector / SECTORS_PER_REGION);
    const half = region >>> 5;
    halves[half] = ((halves[half] as number) | (1 << (region & 31))) >>> 0;
  }
  return { low: halves[0] as number, high: halves[1] as number };
}

/** How many sectors of a range have a sum. */
export function countSums(page: Uint32Array, first = 0, sectors = page.length): number {
  let count = 0;
  for (let i = first; i < first + sectors; i += 1) if (page[i] !== 0) count += 1;
  return count;
}

function bitCount(value: number): number {
  let v = value - ((value >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** A page without any sum. */
export function emptyPage(): Uint32Array {
  return new Uint32Array(SECTORS_PER_OBJECT);
}
