// What a guest feels: reads, writes, zeroes, trims and flushes of one attached volume. Takes the lock at the first I/O,
// splits requests into slices of objects, orders them by range, and hands them to writer and reader, which retry while
// the map says that progress is possible (3.5). Beside a live holder it is standby: reads go there, writes wait for the
// hand-over (3.2) and are refused after a while. Once fenced, everything fails for good. No promise per block: callbacks.

import { slicesOf } from '../core/extent.ts';
import { GuestTraffic } from '../core/guest-traffic.ts';
import type { AnswerHandover, Asker } from '../core/handover.ts';
import type { GenerationId } from '../core/ids.ts';
import type { MoveStatus } from '../core/move-progress.ts';
import { OBJECT_BYTES } from '../core/units.ts';
import type { AttachMode, ClusterView } from '../core/view.ts';
import { Admission, type RequestKind } from './admission.ts';
import { lookUpAllocation } from './allocation.ts';
import { attachModeOf, readOnlyError } from './attach-rules.ts';
import type { Parts } from './context.ts';
import { FreezeDesk } from './freeze-desk.ts';
import { HandoverDesk } from './handover-desk.ts';
import { HeadPath } from './head-path.ts';
import { partDone, startJob } from './job.ts';
import { LockWait } from './lock-wait.ts';
import type { OpenVolume } from './open-volume.ts';
import { ownTarget } from './patience.ts';
import { preallocate } from './preallocate.ts';
import { SessionLife } from './session-life.ts';
import { type BytesWanted, StandbyReads } from './standby-reads.ts';
import type { AllocationDone, AllocationExtent, Done, VolumeSession } from './volume-session.ts';
import type { ZeroRange } from './zero-range.ts';

interface ReadRequest extends BytesWanted {
  readonly kind: RequestKind;
}

export class Gateway implements VolumeSession {
  readonly open: OpenVolume;
  readonly #parts: Parts;
  readonly #life: SessionLife;
  readonly #onEnded: (gateway: Gateway) => void;
  readonly #stopWatching: () => void;
  readonly #lock: LockWait;
  readonly #traffic = new GuestTraffic();
  readonly #desk: HandoverDesk;
  readonly #freeze: FreezeDesk;
  readonly #standby: StandbyReads;
  readonly #head: HeadPath;
  readonly #admission: Admission;
  /** Of the connections those that only copy a volume which moves (S8). */
  #keepers = 0;

  constructor(parts: Parts, open: OpenVolume, onEnded: (gateway: Gateway) => void) {
    this.#parts = parts;
    this.open = open;
    this.#onEnded = onEnded;
    this.#desk = new HandoverDesk(parts, open, this.#traffic, {
      isHolder: () => this.isHolder,
      letGo: () => this.letGo(),
      drain: (isWanted, done) => this.#head.drain(isWanted, done),
      reopened: () => this.#lock.changed(),
    });
    this.#freeze = new FreezeDesk(parts, open, {
      isFree: () => this.isHolder && !this.#desk.isClosed,
      flush: (done) => this.#head.quiesce((path) => done(path !== undefined)),
      reopened: () => this.#lock.changed(),
    });
    this.#lock = new LockWait(parts, open, () => this.#desk.isClosed || this.#freeze.isClosed);
    this.#head = new HeadPath(parts, open, this.#lock, () => this.#freeze.ended());
    this.#standby = new StandbyReads(parts, open, this.#lock, (wanted) => {
      this.#head.read(wanted, wanted.done);
    });
    this.#admission = new Admission(parts, open, this.#traffic, {
      isTaking: () => this.#life.isTaking,
      ended: (isOfGuest) => this.#requestEnded(isOfGuest),
    });
    this.#life = new SessionLife(parts, open, {
      isIdle: () => this.inFlight === 0,
      // Handed back flushed (3.3): bounded, for nothing was promised of what the guest did not flush.
      sayCloses: (done) => this.#head.sayCloses(done),
      onEnded: () => onEnded(this),
    });
    open.onChange(() => this.#lockChanged());
    this.#stopWatching = parts.views.onChange((view) => this.#viewChanged(view));
  }

  get volume(): VolumeSession['volume'] {
    return this.open.now;
  }

  get inFlight(): number {
    return this.#admission.inFlight;
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
    this.#lock.connected();
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
    return this.open.isHeld ? this.#head.move : undefined;
  }

  /** Ends the session for all its connections: drains, gives the lock back. */
  end(): Promise<void> {
    return this.#life.end();
  }

  // ------------------------------------------------------------------------------------------ requests

  tryRead(offset: number, length: number, target: Uint8Array, at: number): boolean {
    const { path } = this.#head;
    if (path?.cell.isHeld !== true || this.#desk.isClosed || offset < 0) return false;
    if (this.#admission.isLimited) return false;
    const inObject = offset % OBJECT_BYTES;
    const isBeyond = offset + length > this.volume.sizeBytes;
    if (isBeyond || inObject + length > OBJECT_BYTES) return false;
    const pipe = path.pipes.peek((offset - inObject) / OBJECT_BYTES);
    if (pipe === undefined || !path.reconciler.isTouched(pipe.p)) return false;
    if (!pipe.ranges.isReadable(inObject, length)) return false;
    if (!path.reader.tryLocal(pipe, inObject, length, target, at)) return false;
    this.#traffic.touched(this.#parts.clock.now());
    return true;
  }

  read(offset: number, length: number, target: Uint8Array, at: number, done: Done): void {
    this.#read({ offset, length, target, at, done, kind: 'read' });
  }

  /** For a standby. */
  readBeside(offset: number, length: number, target: Uint8Array, at: number, done: Done): void {
    this.#read({ offset, length, target, at, done, kind: 'beside' });
  }

  #read({ offset, length, target, at, done, kind }: ReadRequest): void {
    const own = ownTarget(this.#admission.patienceMs, { target, at, length }, done);
    this.#admission.admit({ offset, length, bytes: length, kind }, own.done, (finish) => {
      const go = (): void => {
        const wanted = { offset, length, target: own.target, at: own.at };
        if (this.open.state === 'held') this.#head.read(wanted, finish);
        else this.#standby.read({ ...wanted, done: finish });
      };
      this.#lock.whenJudged(go, finish);
    });
  }

  allocation(offset: number, length: number, done: AllocationDone): void {
    let found: readonly AllocationExtent[] = [{ length, isAllocated: true }];
    const told: Done = (error) => done(error, error === undefined ? found : []);
    // Counted as a request without bytes: none travel.
    const request = { offset, length: 0, bytes: 0, kind: 'read' } as const;
    this.#admission.admit(request, told, (finish) => {
      this.#lock.whenJudged(() => {
        const { path } = this.#head;
        if (this.open.state !== 'held' || path === undefined) return finish(this.open.error);
        lookUpAllocation(this.#parts, path, { offset, length }, (extents) => {
          found = extents;
          finish(this.open.error);
        });
      }, finish);
    });
  }

  write(offset: number, data: Uint8Array, done: Done, isForced = false): void {
    const { length } = data;
    this.#admission.admit({ offset, length, bytes: length, kind: 'write' }, done, (finish) => {
      const stays = this.#admission.patienceMs === 0 ? data : data.slice();
      this.#whenWritable(finish, (ended) => {
        const slices = slicesOf(offset, stays.length);
        const job = startJob(slices.length, ended);
        for (const slice of slices) {
          const bytes = stays.subarray(slice.at, slice.at + slice.length);
          this.#head.write(slice, { bytes, isForced }, (error) => partDone(job, error));
        }
      });
    });
  }

  preallocate(offset: number, length: number, done: Done): void {
    const request = { offset, length, bytes: length, kind: 'write' } as const;
    this.#admission.admit(request, done, (finish) => {
      this.#whenWritable(finish, (ended) => preallocate(this.#parts, this.#head, request, ended));
    });
  }

  writeZeroes(offset: number, length: number, done: Done, isForced = false): void {
    this.#zero({ offset, length, keepsEdges: false }, isForced, done);
  }

  trim(offset: number, length: number, done: Done, isForced = false): void {
    this.#zero({ offset, length, keepsEdges: true }, isForced, done);
  }

  #zero(range: ZeroRange, isForced: boolean, done: Done): void {
    const { offset, length } = range;
    this.#admission.admit({ offset, length, bytes: 0, kind: 'write' }, done, (finish) => {
      this.#whenWritable(finish, (ended) => this.#head.zero(range, isForced, ended));
    });
  }

  /**
   * Durable mode: what was answered is durable, so this is an ordering point only; a fenced session still fails.
   * Writeback: the holder syncs (R5), also for a standby; without a live holder the lock is taken as for a write (3.2).
   */
  flush(done: Done): void {
    const asked = this.#traffic.flushAsked();
    this.#flush((error) => {
      if (error === undefined) this.#traffic.flushAnswered(asked);
      done(error);
      this.#desk.look();
    }, 'flush');
  }

  /** For a standby. */
  flushBeside(done: Done): void {
    this.#flush(done, 'beside');
  }

  #flush(done: Done, kind: RequestKind): void {
    if (this.open.volume.durability === 'durable') {
      done(this.open.error);
      return;
    }
    this.#admission.admit({ offset: 0, length: 0, bytes: 0, kind }, done, (finish) => {
      // Behind waiting writes it waits with them.
      if (this.#lock.isNobodyWaiting) this.#flushJudged(finish);
      else this.#lock.whenHolder(finish, () => this.#flushJudged(finish));
    });
  }

  #flushJudged(finish: Done): void {
    this.#lock.whenJudged(() => {
      if (this.open.state === 'held') {
        this.#head.flush(finish);
        return;
      }
      this.#standby.flush(finish, () => this.#flushJudged(finish));
    }, finish);
  }

  /** Runs `go` as the holder, once what is not durable yet is below its bound. It calls what it is given at its end. */
  #whenWritable(finish: Done, go: (ended: Done) => void): void {
    if (this.#attachMode === 'shared-read') {
      finish(readOnlyError(this.open.volume));
      return;
    }
    this.#lock.whenHolder(finish, () => {
      // It may have changed while nobody had the lock; now it can not.
      if (this.#attachMode === 'shared-read') return finish(readOnlyError(this.open.volume));
      const ended = this.#freeze.issued(finish);
      if (this.#head.path?.flusher?.isFull !== true) return go(ended);
      this.#head.flush((error) => (error === undefined ? go(ended) : ended(error)));
    });
  }

  // ------------------------------------------------------------------------------------------ lock

  #lockChanged(): void {
    if (this.open.state === 'lost') {
      if (this.#traffic.isWriting) this.#admission.tellSecondWriter();
      this.#desk.lost();
      this.#freeze.ended();
      this.#head.lost();
      this.#admission.lost();
      this.#stopWatching();
      // Forgotten at once: the next connection opens a new session.
      this.#onEnded(this);
    }
    if (this.open.state === 'held') {
      this.#desk.granted();
      this.#head.begin(this.#parts.views.current());
      // What was held still for compares the former token: it comes too late.
      this.#freeze.ended();
    }
    this.#lock.changed();
  }

  hold(token: number, done: (head: GenerationId | undefined) => void): void {
    if (token !== this.open.token) done(undefined);
    else
      this.#freeze.hold((isHeld) => done(isHeld ? this.#head.path?.cell.volume.head : undefined));
  }

  // ------------------------------------------------------------------------------------------ hand-over

  noteBeside(asker: Asker): void {
    this.#desk.noteBeside(asker);
  }

  handOver(asker: Asker, answer: AnswerHandover): void {
    this.#desk.ask(asker, answer);
  }

  #viewChanged(view: ClusterView): void {
    this.open.judge(view, this.#parts.self);
    this.#admission.viewChanged(view);
    this.#lock.viewChanged();
    if (!this.open.isHeld) return;
    this.#desk.viewChanged(view);
    this.#head.viewChanged(view);
  }

  #requestEnded(isOfGuest: boolean): void {
    if (isOfGuest) this.#desk.look();
    if (this.inFlight === 0) this.#life.idle();
  }
}
