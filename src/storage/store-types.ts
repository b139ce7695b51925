// What the data path asks of one node's store. object-store.ts implements it on journal, partition table and files.
// The store knows versions, sums and durability; it does not know configs, tokens of locks or peers.

import type { OperatingError } from '../core/errors.ts';
import type { RegionMask } from '../core/extent.ts';
import type { Layer } from '../core/generations.ts';
import type {
  ConfigVersion,
  FamilyId,
  GenerationId,
  NodeId,
  ObjectId,
  Version,
} from '../core/ids.ts';
import type { SuspectList } from './suspects.ts';

/** A row of the partition table: what this replica notes of one object. Mutated by the store only. */
export interface Row {
  readonly generation: GenerationId;
  readonly index: number;
  readonly family: FamilyId;
  /** partitionKey(policy, p). */
  readonly partition: number;
  /** Version after every write accepted so far, durable or not yet (see `settled`). */
  readonly verToken: number;
  readonly verCount: number;
  /** `zero`: no file, every owned region reads as zeroes. */
  readonly kind: 'data' | 'zero';
  /** Regions 0-31 and 32-63 that this generation owns (PROTOCOL: S1). */
  readonly ownLow: number;
  readonly ownHigh: number;
  /** Writes up to this count are known to be durable on the whole write set (R6). Open while below verCount. */
  readonly closed: number;
  /** Superset of the regions touched by open writes. */
  readonly openLow: number;
  readonly openHigh: number;
}

/** Regions 0-31 and 32-63 of an object that somebody who is away misses. */
export interface MissedObject extends ObjectId {
  readonly low: number;
  readonly high: number;
}

/** What one absent member misses in one partition (4.7). */
export interface KeptOutage {
  /** partitionKey(policy, p). */
  readonly partition: number;
  readonly node: NodeId;
  /** cfg at which it left the in-sync set. */
  readonly since: ConfigVersion;
  /** By `missedKey`. */
  readonly objects: ReadonlyMap<string, MissedObject>;
}

/** All of it, as it is kept over a restart. */
export interface KeptOutages {
  /** Of the view by which it was judged. */
  readonly mapIndex: number;
  readonly maps: readonly KeptOutage[];
}

/** What a generation is read from, itself first (core/generations.ts `ancestry`); empty: nothing but its own shows. */
export type LayersOf = (generation: GenerationId) => readonly Layer[];

/** Where and what a write is; the caller has checked that `prev` is the row's version. */
export interface StoreWrite {
  readonly generation: GenerationId;
  readonly index: number;
  readonly family: FamilyId;
  readonly partition: number;
  readonly prev: Version;
  readonly next: Version;
  /** For the journal record only. */
  readonly cfg: number;
  /** Known closed count that rides on the write; 0 = nothing said. */
  readonly closed: number;
  /** Bytes in the object, multiples of SECTOR_BYTES. */
  readonly offset: number;
  readonly count: number;
  /** Done as soon as it is received: written to the journal, not synced (mode writeback, R5). */
  readonly mayLag?: boolean;
  /** Of zeroes: a part of a region that this generation does not own stays as it is (S2a, NO_COW). */
  readonly keepsUnowned?: boolean;
}

/** A whole copy of an object at one version, as received from a peer. */
export interface ObjectImage {
  readonly generation: GenerationId;
  readonly index: number;
  readonly family: FamilyId;
  readonly partition: number;
  readonly version: Version;
  readonly kind: 'data' | 'zero';
  readonly ownLow: number;
  readonly ownHigh: number;
  readonly closed: number;
  readonly openLow: number;
  readonly openHigh: number;
}

/** A copy in the making: invisible, gone after a crash, until `commit`. */
export interface StagedObject {
  /**
   * @param offset multiple of SECTOR_BYTES
   * @param sums one u32 (LE) per sector, as stored; 0 = no data
   * @param data the sectors whose sum is not 0, one after the other; the caller has verified them
   * @param done called once the bytes are needed no more, which are kept by reference until then. `commit` says how it went
   */
  writeSectors(offset: number, sums: Uint8Array, data: Uint8Array, done?: () => void): void;
  /** Atomically and durably the object; replaces what was there, row included. */
  commit(done: StoreDone): void;
  abort(): void;
}

/** Done without an error: durable (synced), or received where it may lag; and readable. 'no-space': nothing was touched. */
export type StoreDone = (error: OperatingError | undefined) => void;

/** `cold`: not done, use the asynchronous `read`. `suspect`: damaged here, ask another replica. */
export type ReadOutcome = 'ok' | 'cold' | 'suspect';

/** Sectors as another copy has them at the version that this one has (4.10); never one that is older or newer. */
export interface StoreRepair {
  readonly generation: GenerationId;
  readonly index: number;
  readonly version: Version;
  /** Bytes in the object, multiples of SECTOR_BYTES. */
  readonly offset: number;
  readonly count: number;
}

/** Bytes of a copy that are looked at. */
export interface CheckRange {
  readonly offset: number;
  readonly count: number;
  /** Sectors that fail are told, and not noted. */
  readonly isQuiet?: boolean;
}

/** What a look at a range of a copy found. */
export interface CheckFound {
  /** File or sums are gone. */
  readonly isLost: boolean;
  /** Numbers of the sectors that fail their sums. */
  readonly bad: readonly number[];
  /** Bytes that have sums and were read. */
  readonly checkedBytes: number;
}

export interface ObjectStore {
  /** Undefined = never written here. */
  row(generation: GenerationId, index: number): Row | undefined;
  /** Rows of one partition, by (generation, index). */
  rowsOf(partition: number): readonly Row[];
  /** Partitions with at least one row, sorted. */
  partitionsHeld(): readonly number[];
  /** True while there is a row of this generation, or one that is dropped and may still be there after a crash. */
  hasRows(generation: GenerationId): boolean;
  readonly objectCount: number;
  readonly usedBytes: number;

  /** From now on this says what shows through which generation; before, nothing shows through any. */
  followLayers(layersOf: LayersOf): void;

  /**
   * A region that this generation does not own is copied from the layer that shows there, unless the write covers it (S2).
   * Accepts now (the row's version advances before this returns, or nothing changed and `done` gets 'no-space');
   * `done` after the group commit and the in-place apply (R4). Dones come in the order of acceptance, those of writes that
   * may lag among themselves.
   * @param data exactly `count` bytes; the store's from now on: never changed afterwards, also not after done
   * @param sums one u32 (LE) per sector, as stored (checksum.ts sectorSum); verified by the caller
   */
  write(write: StoreWrite, data: Uint8Array, sums: Uint8Array, done: StoreDone): void;
  /** The same for zeroes: drops the sums of the range. A wholly zeroed object becomes a row of kind `zero`. */
  zero(write: StoreWrite, done: StoreDone): void;
  /** Notes that writes up to `count` are closed. Lazy: made durable by the next checkpoint (R6). */
  close(generation: GenerationId, index: number, count: number): void;

  /**
   * Regions that hold data as a reader of this generation sees them, as accepted: others are zeroes for sure. Of what is
   * not in memory all that is owned. Reads no disk.
   */
  heldRegions(generation: GenerationId, index: number): RegionMask;

  /**
   * What this generation shows (S1), any alignment within the object: each region from the nearest layer that owns it, else
   * zeroes. Verifies every sector it touches (I8).
   */
  readSync(
    generation: GenerationId,
    index: number,
    offset: number,
    count: number,
    target: Uint8Array,
    at: number,
  ): ReadOutcome;
  read(
    generation: GenerationId,
    index: number,
    offset: number,
    count: number,
    target: Uint8Array,
    at: number,
    done: (outcome: 'ok' | 'suspect', error: OperatingError | undefined) => void,
  ): void;

  /**
   * Part of this row for a peer: sums of the range, and the data of the sectors that have one. Verified. Of what it does not
   * own there is neither: 'busy' while it changes all the time.
   */
  readForCopy(
    generation: GenerationId,
    index: number,
    offset: number,
    count: number,
    done: (error: OperatingError | undefined, sums: Uint8Array, data: Uint8Array) => void,
  ): void;
  /** Objects that are known to be damaged here and not healed yet. */
  readonly suspects: SuspectList;
  /** Whole sectors against their sums, from the disk; what fails is noted in `suspects`, unless this is only a look. */
  check(
    generation: GenerationId,
    index: number,
    range: CheckRange,
    done: (found: CheckFound) => void,
  ): void;
  /** All sums of an object as the disk has them; undefined = lost, or not to be had now. Absent rows have none. */
  readSums(
    generation: GenerationId,
    index: number,
    done: (sums: Uint8Array | undefined) => void,
  ): void;
  /**
   * Journals sectors again at the row's own version, which stays. 'changed' when the row has another one.
   * @param sums as stored by the copy they came from; the caller has verified them
   */
  repair(repair: StoreRepair, data: Uint8Array, sums: Uint8Array, done: StoreDone): void;
  /** Several stagings of one object may exist; the last commit wins. */
  stage(image: ObjectImage): StagedObject;
  /**
   * A copy in the making that is the object as it is here but for what is written into it, whole regions; what the image
   * does not own goes. At most MAX_PATCH_BYTES of data. Undefined: there is nothing to start from. 'changed' at the commit:
   * the object is another one by now.
   */
  patch(image: ObjectImage): StagedObject | undefined;
  /** Removes row and file; durable when done. No error when absent. */
  drop(oid: ObjectId, done: StoreDone): void;

  /** What absent members missed when this process began, all changes since included; undefined: nobody knows. */
  readonly keptOutages: KeptOutages | undefined;
  /** From now on this says what is missed; it is kept with every checkpoint. */
  followOutages(source: () => KeptOutages): void;
  /** Keeps it soon: a member left. */
  saveOutages(): void;

  /** Calls back when everything accepted before this call is durable and applied. */
  settled(done: StoreDone): void;
  /** The same for what was accepted of one object: at once where nothing of it is under way. */
  objectSettled(oid: ObjectId, done: StoreDone): void;
  /** Checkpoint, attest record, close. */
  stop(done: StoreDone): void;
}
