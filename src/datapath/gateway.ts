// What a guest feels: reads, writes, zeroes, trims and flushes of one attached volume. Takes the lock at the first I/O,
// splits requests into slices of objects, orders them by range, and hands them to writer and reader, which retry while
// the map says that progress is possible (3.5). Beside a live holder it is standby: reads go there, writes wait a while
// and are refused then. Once fenced, everything fails for good. No promise per block: callbacks only.

import { OperatingError } from '../core/errors.ts';
import { type Slice, slicesOf } from '../core/extent.ts';
import type { MoveStatus } from '../core/move-progress.ts';
import { OBJECT_BYTES } from '../core/units.ts';
import type { AttachMode, ClusterView } from '../core/view.ts';
import { lookUpAllocation } from './allocation.ts';
import { attachModeOf, readOnlyError } from './attach-rules.ts';
import type { Parts } from './context.ts';
import { partDone, startJob } from './job.ts';
import { LockWait } from './lock-wait.ts';
import { lossOf, type OpenVolume } from './open-volume.ts';
import { PATH_OVER, PathCell } from './path-cell.ts';
import { ownTarget, withinMs } from './patience.ts';
import { SessionLife } from './session-life.ts';
import type { SliceData } from './slice-writer.ts';
import { flushAtHolder, readFromHolder } from './standby.ts';
import { VolumeMover } from './volume-mover.ts';
import { VolumePath } from './volume-path.ts';
import type { AllocationDone, AllocationExtent, Done, VolumeSession } from './volume-session.ts';
import type { ZeroRange } from './zero-range.ts';

/** Requests of all connections in flight; one more is answered 'busy'. Fronts stop reading their sockets before. */
export const MAX_SESSION_REQUESTS = 4096;
/** Pause before a standby asks again. */
export const STANDBY_RETRY_MS = 50;

/** The flush before a lock is handed back is given up after this. */
export const LAST_FLUSH_MS = 5000;

export class Gateway implements VolumeSession {
  readonly open: OpenVolume;
  readonly volume: VolumeSession['volume'];
  readonly #parts: Parts;
  readonly #life: SessionLife;
  readonly #onEnded: (gateway: Gateway) => void;
  readonly #stopWatching: () => void;
  readonly #lock: LockWait;
  /** Of the head, from the grant on: before it, the head may be another one than when the volume was opened. */
  #path: VolumePath | undefined;
  readonly #mover: VolumeMover;
  /** Of the connections those that only copy a volume which moves (S8). */
  #keepers = 0;
  #inFlight = 0;

  constructor(parts: Parts, open: OpenVolume, onEnded: (gateway: Gateway) => void) {
    this.#parts = parts;
    this.open = open;
    this.volume = open.volume;
    this.#onEnded = onEnded;
    this.#lock = new LockWait(parts, open);
    this.#mover = new VolumeMover(parts, open, {
      head: () => this.#path,
      onMoved: (path) => this.#moved(path),
    });
    this.#life = new SessionLife(parts, open, {
      isIdle: () => this.#inFlight === 0,
      // Handed back flushed (3.3): bounded, for nothing was promised of what the guest did not flush.
      sayCloses: (done) => this.#sayCloses(done),
      onEnded: () => onEnded(this),
    });
    open.onChange(() => this.#lockChanged());
    this.#stopWatching = parts.views.onChange((view) => this.#viewChanged(view));
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** True while its session holds the lock, as far as this node knows. */
  get isHolder(): boolean {
    return this.open.isHeld && this.#life.isTaking;
  }

  /** True while new connections may share this session. */
  get isUsable(): boolean {
    return this.open.state !== 'lost' && this.#life.isTaking;
  }

  get #attachMode(): AttachMode {
    return attachModeOf(this.#parts.views.current(), this.open.volume);
  }

  connect(from = ''): void {
    this.open.cameFrom(from);
    this.#life.connect();
  }

  /** True while a guest has it; nobody's guest is who only copies it (S8). */
  get hasGuest(): boolean {
    return this.#life.connections > this.#keepers;
  }

  disconnect(): Promise<void> {
    return this.#life.disconnect();
  }

  /** A connection of nobody's guest: the volume moves, and this node copies it (S8). */
  keep(): void {
    this.#keepers += 1;
    this.#life.connect();
    if (this.open.state === 'none') this.open.want();
  }

  /** The end of `keep`. */
  unkeep(): Promise<void> {
    this.#keepers = Math.max(0, this.#keepers - 1);
    return this.#life.disconnect();
  }

  /** Another node, or an operator, wants the lock: a session without a guest gives it back. False = it has one. */
  letGo(): boolean {
    if (this.#keepers === 0 || this.hasGuest) return false;
    this.#parts.trace.event('move.let.go', { volume: this.volume.id });
    this.end().catch(() => this.#parts.trace.count('move.let.go.failed'));
    return true;
  }

  /** How its move is; undefined while it does not move. */
  get move(): MoveStatus | undefined {
    return this.open.isHeld ? this.#mover.status : undefined;
  }

  /** Ends the session for all its connections: drains, gives the lock back. */
  end(): Promise<void> {
    return this.#life.end();
  }

  // ------------------------------------------------------------------------------------------ requests

  tryRead(offset: number, length: number, target: Uint8Array, at: number): boolean {
    const path = this.#path;
    if (path?.cell.isHeld !== true || offset < 0) return false;
    if (offset + length > this.volume.sizeBytes) return false;
    const inObject = offset % OBJECT_BYTES;
    if (inObject + length > OBJECT_BYTES) return false;
    const pipe = path.pipes.peek((offset - inObject) / OBJECT_BYTES);
    if (pipe === undefined || !path.reconciler.isTouched(pipe.p)) return false;
    if (!pipe.ranges.isReadable(inObject, length)) return false;
    return path.reader.tryLocal(pipe, inObject, length, target, at);
  }

  read(offset: number, length: number, target: Uint8Array, at: number, done: Done): void {
    const own = ownTarget(this.#patienceMs, { target, at, length }, done);
    const finish = this.#admit(offset, length, own.done);
    if (finish === undefined) return;
    const go = (): void => {
      if (this.open.state === 'held') this.#readHeld(offset, length, own.target, own.at, finish);
      else this.#readStandby(offset, length, own.target, own.at, finish);
    };
    this.#lock.whenJudged(go, finish);
  }

  allocation(offset: number, length: number, done: AllocationDone): void {
    let found: readonly AllocationExtent[] = [{ length, isAllocated: true }];
    // Counted as a request without bytes: none travel.
    const finish = this.#admit(offset, 0, (error) => done(error, error === undefined ? found : []));
    if (finish === undefined) return;
    this.#lock.whenJudged(() => {
      const path = this.#path;
      if (this.open.state !== 'held' || path === undefined) return finish(undefined);
      lookUpAllocation(this.#parts, path, { offset, length }, (extents) => {
        found = extents;
        finish(this.open.error);
      });
    }, finish);
  }

  write(offset: number, data: Uint8Array, done: Done, isForced = false): void {
    const finish = this.#admit(offset, data.length, done);
    if (finish === undefined) return;
    const stays = this.#patienceMs === 0 ? data : data.slice();
    this.#whenWritable(finish, () => {
      const slices = slicesOf(offset, stays.length);
      const job = startJob(slices.length, finish);
      for (const slice of slices) {
        const bytes = stays.subarray(slice.at, slice.at + slice.length);
        this.#writeSlice(slice, { bytes, isForced }, (error) => partDone(job, error));
      }
    });
  }

  writeZeroes(offset: number, length: number, done: Done, isForced = false): void {
    const finish = this.#admit(offset, length, done);
    if (finish === undefined) return;
    this.#whenWritable(finish, () => {
      this.#zeroRange({ offset, length, keepsEdges: false }, isForced, finish);
    });
  }

  trim(offset: number, length: number, done: Done, isForced = false): void {
    const finish = this.#admit(offset, length, done);
    if (finish === undefined) return;
    this.#whenWritable(finish, () => {
      this.#zeroRange({ offset, length, keepsEdges: true }, isForced, finish);
    });
  }

  /**
   * Durable mode: what was answered is durable, so this is an ordering point only; a fenced session still fails.
   * Writeback: the holder syncs (R5), also for a standby; without a live holder the lock is taken as for a write (3.2).
   */
  flush(done: Done): void {
    if (this.open.volume.durability === 'durable') {
      done(this.open.error);
      return;
    }
    const finish = this.#admit(0, 0, done);
    if (finish === undefined) return;
    // Behind waiting writes it waits with them.
    if (this.#lock.isNobodyWaiting) this.#flushJudged(finish);
    else this.#lock.whenHolder(finish, () => this.#flushJudged(finish));
  }

  #flushJudged(finish: Done): void {
    this.#lock.whenJudged(() => {
      if (this.open.state === 'held') {
        this.#flushHeld(finish);
        return;
      }
      flushAtHolder(this.#parts, this.open, (isDone) => {
        if (isDone) {
          finish(undefined);
          return;
        }
        this.#parts.clock.setTimer(STANDBY_RETRY_MS, () => this.#flushJudged(finish));
      });
    }, finish);
  }

  /** Of the head, and of its copy where that may be the head soon. A move in between: of what is the head then. */
  #flushHeld(finish: Done): void {
    const path = this.#path;
    if (path?.flusher === undefined) {
      finish(this.open.error);
      return;
    }
    const job = startJob(2, (error) => {
      if (error === PATH_OVER || (error === undefined && path !== this.#path)) {
        this.#flushHeld(finish);
      } else finish(error);
    });
    this.#mover.flushBeside((outcome) => {
      partDone(job, outcome === 'written' || outcome === 'void' ? undefined : outcome);
    });
    path.flusher.flush((error) => partDone(job, error));
  }

  /** Runs `go` as the holder, once what is not durable yet is below its bound. */
  #whenWritable(finish: Done, go: () => void): void {
    if (this.#attachMode === 'shared-read') {
      finish(readOnlyError(this.open.volume));
      return;
    }
    this.#lock.whenHolder(finish, () => {
      // It may have changed while nobody had the lock; now it can not.
      if (this.#attachMode === 'shared-read') return finish(readOnlyError(this.open.volume));
      if (this.#path?.flusher?.isFull !== true) return go();
      this.#flushHeld((error) => (error === undefined ? go() : finish(error)));
    });
  }

  /** On the path of the head; when that one ends with a move, on the next. */
  #writeSlice(slice: Slice, data: SliceData, done: Done): void {
    if (this.#path === undefined) {
      done(lossOf(this.open));
      return;
    }
    this.#path.slices.write(slice, data, (error) => {
      if (error === PATH_OVER) this.#writeSlice(slice, data, done);
      else done(error);
    });
  }

  /** The same for a range; what was zeroed before is zeroed again. */
  #zeroRange(range: ZeroRange, isForced: boolean, done: Done): void {
    if (this.#path === undefined) {
      done(lossOf(this.open));
      return;
    }
    this.#path.slices.zero(range, isForced, (error) => {
      if (error === PATH_OVER) this.#zeroRange(range, isForced, done);
      else done(error);
    });
  }

  // ------------------------------------------------------------------------------------------ lock

  #lockChanged(): void {
    if (this.open.state === 'lost') {
      this.#path?.lost();
      this.#mover.sessionLost();
      this.#stopWatching();
      // Forgotten at once: the next connection opens a new session.
      this.#onEnded(this);
    }
    if (this.open.state === 'held') this.#begin(this.#parts.views.current());
    this.#lock.changed();
  }

  /** The lock was granted: the head is what the map says now. */
  #begin(view: ClusterView): void {
    const volume = view.volumes.get(this.volume.id) ?? this.open.volume;
    const cell = new PathCell(this.#parts, this.open, volume);
    const path: VolumePath = new VolumePath(this.#parts, cell, () => this.#mover.mirrorOf(path));
    this.#path = path;
    path.reconciler.touchAll();
    this.#mover.look(view);
  }

  /** The volume is its copy now. What still waits on the former head goes on here. */
  #moved(path: VolumePath): void {
    const former = this.#path;
    this.#path = path;
    former?.retire();
  }

  #viewChanged(view: ClusterView): void {
    this.open.judge(view);
    this.#lock.lookAtHolder();
    if (!this.open.isHeld) return;
    this.#mover.look(view);
    this.#path?.viewChanged(view);
  }

  #sayCloses(done: () => void): void {
    const path = this.#path;
    if (path === undefined) {
      done();
      return;
    }
    const close = (): void => path.closer.flush(done);
    if (path.flusher === undefined) close();
    else path.flusher.flushWithin(LAST_FLUSH_MS, close);
  }

  // ------------------------------------------------------------------------------------------ reads

  #readHeld(offset: number, length: number, target: Uint8Array, at: number, finish: Done): void {
    const slices = slicesOf(offset, length);
    const job = startJob(slices.length, finish);
    for (const slice of slices) {
      this.#readSlice(slice, target, at + slice.at, (error) => partDone(job, error));
    }
  }

  #readSlice(slice: Slice, target: Uint8Array, at: number, done: Done): void {
    const path = this.#path;
    if (path === undefined) {
      done(lossOf(this.open));
      return;
    }
    const pipe = path.pipes.get(slice.index);
    const lost = path.writer.lossOf(pipe);
    if (lost !== undefined) {
      done(lost);
      return;
    }
    const { offset, length: count } = slice;
    pipe.ranges.acquire({ offset, count, isExclusive: false }, (ticket) => {
      path.reader.read({ pipe, offset, count, target, at }, (error) => {
        pipe.ranges.release(ticket);
        if (error === PATH_OVER) this.#readSlice(slice, target, at, done);
        else done(error);
      });
    });
  }

  #readStandby(offset: number, length: number, target: Uint8Array, at: number, finish: Done): void {
    const slices = slicesOf(offset, length);
    const job = startJob(slices.length, finish);
    for (const slice of slices) {
      const one = (error: OperatingError | undefined): void => partDone(job, error);
      this.#standbySlice(slice, target, at + slice.at, one);
    }
  }

  /** One slice until it is there: from the holder, or as the holder when the lock came to this session meanwhile. */
  #standbySlice(slice: Slice, target: Uint8Array, at: number, done: Done): void {
    const volumeOffset = slice.index * OBJECT_BYTES + slice.offset;
    this.#lock.whenJudged(() => {
      if (this.open.state === 'held') {
        return this.#readHeld(volumeOffset, slice.length, target, at, done);
      }
      readFromHolder(this.#parts, this.open, slice, (bytes) => {
        if (bytes !== undefined) {
          target.set(bytes, at);
          return done(undefined);
        }
        const again = (): void => this.#standbySlice(slice, target, at, done);
        this.#parts.clock.setTimer(STANDBY_RETRY_MS, again);
      });
    }, done);
  }

  // ------------------------------------------------------------------------------------------ bounds

  /** Counts the request in; undefined when it was refused and answered. */
  #admit(offset: number, length: number, done: Done): Done | undefined {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.volume.sizeBytes)) {
      done(new OperatingError('usage', 'the request lies beyond the end of the volume'));
      return undefined;
    }
    if (this.open.state === 'lost' || !this.#life.isTaking) {
      done(lossOf(this.open));
      return undefined;
    }
    if (this.#inFlight >= MAX_SESSION_REQUESTS) {
      done(new OperatingError('busy', 'too many requests in flight', { advice: 'retry' }));
      return undefined;
    }
    this.#inFlight += 1;
    const { clock, streams } = this.#parts;
    const since = clock.now();
    const answer = withinMs(clock, this.#patienceMs, done);
    return (error) => {
      this.#inFlight -= 1;
      if (error === undefined && length > 0) streams.noteGuest(clock.now() - since, length);
      answer(error);
      if (this.#inFlight === 0) this.#life.idle();
    };
  }

  /** Of the volume's option, as it is now; 0 = requests wait. */
  get #patienceMs(): number {
    return this.#parts.views.current().volumes.get(this.volume.id)?.ioTimeoutMs ?? 0;
  }
}
