// One pipe per object that a session works on: the chain of versions it issued, what is in flight, what waits for a
// number, and how far each replica has been sent. A number once issued is never reissued or withdrawn (R2, I10).
// Pipes live in a bounded table; what is in flight is never evicted (R7).

import { type FencingToken, NO_VERSION, type NodeId, type Version } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { WritePlan } from '../core/write-plan.ts';
import type { TimerHandle } from '../ports/ports.ts';
import { RangeLock } from './range-lock.ts';
import type { Done } from './volume-session.ts';

/** Numbered writes of one object that are not acknowledged yet. More wait without a number. */
export const MAX_OBJECT_IN_FLIGHT = 64;
/** Objects whose version the session remembers; the rest is asked for again. */
export const MAX_PIPES = 16384;
/** Idle pipes looked at for one eviction. */
const EVICTION_SCAN = 64;

/** A change of whole sectors of one object. `zero` carries no bytes. */
export interface Change {
  readonly kind: 'write' | 'zero';
  /** Bytes in the object, multiples of SECTOR_BYTES. */
  readonly offset: number;
  readonly count: number;
  readonly data: Uint8Array;
  /** Of `data`, computed once (4.10). */
  readonly sums: Uint8Array;
  /** Confirmed by nobody before it is synced, whatever the volume's mode (FUA, R5). */
  readonly isForced: boolean;
  /** Of zeroes: what lies in a part of a region that this layer does not own may stay (NO_COW, S2a). */
  readonly isTrim?: boolean;
  readonly done: Done;
  /** Answers the guest, and no more: the range stays held until `done`, for the change may yet happen (R2). */
  readonly early: Done;
}

/** A change with its number. Same bytes for ever (I10). */
export interface NumberedWrite {
  readonly change: Change;
  readonly prev: Version;
  readonly next: Version;
  /** Bytes to send: those of the change, or a copy once the guest was answered early. */
  data: Uint8Array;
  /** Who confirmed it durable under `pipe.plan`: bit i is plan.members[i]. */
  answers: number;
  /** Requests that may still refer to the guest's bytes. */
  outstanding: number;
  isAnswered: boolean;
  /** The guest was told ENOSPC; the write goes on. */
  isGivenUp: boolean;
  readonly issuedAt: number;
}

/** How far one replica has been sent this object's writes. */
export interface Link {
  readonly node: NodeId;
  /** Highest count sent in this stream. */
  sent: number;
  /** Replies of an older stream can confirm, but not fail, the present one. */
  stream: number;
  failures: number;
  timer: TimerHandle | undefined;
}

export class ObjectPipe {
  readonly index: number;
  /** Hash part of its partition. */
  readonly p: number;
  readonly ranges = new RangeLock();
  /** Last number issued; meaningful while `isKnown`. */
  last: Version = NO_VERSION;
  isKnown = false;
  isLookingUp = false;
  /** Last version acknowledged: what a read must find at least (R7). */
  acked: Version = NO_VERSION;
  /** Writes up to this count are durable on all of W (R6): the last acknowledged one, or the last flushed one. */
  durable = 0;
  /** Waits for its partition to be touched again (R8). */
  isHeldBack = false;
  /** Under which answers count, and the map index it was made at. */
  plan: WritePlan | undefined;
  planIndex = 0;
  /** A member had no room: later writes get no number (R2). */
  isHanging = false;
  readonly inFlight: NumberedWrite[] = [];
  readonly waiting: Change[] = [];
  links: Link[] = [];

  constructor(index: number, p: number) {
    this.index = index;
    this.p = p;
  }

  get isIdle(): boolean {
    return this.inFlight.length === 0 && this.waiting.length === 0 && this.ranges.isIdle;
  }

  /** Gives the change the next number of the chain. */
  number(change: Change, token: FencingToken, now: number): NumberedWrite {
    invariant(this.isKnown, 'a number follows a known version');
    invariant(token >= this.last.token, 'tokens only grow along a chain');
    const next = { token, count: this.last.count + 1 };
    const write: NumberedWrite = {
      change,
      prev: this.last,
      next,
      data: change.data,
      answers: 0,
      outstanding: 0,
      isAnswered: false,
      isGivenUp: false,
      issuedAt: now,
    };
    this.last = next;
    this.inFlight.push(write);
    return write;
  }

  /** The version was learned from a replica past the first touch. */
  learn(version: Version): void {
    if (this.isKnown) return;
    this.isKnown = true;
    this.last = version;
    this.acked = version;
    // Learned after a touch: what was there is durable.
    this.durable = version.count;
  }

  linkOf(node: NodeId): Link {
    for (const link of this.links) if (link.node === node) return link;
    const link: Link = { node, sent: 0, stream: 0, failures: 0, timer: undefined };
    this.links.push(link);
    return link;
  }
}

/** The pipes of one session. */
export class PipeTable {
  readonly #pipes = new Map<number, ObjectPipe>();
  readonly #partitionOf: (index: number) => number;
  /** True when a pipe may be forgotten: nothing refers to it. */
  readonly #isFree: (pipe: ObjectPipe) => boolean;

  constructor(partitionOf: (index: number) => number, isFree: (pipe: ObjectPipe) => boolean) {
    this.#partitionOf = partitionOf;
    this.#isFree = isFree;
  }

  /** The pipe if there is one; allocates nothing. */
  peek(index: number): ObjectPipe | undefined {
    return this.#pipes.get(index);
  }

  get(index: number): ObjectPipe {
    const found = this.#pipes.get(index);
    if (found !== undefined) return found;
    if (this.#pipes.size >= MAX_PIPES) this.#evict();
    const pipe = new ObjectPipe(index, this.#partitionOf(index));
    this.#pipes.set(index, pipe);
    return pipe;
  }

  /** Pipes of which somebody reads or changes a range. */
  busy(): readonly ObjectPipe[] {
    return [...this.#pipes.values()].filter(({ ranges }) => !ranges.isIdle);
  }

  /** Forgets the oldest idle pipe; busy ones move to the young end. Requests in flight bound what is busy. */
  #evict(): void {
    let scanned = 0;
    for (const [index, pipe] of this.#pipes) {
      this.#pipes.delete(index);
      if (pipe.isIdle && !pipe.isLookingUp && this.#isFree(pipe)) return;
      this.#pipes.set(index, pipe);
      scanned += 1;
      if (scanned >= EVICTION_SCAN) return;
    }
  }
}
