// Gets an entry into the map log from any node: finds the leader, asks again until the entry is applied HERE, or the
// deadline passes. The same (node, incarnation, counter) is used for every try, so nothing is applied twice (C2.5).

import { OperatingError } from '../core/errors.ts';
import type { Incarnation, MapIndex, NodeId } from '../core/ids.ts';
import type { ApplyResult, EntryBody, EntryOrigin, LogEntry } from '../core/log-entry.ts';
import type { ClusterState } from '../core/state.ts';
import type { Clock } from '../ports/ports.ts';
import type { ReplyBody, RequestBody } from '../wire/messages.ts';
import type { RaftDriver } from './raft-driver.ts';
import { within } from './waiting.ts';

/** How long a proposal is tried unless its caller says otherwise. */
export const PROPOSE_TIMEOUT_MS = 10_000;
/** One try at one leader. */
export const PROPOSE_TRY_MS = 1000;
/** While no leader is known, or after a refusal. */
export const PROPOSE_PAUSE_MS = 50;
/** Proposals of one node under way; the state keeps the results of twice as many (D9). */
export const MAX_PROPOSALS_IN_FLIGHT = 32;
/** Proposals that wait for a place; more are refused as busy. */
export const MAX_PROPOSALS_WAITING = 4096;

export interface ProposerOptions {
  readonly self: NodeId;
  readonly incarnation: () => Incarnation;
  readonly clock: Clock;
  readonly driver: RaftDriver;
  /** Who may lead, for a node that hears no heartbeat. */
  readonly voters: () => readonly NodeId[];
  /** Asks another node; rejects when there is no answer in time. */
  readonly ask: (node: NodeId, body: RequestBody, timeoutMs: number) => Promise<ReplyBody>;
  /** Get the log up to this index from that node. */
  readonly pull: (index: MapIndex, from: NodeId) => void;
}

interface Pending {
  /** A former life of this node used the same counters; what it proposed may be applied only now. */
  readonly incarnation: Incarnation;
  readonly resolve: (result: ApplyResult) => void;
  readonly reject: (error: OperatingError) => void;
}

export class Proposer {
  readonly #options: ProposerOptions;
  readonly #pending = new Map<number, Pending>();
  readonly #waiting = new Set<() => void>();
  #counter = 0;
  #isStopped = false;
  /** Whom the last answer named as leader. */
  #hint: NodeId | undefined;
  /** Turns through the voters while there is no hint. */
  #turn = 0;

  constructor(options: ProposerOptions) {
    this.#options = options;
  }

  /**
   * Resolves with what applying the entry did, once it is applied on this node.
   * @throws OperatingError 'no-quorum' when that did not happen in time; it may still happen later
   */
  async propose(body: EntryBody, timeoutMs = PROPOSE_TIMEOUT_MS): Promise<ApplyResult> {
    const { clock } = this.#options;
    const deadline = clock.now() + timeoutMs;
    const { origin, applied } = await this.#enter(deadline);
    try {
      while (!this.#isStopped && clock.now() < deadline) {
        const attempt = this.#attempt(origin, body, applied);
        const isGivenUp = clock.rarely?.('proposal-given-up') === true;
        const result = await (isGivenUp ? within(clock, 0, attempt) : attempt);
        if (result !== undefined) return result;
        if (isGivenUp) break;
      }
    } finally {
      this.#pending.delete(origin.counter);
      this.#wakeOne();
    }
    throw noQuorum(timeoutMs);
  }

  /** Told of every entry that this node applied. */
  noteApplied(entry: LogEntry, result: ApplyResult): void {
    const { node, incarnation, counter } = entry.origin;
    if (node !== this.#options.self) return;
    const pending = this.#pending.get(counter);
    if (pending?.incarnation === incarnation) pending.resolve(result);
  }

  /** The state jumped: what of this node's was applied in between, the state remembers (C2.5). */
  noteInstalled(state: ClusterState): void {
    const window = state.proposals.get(this.#options.self);
    if (window === undefined) return;
    for (const [counter, { incarnation, resolve, reject }] of this.#pending) {
      // Results of an earlier life are gone: asked again the log would say "stale", whatever it did the first time.
      if (incarnation < window.incarnation) reject(unknownOutcome());
      const result = incarnation === window.incarnation ? window.results.get(counter) : undefined;
      if (result !== undefined) resolve(result);
    }
  }

  stop(): void {
    this.#isStopped = true;
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /**
   * Takes a counter once it is within the window. Check and taking are one step: else many callers of one tick would
   * find the same place free.
   */
  async #enter(
    deadline: number,
  ): Promise<{ readonly origin: EntryOrigin; readonly applied: Promise<ApplyResult> }> {
    while (this.#isFull && !this.#isStopped) await this.#place(deadline);
    const { self, incarnation } = this.#options;
    this.#counter += 1;
    const origin = { node: self, incarnation: incarnation(), counter: this.#counter };
    const applied = new Promise<ApplyResult>((resolve, reject) => {
      this.#pending.set(origin.counter, { incarnation: origin.incarnation, resolve, reject });
    });
    // It may be rejected between two tries, when nobody listens.
    applied.catch(() => {});
    this.#wakeOne();
    return { origin, applied };
  }

  get #isFull(): boolean {
    const [oldest] = this.#pending.keys();
    return oldest !== undefined && this.#counter + 1 - oldest >= MAX_PROPOSALS_IN_FLIGHT;
  }

  /** Whoever takes a place, or gives one back, wakes the next: one end may open many places. */
  #wakeOne(): void {
    if (this.#isFull) return;
    const [first] = this.#waiting;
    if (first === undefined) return;
    this.#waiting.delete(first);
    first();
  }

  async #place(deadline: number): Promise<void> {
    if (this.#waiting.size >= MAX_PROPOSALS_WAITING) {
      throw new OperatingError('busy', 'too many changes of the map are waiting', {
        advice: 'retry',
      });
    }
    const { clock } = this.#options;
    let wake: () => void = () => {};
    const woken = new Promise<true>((resolve) => {
      wake = () => resolve(true);
      this.#waiting.add(wake);
    });
    const leftMs = Math.max(0, deadline - clock.now());
    if ((await within(clock, leftMs, woken)) === true) return;
    this.#waiting.delete(wake);
    this.#wakeOne();
    throw noQuorum(leftMs);
  }

  /** One try; undefined = try again. */
  async #attempt(
    origin: EntryOrigin,
    body: EntryBody,
    applied: Promise<ApplyResult>,
  ): Promise<ApplyResult | undefined> {
    const { clock, driver, self } = this.#options;
    const leader = driver.role === 'leader' ? self : (driver.leader ?? this.#guessLeader());
    if (leader === self) {
      const outcome = driver.propose(origin, body);
      if (clock.rarely?.('proposal-again') === true) return within(clock, 0, applied);
      return within(
        clock,
        outcome.index === undefined ? PROPOSE_PAUSE_MS : PROPOSE_TRY_MS,
        applied,
      );
    }
    if (leader !== undefined && (await this.#askLeader(leader, origin, body))) {
      return within(clock, PROPOSE_TRY_MS, applied);
    }
    return within(clock, PROPOSE_PAUSE_MS, applied);
  }

  /** A node that does not vote hears no heartbeat: whom the last answer named, else one voter after the other. */
  #guessLeader(): NodeId | undefined {
    if (this.#hint !== undefined) return this.#hint;
    const voters = this.#options.voters().filter((node) => node !== this.#options.self);
    this.#turn += 1;
    return voters[this.#turn % Math.max(1, voters.length)];
  }

  async #askLeader(leader: NodeId, origin: EntryOrigin, body: EntryBody): Promise<boolean> {
    const request: RequestBody = { type: 'propose', origin, body };
    const { ask, pull } = this.#options;
    const reply = await ask(leader, request, PROPOSE_TRY_MS).catch(() => undefined);
    this.#hint = hintOf(leader, reply);
    if (reply?.type !== 'proposed') return false;
    pull(reply.index, leader);
    return true;
  }
}

function hintOf(asked: NodeId, reply: ReplyBody | undefined): NodeId | undefined {
  if (reply?.type === 'proposed') return asked;
  return reply?.type === 'notLeader' && reply.leader !== 0 ? reply.leader : undefined;
}

function unknownOutcome(): OperatingError {
  return new OperatingError('no-quorum', 'this node was away: it can not know what was decided', {
    advice: 'retry',
    remedy: 'look whether it was done, then ask again',
  });
}

function noQuorum(timeoutMs: number): OperatingError {
  return new OperatingError(
    'no-quorum',
    `the cluster did not decide within ${Math.round(timeoutMs / 1000)} s: no majority of the voters answers`,
    { advice: 'retry', remedy: 'start the nodes that dog node list shows as down or not in reach' },
  );
}

/** Voters are the leader's to choose, by its own view (1.3); a format begins a log. */
export function isLeadersOwn({ type }: EntryBody): boolean {
  return (
    type === 'votersJoint' || type === 'votersFinal' || type === 'votersForced' || type === 'format'
  );
}
