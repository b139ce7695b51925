// What a guest feels: reads, writes, zeroes, trims and flushes of one attached volume. Takes the lock at the first I/O,
// splits requests into slices of objects, orders them by range, and hands them to writer and reader, which retry while
// the map says that progress is possible (3.5). Beside a live holder it is standby: reads go there, writes are refused.
// Once fenced, everything fails for good. No promise per block: callbacks only.

import { sumsOf } from '../core/checksum.ts';
import { OperatingError } from '../core/errors.ts';
import {
  narrowToSectors,
  objectSlicesOf,
  type Slice,
  slicesOf,
  widenToSectors,
} from '../core/extent.ts';
import { OBJECT_BYTES, SECTOR_BYTES } from '../core/units.ts';
import type { ClusterView } from '../core/view.ts';
import { Closer } from './closer.ts';
import { isUp, type Parts, partitionOfObject } from './context.ts';
import { lookUpVersion } from './lookup.ts';
import type { OpenVolume } from './open-volume.ts';
import type { RangeTicket } from './range-lock.ts';
import { ReplicaReader } from './read-replica.ts';
import { Reconciler } from './reconcile.ts';
import { readFromHolder } from './standby.ts';
import { type Change, type ObjectPipe, PipeTable } from './version-pipe.ts';
import type { Done, VolumeSession } from './volume-session.ts';
import { ReplicaWriter } from './write-replicas.ts';

/** Requests of all connections in flight; one more is answered 'busy'. Fronts stop reading their sockets before. */
export const MAX_SESSION_REQUESTS = 4096;
/** Objects of one long zero or trim that are worked on at once. */
export const ZERO_SLICES_IN_FLIGHT = 16;
/** A drain gives up after this; what hangs then is failed, not acknowledged. */
export const DRAIN_MS = 5000;
/** The last CLOSE and the release are not waited for longer. */
export const RELEASE_MS = 5000;
/** Pause before a standby asks again. */
export const STANDBY_RETRY_MS = 50;

const NO_BYTES = new Uint8Array(0);

/** A request until it is done: so many slices left, the first error. */
interface Job {
  left: number;
  error: OperatingError | undefined;
  readonly done: Done;
}

type Phase = 'open' | 'draining' | 'releasing' | 'ended';

export class Gateway implements VolumeSession {
  readonly open: OpenVolume;
  readonly volume: VolumeSession['volume'];
  readonly #parts: Parts;
  readonly #pipes: PipeTable;
  readonly #writer: ReplicaWriter;
  readonly #reader: ReplicaReader;
  readonly #reconciler: Reconciler;
  readonly #closer: Closer;
  readonly #onEnded: (gateway: Gateway) => void;
  readonly #stopWatching: () => void;
  /** Requests that wait for the lock to be judged. Bounded by MAX_SESSION_REQUESTS. */
  #parked: (() => void)[] = [];
  #inFlight = 0;
  #connections = 0;
  #phase: Phase = 'open';
  #drainWaiter: (() => void) | undefined;
  #releaseWaiters: (() => void)[] = [];

  constructor(parts: Parts, open: OpenVolume, onEnded: (gateway: Gateway) => void) {
    this.#parts = parts;
    this.open = open;
    this.volume = open.volume;
    this.#onEnded = onEnded;
    this.#closer = new Closer(parts, open);
    this.#reconciler = new Reconciler(parts, open, (index, p, count) => {
      if (count > 0) this.#closer.note(index, p, count);
    });
    this.#pipes = new PipeTable(
      (index) => partitionOfObject(parts.views.current(), open.volume, index),
      (pipe) => !this.#closer.owes(pipe.index),
    );
    const whenTouched = (p: number, then: () => void) => this.#reconciler.whenTouched(p, then);
    this.#reader = new ReplicaReader(parts, open, whenTouched);
    this.#writer = new ReplicaWriter(parts, open, {
      whenTouched,
      lookUp: (pipe, then) => lookUpVersion(parts, open, pipe, then),
      onQuiet: (pipe) => this.#closer.note(pipe.index, pipe.p, pipe.acked.count),
    });
    open.onChange(() => this.#lockChanged());
    open.onReleased(() => this.#released());
    this.#stopWatching = parts.views.onChange((view) => this.#viewChanged(view));
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** True while its session holds the lock, as far as this node knows. */
  get isHolder(): boolean {
    return this.open.isHeld && this.#phase !== 'releasing' && this.#phase !== 'ended';
  }

  /** True while new connections may share this session. */
  get isUsable(): boolean {
    return this.open.state !== 'lost' && (this.#phase === 'open' || this.#phase === 'draining');
  }

  get connections(): number {
    return this.#connections;
  }

  connect(): void {
    this.#connections += 1;
    if (this.#phase === 'draining') this.#phase = 'open';
  }

  disconnect(): Promise<void> {
    this.#connections = Math.max(0, this.#connections - 1);
    if (this.#connections > 0) return Promise.resolve();
    if (this.#phase === 'ended') return Promise.resolve();
    return new Promise((resolve) => {
      this.#releaseWaiters.push(resolve);
      this.#drain();
    });
  }

  /** Ends the session for all its connections: drains, gives the lock back. */
  end(): Promise<void> {
    this.#connections = Math.min(this.#connections, 1);
    return this.disconnect();
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
    const finish = this.#admit(offset, length, done);
    if (finish === undefined) return;
    const go = (): void => {
      if (this.open.state === 'held') this.#readHeld(offset, length, target, at, finish);
      else this.#readStandby(offset, length, target, at, finish);
    };
    this.#whenJudged(go, finish);
  }

  write(offset: number, data: Uint8Array, done: Done): void {
    const finish = this.#admit(offset, data.length, done);
    if (finish === undefined) return;
    this.#whenHolder(finish, () => {
      const slices = slicesOf(offset, data.length);
      const job: Job = { left: slices.length, error: undefined, done: finish };
      if (slices.length === 0) return finish(undefined);
      for (const slice of slices) {
        this.#writeSlice(slice, data.subarray(slice.at, slice.at + slice.length), (error) =>
          sliceDone(job, error),
        );
      }
    });
  }

  writeZeroes(offset: number, length: number, done: Done): void {
    const finish = this.#admit(offset, length, done);
    if (finish === undefined) return;
    this.#whenHolder(finish, () => this.#zeroRange({ offset, length, keepsEdges: false }, finish));
  }

  trim(offset: number, length: number, done: Done): void {
    const finish = this.#admit(offset, length, done);
    if (finish === undefined) return;
    this.#whenHolder(finish, () => this.#zeroRange({ offset, length, keepsEdges: true }, finish));
  }

  /** Durable mode: what was answered is durable, so this is an ordering point only; a fenced session still fails. */
  flush(done: Done): void {
    done(this.open.error);
  }

  // ------------------------------------------------------------------------------------------ lock

  /** Runs `go` when the session holds the lock or knows to be standby; fails the request when it is lost. */
  #whenJudged(go: () => void, finish: Done): void {
    const { open } = this;
    if (open.state === 'standby' && !this.#isHolderAlive()) open.idle();
    switch (open.state) {
      case 'held':
      case 'standby':
        go();
        return;
      case 'lost':
        finish(open.error);
        return;
      default:
        this.#parked.push(() => this.#whenJudged(go, finish));
        open.want();
    }
  }

  #whenHolder(finish: Done, go: () => void): void {
    const judged = (): void => {
      if (this.open.state === 'held') {
        go();
        return;
      }
      const text = `${this.volume.name} is held by n${this.open.holder}`;
      finish(new OperatingError('held', text, { remedy: 'detach it there first' }));
    };
    this.#whenJudged(judged, finish);
  }

  /** There is a standby only beside a live holder (3.2). */
  #isHolderAlive(): boolean {
    const view = this.#parts.views.current();
    const lock = view.volumes.get(this.volume.id)?.lock;
    if (lock === undefined || lock.state !== 'held' || lock.node !== this.open.holder) return false;
    return isUp(view, lock.node) && view.members.get(lock.node)?.incarnation === lock.incarnation;
  }

  #lockChanged(): void {
    if (this.open.state === 'lost') {
      this.#reconciler.sessionLost();
      this.#writer.sessionLost();
      this.#stopWatching();
      if (this.#phase === 'open') this.#onEnded(this);
    }
    if (this.open.state === 'held') this.#reconciler.touchAll();
    for (const retry of this.#parked.splice(0)) retry();
  }

  #viewChanged(view: ClusterView): void {
    this.open.judge(view);
    if (!this.open.isHeld) return;
    this.#reconciler.viewChanged(view);
    this.#writer.viewChanged();
  }

  // ------------------------------------------------------------------------------------------ reads

  #readHeld(offset: number, length: number, target: Uint8Array, at: number, finish: Done): void {
    const slices = slicesOf(offset, length);
    const job: Job = { left: slices.length, error: undefined, done: finish };
    if (slices.length === 0) {
      finish(undefined);
      return;
    }
    for (const slice of slices) {
      const pipe = this.#pipes.get(slice.index);
      const range = { offset: slice.offset, count: slice.length, isExclusive: false };
      pipe.ranges.acquire(range, (ticket) => {
        const { offset: start, length: count } = slice;
        this.#reader.read({ pipe, offset: start, count, target, at: at + slice.at }, (error) => {
          pipe.ranges.release(ticket);
          sliceDone(job, error);
        });
      });
    }
  }

  #readStandby(offset: number, length: number, target: Uint8Array, at: number, finish: Done): void {
    const slices = slicesOf(offset, length);
    const job: Job = { left: slices.length, error: undefined, done: finish };
    if (slices.length === 0) {
      finish(undefined);
      return;
    }
    for (const slice of slices) {
      const one = (error: OperatingError | undefined): void => sliceDone(job, error);
      this.#standbySlice(slice, target, at + slice.at, one);
    }
  }

  /** One slice until it is there: from the holder, or as the holder when the lock came to this session meanwhile. */
  #standbySlice(slice: Slice, target: Uint8Array, at: number, done: Done): void {
    const volumeOffset = slice.index * OBJECT_BYTES + slice.offset;
    this.#whenJudged(() => {
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

  // ------------------------------------------------------------------------------------------ writes

  #writeSlice(slice: Slice, data: Uint8Array, done: Done): void {
    const range = widenToSectors(slice.offset, slice.length);
    this.#withRange(slice.index, range, done, (pipe, finish) => {
      const isWhole = range.offset === slice.offset && range.count === slice.length;
      if (isWhole) return this.#submitWrite(pipe, range.offset, data, finish);
      const bytes = new Uint8Array(range.count);
      this.#readEdges(pipe, slice, bytes, (error) => {
        if (error !== undefined) return finish(error);
        bytes.set(data, slice.offset - range.offset);
        this.#submitWrite(pipe, range.offset, bytes, finish);
      });
    });
  }

  /** Reads the first and the last sector of a widened range where the guest's bytes do not cover them. */
  #readEdges(pipe: ObjectPipe, slice: Slice, bytes: Uint8Array, done: Done): void {
    const range = widenToSectors(slice.offset, slice.length);
    const end = slice.offset + slice.length;
    const last = range.offset + range.count - SECTOR_BYTES;
    const edges: number[] = [];
    if (slice.offset > range.offset) edges.push(range.offset);
    if (end < range.offset + range.count && !edges.includes(last)) edges.push(last);
    const job: Job = { left: edges.length, error: undefined, done };
    for (const offset of edges) {
      const at = offset - range.offset;
      this.#reader.read({ pipe, offset, count: SECTOR_BYTES, target: bytes, at }, (error) =>
        sliceDone(job, error),
      );
    }
  }

  #submitWrite(pipe: ObjectPipe, offset: number, data: Uint8Array, done: Done): void {
    const sums = sumsOf(this.open.volume.head, pipe.index, offset, data);
    this.#submit(pipe, { kind: 'write', offset, count: data.length, data, sums, done });
  }

  #submit(pipe: ObjectPipe, change: Change): void {
    this.#closer.forget(pipe.index);
    this.#writer.submit(pipe, change);
  }

  /** Holds the range for a writer from before its edges are read until it is done. */
  #withRange(
    index: number,
    range: { readonly offset: number; readonly count: number },
    done: Done,
    fn: (pipe: ObjectPipe, finish: Done) => void,
  ): void {
    const pipe = this.#pipes.get(index);
    pipe.ranges.acquire({ ...range, isExclusive: true }, (ticket: RangeTicket) => {
      const finish: Done = (error) => {
        pipe.ranges.release(ticket);
        done(error);
      };
      if (!this.open.isHeld) return finish(this.#lossOf());
      fn(pipe, finish);
    });
  }

  /** Object by object, a bounded number at once, without buffers for what is whole sectors. */
  #zeroRange(
    range: { readonly offset: number; readonly length: number; readonly keepsEdges: boolean },
    finish: Done,
  ): void {
    const end = range.offset + range.length;
    let position = range.offset;
    const job: Job = { left: 1, error: undefined, done: finish };
    const next = (error: OperatingError | undefined): void => {
      if (error === undefined && job.error === undefined && position < end) {
        const count = Math.min(end - position, OBJECT_BYTES - (position % OBJECT_BYTES));
        const [slice] = objectSlicesOf(position, count);
        position += count;
        job.left += 1;
        this.#zeroSlice(slice as Slice, range.keepsEdges, (failed) =>
          this.#parts.clock.soon(() => next(failed)),
        );
      }
      sliceDone(job, error);
    };
    const starts = Math.min(ZERO_SLICES_IN_FLIGHT, Math.ceil(range.length / OBJECT_BYTES) + 1);
    job.left += starts - 1;
    for (let i = 0; i < starts; i += 1) next(undefined);
  }

  #zeroSlice(slice: Slice, keepsEdges: boolean, done: Done): void {
    const whole = narrowToSectors(slice.offset, slice.length);
    const end = slice.offset + slice.length;
    const job: Job = { left: 1, error: undefined, done };
    const one = (error: OperatingError | undefined): void => sliceDone(job, error);
    if (!keepsEdges) {
      const headEnd = whole.count > 0 ? whole.offset : end;
      const tailStart = whole.count > 0 ? whole.offset + whole.count : end;
      job.left += this.#zeroEdge(slice.index, slice.offset, headEnd, one);
      job.left += this.#zeroEdge(slice.index, tailStart, end, one);
    }
    if (whole.count > 0) {
      job.left += 1;
      this.#withRange(slice.index, whole, one, (pipe, finish) => {
        const bytes = { data: NO_BYTES, sums: NO_BYTES };
        this.#submit(pipe, { kind: 'zero', ...whole, ...bytes, done: finish });
      });
    }
    one(undefined);
  }

  /** Zero bytes of a partial sector, or of two: a small write. @returns how many slices it started */
  #zeroEdge(index: number, offset: number, end: number, done: Done): number {
    if (offset >= end) return 0;
    const length = end - offset;
    const later: Done = (error) => this.#parts.clock.soon(() => done(error));
    this.#writeSlice({ index, offset, length, at: 0 }, new Uint8Array(length), later);
    return 1;
  }

  // ------------------------------------------------------------------------------------------ bounds and end

  /** Counts the request in; undefined when it was refused and answered. */
  #admit(offset: number, length: number, done: Done): Done | undefined {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.volume.sizeBytes)) {
      done(new OperatingError('usage', 'the request lies beyond the end of the volume'));
      return undefined;
    }
    if (this.open.state === 'lost' || this.#phase === 'releasing' || this.#phase === 'ended') {
      done(this.#lossOf());
      return undefined;
    }
    if (this.#inFlight >= MAX_SESSION_REQUESTS) {
      done(new OperatingError('busy', 'too many requests in flight', { advice: 'retry' }));
      return undefined;
    }
    this.#inFlight += 1;
    return (error) => {
      this.#inFlight -= 1;
      done(error);
      if (this.#inFlight === 0) this.#drainWaiter?.();
    };
  }

  /** Lets what is in flight end (bounded), says what is closed, then has the lock given back. */
  #drain(): void {
    if (this.#phase !== 'open') return;
    this.#phase = 'draining';
    const { clock } = this.#parts;
    let isOver = false;
    const over = (): void => {
      if (isOver) return;
      isOver = true;
      this.#drainWaiter = undefined;
      clock.clearTimer(timer);
      if (this.#phase === 'draining') this.#release();
      else this.#tellReleased();
    };
    const timer = clock.setTimer(DRAIN_MS, over);
    this.#drainWaiter = over;
    if (this.#inFlight === 0) over();
  }

  #release(): void {
    this.#phase = 'releasing';
    this.#closer.flush(() => {
      const { clock, lock, views } = this.#parts;
      const { open } = this;
      const { token } = open;
      if (open.wasAsked) lock.drained(open);
      // Whatever still hangs is failed, never acknowledged.
      open.lost(new OperatingError('shutting-down', 'the session was closed'));
      if (token === 0 || this.#isReleased(views.current(), token)) return this.#released();
      const timer = clock.setTimer(RELEASE_MS, () => this.#released());
      const stop = views.onChange((view) => {
        if (this.#isReleased(view, token)) this.#released();
      });
      this.#releaseWaiters.push(() => {
        clock.clearTimer(timer);
        stop();
      });
    });
  }

  #isReleased(view: ClusterView, token: number): boolean {
    const lock = view.volumes.get(this.volume.id)?.lock;
    return lock === undefined || lock.state !== 'held' || lock.token !== token;
  }

  #released(): void {
    if (this.#phase === 'ended') return;
    this.#phase = 'ended';
    this.#onEnded(this);
    this.#tellReleased();
  }

  #tellReleased(): void {
    for (const fn of this.#releaseWaiters.splice(0)) fn();
  }

  #lossOf(): OperatingError {
    return this.open.error ?? new OperatingError('shutting-down', 'the session is being closed');
  }
}

function sliceDone(job: Job, error: OperatingError | undefined): void {
  job.left -= 1;
  job.error ??= error;
  if (job.left === 0) job.done(job.error);
}
