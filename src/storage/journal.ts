// The journal of one store: group commit of whole records in a preallocated ring (R4, R5). One sync is in flight, the
// next batch collects meanwhile; each batch names up to where the journal was synced when it was written. A record that
// may lag (writeback) is `written` before its sync: its batch does not wait for the sync in flight, and the sync that
// covers it comes after a short delay, a number of bytes, or with the next one that is asked for. All records are
// applied, in order, after their sync. A failed sync is final: `onFatal`, nothing is repeated.
//
//   append -> queue -> [ write ] -> written -> [ fdatasync ] -> apply -> applied
//                                               one at a time   in order
//
// It knows records and places; what a record does to an object is the store's business.

import type { OperatingError } from '../core/errors.ts';
import { invariant } from '../core/invariant.ts';
import { alignUp, MIB } from '../core/units.ts';
import type { Clock, DiskFile, TimerHandle } from '../ports/ports.ts';
import { asOperatingError } from './disk-errors.ts';
import { AttestTimer } from './journal-attest.ts';
import { batchBytes, encodeBatch, MAX_BATCH_BYTES, recordBytes } from './journal-codec.ts';
import { type JournalHead, type JournalPlace, movedHead, writeHead } from './journal-head.ts';
import { JournalQueue, type QueuedRecord } from './journal-queue.ts';
import type { JournalTail } from './journal-replay.ts';
import { RING_OFFSET } from './layout.ts';

/** Syncs whose batches are not applied; no further batch starts beyond. */
const MAX_UNAPPLIED_SYNCS = 2;
/** Bytes of batches that are written and not synced; beyond, no batch is written before a sync ends: back-pressure. */
export const MAX_UNSYNCED_BYTES = 16 * MIB;
/** The same as parts of the ring: room must be left for a checkpoint to be worth its while. */
const UNSYNCED_RING_PARTS = 4;
/** What is written waits this long for its sync when nobody asks for one. */
export const UNSYNCED_MS = 50;

export interface JournalOptions<R extends QueuedRecord> {
  readonly file: DiskFile;
  readonly head: JournalHead;
  readonly tail: JournalTail;
  readonly clock: Clock;
  /** Records of a batch that is in the file and not synced. */
  readonly onWritten: (records: readonly R[]) => void;
  /** Applies the records of synced batches in order, then calls `done`. */
  readonly apply: (records: readonly R[], done: () => void) => void;
  /** True while no batch may start, for a reason of the store's; it calls `kick` afterwards. */
  readonly isHeld: () => boolean;
  /** Less than half of the ring is free: a checkpoint is wanted. */
  readonly onPressure: () => void;
  /** The disk failed under confirmed data: the process must end. */
  readonly onFatal: (error: OperatingError) => void;
}

/** Batches between two syncs, as one. */
interface Stretch<R> {
  readonly records: R[];
  /** Of all its batches. */
  bytes: number;
  end: number;
  /** Of its last batch. */
  sequence: number;
  /** Somebody waits for its sync. */
  isUrgent: boolean;
}

export class Journal<R extends QueuedRecord> {
  readonly #options: JournalOptions<R>;
  readonly #file: DiskFile;
  readonly #clock: Clock;
  readonly #buffer = new Uint8Array(batchBytes(MAX_BATCH_BYTES));
  readonly #queue = new JournalQueue<R>();
  readonly #attest: AttestTimer;
  #head: JournalHead;
  #end: number;
  #sequence: number;
  #applied: JournalPlace;
  /** Written, covered by no sync yet. */
  #written: Stretch<R> | undefined;
  /** Covered by the sync in flight. */
  #syncing: Stretch<R> | undefined;
  #unapplied: Stretch<R>[] = [];
  #syncedEnd: number;
  #syncedSequence: number;
  #syncTimer: TimerHandle | undefined;
  #isApplying = false;
  #isScheduled = false;
  #isDead = false;
  #isStopped = false;
  #onIdle: (() => void) | undefined;

  constructor(options: JournalOptions<R>) {
    this.#options = options;
    this.#file = options.file;
    this.#clock = options.clock;
    this.#head = options.head;
    this.#end = options.tail.end;
    this.#sequence = options.tail.sequence;
    this.#syncedEnd = this.#end;
    this.#syncedSequence = this.#sequence - 1;
    this.#applied = { position: this.#end, sequence: this.#sequence };
    const write = (): void => void this.#startBatch(true);
    this.#attest = new AttestTimer(this.#clock, () => this.#isSynced, write);
  }

  /** Everything before this place is synced and applied. */
  get applied(): JournalPlace {
    return this.#applied;
  }

  /** Sequence of the last synced batch; grows for ever (C1.9). */
  get syncedSequence(): number {
    return this.#syncedSequence;
  }

  get ringBytes(): number {
    return this.#head.ringBytes;
  }

  /** Bytes between the checkpoint and the end. */
  get usedBytes(): number {
    return this.#end - this.#head.checkpoint;
  }

  /** True when another record of this size is taken. */
  canAppend(bytes: number): boolean {
    return this.#queue.canTake(bytes);
  }

  /** Queues a record; `canAppend` was asked before. Its data must not change until it is applied. */
  append(record: R): void {
    invariant(!this.#isStopped, 'a stopped journal takes no records');
    invariant(recordBytes(record) <= MAX_BATCH_BYTES, 'a record fits into a batch');
    this.#queue.push(record);
    this.#schedule();
  }

  /** Somebody waits for everything that was appended before: no further delay. */
  syncSoon(): void {
    this.#queue.hurry();
    if (this.#written !== undefined) this.#written.isUrgent = true;
    this.#schedule();
  }

  /** Looks again whether a batch, or a sync, may start. */
  kick(): void {
    while (!this.#queue.isEmpty && this.#startBatch(false)) {}
    this.#startSync();
  }

  /** Makes `place` the start of the next replay and names the index that goes with it; frees the space before. */
  release(
    place: JournalPlace,
    index: { readonly generation: number; readonly bytes: number },
    done: () => void,
  ): void {
    invariant(place.position >= this.#head.checkpoint, 'a checkpoint never goes back');
    const next = movedHead(this.#head, place, index);
    // The second slot says the same: rot in one of them must not bring back a head whose journal space is used again.
    const twin = { ...next, slotSequence: next.slotSequence + 1 };
    this.#saveHead(next, () => {
      this.#saveHead(twin, () => {
        this.#head = twin;
        done();
        this.kick();
      });
    });
  }

  /** Names the last end as synced, once nothing is in flight, then closes the file. Nothing is appended any more. */
  stop(done: () => void): void {
    invariant(this.#queue.isEmpty, 'a journal is drained before it stops');
    this.#isStopped = true;
    this.#attest.stop();
    const finish = (): void => {
      this.#file.close();
      done();
    };
    this.#onIdle = () => {
      if (!this.#attest.isOwed) return finish();
      this.#onIdle = finish;
      if (!this.#startBatch(true)) finish();
    };
    this.#settleIdle();
  }

  #saveHead(head: JournalHead, done: () => void): void {
    this.#guard(() => writeHead(this.#file, head));
    if (this.#isDead) return;
    this.#file.sync((error) => {
      if (error !== undefined) return this.#fail(error);
      done();
    });
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#clock.soon(() => {
      this.#isScheduled = false;
      this.kick();
    });
  }

  /** Writes one batch if one may be written. Returns whether it did. */
  #startBatch(isAttest: boolean): boolean {
    if (this.#isDead || this.#isFull()) return false;
    if (!isAttest && this.#options.isHeld()) return false;
    // Beside a sync the next batch grows, unless somebody waits for the writing alone.
    if (this.#syncing !== undefined && !this.#queue.hasLagging) return false;
    const { records, contentBytes } = isAttest
      ? { records: [], contentBytes: 0 }
      : this.#nextBatch();
    if (records.length === 0 && !isAttest) return false;
    const bytes = batchBytes(contentBytes);
    const position = this.#placeFor(bytes);
    if (position === undefined) {
      this.#hurry();
      this.#options.onPressure();
      return false;
    }
    const isUrgent = this.#queue.consume(records, contentBytes) || isAttest;
    const [sequence, prevEnd, syncedEnd] = [this.#sequence, this.#end, this.#syncedEnd];
    const place = { position, sequence, prevEnd, syncedEnd };
    const length = encodeBatch(this.#buffer, this.#head.journalId, place, records);
    invariant(length === bytes, 'a batch is as long as was planned');
    const at = RING_OFFSET + (position % this.#head.ringBytes);
    this.#guard(() => this.#file.writevSync([this.#buffer.subarray(0, length)], at));
    if (this.#isDead) return false;
    this.#end = position + length;
    this.#sequence += 1;
    this.#noteWritten(records, { bytes, isUrgent });
    this.#startSync();
    this.#options.onWritten(records);
    return true;
  }

  #isFull(): boolean {
    if (this.#unapplied.length >= MAX_UNAPPLIED_SYNCS) return true;
    const bytes = (this.#written?.bytes ?? 0) + (this.#syncing?.bytes ?? 0);
    if (bytes < this.#unsyncedBound()) return false;
    this.#hurry();
    return true;
  }

  #unsyncedBound(): number {
    return Math.min(MAX_UNSYNCED_BYTES, this.#head.ringBytes / UNSYNCED_RING_PARTS);
  }

  #noteWritten(records: readonly R[], batch: { bytes: number; isUrgent: boolean }): void {
    this.#written ??= { records: [], bytes: 0, end: 0, sequence: 0, isUrgent: false };
    const stretch = this.#written;
    for (const record of records) stretch.records.push(record);
    stretch.bytes += batch.bytes;
    stretch.end = this.#end;
    stretch.sequence = this.#sequence - 1;
    stretch.isUrgent ||= batch.isUrgent || stretch.bytes >= this.#unsyncedBound() / 2;
    if (stretch.isUrgent || this.#syncTimer !== undefined) return;
    this.#syncTimer = this.#clock.setTimer(UNSYNCED_MS, () => {
      this.#syncTimer = undefined;
      this.#hurry();
    });
  }

  /** What is written waits no longer. */
  #hurry(): void {
    if (this.#written === undefined) return;
    this.#written.isUrgent = true;
    this.#startSync();
  }

  #startSync(): void {
    const stretch = this.#written;
    if (stretch?.isUrgent !== true || this.#syncing !== undefined || this.#isDead) return;
    if (this.#syncTimer !== undefined) this.#clock.clearTimer(this.#syncTimer);
    this.#syncTimer = undefined;
    this.#written = undefined;
    this.#syncing = stretch;
    this.#file.sync((error) => this.#synced(stretch, error));
  }

  /** Where a batch of this size goes, never across the end of the ring; undefined while there is no room. */
  #placeFor(bytes: number): number | undefined {
    const ring = this.#head.ringBytes;
    const fits = (this.#end % ring) + bytes <= ring;
    const position = fits ? this.#end : alignUp(this.#end, ring);
    return position + bytes - this.#head.checkpoint <= ring ? position : undefined;
  }

  #synced(stretch: Stretch<R>, error: Error | undefined): void {
    if (error !== undefined) {
      this.#fail(error);
      return;
    }
    this.#syncing = undefined;
    this.#syncedEnd = stretch.end;
    this.#syncedSequence = stretch.sequence;
    this.#attest.synced(stretch.records.length > 0);
    this.#unapplied.push(stretch);
    this.kick();
    this.#applyNext();
    this.#attest.arm();
    const isEarly = this.#clock.rarely?.('checkpoint-early') === true;
    if (isEarly || this.usedBytes > this.#head.ringBytes / 2) this.#options.onPressure();
  }

  #nextBatch(): ReturnType<JournalQueue<R>['nextBatch']> {
    const isSmall = this.#clock.rarely?.('journal-one-record') === true;
    return this.#queue.nextBatch(isSmall ? 1 : undefined);
  }

  #applyNext(): void {
    const stretch = this.#unapplied[0];
    if (stretch === undefined || this.#isApplying || this.#isDead) {
      this.#settleIdle();
      return;
    }
    this.#isApplying = true;
    this.#options.apply(stretch.records, () => {
      this.#isApplying = false;
      this.#unapplied.shift();
      this.#applied = { position: stretch.end, sequence: stretch.sequence + 1 };
      this.kick();
      this.#applyNext();
    });
  }

  #settleIdle(): void {
    if (!this.#isIdle() || this.#isDead) return;
    const waiting = this.#onIdle;
    this.#onIdle = undefined;
    waiting?.();
  }

  /** All that is written is synced. */
  get #isSynced(): boolean {
    return this.#written === undefined && this.#syncing === undefined;
  }

  #isIdle(): boolean {
    return this.#isSynced && !this.#isApplying && this.#unapplied.length === 0;
  }

  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#isDead) return;
    this.#isDead = true;
    this.#attest.stop();
    if (this.#syncTimer !== undefined) this.#clock.clearTimer(this.#syncTimer);
    this.#options.onFatal(asOperatingError(error));
  }
}
