// What a guest feels: reads, writes, zeroes, trims and flushes of one attached volume. Takes the lock at the first I/O,
// splits requests into slices of objects, orders them by range, and hands them to writer and reader, which retry while
// the map says that progress is possible (3.5). Beside a live holder it is standby: reads go there, writes wait a while
// and are refused then. Once fenced, everything fails for good. No promise per block: callbacks only.

import { OperatingError } from '../core/errors.ts';
import { type Slice, slicesOf } from '../core/extent.ts';
import { OBJECT_BYTES } from '../core/units.ts';
import type { ClusterView } from '../core/view.ts';
import { Closer } from './closer.ts';
import { type Parts, partitionOfObject } from './context.ts';
import { Flusher } from './flusher.ts';
import { partDone, startJob } from './job.ts';
import { LockWait } from './lock-wait.ts';
import { lookUpVersion } from './lookup.ts';
import { lossOf, type OpenVolume } from './open-volume.ts';
import { ownTarget, withinMs } from './patience.ts';
import { ReplicaReader } from './read-replica.ts';
import { Reconciler } from './reconcile.ts';
import { SessionLife } from './session-life.ts';
import { SliceWriter } from './slice-writer.ts';
import { flushAtHolder, readFromHolder } from './standby.ts';
import { PipeTable } from './version-pipe.ts';
import type { Done, VolumeSession } from './volume-session.ts';
import { ReplicaWriter } from './write-replicas.ts';

/** Requests of all connections in flight; one more is answered 'busy'. Fronts stop reading their sockets before. */
export const MAX_SESSION_REQUESTS = 4096;
/** Pause before a standby asks again. */
export const STANDBY_RETRY_MS = 50;

/** The flush before a lock is handed back is given up after this. */
export const LAST_FLUSH_MS = 5000;

const NOTHING_OWED: ReadonlyMap<number, number> = new Map();

export class Gateway implements VolumeSession {
  readonly open: OpenVolume;
  readonly volume: VolumeSession['volume'];
  readonly #parts: Parts;
  readonly #pipes: PipeTable;
  readonly #writer: ReplicaWriter;
  readonly #reader: ReplicaReader;
  readonly #reconciler: Reconciler;
  readonly #closer: Closer;
  /** Of a writeback volume. */
  readonly #flusher: Flusher | undefined;
  readonly #life: SessionLife;
  readonly #onEnded: (gateway: Gateway) => void;
  readonly #stopWatching: () => void;
  readonly #lock: LockWait;
  readonly #slices: SliceWriter;
  #inFlight = 0;

  constructor(parts: Parts, open: OpenVolume, onEnded: (gateway: Gateway) => void) {
    this.#parts = parts;
    this.open = open;
    this.volume = open.volume;
    this.#onEnded = onEnded;
    this.#lock = new LockWait(parts, open);
    this.#closer = new Closer(parts, open);
    const isWriteback = open.volume.durability === 'writeback';
    this.#reconciler = new Reconciler(parts, open, {
      onEqual: (index, p, count) => {
        if (count > 0) this.#closer.note(index, p, count);
      },
      acknowledgedIn: (p) => this.#flusher?.acknowledgedIn(p) ?? NOTHING_OWED,
    });
    const isTouched = (p: number): boolean => this.#reconciler.isTouched(p);
    this.#pipes = new PipeTable(
      (index) => partitionOfObject(parts.views.current(), open.volume, index),
      (pipe) => !this.#closer.owes(pipe.index) && this.#flusher?.owes(pipe.index, pipe.p) !== true,
    );
    const whenTouched = (p: number, then: () => void) => this.#reconciler.whenTouched(p, then);
    if (isWriteback) {
      const onSynced = (index: number, p: number, count: number) => this.#synced(index, p, count);
      this.#flusher = new Flusher(parts, open, { isTouched, whenTouched, onSynced });
    }
    this.#reader = new ReplicaReader(parts, open, {
      whenReadable: (p, index, then) => this.#reconciler.whenReadable(p, index, then),
      readersOf: (p) => this.#reconciler.readersOf(p),
    });
    this.#writer = new ReplicaWriter(parts, open, {
      whenTouched,
      isTouched,
      lookUp: (pipe, then) => lookUpVersion(parts, open, pipe, then),
      onHang: (pipe) => pipe.ranges.cancelWaiting(),
      onAcked: (pipe) => this.#flusher?.note(pipe.index, pipe.p, pipe.acked.count),
      onQuiet: (pipe) => this.#closer.note(pipe.index, pipe.p, pipe.durable),
    });
    this.#slices = new SliceWriter({
      ...{ clock: parts.clock, open, pipes: this.#pipes },
      ...{ reader: this.#reader, writer: this.#writer, closer: this.#closer },
    });
    this.#life = new SessionLife(parts, open, {
      isIdle: () => this.#inFlight === 0,
      // Handed back flushed (3.3): bounded, for nothing was promised of what the guest did not flush.
      sayCloses: (done) => {
        const close = (): void => this.#closer.flush(done);
        if (this.#flusher === undefined) close();
        else this.#flusher.flushWithin(LAST_FLUSH_MS, close);
      },
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

  connect(): void {
    this.#life.connect();
  }

  disconnect(): Promise<void> {
    return this.#life.disconnect();
  }

  /** Ends the session for all its connections: drains, gives the lock back. */
  end(): Promise<void> {
    return this.#life.end();
  }

  // ------------------------------------------------------------------------------------------ requests

  tryRead(offset: number, length: number, target: Uint8Array, at: number): boolean {
    if (!this.open.isHeld || offset < 0 || offset + length > this.volume.sizeBytes) return false;
    const inObject = offset % OBJECT_BYTES;
    if (inObject + length > OBJECT_BYTES) return false;
    const pipe = this.#pipes.peek((offset - inObject) / OBJECT_BYTES);
    if (pipe === undefined || !this.#reconciler.isTouched(pipe.p)) return false;
    if (!pipe.ranges.isReadable(inObject, length)) return false;
    return this.#reader.tryLocal(pipe, inObject, length, target, at);
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

  write(offset: number, data: Uint8Array, done: Done, isForced = false): void {
    const finish = this.#admit(offset, data.length, done);
    if (finish === undefined) return;
    const stays = this.#patienceMs === 0 ? data : data.slice();
    this.#whenWritable(finish, () => {
      const slices = slicesOf(offset, stays.length);
      const job = startJob(slices.length, finish);
      for (const slice of slices) {
        const bytes = stays.subarray(slice.at, slice.at + slice.length);
        this.#slices.write(slice, { bytes, isForced }, (error) => partDone(job, error));
      }
    });
  }

  writeZeroes(offset: number, length: number, done: Done, isForced = false): void {
    const finish = this.#admit(offset, length, done);
    if (finish === undefined) return;
    const range = { offset, length, keepsEdges: false };
    this.#whenWritable(finish, () => this.#slices.zero(range, isForced, finish));
  }

  trim(offset: number, length: number, done: Done, isForced = false): void {
    const finish = this.#admit(offset, length, done);
    if (finish === undefined) return;
    const range = { offset, length, keepsEdges: true };
    this.#whenWritable(finish, () => this.#slices.zero(range, isForced, finish));
  }

  /**
   * Durable mode: what was answered is durable, so this is an ordering point only; a fenced session still fails.
   * Writeback: the holder syncs (R5), also for a standby; without a live holder the lock is taken as for a write (3.2).
   */
  flush(done: Done): void {
    if (this.#flusher === undefined) {
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
        this.#flusher?.flush(finish);
        return;
      }
      flushAtHolder(this.#parts, this.open, (isDone) => {
        if (isDone) return finish(undefined);
        this.#parts.clock.setTimer(STANDBY_RETRY_MS, () => this.#flushJudged(finish));
      });
    }, finish);
  }

  /** All of W made the object durable up to `count`: it may be closed (R6). */
  #synced(index: number, p: number, count: number): void {
    const pipe = this.#pipes.peek(index);
    if (pipe === undefined) return;
    pipe.durable = Math.max(pipe.durable, count);
    if (pipe.isIdle && pipe.acked.count === count) this.#closer.note(index, p, count);
  }

  /** Runs `go` as the holder, once what is not durable yet is below its bound. */
  #whenWritable(finish: Done, go: () => void): void {
    this.#lock.whenHolder(finish, () => {
      const flusher = this.#flusher;
      if (flusher?.isFull !== true) return go();
      flusher.flush((error) => (error === undefined ? go() : finish(error)));
    });
  }

  // ------------------------------------------------------------------------------------------ lock

  #lockChanged(): void {
    if (this.open.state === 'lost') {
      this.#reconciler.sessionLost();
      this.#writer.sessionLost();
      this.#flusher?.sessionLost();
      this.#stopWatching();
      // Forgotten at once: the next connection opens a new session.
      this.#onEnded(this);
    }
    if (this.open.state === 'held') this.#reconciler.touchAll();
    this.#lock.changed();
  }

  #viewChanged(view: ClusterView): void {
    this.open.judge(view);
    this.#lock.lookAtHolder();
    if (!this.open.isHeld) return;
    this.#reconciler.viewChanged(view);
    this.#writer.viewChanged();
    this.#flusher?.viewChanged();
  }

  // ------------------------------------------------------------------------------------------ reads

  #readHeld(offset: number, length: number, target: Uint8Array, at: number, finish: Done): void {
    const slices = slicesOf(offset, length);
    const job = startJob(slices.length, finish);
    for (const slice of slices) {
      const pipe = this.#pipes.get(slice.index);
      const lost = this.#writer.lossOf(pipe);
      if (lost !== undefined) {
        partDone(job, lost);
        continue;
      }
      const range = { offset: slice.offset, count: slice.length, isExclusive: false };
      pipe.ranges.acquire(range, (ticket) => {
        const { offset: start, length: count } = slice;
        this.#reader.read({ pipe, offset: start, count, target, at: at + slice.at }, (error) => {
          pipe.ranges.release(ticket);
          partDone(job, error);
        });
      });
    }
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
