// An ObjectStore in memory that keeps the contract of store-types.ts: a write is accepted at once, its done comes later
// and in order; `settled` comes after all accepted before; a crash loses what was not durable, but for a random prefix.

import { getSum, sectorSum, setSum } from '../../src/core/checksum.ts';
import { OperatingError } from '../../src/core/errors.ts';
import { type RegionMask, regionsOf } from '../../src/core/extent.ts';
import type { GenerationId, ObjectId } from '../../src/core/ids.ts';
import { invariant } from '../../src/core/invariant.ts';
import {
  OBJECT_BYTES,
  REGION_BYTES,
  SECTOR_BYTES,
  SECTORS_PER_OBJECT,
} from '../../src/core/units.ts';
import { closeRow, hasRegion } from '../../src/storage/object-state.ts';
import type {
  CheckFound,
  CheckRange,
  KeptOutages,
  LayersOf,
  ObjectImage,
  ObjectStore,
  ReadOutcome,
  Row,
  StagedObject,
  StoreDone,
  StoreRepair,
  StoreWrite,
} from '../../src/storage/store-types.ts';
import { SuspectList } from '../../src/storage/suspects.ts';
import type { FakeClock, SeededRandom } from './fake-clock.ts';

type MutableRow = { -readonly [K in keyof Row]: Row[K] };
interface Sector {
  readonly bytes: Uint8Array;
  readonly sum: number;
}
interface Entry {
  readonly row: MutableRow;
  readonly sectors: Map<number, Sector>;
}
type Table = Map<string, Entry>;
interface Shown {
  readonly generation: number;
  readonly entry: Entry;
  readonly sector: Sector | undefined;
}
interface Pending {
  readonly apply: ((table: Table) => void) | undefined;
  /** Not seen by readers before it is durable. */
  readonly isLate: boolean;
  readonly done: StoreDone;
  /** Done when received; asks for no sync. */
  readonly mayLag?: boolean;
}

const SYNC_MS = 2;
/** What may lag waits this long for a sync when nobody asks for one. */
const LAG_MS = 40;
const RECEIVED_MS = 0.2;
/** Zeroes under a sum that they do not have. */
const NO_SECTOR: Sector = { bytes: new Uint8Array(SECTOR_BYTES), sum: 1 };

export class MemoryStore implements ObjectStore {
  readonly #clock: FakeClock;
  readonly #random: SeededRandom;
  #live: Table = new Map();
  #durable: Table = new Map();
  #pending: Pending[] = [];
  #isSyncing = false;
  #life = 1;
  /** Set by tests. */
  isFull = false;
  isBusy = false;
  readsCold = false;
  /** Copies that were made of the object that was here. */
  patches = 0;
  readonly suspects = new SuspectList();
  /** What absent members miss outlives a crash, as the real store keeps it: with every change that was accepted. */
  keepsOutages = false;
  keptOutages: KeptOutages | undefined;
  /** False, as the real store between two checkpoints: a crash opens again what was closed meanwhile. */
  keepsCloses = true;
  #outages: (() => KeptOutages) | undefined;
  /** Keys of objects whose file is gone. */
  readonly #lost = new Set<string>();
  #layersOf: LayersOf = () => [];

  constructor(clock: FakeClock, random: SeededRandom) {
    this.#clock = clock;
    this.#random = random;
  }

  row(generation: number, index: number): Row | undefined {
    return this.#live.get(keyOf(generation, index))?.row;
  }

  rowsOf(partition: number): readonly Row[] {
    return [...this.#live.values()]
      .map(({ row }) => row)
      .filter((row) => row.partition === partition)
      .sort((a, b) => a.generation - b.generation || a.index - b.index);
  }

  partitionsHeld(): readonly number[] {
    const found = new Set([...this.#live.values()].map(({ row }) => row.partition));
    return [...found].sort((a, b) => a - b);
  }

  hasRows(generation: number): boolean {
    return [...this.#live.values()].some(({ row }) => row.generation === generation);
  }

  get objectCount(): number {
    return this.#live.size;
  }

  get usedBytes(): number {
    return this.#live.size * OBJECT_BYTES;
  }

  followLayers(layersOf: LayersOf): void {
    this.#layersOf = layersOf;
  }

  /** The sector that a generation shows, and whose it is; undefined: zeroes. */
  #shown(table: Table, generation: number, index: number, number: number): Shown | undefined {
    const layers = this.#layersOf(generation as GenerationId);
    const path = layers.length > 0 ? layers : [{ generation, limitBytes: Infinity }];
    for (const layer of path) {
      if (index * OBJECT_BYTES + number * SECTOR_BYTES >= layer.limitBytes) return undefined;
      const entry = table.get(keyOf(layer.generation, index));
      if (entry === undefined || !isOwner(entry.row, number)) continue;
      return { generation: layer.generation, entry, sector: entry.sectors.get(number) };
    }
    return undefined;
  }

  /** Regions that the write covers in part and its row does not own come from whoever shows there (S2). */
  #copyEnds(table: Table, { generation, index, offset, count }: StoreWrite): void {
    const entry = table.get(keyOf(generation, index)) as Entry;
    for (const end of count === 0 ? [] : [offset, offset + count]) {
      if (end % REGION_BYTES === 0) continue;
      const first = Math.floor(end / REGION_BYTES) * (REGION_BYTES / SECTOR_BYTES);
      if (isOwner(entry.row, first)) continue;
      for (let number = first; number < first + REGION_BYTES / SECTOR_BYTES; number += 1) {
        const sector = this.#shown(table, generation, index, number)?.sector;
        if (sector === undefined) continue;
        const sum = sectorSum(generation, index, number, sector.bytes, 0);
        entry.sectors.set(number, { bytes: sector.bytes, sum });
        entry.row.kind = 'data';
      }
    }
  }

  /** What of a trim is done (S2a, NO_COW). */
  #ownPart(write: StoreWrite): StoreWrite {
    if (write.keepsUnowned !== true) return write;
    const row = this.row(write.generation, write.index);
    const isOwned = (at: number): boolean => row !== undefined && isOwner(row, at / SECTOR_BYTES);
    let [start, end] = [write.offset, write.offset + write.count];
    if (start % REGION_BYTES !== 0 && !isOwned(start))
      start += REGION_BYTES - (start % REGION_BYTES);
    if (end > start && end % REGION_BYTES !== 0 && !isOwned(end - SECTOR_BYTES)) {
      end -= end % REGION_BYTES;
    }
    return end > start ? { ...write, offset: start, count: end - start } : { ...write, count: 0 };
  }

  write(write: StoreWrite, data: Uint8Array, sums: Uint8Array, done: StoreDone): void {
    const sectors: (readonly [number, Sector])[] = [];
    for (let i = 0; i < write.count / SECTOR_BYTES; i += 1) {
      const bytes = data.slice(i * SECTOR_BYTES, (i + 1) * SECTOR_BYTES);
      sectors.push([write.offset / SECTOR_BYTES + i, { bytes, sum: getSum(sums, i) }]);
    }
    this.#change(
      write,
      (entry) => {
        for (const [number, sector] of sectors) entry.sectors.set(number, sector);
        entry.row.kind = 'data';
      },
      done,
    );
  }

  zero(asked: StoreWrite, done: StoreDone): void {
    const write = this.#ownPart(asked);
    this.#change(
      write,
      (entry) => {
        const first = write.offset / SECTOR_BYTES;
        for (let i = 0; i < write.count / SECTOR_BYTES; i += 1) entry.sectors.delete(first + i);
        if (entry.sectors.size === 0) entry.row.kind = 'zero';
      },
      done,
    );
  }

  #change(write: StoreWrite, change: (entry: Entry) => void, done: StoreDone): void {
    if (this.isFull) {
      this.#clock.soon(() => done(new OperatingError('no-space', 'full')));
      return;
    }
    if (this.isBusy) {
      this.#clock.soon(() => done(new OperatingError('busy', 'the journal is full')));
      return;
    }
    const own = this.row(write.generation, write.index);
    invariant((own?.verCount ?? 0) === write.prev.count, 'the caller checked prev');
    invariant((own?.verToken ?? 0) === write.prev.token, 'the caller checked prev token');
    const wasLost = this.#lost.delete(keyOf(write.generation, write.index));
    const apply = (table: Table): void => {
      const entry = entryOf(table, write);
      // As the store on a disk: a lost object that is written to has sums that nothing passes elsewhere.
      if (wasLost) for (let i = 0; i < SECTORS_PER_OBJECT; i += 1) entry.sectors.set(i, NO_SECTOR);
      this.#copyEnds(table, write);
      change(entry);
      const { row } = entry;
      closeRow(row, write.closed);
      row.verToken = write.next.token;
      row.verCount = write.next.count;
      const touched = regionsOf(write.offset, write.count);
      row.ownLow = (row.ownLow | touched.low) >>> 0;
      row.ownHigh = (row.ownHigh | touched.high) >>> 0;
      row.openLow = (row.openLow | touched.low) >>> 0;
      row.openHigh = (row.openHigh | touched.high) >>> 0;
    };
    if (write.mayLag !== true) {
      this.#push({ apply, isLate: false, done });
      return;
    }
    this.#push({ apply, isLate: false, done: () => {}, mayLag: true });
    const life = this.#life;
    this.#clock.setTimer(RECEIVED_MS, () => {
      if (life === this.#life) done(undefined);
    });
  }

  close(generation: number, index: number, count: number): void {
    const apply = (table: Table): void => {
      const row = table.get(keyOf(generation, index))?.row;
      if (row !== undefined) closeRow(row, count);
    };
    if (this.keepsCloses) this.#push({ apply, isLate: false, done: () => {} });
    else apply(this.#live);
  }

  readSync(
    generation: number,
    index: number,
    offset: number,
    count: number,
    target: Uint8Array,
    at: number,
  ): ReadOutcome {
    if (this.readsCold) return 'cold';
    return this.#readNow(generation, index, offset, count, target, at);
  }

  #readNow(
    generation: number,
    index: number,
    offset: number,
    count: number,
    target: Uint8Array,
    at: number,
  ): 'ok' | 'suspect' {
    for (let i = 0; i < count; ) {
      const place = offset + i;
      const inSector = place % SECTOR_BYTES;
      const length = Math.min(count - i, SECTOR_BYTES - inSector);
      const number = (place - inSector) / SECTOR_BYTES;
      const shown = this.#shown(this.#live, generation, index, number);
      if (shown !== undefined && this.#lost.has(keyOf(shown.generation, index))) return 'suspect';
      const sector = shown?.sector;
      if (shown === undefined || sector === undefined) target.fill(0, at + i, at + i + length);
      else {
        if (sectorSum(shown.generation, index, number, sector.bytes, 0) !== sector.sum) {
          this.suspects.note(shown.entry.row, false);
          return 'suspect';
        }
        target.set(sector.bytes.subarray(inSector, inSector + length), at + i);
      }
      i += length;
    }
    return 'ok';
  }

  read(
    generation: number,
    index: number,
    offset: number,
    count: number,
    target: Uint8Array,
    at: number,
    done: (outcome: 'ok' | 'suspect', error: OperatingError | undefined) => void,
  ): void {
    const life = this.#life;
    this.#clock.setTimer(1, () => {
      if (life !== this.#life) return;
      done(this.#readNow(generation, index, offset, count, target, at), undefined);
    });
  }

  readForCopy(
    generation: number,
    index: number,
    offset: number,
    count: number,
    done: (error: OperatingError | undefined, sums: Uint8Array, data: Uint8Array) => void,
  ): void {
    const life = this.#life;
    this.#clock.setTimer(1, () => {
      if (life !== this.#life) return;
      const entry = this.#live.get(keyOf(generation, index));
      const sectors = count / SECTOR_BYTES;
      const sums = new Uint8Array(sectors * 4);
      if (!this.#isRowSound(generation, index, offset, count)) {
        done(new OperatingError('suspect', 'damaged'), new Uint8Array(0), new Uint8Array(0));
        return;
      }
      const data: Uint8Array[] = [];
      for (let i = 0; i < sectors; i += 1) {
        const sector = entry?.sectors.get(offset / SECTOR_BYTES + i);
        if (sector === undefined) continue;
        setSum(sums, i, sector.sum);
        data.push(sector.bytes);
      }
      done(undefined, sums, Uint8Array.from(data.flatMap((bytes) => [...bytes])));
    });
  }

  /** Of the row alone, whatever shows through it. */
  #isRowSound(generation: number, index: number, offset: number, count: number): boolean {
    const entry = this.#live.get(keyOf(generation, index));
    if (this.#lost.has(keyOf(generation, index))) return false;
    for (let at = offset; at < offset + count; at += SECTOR_BYTES) {
      const sector = entry?.sectors.get(at / SECTOR_BYTES);
      if (entry === undefined || sector === undefined) continue;
      const sum = sectorSum(generation, index, at / SECTOR_BYTES, sector.bytes, 0);
      if (sum === sector.sum) continue;
      this.suspects.note(entry.row, false);
      return false;
    }
    return true;
  }

  check(
    generation: number,
    index: number,
    range: CheckRange,
    done: (found: CheckFound) => void,
  ): void {
    const entry = this.#live.get(keyOf(generation, index));
    const isLost = this.#lost.has(keyOf(generation, index));
    const bad: number[] = [];
    const sectors = [...(entry?.sectors ?? [])].filter(
      ([n]) => n * SECTOR_BYTES >= range.offset && n * SECTOR_BYTES < range.offset + range.count,
    );
    for (const [number, { bytes, sum }] of sectors) {
      if (sectorSum(generation, index, number, bytes, 0) !== sum) bad.push(number);
    }
    if (bad.length > 0 && entry && range.isQuiet !== true) this.suspects.note(entry.row, false);
    const checkedBytes = sectors.length * SECTOR_BYTES;
    this.#clock.setTimer(1, () => done({ isLost, bad: isLost ? [] : bad, checkedBytes }));
  }

  heldRegions(generation: number, index: number): RegionMask {
    let [low, high] = [0, 0];
    for (let sector = 0; sector < SECTORS_PER_OBJECT; sector += 1) {
      if (this.#shown(this.#live, generation, index, sector)?.sector === undefined) continue;
      const mask = regionsOf(sector * SECTOR_BYTES, SECTOR_BYTES);
      low = (low | mask.low) >>> 0;
      high = (high | mask.high) >>> 0;
    }
    return { low, high };
  }

  readSums(generation: number, index: number, done: (sums?: Uint8Array) => void): void {
    const sums = new Uint8Array(OBJECT_BYTES / 1024);
    const sectors = this.#live.get(keyOf(generation, index))?.sectors ?? new Map();
    for (const [number, { sum }] of sectors) setSum(sums, number, sum);
    const isLost = this.#lost.has(keyOf(generation, index));
    this.#clock.setTimer(1, () => done(isLost ? undefined : sums));
  }

  repair(repair: StoreRepair, data: Uint8Array, sums: Uint8Array, done: StoreDone): void {
    const { generation, index, version, offset, count } = repair;
    const own = this.row(generation, index);
    if (own?.verToken !== version.token || own.verCount !== version.count) {
      this.#clock.soon(() => done(new OperatingError('changed', 'another version')));
      return;
    }
    const apply = (table: Table): void => {
      const entry = table.get(keyOf(generation, index));
      for (let i = 0; i < count / SECTOR_BYTES; i += 1) {
        const bytes = data.slice(i * SECTOR_BYTES, (i + 1) * SECTOR_BYTES);
        entry?.sectors.set(offset / SECTOR_BYTES + i, { bytes, sum: getSum(sums, i) });
      }
    };
    this.#push({ apply, isLate: false, done });
  }

  /** As when the file of an object is taken away. */
  lose(generation: number, index: number): void {
    const entry = this.#live.get(keyOf(generation, index));
    if (entry === undefined) return;
    this.#lost.add(keyOf(generation, index));
    this.suspects.note(entry.row, true);
  }

  stage(image: ObjectImage): StagedObject {
    return this.#staging(image, new Map());
  }

  #staging(image: ObjectImage, sectors: Map<number, Sector>): StagedObject {
    return {
      writeSectors: (offset, sums, data, done) => {
        let at = 0;
        for (let i = 0; i < sums.length / 4; i += 1) {
          const sum = getSum(sums, i);
          sectors.delete(offset / SECTOR_BYTES + i);
          if (sum === 0) continue;
          const bytes = data.slice(at, at + SECTOR_BYTES);
          sectors.set(offset / SECTOR_BYTES + i, { bytes, sum });
          at += SECTOR_BYTES;
        }
        done?.();
      },
      commit: (done) => {
        const { version, ...rest } = image;
        const row = { ...rest, verToken: version.token, verCount: version.count };
        const apply = (table: Table): void => {
          this.#lost.delete(keyOf(image.generation, image.index));
          this.suspects.forget(image);
          table.set(keyOf(image.generation, image.index), {
            row: { ...row },
            sectors: new Map(sectors),
          });
        };
        this.#push({ apply, isLate: true, done });
      },
      abort: () => {},
    };
  }

  patch(image: ObjectImage): StagedObject | undefined {
    const key = keyOf(image.generation, image.index);
    const before = this.#live.get(key);
    const isPossible = before?.row.kind === 'data' && image.kind === 'data';
    if (!isPossible || this.#lost.has(key)) return undefined;
    const sectors = new Map(before.sectors);
    for (const sector of before.sectors.keys()) {
      const region = Math.floor((sector * SECTOR_BYTES) / REGION_BYTES);
      const [mask, bit] = region < 32 ? [image.ownLow, region] : [image.ownHigh, region - 32];
      if (((mask >>> bit) & 1) === 0) sectors.delete(sector);
    }
    this.patches += 1;
    return this.#staging(image, sectors);
  }

  drop(oid: ObjectId, done: StoreDone): void {
    const apply = (table: Table): void => {
      table.delete(keyOf(oid.generation, oid.index));
    };
    this.#push({ apply, isLate: true, done });
  }

  followOutages(source: () => KeptOutages): void {
    this.#outages = source;
    this.keptOutages = undefined;
  }

  saveOutages(): void {}

  settled(done: StoreDone): void {
    this.#push({ apply: undefined, isLate: false, done });
  }

  objectSettled(_oid: ObjectId, done: StoreDone): void {
    this.settled(done);
  }

  stop(done: StoreDone): void {
    this.settled(done);
  }

  // ---------------------------------------------------------------------------------- for tests

  /** The sectors of one row that have data, with their sums. */
  bytesOf(generation: number, index: number): string {
    const sectors = [...(this.#live.get(keyOf(generation, index))?.sectors ?? [])];
    return sectors
      .sort(([a], [b]) => a - b)
      .map(([number, { sum }]) => `${number}:${sum.toString(16)}`)
      .join(' ');
  }

  /** Power off: what was accepted but not synced is lost, but for a prefix, random unless it is said. */
  crash(kept = this.#random.below(this.#pending.length + 1)): void {
    this.keptOutages = this.keepsOutages ? this.#outages?.() : undefined;
    for (const { apply } of this.#pending.slice(0, kept)) apply?.(this.#durable);
    this.#pending = [];
    this.#isSyncing = false;
    this.#life += 1;
    this.#live = copyOf(this.#durable);
  }

  /** Flips a byte under the sums. */
  rot(generation: number, index: number, sector: number): void {
    const entry = this.#live.get(keyOf(generation, index));
    const bytes = entry?.sectors.get(sector)?.bytes;
    if (bytes !== undefined) bytes[7] = (bytes[7] as number) ^ 0xff;
  }

  /** Other bytes with their right sum: what no checksum shows. */
  forge(generation: number, index: number, sector: number): void {
    const bytes = new Uint8Array(SECTOR_BYTES).fill(0xee);
    const forged = { bytes, sum: sectorSum(generation, index, sector, bytes, 0) };
    this.#live.get(keyOf(generation, index))?.sectors.set(sector, forged);
  }

  /** The whole state as text, to compare replicas: versions and sums. */
  describe(partition: number): string {
    const lines: string[] = [];
    for (const { generation, index, verToken, verCount } of this.rowsOf(partition)) {
      const { sectors } = this.#live.get(keyOf(generation, index)) as Entry;
      const sums = [...sectors].sort((a, b) => a[0] - b[0]).map(([i, { sum }]) => `${i}:${sum}`);
      lines.push(`${generation}/${index} (${verToken},${verCount}) ${sums.join(' ')}`);
    }
    return lines.join('\n');
  }

  #push(pending: Pending): void {
    if (!pending.isLate) pending.apply?.(this.#live);
    this.#pending.push(pending);
    if (pending.mayLag !== true) {
      this.#sync();
      return;
    }
    const life = this.#life;
    this.#clock.setTimer(LAG_MS, () => {
      if (life === this.#life) this.#sync(true);
    });
  }

  /** Operations that are accepted and not durable. */
  get unsynced(): number {
    return this.#pending.length;
  }

  #sync(isDue = false): void {
    if (this.#isSyncing || this.#pending.length === 0) return;
    if (!isDue && this.#pending.every(({ mayLag }) => mayLag === true)) return;
    this.#isSyncing = true;
    const life = this.#life;
    const count = this.#pending.length;
    this.#clock.setTimer(SYNC_MS * (0.5 + this.#random.below(10) / 10), () => {
      if (life !== this.#life) return;
      const batch = this.#pending.splice(0, count);
      this.#isSyncing = false;
      if (this.#pending.length > 0) this.#clock.setTimer(LAG_MS, () => this.#sync(true));
      for (const { apply, isLate, done } of batch) {
        apply?.(this.#durable);
        if (isLate) apply?.(this.#live);
        done(undefined);
        if (life !== this.#life) return;
      }
      this.#sync();
    });
  }
}

function keyOf(generation: number, index: number): string {
  return `${generation}/${index}`;
}

function entryOf(table: Table, write: StoreWrite): Entry {
  const key = keyOf(write.generation, write.index);
  const found = table.get(key);
  if (found !== undefined) return found;
  const { generation, index, family, partition } = write;
  const masks = { ownLow: 0, ownHigh: 0, openLow: 0, openHigh: 0 };
  const row = { generation, index, family, partition, verToken: 0, verCount: 0, closed: 0 };
  const made: Entry = { row: { ...row, ...masks, kind: 'data' }, sectors: new Map() };
  table.set(key, made);
  return made;
}

function copyOf(table: Table): Table {
  const copy: Table = new Map();
  for (const [key, { row, sectors }] of table) {
    copy.set(key, { row: { ...row }, sectors: new Map(sectors) });
  }
  return copy;
}

function isOwner({ ownLow, ownHigh }: Row, sector: number): boolean {
  return hasRegion(ownLow, ownHigh, Math.floor((sector * SECTOR_BYTES) / REGION_BYTES));
}
