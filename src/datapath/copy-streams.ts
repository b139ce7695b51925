// The bounds of bulk copies on one node (4.8): how many it fetches and hands out at once, in which order those that wait
// get their turn, and how fast the bytes may flow. A copy that a guest's request waits for passes all of them. It knows
// nothing of objects.

import { Pace } from '../core/pace.ts';
import { URGENCY } from '../core/recovery-order.ts';
import { manualRate, streamLimits } from '../core/recovery-settings.ts';
import { GuestStrain } from '../core/strain.ts';
import { KIB, MAX_PAYLOAD_BYTES } from '../core/units.ts';
import type { ClusterView } from '../core/view.ts';
import type { Clock } from '../ports/ports.ts';
import type { ViewCell } from './view-cell.ts';

/** Copies that wait for a stream, per direction; more are refused. */
export const MAX_STREAM_QUEUE = 1024;
/** Bytes of one FETCH while guests are at work: a larger one would hold the event loops on its way for milliseconds. */
export const PIECE_BESIDE_GUESTS = 128 * KIB;

/** 0: a guest, or the settling of its volume, waits for it: at once. Others wait for a stream, smaller ones first. */
export type Rank = number;
export const AT_ONCE: Rank = 0;
/** Of partitions with fewer than minCopies. Their guests wait: what guests feel does not slow these down. */
export const UNHALTS: Rank = URGENCY.below + 1;
/** Pieces of one object on their way: while one is written the next one travels. */
export const PIECES_IN_FLIGHT = 2;

type Start = (release: () => void) => void;

/** A bounded number of holders; who waits is served by rank, then in order of arrival. */
class Turns {
  readonly #limit: () => number;
  #held = 0;
  readonly #queue: { readonly rank: Rank; readonly start: Start }[] = [];

  constructor(limit: () => number) {
    this.#limit = limit;
  }

  get held(): number {
    return this.#held;
  }

  /** False = too many wait; `start` is dropped. */
  take(rank: Rank, start: Start): boolean {
    if (rank === AT_ONCE) {
      start(() => undefined);
      return true;
    }
    if (this.#queue.length >= MAX_STREAM_QUEUE) return false;
    const behind = this.#queue.findIndex((one) => one.rank > rank);
    this.#queue.splice(behind < 0 ? this.#queue.length : behind, 0, { rank, start });
    this.#serve();
    return true;
  }

  #serve(): void {
    while (this.#held < this.#limit()) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      this.#held += 1;
      let isHeld = true;
      next.start(() => {
        if (!isHeld) return;
        isHeld = false;
        this.#held -= 1;
        this.#serve();
      });
    }
  }
}

interface StreamsParts {
  readonly clock: Clock;
  readonly views: ViewCell;
}

export class CopyStreams {
  readonly #parts: StreamsParts;
  readonly #incoming: Turns;
  readonly #outgoing: Turns;
  readonly #pace = new Pace();
  readonly #strain = new GuestStrain();
  #placement: object | undefined;
  #isCalm = true;

  constructor(parts: StreamsParts) {
    this.#parts = parts;
    const limits = () => streamLimits(parts.views.current());
    this.#incoming = new Turns(() => limits().incoming);
    this.#outgoing = new Turns(() => limits().outgoing * PIECES_IN_FLIGHT);
  }

  /** Copies being fetched, and pieces being handed out. */
  get underWay(): { readonly incoming: number; readonly outgoing: number } {
    return { incoming: this.#incoming.held, outgoing: this.#outgoing.held };
  }

  /** Runs `start` when this node may fetch one more object; it calls `release` once. False = refused. */
  whenIncoming(rank: Rank, start: Start): boolean {
    return this.#incoming.take(rank, start);
  }

  /** The same for handing out one more piece. */
  whenOutgoing(rank: Rank, start: Start): boolean {
    return this.#outgoing.take(rank, start);
  }

  /** Runs `then` when these bytes are within the rate. */
  whenPaced(rank: Rank, bytes: number, then: () => void): void {
    const { clock, views } = this.#parts;
    const manual = manualRate(views.current());
    const waitMs =
      rank === AT_ONCE ? 0 : this.#pace.spend(bytes, clock.now(), manual, rank === UNHALTS);
    if (waitMs === 0) then();
    else clock.setTimer(waitMs, then);
  }

  /** Bytes were copied that were paced as so many others: what comes later waits for the rest, or less. */
  settleUp(paced: number, copied: number): void {
    const { clock, views } = this.#parts;
    if (copied < paced) this.#pace.unspent(paced - copied);
    else if (copied > paced) {
      this.#pace.spend(copied - paced, clock.now(), manualRate(views.current()));
    }
  }

  /** True while bulk copies have a rate: few are begun at once then. */
  get isPaced(): boolean {
    return Number.isFinite(this.rate);
  }

  /** Of bytes that were paced these were holes: nothing was copied. */
  unspent(rank: Rank, bytes: number): void {
    if (rank !== AT_ONCE) this.#pace.unspent(bytes);
  }

  /** Bytes of one FETCH now. */
  get pieceBytes(): number {
    return this.#pace.isBesideGuests(this.#parts.clock.now())
      ? PIECE_BESIDE_GUESTS
      : MAX_PAYLOAD_BYTES;
  }

  /** Bytes per second that bulk copies may take now; Infinity = no limit. */
  get rate(): number {
    const { clock, views } = this.#parts;
    return this.#pace.rate(clock.now(), manualRate(views.current()));
  }

  // ------------------------------------------------------------------------------------------ what guests feel

  /** A request of a guest of this node was answered, after so long. */
  noteGuest(ms: number, bytes: number): void {
    const now = this.#parts.clock.now();
    this.#strain.note(ms, bytes, now);
    this.#pace.hear(this.#strain.own(now, this.#isCalmNow()), now);
  }

  /** What this node, as a gateway, says with its requests to replicas: 0 to 255. */
  get strainTold(): number {
    return this.#strain.own(this.#parts.clock.now(), this.#isCalmNow());
  }

  /** What this node, as a source, says to those who copy from it. */
  get strainServed(): number {
    return this.#strain.served(this.#parts.clock.now(), this.#isCalmNow());
  }

  /** A gateway said this with a request. */
  hearGateway(strain: number): void {
    const now = this.#parts.clock.now();
    this.#strain.hear(strain, now);
    this.#pace.hear(strain, now);
  }

  /** A source said this; it is not passed on. */
  hearSource(strain: number): void {
    this.#pace.hear(strain, this.#parts.clock.now());
  }

  /** Nobody joins anything and no volume moves, as far as this node knows. */
  #isCalmNow(): boolean {
    const view = this.#parts.views.current();
    if (view.moves.size > 0) return false;
    if (view.placement !== this.#placement) {
      this.#placement = view.placement;
      this.#isCalm = !isAnybodyJoining(view);
    }
    return this.#isCalm;
  }
}

function isAnybodyJoining(view: ClusterView): boolean {
  for (const policy of view.policies.keys()) {
    for (const p of view.explicitPartitions(policy)) {
      if (view.partition(policy, p).joining.length > 0) return true;
    }
  }
  return false;
}
