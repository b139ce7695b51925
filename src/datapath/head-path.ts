// The path of the volume's head in a session, from the grant of the lock to its loss, and the requests that go along it. It
// is replaced while the session goes on: the volume moved to another policy, its head was frozen, the lock was granted
// again. What the former path did not end is done again on the next one. A hand-over ends it (H4); then requests wait for
// what the log says.

import type { Slice } from '../core/extent.ts';
import type { MoveStatus } from '../core/move-progress.ts';
import type { ClusterView, Volume } from '../core/view.ts';
import type { Parts } from './context.ts';
import { readHeld } from './held-reads.ts';
import { partDone, startJob } from './job.ts';
import type { LockWait } from './lock-wait.ts';
import { lossOf, type OpenVolume } from './open-volume.ts';
import { isPathOver, PATH_RENEWED, PathCell } from './path-cell.ts';
import type { SliceData } from './slice-writer.ts';
import type { BytesWanted } from './standby-reads.ts';
import { VolumeMover } from './volume-mover.ts';
import { VolumePath } from './volume-path.ts';
import type { Done } from './volume-session.ts';
import type { ZeroRange } from './zero-range.ts';

export class HeadPath {
  readonly #parts: Parts;
  readonly #open: OpenVolume;
  readonly #lock: LockWait;
  readonly #onOtherHead: () => void;
  readonly #mover: VolumeMover;
  /** From the grant on: before it, the head may be another one than when the volume was opened. */
  #path: VolumePath | undefined;

  /** @param onOtherHead the head was frozen, and the session goes on in the next one */
  constructor(parts: Parts, open: OpenVolume, lock: LockWait, onOtherHead: () => void) {
    this.#parts = parts;
    this.#open = open;
    this.#lock = lock;
    this.#onOtherHead = onOtherHead;
    this.#mover = new VolumeMover(parts, open, {
      head: () => this.#path,
      onMoved: (path) => this.#moved(path),
    });
  }

  /** Undefined without the lock, and while what was drained waits for the log's word (3.3). */
  get path(): VolumePath | undefined {
    return this.#path;
  }

  /** How the volume's move is. */
  get move(): MoveStatus | undefined {
    return this.#mover.status;
  }

  // ------------------------------------------------------------------------------------------ its requests

  read(wanted: Omit<BytesWanted, 'done'>, finish: Done): void {
    readHeld((done, go) => this.#onPath(done, go), wanted, finish);
  }

  /** On the path of the head; when that one ends with a move, on the next. */
  write(slice: Slice, data: SliceData, done: Done): void {
    this.#onPath(done, (path) => {
      path.slices.write(slice, data, (error) => {
        if (isPathOver(error)) this.write(slice, data, done);
        else done(error);
      });
    });
  }

  /** The same for what shows there by then. */
  rewrite(slice: Slice, done: Done): void {
    this.#onPath(done, (path) => {
      path.slices.rewrite(slice, (error) => {
        if (isPathOver(error)) this.rewrite(slice, done);
        else done(error);
      });
    });
  }

  /** The same for a range; what was zeroed before is zeroed again. */
  zero(range: ZeroRange, isForced: boolean, done: Done): void {
    this.#onPath(done, (path) => {
      path.slices.zero(range, isForced, (error) => {
        if (isPathOver(error)) this.zero(range, isForced, done);
        else done(error);
      });
    });
  }

  /** Of the head, and of its copy where that may be the head soon. A move in between: of what is the head then. */
  flush(finish: Done): void {
    this.#onPath(finish, (path) => {
      if (path.flusher === undefined) {
        finish(this.#open.error);
        return;
      }
      const job = startJob(2, (error) => {
        if (isPathOver(error) || (error === undefined && path !== this.#path)) this.flush(finish);
        else finish(error);
      });
      this.#mover.flushBeside((outcome) => {
        partDone(job, outcome === 'written' || outcome === 'void' ? undefined : outcome);
      });
      path.flusher.flush((error) => partDone(job, error));
    });
  }

  sayCloses(done: () => void): void {
    if (this.#path === undefined) done();
    else this.#path.sayCloses(done);
  }

  #onPath(done: Done, go: (path: VolumePath) => void): void {
    const path = this.#path;
    if (path !== undefined) go(path);
    else if (this.#open.state === 'lost') done(lossOf(this.#open));
    else this.#lock.whenJudged(() => this.#onPath(done, go), done);
  }

  // ------------------------------------------------------------------------------------------ its beginnings and ends

  /** The lock was granted: the head is what the map says now. Granted again (3.3.6), all begins anew under that token. */
  begin(view: ClusterView): void {
    const volume = view.volumes.get(this.#open.volume.id) ?? this.#open.volume;
    const former = this.#path;
    const path = this.#pathOf(volume);
    if (former?.flusher !== undefined) path.flusher?.inherit(former.flusher);
    this.#path = path;
    former?.retire(PATH_RENEWED);
    this.#mover.look(view);
  }

  /** A new view, while the lock is held. */
  viewChanged(view: ClusterView): void {
    this.#mover.look(view);
    const volume = view.volumes.get(this.#open.volume.id);
    const isOther = volume !== undefined && volume.head !== this.#path?.cell.volume.head;
    if (isOther && this.#path !== undefined) this.#headChanged(volume);
    this.#path?.viewChanged(view);
  }

  /** The session is lost. */
  lost(): void {
    this.#path?.lost();
    this.#mover.sessionLost();
  }

  /** No request is taken any more: what was acknowledged is made durable and closed, and this token's path ends (H4). */
  drain(isWanted: () => boolean, done: (isDone: boolean) => void): void {
    this.quiesce((path) => done(path !== undefined && isWanted() && this.#endPath(path)));
  }

  /** What was acknowledged is durable and closed; undefined: the path was not the same all the time. */
  quiesce(done: (path: VolumePath | undefined) => void): void {
    const path = this.#path;
    const same = (): VolumePath | undefined =>
      path === this.#path && path?.cell.isHeld === true ? path : undefined;
    this.flush((error) => {
      const here = error === undefined ? same() : undefined;
      if (here === undefined) done(undefined);
      else here.closer.flush(() => done(same()));
    });
  }

  #endPath(path: VolumePath): boolean {
    this.#path = undefined;
    this.#mover.sessionLost();
    path.retire(PATH_RENEWED);
    return true;
  }

  /** The head was frozen, the volume goes on in a new one (S4): after its touch, for which all members know of that. */
  #headChanged(volume: Volume): void {
    this.#parts.trace.event('volume.head', { volume: volume.id, head: volume.head });
    this.#moved(this.#pathOf(volume));
    this.#onOtherHead();
  }

  #pathOf(volume: Volume): VolumePath {
    const cell = new PathCell(this.#parts, this.#open, volume);
    const path: VolumePath = new VolumePath(this.#parts, cell, () => this.#mover.mirrorOf(path));
    path.reconciler.touchAll();
    return path;
  }

  /** The volume has another head now. What still waits on the former goes on here. */
  #moved(path: VolumePath): void {
    const former = this.#path;
    this.#path = path;
    former?.retire();
  }
}
