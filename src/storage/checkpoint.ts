// The checkpoint: makes in-place changes durable, so that journal space can be used again. Order:
//   1. note the place up to which everything is applied
//   2. each dirty object: sums into its older slot, sync of the file (data and slot); folders of new files
//   3. rows that changed: a batch into the index, sync
//   4. what absent members miss: from here on it is known without the journal before the place
//   5. the journal head names place and index, sync: only now the space before the place is free
//   6. sectors that were trimmed before the place give their space back
// What is written may be newer than the place: it is durable in the journal and replay only does it again.

import type { OperatingError } from '../core/errors.ts';
import { objectName } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { Clock, Disk, Trace } from '../ports/ports.ts';
import type { Applier } from './apply.ts';
import { asOperatingError } from './disk-errors.ts';
import { punchHoles } from './holes.ts';
import { createIndex, INDEX_BATCH_ROWS, type IndexFile } from './index-file.ts';
import type { Journal } from './journal.ts';
import type { JournalPlace } from './journal-head.ts';
import { indexPath } from './layout.ts';
import type { ObjectCache } from './object-cache.ts';
import { writeSlot } from './object-file.ts';
import type { ObjectState, PendingRecord } from './object-state.ts';
import type { OutageKeeper } from './outage-keeper.ts';
import type { PartitionTable } from './partition-table.ts';

/** Syncs of a checkpoint in flight: each holds a thread of the pool. */
export const MAX_CHECKPOINT_SYNCS = 4;

export interface CheckpointParts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly table: PartitionTable;
  readonly cache: ObjectCache;
  readonly applier: Applier;
  readonly journal: Journal<PendingRecord>;
  readonly outages: OutageKeeper;
  readonly onFatal: (error: OperatingError) => void;
}

export class Checkpointer {
  readonly #parts: CheckpointParts;
  #index: IndexFile;
  #isRunning = false;
  #isFailed = false;
  /** The last one is done: none begins any more, whoever asks. */
  #isOver = false;
  #waiting: (() => void)[] = [];

  constructor(parts: CheckpointParts, index: IndexFile) {
    this.#parts = parts;
    this.#index = index;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Starts a checkpoint unless one runs. */
  request(): void {
    if (!this.#isRunning && !this.#isFailed && !this.#isOver) this.#start();
  }

  /** Calls back after a checkpoint that began after this call. */
  run(done: () => void): void {
    this.#waiting.push(done);
    this.request();
  }

  /** The same for the end of a store, which accepts nothing any more: no checkpoint begins after it. */
  runLast(done: () => void): void {
    this.run(() => {
      this.#isOver = true;
      done();
    });
  }

  close(): void {
    this.#index.close();
  }

  #start(): void {
    this.#isRunning = true;
    const { journal, applier, cache } = this.#parts;
    const waiting = this.#waiting;
    this.#waiting = [];
    const place = journal.applied;
    applier.holes.take();
    const folders = [...cache.createdIn];
    cache.createdIn.clear();
    const objects = [...applier.dirty];
    this.#each(
      objects,
      (state, next) => this.#saveObject(state, next),
      () => {
        this.#each(
          folders,
          (folder, next) => this.#syncFolder(folder, next),
          () => {
            this.#saveRows((index, old) => {
              this.#release(place, index, () => {
                punchHoles(this.#parts, applier.holes, () => this.#finish(index, old, waiting));
              });
            });
          },
        );
      },
    );
  }

  #release(place: JournalPlace, index: IndexFile, done: () => void): void {
    const { generation, bytes } = index;
    const { outages, journal } = this.#parts;
    outages.save(() => journal.release(place, { generation, bytes }, done));
  }

  #finish(index: IndexFile, old: IndexFile, waiting: (() => void)[]): void {
    if (index !== old) {
      old.close();
      this.#guard(() => this.#parts.disk.remove(indexPath(old.generation)));
      this.#index = index;
    }
    this.#isRunning = false;
    this.#parts.trace.count('store.checkpoints');
    for (const done of waiting) done();
    if (this.#waiting.length > 0) this.request();
  }

  /** Writes the page of one object into its older slot and syncs the file. */
  #saveObject(state: ObjectState, next: () => void): void {
    const { applier, cache, table, trace } = this.#parts;
    const page = state.page;
    if (state.isDead || !state.isPageDirty || page === undefined) {
      next();
      return;
    }
    let file = state.file;
    this.#guard(() => {
      file = cache.file(state);
    });
    if (file === undefined) {
      if (this.#isFailed) return;
      // Somebody took the file away under us. Memory has the sums: a new file gets them, its data is known as bad.
      cache.suspects.note(state, false);
      trace.warn('store.file-remade', { object: objectName(state) });
      this.#guard(() => {
        file = cache.create(state);
      });
    }
    if (file === undefined) return;
    const held = file;
    const sequence = state.slotSequence + 1;
    const { pageChanges, fileLife } = state;
    this.#guard(() => writeSlot(held, state, page, sequence));
    if (this.#isFailed) return;
    cache.hold(held);
    held.sync((error) => {
      if (error !== undefined) return this.#fail(error);
      cache.release(held);
      if (state.fileLife === fileLife && !state.isDead) {
        state.slotSequence = sequence;
        table.noteChange(state);
        if (state.pageChanges === pageChanges) {
          state.isPageDirty = false;
          applier.dirty.delete(state);
        }
      }
      next();
    });
  }

  #syncFolder(folder: string, next: () => void): void {
    this.#parts.disk.syncFolder(folder, (error) => {
      if (error !== undefined) return this.#fail(error);
      next();
    });
  }

  /** Appends the changed rows, or writes a new index when the old one is mostly history. */
  #saveRows(done: (index: IndexFile, old: IndexFile) => void): void {
    const { table, disk } = this.#parts;
    const old = this.#index;
    const { dropped, changed } = table.takeChanges();
    const isRewrite = old.isWasteful(table.objectCount);
    let index = old;
    if (isRewrite) {
      this.#guard(() => {
        index = createIndex(disk, old.generation + 1);
      });
      if (this.#isFailed) return;
    }
    const rows = isRewrite ? table.durableStates() : changed.values();
    this.#appendRows(index, isRewrite ? [] : dropped, rows, () => {
      index.sync((error) => {
        if (error !== undefined) return this.#fail(error);
        if (isRewrite) this.#syncFolder('', () => done(index, old));
        else done(index, old);
      });
    });
  }

  /** One batch per turn of the event loop: drops first, then rows. */
  #appendRows(
    index: IndexFile,
    dropped: readonly { readonly generation: ObjectState['generation']; readonly index: number }[],
    rows: Iterator<ObjectState>,
    done: () => void,
  ): void {
    const drops = dropped.slice(0, INDEX_BATCH_ROWS);
    const left = dropped.slice(INDEX_BATCH_ROWS);
    const batch: ObjectState[] = [];
    let isEnd = false;
    while (left.length === 0 && drops.length + batch.length < INDEX_BATCH_ROWS) {
      const step = rows.next();
      isEnd = step.done === true;
      if (step.done === true) break;
      if (step.value.durable !== undefined && !step.value.isDead) batch.push(step.value);
    }
    this.#guard(() => index.append(drops, batch));
    if (this.#isFailed) return;
    if (isEnd) {
      done();
      return;
    }
    this.#parts.clock.soon(() => this.#appendRows(index, left, rows, done));
  }

  /** Runs `work` for all items, a few at a time, then `done`. */
  #each<T>(items: readonly T[], work: (item: T, next: () => void) => void, done: () => void): void {
    let started = 0;
    let finished = 0;
    const begin = (): void => {
      if (this.#isFailed || started === items.length) return;
      const item = items[started] as T;
      started += 1;
      let isOver = false;
      work(item, () => {
        invariant(!isOver, 'a step ends once');
        isOver = true;
        finished += 1;
        if (finished === items.length) done();
        else this.#parts.clock.soon(begin);
      });
    };
    if (items.length === 0) {
      done();
      return;
    }
    for (let i = 0; i < Math.min(MAX_CHECKPOINT_SYNCS, items.length); i += 1) begin();
  }

  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#isFailed) return;
    this.#isFailed = true;
    this.#parts.onFatal(asOperatingError(error));
  }
}
