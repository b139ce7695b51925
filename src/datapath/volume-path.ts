// All that works on one generation of a volume in a session: its pipes, the writer and the reader of replicas, first
// touches, closes and, of a writeback volume, flushes. A session has one for the head, and beside it one for what a move
// copies the head into (S8).

import type { ClusterView } from '../core/view.ts';
import { Closer } from './closer.ts';
import { type Parts, partitionOfObject } from './context.ts';
import { Flusher } from './flusher.ts';
import { lookUpVersion } from './lookup.ts';
import type { Mirror } from './mirror.ts';
import { PATH_OVER, type PathCell } from './path-cell.ts';
import { ReplicaReader } from './read-replica.ts';
import { Reconciler } from './reconcile.ts';
import { SliceWriter } from './slice-writer.ts';
import { PipeTable } from './version-pipe.ts';
import { ReplicaWriter } from './write-replicas.ts';

/** The flush before a lock is handed back is given up after this. */
export const LAST_FLUSH_MS = 5000;

const NOTHING_OWED: ReadonlyMap<number, number> = new Map();

export class VolumePath {
  readonly cell: PathCell;
  readonly pipes: PipeTable;
  readonly writer: ReplicaWriter;
  readonly reader: ReplicaReader;
  readonly reconciler: Reconciler;
  readonly closer: Closer;
  /** Of a writeback volume. */
  readonly flusher: Flusher | undefined;
  readonly slices: SliceWriter;

  /** @param mirror what each change goes to as well, if anything, at the moment of the change */
  constructor(parts: Parts, cell: PathCell, mirror: () => Mirror | undefined) {
    this.cell = cell;
    this.closer = new Closer(parts, cell);
    this.reconciler = new Reconciler(parts, cell, {
      onEqual: (oid, p, count) => {
        if (count > 0) this.closer.noteOf(oid, p, count);
      },
      acknowledgedIn: (p) => this.flusher?.acknowledgedIn(p) ?? NOTHING_OWED,
    });
    const isTouched = (p: number): boolean => this.reconciler.isTouched(p);
    const whenTouched = (p: number, then: () => void) => this.reconciler.whenTouched(p, then);
    this.pipes = new PipeTable(
      (index) => partitionOfObject(parts.views.current(), cell.volume, index),
      (pipe) => !this.closer.owes(pipe.index) && this.flusher?.owes(pipe.index, pipe.p) !== true,
    );
    if (cell.volume.durability === 'writeback') {
      const onSynced = (index: number, p: number, count: number) => this.#synced(index, p, count);
      this.flusher = new Flusher(parts, cell, { isTouched, whenTouched, onSynced });
    }
    this.reader = new ReplicaReader(parts, cell, {
      whenReadable: (p, index, then) => this.reconciler.whenReadable(p, index, then),
      readersOf: (p) => this.reconciler.readersOf(p),
    });
    this.writer = new ReplicaWriter(parts, cell, {
      whenTouched,
      isTouched,
      lookUp: (pipe, then) => lookUpVersion(parts, cell, pipe, then),
      onHang: (pipe) => pipe.ranges.cancelWaiting(),
      onAcked: (pipe) => this.flusher?.note(pipe.index, pipe.p, pipe.acked.count),
      onQuiet: (pipe) => this.closer.note(pipe.index, pipe.p, pipe.durable),
    });
    const { pipes, reader, writer, closer } = this;
    const { clock } = parts;
    this.slices = new SliceWriter({ clock, open: cell, pipes, reader, writer, closer, mirror });
  }

  /** Says what is closed, flushed before; bounded. */
  sayCloses(done: () => void): void {
    const close = (): void => this.closer.flush(done);
    if (this.flusher === undefined) close();
    else this.flusher.flushWithin(LAST_FLUSH_MS, close);
  }

  viewChanged(view: ClusterView): void {
    this.reconciler.viewChanged(view);
    this.writer.viewChanged();
    this.flusher?.viewChanged();
  }

  /** The session is lost, or this path is over: whoever waits here is told so, by the error of the cell. */
  lost(): void {
    this.reconciler.sessionLost();
    this.writer.sessionLost();
    this.flusher?.sessionLost();
  }

  /** The path is over, and the session goes on. Who waits for a range goes on elsewhere at once, before later requests. */
  retire(why = PATH_OVER): void {
    this.cell.end(why);
    for (const { ranges } of this.pipes.busy()) ranges.cancelWaiting();
    this.lost();
  }

  /** All of W made the object durable up to `count`: it may be closed (R6). */
  #synced(index: number, p: number, count: number): void {
    const pipe = this.pipes.peek(index);
    if (pipe === undefined) return;
    pipe.durable = Math.max(pipe.durable, count);
    if (pipe.isIdle && pipe.acked.count === count) this.closer.note(index, p, count);
  }
}
