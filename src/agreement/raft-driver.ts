// Drives core/raft/step.ts: timers, messages and finished syncs in, effects out. No promise between input and effect.
// It must not know what an entry means: committed entries go to the learner, which applies them.

import type { NodeId } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { EntryBody, EntryOrigin, LogEntry } from '../core/log-entry.ts';
import { termAt } from '../core/raft/log.ts';
import {
  createRaft,
  type LogBase,
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
  /** The leader's log starts behind ours: get a snapshot, from it or from anybody. */
  readonly onSnapshotNeeded: (index: number, from: NodeId) => void;
}

/** What a leader answers to a read that must be current (C2.3). */
export type ReadOutcome =
  | { readonly index: number }
  | { readonly index: undefined; readonly leader: NodeId | undefined };

/** A leader whose log took this long to sync in most of the last batches hands over (C2.7). */
export const SLOW_SYNC_MS = 500;
/** Batches that are looked at. */
export const SLOW_SYNC_BATCHES = 10;
/** A sync that is not back after this counts as a disk that hangs. */
export const HUNG_SYNC_MS = 2000;
/** Between two hand-overs of one node: where all disks are slow, the lead does not wander. */
export const HAND_OVER_PAUSE_MS = 60_000;

/** A peer that contradicted this node is told of for so long after it did so last. */
export const SPLIT_SHOWN_MS = 60_000;

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
  /** Highest commit index that an append named; it never falls. */
  #committedNamed = 0;
  #isStopped = false;
  /** When the sync under way began. */
  #syncStart: number | undefined;
  /** Times of the last syncs, in milliseconds; at most SLOW_SYNC_BATCHES. */
  readonly #syncTimes: number[] = [];
  #handedOverAt: number;
  /** Who contradicted this node's history, and when last; one entry per peer. */
  readonly #splits = new Map<NodeId, number>();
  #lastRead = 0;
  /** At most MAX_WAITING_READS: the reducer answers or refuses each. */
  readonly #reads = new Map<number, (outcome: ReadOutcome) => void>();
  #outcome: ProposeOutcome = { index: undefined, leader: undefined };

  constructor(options: RaftDriverOptions) {
    this.#options = options;
    const { self, log } = options;
    const { hardState, base, entries, commit, isMuted } = log;
    this.#state = createRaft({ self, hardState, base, entries, commit, isMuted });
    this.#handedOverAt = options.clock.now() - HAND_OVER_PAUSE_MS;
  }

  start(): void {
    this.#feed({ type: 'start' });
  }

  /** No effect happens after this; the log is closed by its owner. */
  stop(): void {
    this.#isStopped = true;
    for (const resolve of this.#reads.values()) resolve({ index: undefined, leader: undefined });
    this.#reads.clear();
    const { clock } = this.#options;
    if (this.#electionTimer !== undefined) clock.clearTimer(this.#electionTimer);
    if (this.#heartbeatTimer !== undefined) clock.clearTimer(this.#heartbeatTimer);
  }

  get role(): DriverRole {
    return roleOf(this.#state);
  }

  /** Peers whose history lately contradicted this node's (A1, A3). */
  get splitFrom(): readonly NodeId[] {
    const since = this.#options.clock.now() - SPLIT_SHOWN_MS;
    return [...this.#splits].filter(([, at]) => at >= since).map(([node]) => node);
  }

  /** That peer decided otherwise than this node knows. */
  noteSplit(node: NodeId): void {
    this.#splits.set(node, this.#options.clock.now());
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

  /** Committed entries from `from` on: at most `maxEntries`. Undefined where the log starts later. */
  committedFrom(from: number, maxEntries: number): readonly LogEntry[] | undefined {
    const { base, log } = this.#state;
    if (from <= base.index) return undefined;
    const end = Math.min(this.#options.log.commit, from - 1 + maxEntries);
    return log.slice(from - 1 - base.index, Math.max(0, end - base.index));
  }

  /** What a snapshot of `index` must name: its entry is still in the log. */
  baseAt(index: number): LogBase {
    const term = termAt(this.#state, index);
    invariant(term !== undefined, 'a snapshot is taken of what the log still has');
    const voters = this.#state.voterSets.findLast((set) => set.index <= index);
    return { index, term, voters };
  }

  /** First index that the log still has. */
  get firstIndex(): number {
    return this.#state.base.index + 1;
  }

  /** Voters that say that their logs are damaged, as this leader heard (C2.6). */
  get unableNodes(): readonly NodeId[] {
    return [...this.#state.progress].filter(([, { unable }]) => unable).map(([node]) => node);
  }

  /** True while this node, whose log is damaged, promises nothing (C2.6). */
  get isMuted(): boolean {
    return this.#state.isMuted;
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

  /** Entries that somebody knows to be committed, by gossip or pull. False: they contradict what is committed here. */
  learn(entries: readonly LogEntry[], commit: number, prevTerm?: number): boolean {
    const prev = prevTerm === undefined ? {} : { prevTerm };
    return this.#feed({ type: 'commitLearned', entries, commit, ...prev });
  }

  /** Of an entry that the log still has, or of the one that it starts behind. */
  termAt(index: number): number | undefined {
    return termAt(this.#state, index);
  }

  /** The last entry that is committed here. */
  get lastCommitted(): { readonly index: number; readonly term: number | undefined } {
    const { commit } = this.#state;
    return { index: commit, term: termAt(this.#state, commit) };
  }

  leaderGone(node: NodeId): void {
    this.#feed({ type: 'leaderGone', node });
  }

  /** A snapshot reaches beyond `index`: the log up to there may go. */
  compact(index: number): void {
    this.#feed({ type: 'compact', index });
  }

  /** A snapshot from elsewhere is durable here. */
  install(base: LogBase): void {
    this.#feed({ type: 'installed', base });
  }

  /** C2.6: the map says that this life, which began after the damage, is up. */
  unmute(): void {
    this.#feed({ type: 'unmute' });
  }

  /** Gives the lead to somebody who has all of the log, if there is anybody. */
  handOver(): void {
    this.#feed({ type: 'handOver' });
  }

  /** C2.3. Resolves when a majority confirmed this leader, or with whom to ask instead. */
  read(): Promise<ReadOutcome> {
    if (this.#isStopped) return Promise.resolve({ index: undefined, leader: undefined });
    this.#lastRead += 1;
    const id = this.#lastRead;
    const answer = new Promise<ReadOutcome>((resolve) => this.#reads.set(id, resolve));
    this.#feed({ type: 'read', id });
    return answer;
  }

  /** True while somebody who has no vote is fed by this node. */
  get hasLearners(): boolean {
    return this.#state.learners.length > 0;
  }

  setLearners(nodes: readonly NodeId[]): void {
    this.#feed({ type: 'setLearners', nodes });
  }

  /** False where the event breaks a rule of Raft. */
  #feed(event: RaftEvent): boolean {
    if (this.#isStopped) return true;
    const { effects } = step(this.#state, event, { randomMs: (min, max) => this.#draw(min, max) });
    const isSplit = effects.some((effect) => effect.type === 'violation');
    if (isSplit && event.type === 'message') this.noteSplit(event.from);
    for (const effect of effects) this.#perform(effect);
    return !isSplit;
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
    } else if (effect.type === 'snapshotNeeded') {
      this.#options.onSnapshotNeeded(effect.index, effect.from);
    } else if (effect.type === 'readReady') {
      this.#endRead(effect.id, { index: effect.index });
    } else if (effect.type === 'readRefused') {
      this.#endRead(effect.id, { index: undefined, leader: effect.leader });
    } else trace.warn('raft.violation', { detail: effect.detail });
  }

  #endRead(id: number, outcome: ReadOutcome): void {
    this.#reads.get(id)?.(outcome);
    this.#reads.delete(id);
  }

  #persist(effect: Extract<RaftEffect, { type: 'persist' }>): void {
    const { type: _type, then, ...append } = effect;
    const { clock, log } = this.#options;
    this.#committedNamed = Math.max(this.#committedNamed, append.commit ?? 0);
    const start = clock.now();
    this.#syncStart = start;
    log.append(append, () => {
      this.#syncStart = undefined;
      this.#syncTimes.push(clock.now() - start);
      if (this.#syncTimes.length > SLOW_SYNC_BATCHES) this.#syncTimes.shift();
      this.#feed(then);
    });
  }

  /** C2.7: a disk that is slow slows everybody: another voter leads better. Looked at with each heartbeat. */
  #considerHandOver(): void {
    const { clock, trace } = this.#options;
    if (this.#state.role !== 'leader') return;
    const now = clock.now();
    const hungMs = now - (this.#syncStart ?? now);
    const slow = this.#syncTimes.filter((ms) => ms >= SLOW_SYNC_MS).length;
    const isSlow = slow > SLOW_SYNC_BATCHES / 2 || hungMs >= HUNG_SYNC_MS;
    if (!isSlow || now - this.#handedOverAt < HAND_OVER_PAUSE_MS) return;
    this.#handedOverAt = now;
    trace.warn('raft.slow-log', { slow, hungMs: Math.round(hungMs) });
    this.#syncTimes.length = 0;
    this.handOver();
  }

  /**
   * One commit record is under way at a time; the next one covers all that was committed meanwhile. What went to the disk
   * with its entries (a node that learns hears of both at once) needs no further sync.
   */
  #syncCommit(index: number): void {
    this.#committedTarget = Math.max(this.#committedTarget, index);
    if (this.#committedInFlight) return;
    this.#committedInFlight = true;
    const { log, clock } = this.#options;
    const commit = Math.max(this.#committedTarget, this.#committedNamed);
    this.#committedNamed = commit;
    const act = (): void => {
      this.#committedInFlight = false;
      if (this.#isStopped) return;
      invariant(log.commit >= commit, 'the commit index is synced before it is acted on');
      this.#options.onCommitted();
      if (this.#committedTarget > commit) this.#syncCommit(this.#committedTarget);
    };
    // Not within the step whose effects are being carried out.
    if (log.commit >= commit) clock.soon(act);
    else log.append({ entries: [], commit }, act);
  }

  #replace(
    old: TimerHandle | undefined,
    ms: number,
    type: 'electionTimeout' | 'heartbeatTimeout',
  ): TimerHandle {
    const { clock } = this.#options;
    if (old !== undefined) clock.clearTimer(old);
    const isEarly = type === 'electionTimeout' && clock.rarely?.('election-early') === true;
    return clock.setTimer(isEarly ? 1 : ms, () => {
      this.#feed({ type });
      if (type === 'heartbeatTimeout') this.#considerHandOver();
    });
  }
}

function roleOf(state: RaftState): DriverRole {
  return state.role === 'preCandidate' ? 'candidate' : state.role;
}
