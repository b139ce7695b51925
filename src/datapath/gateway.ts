// What a guest feels: reads, writes, zeroes, trims and flushes of one attached volume. Takes the lock at the first I/O,
// splits requests into slices of objects, orders them by range, and hands them to writer and reader, which retry while
// the map says that progress is possible (3.5). Beside a live holder it is standby: reads go there, writes wait for the
// hand-over (3.2) and are refused after a while. Once fenced, everything fails for good. No promise per block: callbacks.

import { OperatingError } from '../core/errors.ts';
import { type Slice, slicesOf } from '../core/extent.ts';
import { GuestTraffic } from '../core/guest-traffic.ts';
import type { AnswerHandover, Asker } from '../core/handover.ts';
import type { GenerationId } from '../core/ids.ts';
import type { MoveStatus } from '../core/move-progress.ts';
import { OBJECT_BYTES } from '../core/units.ts';
import type { AttachMode, ClusterView, Volume } from '../core/view.ts';
import { lookUpAllocation } from './allocation.ts';
import { attachModeOf, readOnlyError } from './attach-rules.ts';
import type { Parts } from './context.ts';
import { FreezeDesk } from './freeze-desk.ts';
import { HandoverDesk } from './handover-desk.ts';
import { readHeld } from './held-reads.ts';
import { partDone, startJob } from './job.ts';
import { LockWait } from './lock-wait.ts';
import { lossOf, type OpenVolume } from './open-volume.ts';
import { isPathOver, PATH_RENEWED, PathCell } from './path-cell.ts';
import { ownTarget, withinMs } from './patience.ts';
import { SessionLife } from './session-life.ts';
import type { SliceData } from './slice-writer.ts';
import { type BytesWanted, StandbyReads } from './standby-reads.ts';
import { VolumeMover } from './volume-mover.ts';
import { VolumePath } from './volume-path.ts';
import type { AllocationDone, AllocationExtent, Done, VolumeSession } from './volume-session.ts';
import { waitReason } from './wait-reason.ts';
import type { ZeroRange } from './zero-range.ts';

/** Requests of all connections in flight; one more is answered 'busy'. Fronts stop reading their sockets before. */
export const MAX_SESSION_REQUESTS = 4096;

interface ReadRequest extends BytesWanted {
  readonly kind: RequestKind;
}

/** `beside`: forwarded for a standby; no request of the own guest (H1). */
type RequestKind = 'read' | 'write' | 'flush' | 'beside';

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
  #isSecondWriterTold = false;
  /** Of the head, from the grant on: before it, the head may be another one than when the volume was opened. */
  #path: VolumePath | undefined;
  readonly #mover: VolumeMover;
  /** Of the connections those that only copy a volume which moves (S8). */
  #keepers = 0;
  #inFlight = 0;

  constructor(parts: Parts, open: OpenVolume, onEnded: (gateway: Gateway) => void) {
    this.#parts = parts;
    this.open = open;
    this.#onEnded = onEnded;
    this.#desk = new HandoverDesk(parts, open, this.#traffic, {
      isHolder: () => this.isHolder,
      letGo: () => this.letGo(),
      drain: (isWanted, done) => this.#drain(isWanted, done),
      reopened: () => this.#lock.changed(),
    });
    this.#freeze = new FreezeDesk(parts, {
      isFree: () => this.isHolder && !this.#desk.isClosed,
      flush: (done) => this.#quiesce((path) => done(path !== undefined)),
      reopened: () => this.#lock.changed(),
    });
    this.#lock = new LockWait(parts, open, () => this.#desk.isClosed || this.#freeze.isClosed);
    this.#standby = new StandbyReads(parts, open, this.#lock, (wanted) => {
      this.#readHeld(wanted, wanted.done);
    });
    this.#mover = new VolumeMover(parts, open, {
      head: () => this.#path,
      onMoved: (path) => this.#moved(path),
    });
    this.#life = new SessionLife(parts, open, {
      isIdle: () => this.#inFlight === 0,
      // Handed back flushed (3.3): bounded, for nothing was promised of what the guest did not flush.
      sayCloses: (done) => (this.#path === undefined ? done() : this.#path.sayCloses(done)),
      onEnded: () => onEnded(this),
    });
    open.onChange(() => this.#lockChanged());
    this.#stopWatching = parts.views.onChange((view) => this.#viewChanged(view));
  }

  get volume(): VolumeSession['volume'] {
    return this.open.now;
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
    return this.open.isHeld ? this.#mover.status : undefined;
  }

  /** Ends the session for all its connections: drains, gives the lock back. */
  end(): Promise<void> {
    return this.#life.end();
  }

  // ------------------------------------------------------------------------------------------ requests

  tryRead(offset: number, length: number, target: Uint8Array, at: number): boolean {
    const path = this.#path;
    if (path?.cell.isHeld !== true || this.#desk.isClosed || offset < 0) return false;
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
    const own = ownTarget(this.#patienceMs, { target, at, length }, done);
    const finish = this.#admit(offset, length, own.done, kind);
    if (finish === undefined) return;
    const go = (): void => {
      const wanted = { offset, length, target: own.target, at: own.at };
      if (this.open.state === 'held') this.#readHeld(wanted, finish);
      else this.#standby.read({ ...wanted, done: finish });
    };
    this.#lock.whenJudged(go, finish);
  }

  allocation(offset: number, length: number, done: AllocationDone): void {
    let found: readonly AllocationExtent[] = [{ length, isAllocated: true }];
    // Counted as a request without bytes: none travel.
    const told: Done = (error) => done(error, error === undefined ? found : []);
    const finish = this.#admit(offset, 0, told, 'read');
    if (finish === undefined) return;
    this.#lock.whenJudged(() => {
      const path = this.#path;
      if (this.open.state !== 'held' || path === undefined) return finish(this.open.error);
      lookUpAllocation(this.#parts, path, { offset, length }, (extents) => {
        found = extents;
        finish(this.open.error);
      });
    }, finish);
  }

  write(offset: number, data: Uint8Array, done: Done, isForced = false): void {
    const finish = this.#admit(offset, data.length, done, 'write');
    if (finish === undefined) return;
    const stays = this.#patienceMs === 0 ? data : data.slice();
    this.#whenWritable(finish, (ended) => {
      const slices = slicesOf(offset, stays.length);
      const job = startJob(slices.length, ended);
      for (const slice of slices) {
        const bytes = stays.subarray(slice.at, slice.at + slice.length);
        this.#writeSlice(slice, { bytes, isForced }, (error) => partDone(job, error));
      }
    });
  }

  writeZeroes(offset: number, length: number, done: Done, isForced = false): void {
    const finish = this.#admit(offset, length, done, 'write');
    if (finish === undefined) return;
    this.#whenWritable(finish, (ended) => {
      this.#zeroRange({ offset, length, keepsEdges: false }, isForced, ended);
    });
  }

  trim(offset: number, length: number, done: Done, isForced = false): void {
    const finish = this.#admit(offset, length, done, 'write');
    if (finish === undefined) return;
    this.#whenWritable(finish, (ended) => {
      this.#zeroRange({ offset, length, keepsEdges: true }, isForced, ended);
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
    const finish = this.#admit(0, 0, done, kind);
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
      this.#standby.flush(finish, () => this.#flushJudged(finish));
    }, finish);
  }

  /** Of the head, and of its copy where that may be the head soon. A move in between: of what is the head then. */
  #flushHeld(finish: Done): void {
    this.#onPath(finish, (path) => {
      if (path.flusher === undefined) {
        finish(this.open.error);
        return;
      }
      const job = startJob(2, (error) => {
        if (isPathOver(error) || (error === undefined && path !== this.#path)) {
          this.#flushHeld(finish);
        } else finish(error);
      });
      this.#mover.flushBeside((outcome) => {
        partDone(job, outcome === 'written' || outcome === 'void' ? undefined : outcome);
      });
      path.flusher.flush((error) => partDone(job, error));
    });
  }

  /** There is none while what was drained waits for the log's word (3.3). */
  #onPath(done: Done, go: (path: VolumePath) => void): void {
    const path = this.#path;
    if (path !== undefined) go(path);
    else if (this.open.state === 'lost') done(lossOf(this.open));
    else this.#lock.whenJudged(() => this.#onPath(done, go), done);
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
      if (this.#path?.flusher?.isFull !== true) return go(ended);
      this.#flushHeld((error) => (error === undefined ? go(ended) : ended(error)));
    });
  }

  /** On the path of the head; when that one ends with a move, on the next. */
  #writeSlice(slice: Slice, data: SliceData, done: Done): void {
    this.#onPath(done, (path) => {
      path.slices.write(slice, data, (error) => {
        if (isPathOver(error)) this.#writeSlice(slice, data, done);
        else done(error);
      });
    });
  }

  /** The same for a range; what was zeroed before is zeroed again. */
  #zeroRange(range: ZeroRange, isForced: boolean, done: Done): void {
    this.#onPath(done, (path) => {
      path.slices.zero(range, isForced, (error) => {
        if (isPathOver(error)) this.#zeroRange(range, isForced, done);
        else done(error);
      });
    });
  }

  // ------------------------------------------------------------------------------------------ lock

  #lockChanged(): void {
    if (this.open.state === 'lost') {
      if (this.#traffic.isWriting) this.#tellSecondWriter();
      this.#desk.lost();
      this.#freeze.ended();
      this.#path?.lost();
      this.#mover.sessionLost();
      this.#stopWatching();
      // Forgotten at once: the next connection opens a new session.
      this.#onEnded(this);
    }
    if (this.open.state === 'held') this.#begin(this.#parts.views.current());
    this.#lock.changed();
  }

  /** The lock was granted: the head is what the map says now. Granted again (3.3.6), all begins anew under that token. */
  #begin(view: ClusterView): void {
    const volume = view.volumes.get(this.volume.id) ?? this.open.volume;
    const former = this.#path;
    const path = this.#pathOf(volume);
    if (former?.flusher !== undefined) path.flusher?.inherit(former.flusher);
    this.#path = path;
    this.#desk.granted();
    former?.retire(PATH_RENEWED);
    this.#mover.look(view);
  }

  /** The head was frozen, the volume goes on in a new one (S4): after its touch, for which all members know of that. */
  #headChanged(volume: Volume): void {
    this.#parts.trace.event('volume.head', { volume: volume.id, head: volume.head });
    this.#moved(this.#pathOf(volume));
    this.#freeze.ended();
  }

  hold(token: number, done: (head: GenerationId | undefined) => void): void {
    if (token !== this.open.token) done(undefined);
    else this.#freeze.hold((isHeld) => done(isHeld ? this.#path?.cell.volume.head : undefined));
  }

  #pathOf(volume: Volume): VolumePath {
    const cell = new PathCell(this.#parts, this.open, volume);
    const path: VolumePath = new VolumePath(this.#parts, cell, () => this.#mover.mirrorOf(path));
    path.reconciler.touchAll();
    return path;
  }

  // ------------------------------------------------------------------------------------------ hand-over

  noteBeside(asker: Asker): void {
    this.#desk.noteBeside(asker);
  }

  handOver(asker: Asker, answer: AnswerHandover): void {
    this.#desk.ask(asker, answer);
  }

  /** No request is taken any more: what was acknowledged is made durable and closed, and this token's path ends (H4). */
  #drain(isWanted: () => boolean, done: (isDone: boolean) => void): void {
    this.#quiesce((path) => done(path !== undefined && isWanted() && this.#endPath(path)));
  }

  /** What was acknowledged is durable and closed; undefined: the path was not the same all the time. */
  #quiesce(done: (path: VolumePath | undefined) => void): void {
    const path = this.#path;
    const same = (): VolumePath | undefined =>
      path === this.#path && path?.cell.isHeld === true ? path : undefined;
    this.#flushHeld((error) => {
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

  /** 3.2, 6: another guest has the volume, and this one still writes. Nothing of it lands. */
  #tellSecondWriter(): void {
    const { error } = this.open;
    if (this.#isSecondWriterTold || error?.code !== 'fenced') return;
    this.#isSecondWriterTold = true;
    this.#parts.trace.warn('second-writer', { volume: this.volume.name, reason: error.message });
  }

  /** The volume has another head now. What still waits on the former goes on here. */
  #moved(path: VolumePath): void {
    const former = this.#path;
    this.#path = path;
    former?.retire();
  }

  #viewChanged(view: ClusterView): void {
    this.open.judge(view, this.#parts.self);
    this.#lock.viewChanged();
    if (!this.open.isHeld) return;
    this.#desk.viewChanged(view);
    this.#mover.look(view);
    const volume = view.volumes.get(this.volume.id);
    const isOther = volume !== undefined && volume.head !== this.#path?.cell.volume.head;
    if (isOther && this.#path !== undefined) this.#headChanged(volume);
    this.#path?.viewChanged(view);
  }

  #readHeld(wanted: Omit<BytesWanted, 'done'>, finish: Done): void {
    readHeld((done, go) => this.#onPath(done, go), wanted, finish);
  }

  // ------------------------------------------------------------------------------------------ bounds

  /** Counts the request in; undefined when it was refused and answered. */
  #admit(offset: number, length: number, done: Done, kind: RequestKind): Done | undefined {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.volume.sizeBytes)) {
      done(new OperatingError('usage', 'the request lies beyond the end of the volume'));
      return undefined;
    }
    if (this.open.state === 'lost' || !this.#life.isTaking) {
      if (kind === 'write') this.#tellSecondWriter();
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
    const isOfGuest = kind === 'read' || kind === 'write';
    if (isOfGuest) this.#traffic.arrived(kind === 'write', since);
    const why = () => waitReason(this.open, this.#parts.views.current(), { offset, length });
    const answer = withinMs(clock, this.#patienceMs, done, why);
    return (error) => {
      this.#inFlight -= 1;
      if (isOfGuest) this.#traffic.ended(kind === 'write');
      if (error === undefined && length > 0) streams.noteGuest(clock.now() - since, length);
      answer(error);
      if (isOfGuest) this.#desk.look();
      if (this.#inFlight === 0) this.#life.idle();
    };
  }

  /** Of the volume's option, as it is now; 0 = requests wait. */
  get #patienceMs(): number {
    return this.#parts.views.current().volumes.get(this.volume.id)?.ioTimeoutMs ?? 0;
  }
}
