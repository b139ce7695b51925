// One node's store: accepts changes, keeps the order, serves reads. A change is accepted (row advances, record queued),
// then durable (journal synced), then applied (in place), then done. It knows versions, sums and durability; not configs,
// locks or peers. Made by object-store.ts.

import { OperatingError } from '../core/errors.ts';
import type { RegionMask } from '../core/extent.ts';
import type { ObjectId } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { SpaceLevel, SpaceRule } from '../core/space.ts';
import { OBJECT_BYTES } from '../core/units.ts';
import type { Clock, Disk, Random, TimerHandle, Trace } from '../ports/ports.ts';
import { checkRange, WriteAcceptor } from './accept-writes.ts';
import type { Applier } from './apply.ts';
import { ChangeOrder } from './change-order.ts';
import type { Checkpointer } from './checkpoint.ts';
import { readForCopy } from './copy-read.ts';
import type { ExtentWriter } from './extents.ts';
import type { Journal } from './journal.ts';
import {
  NO_BYTES,
  RECORD_COPY,
  RECORD_DROP,
  RECORD_EXTENT,
  RECORD_WRITE,
} from './journal-codec.ts';
import { LayeredReader } from './layered-read.ts';
import { SUMS_PAGE_BYTES } from './layout.ts';
import { copiesOf, Lineage } from './lineage.ts';
import type { ObjectCache } from './object-cache.ts';
import { checkSectors, lookAtFile } from './object-check.ts';
import { MAX_SYNC_READ_BYTES, type ObjectReader } from './object-read.ts';
import { closeRow, type ObjectState, type PendingRecord, regionsWithSums } from './object-state.ts';
import type { OutageKeeper } from './outage-keeper.ts';
import type { PartitionTable } from './partition-table.ts';
import { Patch } from './patching.ts';
import { copiedBytes } from './region-copy.ts';
import { SpaceGuard } from './space-guard.ts';
import { StagedCopies } from './staged-copies.ts';
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
} from './store-types.ts';
import type { SuspectList } from './suspects.ts';

/** Dirty sums pages, 4 KiB each; half of it asks for a checkpoint, all of it holds the journal until one is done. */
export const MAX_DIRTY_PAGES = 4096;
/** Space of trimmed sectors goes back after this long, or with an earlier checkpoint. */
const PUNCH_DELAY_MS = 5000;

export interface StoreParts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly trace: Trace;
  readonly table: PartitionTable;
  readonly cache: ObjectCache;
  readonly reader: ObjectReader;
  readonly applier: Applier;
  readonly spaceRule?: SpaceRule;
  readonly outages: OutageKeeper;
}

export class LocalObjectStore implements ObjectStore {
  readonly #parts: StoreParts;
  readonly #space: SpaceGuard;
  readonly #order: ChangeOrder;
  readonly #staged: StagedCopies;
  readonly #lineage: Lineage;
  readonly #layers: LayeredReader;
  readonly #writes: WriteAcceptor;
  /** Changes up to this one are covered by a checkpoint: no replay does them again. */
  #covered = 0;
  #checkpointer: Checkpointer | undefined;
  #punchTimer: TimerHandle | undefined;

  constructor(parts: StoreParts) {
    this.#parts = parts;
    this.#space = new SpaceGuard(parts.disk, parts.clock, parts.spaceRule);
    this.#order = new ChangeOrder(parts.clock);
    const { space, order } = { space: this.#space, order: this.#order };
    const whenFree = (state: ObjectState, then: () => void): void => this.#whenFree(state, then);
    this.#staged = new StagedCopies({ ...parts, space, order, whenFree });
    this.#lineage = new Lineage(parts.table);
    this.#layers = new LayeredReader(this.#lineage, parts.reader);
    this.#writes = new WriteAcceptor({ ...parts, space, order, lineage: this.#lineage });
  }

  /** How full the disk is (4.9). */
  get spaceLevel(): SpaceLevel {
    return this.#space.level;
  }

  /** Gives the store those parts that need the store's own callbacks. Once. */
  start(journal: Journal<PendingRecord>, checkpointer: Checkpointer, extents: ExtentWriter): void {
    this.#order.start(journal);
    this.#checkpointer = checkpointer;
    this.#writes.start(extents);
  }

  /** Journal: the records of a batch are written, not synced: enough for those that may lag (R5). */
  noteWritten(records: readonly PendingRecord[]): void {
    this.#order.written(records);
  }

  /** Journal: the records of a batch are synced. */
  applyBatch(records: readonly PendingRecord[], done: () => void): void {
    this.#parts.applier.applyBatch(
      records,
      (record) => this.#finish(record),
      () => {
        if (this.#parts.applier.dirty.size > MAX_DIRTY_PAGES / 2) this.#checkpointer?.request();
        if (this.#parts.applier.holes.isWaiting) this.#punchSoon();
        done();
      },
    );
  }

  /** What was trimmed gives its space back with a checkpoint: one for all trims of a while. */
  #punchSoon(): void {
    this.#punchTimer ??= this.#parts.clock.setTimer(PUNCH_DELAY_MS, () => {
      this.#punchTimer = undefined;
      if (!this.#order.isStopping) this.#checkpointer?.request();
    });
  }

  /** Journal: may a batch start? */
  isHeld(): boolean {
    return this.#parts.applier.dirty.size >= MAX_DIRTY_PAGES;
  }

  /** Journal: space is short. */
  onPressure(): void {
    this.#checkpointer?.request();
  }

  /** Sequence of the last synced journal batch (C1.9). */
  get journalSequence(): number {
    return this.#order.journal.syncedSequence;
  }

  get objectCount(): number {
    return this.#parts.table.objectCount;
  }

  get usedBytes(): number {
    return this.#parts.table.usedBytes;
  }

  row(generation: number, index: number): Row | undefined {
    return this.#parts.table.find(generation, index);
  }

  rowsOf(partition: number): readonly Row[] {
    return this.#parts.table.rowsOf(partition);
  }

  partitionsHeld(): readonly number[] {
    return this.#parts.table.partitionsHeld();
  }

  hasRows(generation: number): boolean {
    return this.#parts.table.hasRows(generation);
  }

  followLayers(layersOf: LayersOf): void {
    this.#lineage.follow(layersOf);
  }

  write(write: StoreWrite, data: Uint8Array, sums: Uint8Array, done: StoreDone): void {
    this.#writes.write(write, data, sums, done);
  }

  zero(write: StoreWrite, done: StoreDone): void {
    this.#writes.zero(write, done);
  }

  close(generation: number, index: number, count: number): void {
    const state = this.#parts.table.find(generation, index);
    if (state === undefined || !closeRow(state, count)) return;
    if (state.durable === undefined) return;
    closeRow(state.durable, count);
    this.#parts.table.noteChange(state);
  }

  heldRegions(generation: number, index: number): RegionMask {
    const held = { low: 0, high: 0 };
    for (const { state, low, high } of this.#lineage.shown(generation, index)) {
      const mine = this.#heldOf(state);
      held.low = (held.low | (mine.low & low)) >>> 0;
      held.high = (held.high | (mine.high & high)) >>> 0;
    }
    return held;
  }

  /** Regions of one row that hold data. */
  #heldOf(state: ObjectState): RegionMask {
    const isKnown = !state.isLost && (!state.hasFile || state.page !== undefined);
    if (!isKnown) return { low: state.ownLow, high: state.ownHigh };
    const { low, high } = regionsWithSums(this.#parts.reader.sumsOf(state, 0, OBJECT_BYTES));
    const copying = copiesOf(state);
    return { low: low | (copying?.low ?? 0), high: high | (copying?.high ?? 0) };
  }

  readSync(
    generation: number,
    index: number,
    offset: number,
    count: number,
    target: Uint8Array,
    at: number,
  ): ReadOutcome {
    invariant(offset >= 0 && offset + count <= OBJECT_BYTES, 'the range lies in the object');
    invariant(at >= 0 && at + count <= target.length, 'the target has room');
    if (count > MAX_SYNC_READ_BYTES) return 'cold';
    const state = this.#parts.table.find(generation, index);
    if (state !== undefined && this.#isAlone(state, offset, count)) {
      return this.#parts.reader.readNow(state, offset, count, target, at);
    }
    if (state !== undefined || !this.#lineage.isRoot(generation)) {
      return this.#layers.readNow(generation, index, offset, count, target, at);
    }
    target.fill(0, at, at + count);
    return 'ok';
  }

  /** Nothing shows through this range of an object. */
  #isAlone(state: ObjectState, offset: number, count: number): boolean {
    return this.#lineage.isOwn(state, offset, count) || this.#lineage.isRoot(state.generation);
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
    invariant(offset >= 0 && offset + count <= OBJECT_BYTES, 'the range lies in the object');
    invariant(at >= 0 && at + count <= target.length, 'the target has room');
    // The end of the tick first: the answer never comes before the call returns.
    this.#parts.clock.soon(() => {
      const state = this.#parts.table.find(generation, index);
      if (state !== undefined && this.#isAlone(state, offset, count)) {
        return this.#parts.reader.readBytes(state, offset, count, target, at, done);
      }
      if (state !== undefined || !this.#lineage.isRoot(generation)) {
        return this.#layers.read(generation, index, offset, count, target, at, done);
      }
      target.fill(0, at, at + count);
      done('ok', undefined);
    });
  }

  readForCopy(
    generation: number,
    index: number,
    offset: number,
    count: number,
    done: (error: OperatingError | undefined, sums: Uint8Array, data: Uint8Array) => void,
  ): void {
    checkRange({ offset, count });
    const { clock, table, reader } = this.#parts;
    clock.soon(() => {
      const state = table.find(generation, index);
      const read = (): void => {
        readForCopy(reader, table.find(generation, index), offset, count, done);
      };
      if ((state?.pendingCopies ?? 0) === 0) return read();
      this.settled((error) => {
        if (error === undefined) read();
        else done(error, NO_BYTES, NO_BYTES);
      });
    });
  }

  get suspects(): SuspectList {
    return this.#parts.cache.suspects;
  }

  check(
    generation: number,
    index: number,
    range: CheckRange,
    done: (found: CheckFound) => void,
  ): void {
    checkRange(range);
    const state = this.#parts.table.find(generation, index);
    if (state !== undefined) checkSectors(this.#parts, state, range, done);
    else done({ isLost: false, bad: [], checkedBytes: 0 });
  }

  readSums(generation: number, index: number, done: (sums: Uint8Array | undefined) => void): void {
    const state = this.#parts.table.find(generation, index);
    if (state === undefined) done(new Uint8Array(SUMS_PAGE_BYTES));
    else lookAtFile(this.#parts, state, done);
  }

  repair(repair: StoreRepair, data: Uint8Array, sums: Uint8Array, done: StoreDone): void {
    checkRange(repair);
    invariant(data.length === repair.count, 'data is as long as the repair says');
    const { generation, index, version } = repair;
    const state = this.#parts.table.find(generation, index);
    const isSame = state?.verToken === version.token && state.verCount === version.count;
    if (state === undefined || !isSame || state.kind === 'zero') {
      this.#order.refuse(new OperatingError('changed', 'the copy has another version now'), done);
      return;
    }
    const refusal =
      this.#order.refusal(repair.count) ?? this.#space.admit(repair.count, 'owned space');
    if (this.#order.answerRefusal(refusal, done)) return;
    const { family, partition } = state;
    state.keepDurable();
    const same = { family, partition, prev: version, next: version, cfg: 0, closed: 0 };
    this.#order.append(RECORD_WRITE, state, { write: { ...repair, ...same }, sums, data, done });
  }

  stage(image: ObjectImage): StagedObject {
    return this.#staged.begin(image);
  }

  patch(image: ObjectImage): StagedObject | undefined {
    const { table } = this.#parts;
    const state = table.find(image.generation, image.index);
    const isPossible = state?.kind === 'data' && !state.isLost && image.kind === 'data';
    const parts = { table, space: this.#space, order: this.#order };
    return isPossible ? new Patch(parts, state, image) : undefined;
  }

  drop(oid: ObjectId, done: StoreDone): void {
    const state = this.#parts.table.find(oid.generation, oid.index);
    if (state === undefined) {
      this.settled(done);
      return;
    }
    const refusal = this.#order.refusal(0);
    if (this.#order.answerRefusal(refusal, done)) return;
    if (this.#isNeeded(state)) {
      this.#whenFree(state, () => this.drop(oid, done));
      return;
    }
    this.#parts.table.leave(state);
    this.#order.append(RECORD_DROP, state, { done });
  }

  /** A replay would copy regions from this object again. */
  #isNeeded(state: ObjectState): boolean {
    return state.copiedAt > this.#covered;
  }

  /** Calls `then` once no replay needs this object any more; at once where none does. */
  #whenFree(state: ObjectState, then: () => void): void {
    if (!this.#isNeeded(state)) {
      then();
      return;
    }
    this.settled(() => {
      const applied = this.#order.appliedCount;
      this.checkpoint(() => {
        this.#covered = Math.max(this.#covered, applied);
        // Others may have copied meanwhile, each region once.
        this.#whenFree(state, then);
      });
    });
  }

  get keptOutages(): KeptOutages | undefined {
    return this.#parts.outages.found;
  }

  followOutages(source: () => KeptOutages): void {
    this.#parts.outages.follow(source);
  }

  saveOutages(): void {
    if (!this.#order.isStopping) this.#parts.outages.save(() => undefined);
  }

  settled(done: StoreDone): void {
    this.#order.whenSettled(done);
  }

  objectSettled(oid: ObjectId, done: StoreDone): void {
    const state = this.#parts.table.find(oid.generation, oid.index);
    const isUnderWay = (state?.pending.length ?? 0) > 0 || this.#order.isDropping(oid);
    if (isUnderWay) this.#order.whenSettled(done);
    else this.#parts.clock.soon(() => done(undefined));
  }

  /** Makes everything that is applied now durable in place, so that a start has little to replay. */
  checkpoint(done: StoreDone): void {
    invariant(this.#checkpointer !== undefined, 'the store was started');
    this.#checkpointer.run(() => done(undefined));
  }

  stop(done: StoreDone): void {
    this.#order.stopAccepting();
    if (this.#punchTimer !== undefined) this.#parts.clock.clearTimer(this.#punchTimer);
    const checkpointer = this.#checkpointer;
    invariant(checkpointer !== undefined, 'the store was started');
    this.settled(() => {
      checkpointer.runLast(() => {
        this.#order.journal.stop(() => {
          checkpointer.close();
          this.#parts.cache.closeAll();
          done(undefined);
        });
      });
    });
  }

  /** A record is durable and applied. */
  #finish(record: PendingRecord): void {
    const isData = record.kind === RECORD_WRITE || record.kind === RECORD_EXTENT;
    if (isData) this.#space.applied(record.count);
    if (record.kind === RECORD_COPY) this.#space.applied(copiedBytes(record));
    this.#order.applied(record);
  }
}
