// Reads of a session: from this node's own copy when it is in sync, else from one member of I per partition, the next
// one after an error (R7). The caller holds the range, so nothing in flight overlaps. Bytes passed their sums (I8).

import { backoffMs } from '../core/backoff.ts';
import { OperatingError } from '../core/errors.ts';
import type { NodeId, Version } from '../core/ids.ts';
import { returnMemory } from '../core/lent-memory.ts';
import { readersOf } from '../core/partition.ts';
import { SECTOR_BYTES } from '../core/units.ts';
import type { ClusterView, PartitionConfig } from '../core/view.ts';
import { type Frame, OP, STATUS } from '../wire/frame.ts';
import { configOf, isUp, lossOfPart, type Parts, requestFrame } from './context.ts';
import { partDone, startJob } from './job.ts';
import type { PathCell } from './path-cell.ts';
import type { ObjectPipe } from './version-pipe.ts';
import type { Done } from './volume-session.ts';

/** After this the next member is asked; reads are idempotent. */
export const READ_DEADLINE_MS = 2000;
/** Pause after all members failed; doubles up to the maximum. */
export const READ_RETRY_MIN_MS = 10;
export const READ_RETRY_MAX_MS = 1000;

/** Bytes of one object, at most MAX_PAYLOAD_BYTES, any alignment. */
export interface ReadSlice {
  readonly pipe: ObjectPipe;
  readonly offset: number;
  readonly count: number;
  readonly target: Uint8Array;
  readonly at: number;
}

interface ReadTry extends ReadSlice {
  readonly done: Done;
  /** Members still to ask in this round, and how many of those asked had a damaged copy. */
  candidates: NodeId[];
  asked: number;
  suspect: number;
  rounds: number;
}

/** For the guest that reads what is bad on all members (4.10); an overwrite heals it. */
export function lostSectors(): OperatingError {
  return new OperatingError('corrupt', 'no copy of these sectors passes its sums');
}

/** What a reader needs from its session's touches (4.5). */
export interface TouchedForReading {
  /** Calls `then` when the object may be read or the session is lost. */
  readonly whenReadable: (p: number, index: number, then: () => void) => void;
  /** The members to read from; undefined = whoever answers reads. */
  readonly readersOf: (p: number) => readonly NodeId[] | undefined;
}

export class ReplicaReader {
  readonly #parts: Parts;
  readonly #open: PathCell;
  readonly #touch: TouchedForReading;
  /** How far the choice of a member was moved on by errors, per partition. Bounded by their number. */
  readonly #skew = new Map<number, number>();

  constructor(parts: Parts, open: PathCell, touch: TouchedForReading) {
    this.#parts = parts;
    this.#open = open;
    this.#touch = touch;
  }

  /** Fills the target once the partition is touched; asks round after round while the session is held. */
  read(slice: ReadSlice, done: Done): void {
    const job: ReadTry = { ...slice, done, candidates: [], asked: 0, suspect: 0, rounds: 0 };
    this.#touch.whenReadable(slice.pipe.p, slice.pipe.index, () => this.#round(job));
  }

  /** The synchronous path; false = nothing was done. The caller has checked ranges and the touch. */
  tryLocal(
    pipe: ObjectPipe,
    offset: number,
    count: number,
    target: Uint8Array,
    at: number,
  ): boolean {
    const { self, store, views } = this.#parts;
    const config = configOf(views.current(), this.#open.volume, pipe.p);
    const isReader = readersOf(config, this.#open.volume.durability).includes(self);
    if (!isReader || this.#isBehind(pipe)) return false;
    return store.readSync(this.#open.volume.head, pipe.index, offset, count, target, at) === 'ok';
  }

  #round(job: ReadTry): void {
    if (!this.#open.isHeld) {
      job.done(this.#lossOf());
      return;
    }
    const view = this.#parts.views.current();
    const lost = lossOfPart(view, this.#open.volume, job.pipe.p);
    if (lost !== undefined) {
      job.done(lost);
      return;
    }
    job.candidates = this.#candidates(view, configOf(view, this.#open.volume, job.pipe.p), job);
    job.asked = 0;
    job.suspect = 0;
    this.#next(job);
  }

  /** This node first, then the others from the one chosen for the partition; those called down last. */
  #candidates(view: ClusterView, config: PartitionConfig, job: ReadTry): NodeId[] {
    const { self } = this.#parts;
    const only = this.#touch.readersOf(job.pipe.p);
    const readers = readersOf(config, this.#open.volume.durability).filter(
      (node) => only === undefined || only.includes(node),
    );
    const others = readers.filter((node) => node !== self);
    const turn = others.length === 0 ? 0 : this.#turnOf(job.pipe.p) % others.length;
    const turned = [...others.slice(turn), ...others.slice(0, turn)];
    const sorted = [
      ...turned.filter((node) => isUp(view, node)),
      ...turned.filter((node) => !isUp(view, node)),
    ];
    return readers.includes(self) ? [self, ...sorted] : sorted;
  }

  #turnOf(p: number): number {
    return p + (this.#skew.get(p) ?? 0);
  }

  #next(job: ReadTry): void {
    const node = job.candidates.shift();
    if (node === undefined) {
      this.#roundFailed(job);
      return;
    }
    job.asked += 1;
    if (node === this.#parts.self) this.#readOwn(job);
    else this.#readFrom(node, job);
  }

  #readOwn(job: ReadTry): void {
    const { store } = this.#parts;
    const { pipe, offset, count, target, at } = job;
    const { head } = this.#open.volume;
    if (this.#isBehind(pipe)) {
      this.#behind(this.#parts.self, pipe);
      this.#next(job);
      return;
    }
    const outcome = store.readSync(head, pipe.index, offset, count, target, at);
    if (outcome === 'ok') {
      job.done(undefined);
      return;
    }
    if (outcome === 'suspect') {
      this.#suspect(this.#parts.self, job);
      return;
    }
    store.read(head, pipe.index, offset, count, target, at, (found) => {
      if (!this.#open.isHeld) return job.done(this.#lossOf());
      if (found === 'suspect') return this.#suspect(this.#parts.self, job);
      job.done(undefined);
    });
  }

  #readFrom(node: NodeId, job: ReadTry): void {
    this.#parts.ask(node, this.#frameOf(job), READ_DEADLINE_MS, (reply) => {
      if (!this.#open.isHeld) return job.done(this.#lossOf());
      if (reply?.status === STATUS.OK && reply.payload.length === job.count) {
        job.target.set(reply.payload, job.at);
        returnMemory(reply.payload);
        return job.done(undefined);
      }
      const { p } = job.pipe;
      this.#skew.set(p, (this.#skew.get(p) ?? 0) + 1);
      this.#refused(node, job, reply);
    });
  }

  #frameOf(job: ReadTry): Frame {
    const view = this.#parts.views.current();
    const { volume, token } = this.#open;
    const frame = requestFrame(view, OP.READ);
    const expected: Version = job.pipe.acked;
    frame.generation = volume.head;
    frame.index = job.pipe.index;
    frame.offset = job.offset;
    frame.count = job.count;
    frame.cfg = configOf(view, volume, job.pipe.p).cfg;
    frame.partition = job.pipe.p;
    frame.token = token;
    frame.verToken = expected.token;
    frame.verCount = expected.count;
    frame.status = this.#parts.streams.strainTold;
    frame.volume = volume.id;
    return frame;
  }

  #refused(node: NodeId, job: ReadTry, reply: Frame | undefined): void {
    switch (reply?.status) {
      case STATUS.FENCED:
        this.#open.fenced();
        if (this.#open.isHeld) break;
        job.done(this.#lossOf());
        return;
      case STATUS.SUSPECT:
        this.#suspect(node, job);
        return;
      case STATUS.BEHIND:
        this.#behind(node, job.pipe);
        break;
      case STATUS.STALE:
      case STATUS.NOT_MEMBER:
      case STATUS.GONE:
      case STATUS.FROZEN:
        this.#parts.pull(reply.mapIndex, node);
        break;
      default:
        this.#parts.trace.count('read.retried');
    }
    this.#next(job);
  }

  #suspect(node: NodeId, job: ReadTry): void {
    job.suspect += 1;
    this.#parts.trace.warn('copy.suspect', { node, index: job.pipe.index });
    this.#next(job);
  }

  /** All were asked. All bad: an error for the guest (4.10), never old data; else again, with the view known then. */
  #roundFailed(job: ReadTry): void {
    if (job.asked > 0 && job.suspect === job.asked) {
      this.#allSuspect(job);
      return;
    }
    const pauseMs = backoffMs(job.rounds, READ_RETRY_MIN_MS, READ_RETRY_MAX_MS);
    job.rounds += 1;
    this.#parts.clock.setTimer(pauseMs, () => this.#round(job));
  }

  /** No copy has all of it: each half by itself, so that only sectors that all copies have lost are an error. */
  #allSuspect(job: ReadTry): void {
    const { pipe, offset, count, target, at } = job;
    const firstSector = Math.floor(offset / SECTOR_BYTES);
    const sectors = Math.ceil((offset + count) / SECTOR_BYTES) - firstSector;
    if (sectors <= 1) {
      const { name } = this.#open.volume;
      this.#parts.trace.warn('read.lost', { volume: name, index: pipe.index, sector: firstSector });
      job.done(lostSectors());
      return;
    }
    const middle = (firstSector + Math.floor(sectors / 2)) * SECTOR_BYTES;
    const halves = startJob(2, job.done);
    const half = (from: number, to: number): void => {
      const slice = { pipe, offset: from, count: to - from, target, at: at + from - offset };
      const done: Done = (error) => partDone(halves, error);
      this.#round({ ...slice, done, candidates: [], asked: 0, suspect: 0, rounds: 0 });
    };
    half(offset, middle);
    half(middle, offset + count);
  }

  /** I7: from a member of I at the same cfg this means that I1 broke. */
  #behind(node: NodeId, pipe: ObjectPipe): void {
    this.#parts.trace.warn('read.behind', { node, index: pipe.index });
  }

  #isBehind(pipe: ObjectPipe): boolean {
    if (pipe.acked.count === 0) return false;
    const row = this.#parts.store.row(this.#open.volume.head, pipe.index);
    return (row?.verCount ?? 0) < pipe.acked.count;
  }

  #lossOf(): OperatingError {
    return this.#open.error ?? new OperatingError('fenced', 'the lock is not held');
  }
}
