// Drives core/raft/step.ts: timers, messages and finished syncs in, effects out. No promise between input and effect.
// It must not know what an entry means: committed entries go to the learner, which applies them.

import type { NodeId } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { EntryBody, EntryOrigin, LogEntry } from '../core/log-entry.ts';
import {
  createRaft,
  matchOf,
  type RaftEffect,
  type RaftEvent,
  type RaftMessage,
  type RaftState,
} from '../core/raft/state.ts';
import { step } from '../core/raft/step.ts';
import type { Clock, Random, TimerHandle, Trace } from '../ports/ports.ts';
import type { RaftLog } from '../storage/raft-log.ts';

export type DriverRole = 'leader' | 'follower' | 'candidate' | 'learner';

export interface RaftDriverOptions {
  readonly self: NodeId;
  readonly log: RaftLog;
  readonly clock: Clock;
  readonly random: Random;
  readonly trace: Trace;
  readonly send: (to: NodeId, message: RaftMessage) => void;
  /** Entries up to the log's commit index are committed, synced here, and may be acted on (C2.9). */
  readonly onCommitted: () => void;
  readonly onRole: (role: DriverRole, leader: NodeId | undefined) => void;
}

/** What became of a proposal handed to this node. */
export type ProposeOutcome =
  | { readonly index: number }
  | { readonly index: undefined; readonly leader: NodeId | undefined };

/** One node's Raft member: a voter, or a learner that only records what is committed. */
export class RaftDriver {
  readonly #options: RaftDriverOptions;
  readonly #state: RaftState;
  #electionTimer: TimerHandle | undefined;
  #heartbeatTimer: TimerHandle | undefined;
  #committedInFlight = false;
  #committedTarget = 0;
  #isStopped = false;
  #outcome: ProposeOutcome = { index: undefined, leader: undefined };

  constructor(options: RaftDriverOptions) {
    this.#options = options;
    const { self, log } = options;
    const { hardState, entries, commit } = log;
    this.#state = createRaft({ self, hardState, entries, commit });
  }

  start(): void {
    this.#feed({ type: 'start' });
  }

  /** No effect happens after this; the log is closed by its owner. */
  stop(): void {
    this.#isStopped = true;
    const { clock } = this.#options;
    if (this.#electionTimer !== undefined) clock.clearTimer(this.#electionTimer);
    if (this.#heartbeatTimer !== undefined) clock.clearTimer(this.#heartbeatTimer);
  }

  get role(): DriverRole {
    return roleOf(this.#state);
  }

  get leader(): NodeId | undefined {
    return this.#state.leader;
  }

  get term(): number {
    return this.#state.term;
  }

  /** Highest index known to be committed, perhaps not synced as such yet. */
  get commit(): number {
    return this.#state.commit;
  }

  /** Highest index synced on that node, as this leader knows. */
  matchOf(node: NodeId): number {
    return matchOf(this.#state, node);
  }

  /** Committed entries from `from` on: at most `maxEntries`. */
  committedFrom(from: number, maxEntries: number): readonly LogEntry[] {
    const end = Math.min(this.#options.log.commit, from - 1 + maxEntries);
    return this.#state.log.slice(from - 1, end);
  }

  receive(from: NodeId, message: RaftMessage): void {
    this.#feed({ type: 'message', from, message });
  }

  /** Appends to the leader's log; says where, or who else may lead. */
  propose(origin: EntryOrigin, body: EntryBody): ProposeOutcome {
    this.#outcome = { index: undefined, leader: undefined };
    this.#feed({ type: 'propose', items: [{ origin, body }] });
    return this.#outcome;
  }

  /** Entries that somebody knows to be committed, by gossip or pull. */
  learn(entries: readonly LogEntry[], commit: number): void {
    this.#feed({ type: 'commitLearned', entries, commit });
  }

  leaderGone(node: NodeId): void {
    this.#feed({ type: 'leaderGone', node });
  }

  setLearners(nodes: readonly NodeId[]): void {
    this.#feed({ type: 'setLearners', nodes });
  }

  #feed(event: RaftEvent): void {
    if (this.#isStopped) return;
    const { effects } = step(this.#state, event, { randomMs: (min, max) => this.#draw(min, max) });
    for (const effect of effects) this.#perform(effect);
  }

  #draw(min: number, max: number): number {
    return min + (this.#options.random.u32() % (max - min + 1));
  }

  #perform(effect: RaftEffect): void {
    const { send, onRole, trace } = this.#options;
    if (effect.type === 'persist') this.#persist(effect);
    else if (effect.type === 'send') send(effect.to, effect.message);
    else if (effect.type === 'committed') this.#syncCommit(effect.index);
    else if (effect.type === 'electionTimer') {
      this.#electionTimer = this.#replace(this.#electionTimer, effect.ms, 'electionTimeout');
    } else if (effect.type === 'heartbeatTimer') {
      this.#heartbeatTimer = this.#replace(this.#heartbeatTimer, effect.ms, 'heartbeatTimeout');
    } else if (effect.type === 'roleChanged') {
      const { role, leader, term } = effect;
      trace.event('raft.role', { role, leader: leader ?? 0, term });
      onRole(roleOf(this.#state), leader);
    } else if (effect.type === 'proposed') {
      this.#outcome = { index: effect.items[0]?.index ?? 0 };
    } else if (effect.type === 'refusedProposals') {
      this.#outcome = { index: undefined, leader: effect.leader };
    } else trace.warn('raft.violation', { detail: effect.detail });
  }

  #persist(effect: Extract<RaftEffect, { type: 'persist' }>): void {
    const { hardState, truncateFrom, entries, then } = effect;
    this.#options.log.append(
      {
        ...(hardState === undefined ? {} : { hardState }),
        ...(truncateFrom === undefined ? {} : { truncateFrom }),
        entries,
      },
      () => this.#feed(then),
    );
  }

  /** One commit record is under way at a time; the next one covers all that was committed meanwhile. */
  #syncCommit(index: number): void {
    this.#committedTarget = Math.max(this.#committedTarget, index);
    if (this.#committedInFlight) return;
    this.#committedInFlight = true;
    const commit = this.#committedTarget;
    this.#options.log.append({ entries: [], commit }, () => {
      this.#committedInFlight = false;
      if (this.#isStopped) return;
      invariant(
        this.#options.log.commit >= commit,
        'the commit index is synced before it is acted on',
      );
      this.#options.onCommitted();
      if (this.#committedTarget > commit) this.#syncCommit(this.#committedTarget);
    });
  }

  #replace(
    old: TimerHandle | undefined,
    ms: number,
    type: 'electionTimeout' | 'heartbeatTimeout',
  ): TimerHandle {
    const { clock } = this.#options;
    if (old !== undefined) clock.clearTimer(old);
    return clock.setTimer(ms, () => this.#feed({ type }));
  }
}

function roleOf(state: RaftState): DriverRole {
  return state.role === 'preCandidate' ? 'candidate' : state.role;
}
