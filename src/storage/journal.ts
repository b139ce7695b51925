// The journal of one store: group commit of whole records in a preallocated ring (R4). One batch is in flight, the next
// collects meanwhile; a batch is written only after the one before it was synced, so its header names that end as synced.
// Records are applied, in order, after their sync. A failed sync is final: `onFatal`, nothing is repeated.
//
//   append -> queue -> [ write + fdatasync ] -> apply -> applied
//                            one at a time      in order
//
// It knows records and places; what a record does to an object is the store's business.

import type { OperatingError } from '../core/errors.ts';
import { invariant } from '../core/invariant.ts';
import { alignUp, MIB } from '../core/units.ts';
import type { Clock, DiskFile, TimerHandle } from '../ports/ports.ts';
import { asOperatingError } from './disk-errors.ts';
import {
  batchBytes,
  encodeBatch,
  type JournalRecord,
  MAX_BATCH_BYTES,
  recordBytes,
} from './journal-codec.ts';
import { type JournalHead, writeHead } from './journal-head.ts';
import type { JournalTail } from './journal-replay.ts';
import { RING_OFFSET } from './layout.ts';

/** Records and bytes that wait for a batch; beyond, `append` refuses. */
export const MAX_QUEUED_RECORDS = 65536;
export const MAX_QUEUED_BYTES = 256 * MIB;
/** Batches that are synced but not applied; no further batch starts beyond. */
const MAX_UNAPPLIED_BATCHES = 2;
/** Silence after which the end of the last batch is named as synced by an attest record. */
export const ATTEST_SILENCE_MS = 100;

export interface JournalOptions<R extends JournalRecord> {
  readonly file: DiskFile;
  readonly head: JournalHead;
  readonly tail: JournalTail;
  readonly clock: Clock;
  /** Applies the records of a synced batch in order, then calls `done`. */
  readonly apply: (records: readonly R[], done: () => void) => void;
  /** True while no batch may start, for a reason of the store's; it calls `kick` afterwards. */
  readonly isHeld: () => boolean;
  /** Less than half of the ring is free: a checkpoint is wanted. */
  readonly onPressure: () => void;
  /** The disk failed under confirmed data: the process must end. */
  readonly onFatal: (error: OperatingError) => void;
}

interface Batch<R> {
  readonly records: readonly R[];
  readonly end: number;
  readonly sequence: number;
}

/** A place between two batches: everything before it is applied. */
export interface JournalPlace {
  readonly position: number;
  readonly sequence: number;
}

export class Journal<R extends JournalRecord> {
  readonly #options: JournalOptions<R>;
  readonly #file: DiskFile;
  readonly #clock: Clock;
  readonly #buffer = new Uint8Array(batchBytes(MAX_BATCH_BYTES));
  #head: JournalHead;
  #queue: R[] = [];
  #queueStart = 0;
  #queuedBytes = 0;
  #end: number;
  #sequence: number;
  #applied: JournalPlace;
  #unapplied: Batch<R>[] = [];
  #isWriting = false;
  #isApplying = false;
  #isScheduled = false;
  #isDead = false;
  #isStopped = false;
  #attestTimer: TimerHandle | undefined;
  #lastBatchMs = 0;
  #needsAttest = false;
  #onIdle: (() => void) | undefined;

  constructor(options: JournalOptions<R>) {
    this.#options = options;
    this.#file = options.file;
    this.#clock = options.clock;
    this.#head = options.head;
    this.#end = options.tail.end;
    this.#sequence = options.tail.sequence;
    this.#applied = { position: this.#end, sequence: this.#sequence };
  }

  /** Everything before this place is synced and applied. */
  get applied(): JournalPlace {
    return this.#applied;
  }

  /** Sequence of the last synced batch; grows for ever (C1.9). */
  get syncedSequence(): number {
    return this.#isWriting ? this.#sequence - 2 : this.#sequence - 1;
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
    const count = this.#queue.length - this.#queueStart;
    return count < MAX_QUEUED_RECORDS && this.#queuedBytes + bytes <= MAX_QUEUED_BYTES;
  }

  /** Queues a record; `canAppend` was asked before. Its data must not change until it is applied. */
  append(record: R): void {
    invariant(!this.#isStopped, 'a stopped journal takes no records');
    invariant(recordBytes(record) <= MAX_BATCH_BYTES, 'a record fits into a batch');
    this.#queue.push(record);
    this.#queuedBytes += recordBytes(record);
    this.#schedule();
  }

  /** Looks again whether a batch may start. */
  kick(): void {
    if (this.#queueStart < this.#queue.length) this.#startBatch(false);
  }

  /** Makes `place` the start of the next replay and names the index that goes with it; frees the space before. */
  release(
    place: JournalPlace,
    index: { readonly generation: number; readonly bytes: number },
    done: () => void,
  ): void {
    invariant(place.position >= this.#head.checkpoint, 'a checkpoint never goes back');
    const next: JournalHead = {
      ...this.#head,
      slotSequence: this.#head.slotSequence + 1,
      checkpoint: place.position,
      batchSequence: place.sequence,
      syncedEnd: place.position,
      indexGeneration: index.generation,
      indexBytes: index.bytes,
    };
    this.#guard(() => writeHead(this.#file, next));
    if (this.#isDead) return;
    this.#file.sync((error) => {
      if (error !== undefined) return this.#fail(error);
      this.#head = next;
      done();
      this.kick();
    });
  }

  /** Names the last end as synced, once nothing is in flight, then closes the file. Nothing is appended any more. */
  stop(done: () => void): void {
    invariant(this.#queueStart === this.#queue.length, 'a journal is drained before it stops');
    this.#isStopped = true;
    if (this.#attestTimer !== undefined) this.#clock.clearTimer(this.#attestTimer);
    const finish = (): void => {
      this.#file.close();
      done();
    };
    this.#onIdle = () => {
      if (!this.#needsAttest) return finish();
      this.#onIdle = finish;
      if (!this.#startBatch(true)) finish();
    };
    this.#settleIdle();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isWriting) return;
    this.#isScheduled = true;
    this.#clock.soon(() => {
      this.#isScheduled = false;
      this.kick();
    });
  }

  /** Starts one batch if one may start. Returns whether it did. */
  #startBatch(isAttest: boolean): boolean {
    if (this.#isWriting || this.#isDead) return false;
    if (!isAttest && this.#options.isHeld()) return false;
    if (this.#unapplied.length >= MAX_UNAPPLIED_BATCHES) return false;
    const { records, contentBytes } = isAttest ? { records: [], contentBytes: 0 } : this.#take();
    const bytes = batchBytes(contentBytes);
    const position = this.#placeFor(bytes);
    if (position === undefined) {
      this.#options.onPressure();
      return false;
    }
    this.#consume(records.length, contentBytes);
    const sequence = this.#sequence;
    const place = { position, sequence, prevEnd: this.#end };
    const length = encodeBatch(this.#buffer, this.#head.journalId, place, records);
    invariant(length === bytes, 'a batch is as long as was planned');
    const at = RING_OFFSET + (position % this.#head.ringBytes);
    this.#guard(() => this.#file.writevSync([this.#buffer.subarray(0, length)], at));
    if (this.#isDead) return false;
    this.#isWriting = true;
    this.#end = position + length;
    this.#sequence += 1;
    const batch = { records, end: this.#end, sequence };
    this.#file.sync((error) => this.#synced(batch, error));
    return true;
  }

  /** As many waiting records as fit into one batch; at least one when any waits. */
  #take(): { records: R[]; contentBytes: number } {
    const records: R[] = [];
    let contentBytes = 0;
    for (let i = this.#queueStart; i < this.#queue.length; i += 1) {
      const record = this.#queue[i] as R;
      const bytes = recordBytes(record);
      if (contentBytes + bytes > MAX_BATCH_BYTES) break;
      records.push(record);
      contentBytes += bytes;
    }
    return { records, contentBytes };
  }

  #consume(count: number, bytes: number): void {
    this.#queueStart += count;
    this.#queuedBytes -= bytes;
    if (this.#queueStart === this.#queue.length) {
      this.#queue = [];
      this.#queueStart = 0;
    }
  }

  /** Where a batch of this size goes, never across the end of the ring; undefined while there is no room. */
  #placeFor(bytes: number): number | undefined {
    const ring = this.#head.ringBytes;
    const fits = (this.#end % ring) + bytes <= ring;
    const position = fits ? this.#end : alignUp(this.#end, ring);
    return position + bytes - this.#head.checkpoint <= ring ? position : undefined;
  }

  #synced(batch: Batch<R>, error: Error | undefined): void {
    if (error !== undefined) {
      this.#fail(error);
      return;
    }
    this.#isWriting = false;
    this.#lastBatchMs = this.#clock.now();
    this.#needsAttest = batch.records.length > 0;
    this.#unapplied.push(batch);
    this.kick();
    this.#applyNext();
    if (this.#needsAttest && !this.#isStopped) this.#armAttest();
    if (this.usedBytes > this.#head.ringBytes / 2) this.#options.onPressure();
  }

  #applyNext(): void {
    const batch = this.#unapplied[0];
    if (batch === undefined || this.#isApplying || this.#isDead) {
      this.#settleIdle();
      return;
    }
    this.#isApplying = true;
    this.#options.apply(batch.records, () => {
      this.#isApplying = false;
      this.#unapplied.shift();
      this.#applied = { position: batch.end, sequence: batch.sequence + 1 };
      this.kick();
      this.#applyNext();
    });
  }

  #settleIdle(): void {
    if (this.#isWriting || this.#isApplying || this.#unapplied.length > 0 || this.#isDead) return;
    const waiting = this.#onIdle;
    this.#onIdle = undefined;
    waiting?.();
  }

  #armAttest(): void {
    if (this.#attestTimer !== undefined) return;
    const waitMs = Math.max(1, this.#lastBatchMs + ATTEST_SILENCE_MS - this.#clock.now());
    this.#attestTimer = this.#clock.setTimer(waitMs, () => {
      this.#attestTimer = undefined;
      if (this.#isStopped || this.#isDead || !this.#needsAttest) return;
      const silentMs = this.#clock.now() - this.#lastBatchMs;
      const isSilent = silentMs >= ATTEST_SILENCE_MS && !this.#isWriting;
      if (isSilent) this.#startBatch(true);
      else this.#armAttest();
    });
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
    if (this.#attestTimer !== undefined) this.#clock.clearTimer(this.#attestTimer);
    this.#options.onFatal(asOperatingError(error));
  }
}
