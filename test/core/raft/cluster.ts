// A cluster of Raft reducers in memory: virtual time, a network that loses, doubles and reorders, disks that forget what
// was not synced, nodes that crash in mid-sync. Everything is drawn from one seed. The checks run with every event:
// A1 (one leader per term), A2 (log matching), A3 (committed prefix), A9 (voter sets), and that a leader commits only
// what a quorum has on disk.

import type { MapIndex, NodeId } from '../../../src/core/ids.ts';
import type { EntryBody, EntryOrigin, LogEntry } from '../../../src/core/log-entry.ts';
import { entryAt, termAt } from '../../../src/core/raft/log.ts';
import {
  createRaft,
  type HardState,
  type LogBase,
  matchOf,
  NO_BASE,
  type PersistedEvent,
  type RaftEffect,
  type RaftEvent,
  type RaftMessage,
  type RaftState,
} from '../../../src/core/raft/state.ts';
import { step } from '../../../src/core/raft/step.ts';
import { allVoters, hasQuorum, type VoterSet, voterSetsOf } from '../../../src/core/raft/voters.ts';

export type Random = () => number;

/** mulberry32: uniform in [0, 1). */
export function randomOf(seed: number): Random {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export const FORMAT: EntryBody = {
  type: 'format',
  clusterId: '00' as never,
  name: 'test',
  partitions: 16,
  copies: 3,
  minCopies: 2,
  strict: false,
  objectBytes: 4194304,
  hashVersion: 1,
};

export function origin(node: number, counter: number): EntryOrigin {
  return { node: node as NodeId, incarnation: 1 as never, counter };
}

/** The first entry of every log here: node 1 formatted the cluster in term 1. */
export function formatEntry(): LogEntry {
  return { index: 1 as MapIndex, term: 1, origin: origin(1, 1), body: FORMAT };
}

type PersistEffect = Extract<RaftEffect, { type: 'persist' }>;

interface SimDisk {
  hardState: HardState;
  base: LogBase;
  entries: LogEntry[];
  commit: number;
  isMuted: boolean;
}

export interface SimNode {
  readonly id: NodeId;
  readonly disk: SimDisk;
  /** Undefined while crashed. */
  state: RaftState | undefined;
  life: number;
  electionTimer: number;
  heartbeatTimer: number;
  persisting: PersistEffect | undefined;
  /** A snapshot is on its way. */
  isFetching: boolean;
  /** The last proposal before its log was damaged: who knows a later one as committed may vote again (C2.6). */
  damagedAt: number;
}

export interface Faults {
  loss: number;
  duplication: number;
  maxDelayMs: number;
  maxSyncMs: number;
}

const CALM: Faults = { loss: 0, duplication: 0, maxDelayMs: 5, maxSyncMs: 5 };

export class RaftCluster {
  readonly random: Random;
  readonly nodes = new Map<NodeId, SimNode>();
  readonly committed: LogEntry[] = [];
  readonly leaders = new Map<number, NodeId>();
  /** Terms in which a leader rose, in order. */
  readonly elections: { readonly term: number; readonly node: NodeId; readonly at: number }[] = [];
  readonly cuts = new Set<string>();
  faults: Faults = { ...CALM };
  now = 0;
  counter = 10;
  readonly #reads = new Map<number, number>();
  readsDone = 0;
  #seq = 0;
  #queue: { at: number; seq: number; run: () => void }[] = [];

  constructor(seed: number, count: number) {
    this.random = randomOf(seed);
    for (let id = 1; id <= count; id += 1) this.#addNode(id as NodeId);
  }

  #addNode(id: NodeId): void {
    const first = id === 1;
    const disk: SimDisk = {
      hardState: { term: first ? 1 : 0, vote: 0 },
      base: NO_BASE,
      entries: first ? [formatEntry()] : [],
      commit: first ? 1 : 0,
      isMuted: false,
    };
    if (first) this.committed[0] = formatEntry();
    const timers = { life: 0, electionTimer: 0, heartbeatTimer: 0 };
    const idle = { state: undefined, persisting: undefined, isFetching: false, damagedAt: 0 };
    this.nodes.set(id, { id, disk, ...idle, ...timers });
  }

  node(id: number): SimNode {
    const node = this.nodes.get(id as NodeId);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  int(max: number): number {
    return Math.floor(this.random() * max);
  }

  after(ms: number, run: () => void): void {
    this.#seq += 1;
    this.#queue.push({ at: this.now + ms, seq: this.#seq, run });
  }

  /** Runs events until the virtual time is up. */
  run(ms: number): void {
    const end = this.now + ms;
    while (true) {
      let best = -1;
      for (let at = 0; at < this.#queue.length; at += 1) {
        const event = this.#queue[at];
        const rival = this.#queue[best];
        if (event === undefined || event.at > end) continue;
        if (
          rival === undefined ||
          event.at < rival.at ||
          (event.at === rival.at && event.seq < rival.seq)
        ) {
          best = at;
        }
      }
      const event = this.#queue[best];
      if (event === undefined) break;
      this.#queue[best] = this.#queue.at(-1) as typeof event;
      this.#queue.pop();
      this.now = event.at;
      event.run();
    }
    this.now = end;
    this.checkLogMatching();
  }

  runUntil(what: string, isTrue: () => boolean, maxMs: number): number {
    const start = this.now;
    while (!isTrue()) {
      if (this.now - start > maxMs) throw new Error(`not within ${maxMs} ms: ${what}`);
      this.run(10);
    }
    return this.now - start;
  }

  start(id: number): void {
    const node = this.node(id);
    node.life += 1;
    node.state = createRaft({ self: node.id, ...node.disk });
    this.feed(node, { type: 'start' });
  }

  startAll(): void {
    for (const node of this.nodes.values()) if (node.state === undefined) this.start(node.id);
  }

  /** The process dies; of a sync under way any prefix may have reached the disk. */
  crash(id: number): void {
    const node = this.node(id);
    if (node.persisting !== undefined) this.#write(node, node.persisting, this.random());
    node.persisting = undefined;
    node.isFetching = false;
    node.state = undefined;
    node.life += 1;
  }

  cut(from: number, to: number): void {
    this.cuts.add(`${from}>${to}`);
  }

  isolate(id: number): void {
    for (const other of this.nodes.keys()) {
      this.cut(id, other);
      this.cut(other, id);
    }
  }

  heal(): void {
    this.cuts.clear();
    this.faults = { ...CALM };
  }

  leader(): SimNode | undefined {
    const leaders = [...this.nodes.values()].filter((node) => node.state?.role === 'leader');
    return leaders.sort((a, b) => (b.state?.term ?? 0) - (a.state?.term ?? 0))[0];
  }

  propose(
    node: SimNode,
    body: EntryBody = { type: 'setting', key: 'k', value: 'v' },
  ): readonly RaftEffect[] {
    this.counter += 1;
    const item = { origin: origin(node.id, this.counter), body };
    return this.feed(node, { type: 'propose', items: [item] });
  }

  /** Changes the voters of the leader: makes them learners first, waits until they have caught up, proposes. */
  changeVoters(next: readonly number[]): boolean {
    const leader = this.leader();
    const state = leader?.state;
    const set = state?.voterSets.at(-1);
    if (leader === undefined || state === undefined || set === undefined) return false;
    const nodes = next as readonly NodeId[];
    this.feed(leader, { type: 'setLearners', nodes });
    if (nodes.some((node) => matchOf(state, node) < state.commit)) return false;
    const effects = this.propose(leader, { type: 'votersJoint', old: set.voters, next: nodes });
    return effects.some((effect) => effect.type === 'proposed');
  }

  /** One node tells another what it knows to be committed (gossip, pull). */
  gossip(from: SimNode, to: SimNode): void {
    const known = from.state;
    if (known === undefined || to.state === undefined) return;
    const start = Math.max(0, to.state.commit - this.int(3) - known.base.index);
    if (to.state.commit < known.base.index) {
      this.fetchSnapshot(to, from);
      return;
    }
    const entries = known.log.slice(start, start + 1 + this.int(30));
    const prevTerm = known.log[start - 1]?.term ?? known.base.term;
    this.feed(to, { type: 'commitLearned', entries, commit: known.commit, prevTerm });
  }

  /** Drops what a node has committed, but for a few entries: a snapshot holds it. */
  compact(node: SimNode): void {
    const index = node.disk.commit - this.int(5);
    this.feed(node, { type: 'compact', index });
  }

  /** A snapshot travels for a while, is written, and is installed: what its source has committed by now. */
  fetchSnapshot(to: SimNode, from: SimNode): void {
    const source = from.state;
    if (to.isFetching || source === undefined) return;
    const index = source.base.index + this.int(source.commit - source.base.index + 1);
    const term = termAt(source, index);
    if (term === undefined || index === 0) return;
    const voters = source.voterSets.findLast((set) => set.index <= index);
    to.isFetching = true;
    const { life } = to;
    this.after(this.random() * 50, () => {
      to.isFetching = false;
      if (to.life === life) this.feed(to, { type: 'installed', base: { index, term, voters } });
    });
  }

  /** The log of a node that is not running lost its tail: it starts muted (C2.6). */
  damage(id: number): void {
    const { disk } = this.node(id);
    const kept = disk.base.index + this.int(disk.commit - disk.base.index + 1);
    disk.entries.length = kept - disk.base.index;
    disk.commit = kept;
    disk.hardState = { term: disk.entries.at(-1)?.term ?? disk.base.term, vote: 0 };
    disk.isMuted = true;
    this.node(id).damagedAt = this.counter;
  }

  /** What Agreement does once the map says that this life is up. */
  unmuteWhoMay(): void {
    for (const node of this.nodes.values()) {
      if (node.state?.isMuted !== true) continue;
      const known = this.committed.slice(0, node.state.commit);
      if (known.some((entry) => entry.origin.counter > node.damagedAt))
        this.feed(node, { type: 'unmute' });
    }
  }

  /** Asks a node that believes to lead for a current index; checks the answer (C2.3). */
  read(node: SimNode): void {
    this.counter += 1;
    this.#reads.set(this.counter, this.committed.length);
    this.feed(node, { type: 'read', id: this.counter });
  }

  feed(node: SimNode, event: RaftEvent): readonly RaftEffect[] {
    const state = node.state;
    if (state === undefined) return [];
    const commitBefore = state.commit;
    const draw = { randomMs: (min: number, max: number) => min + this.int(max - min + 1) };
    const { effects } = step(state, event, draw);
    if (state.isMuted && ['candidate', 'leader'].includes(state.role))
      throw new Error('C2.6: a muted node wants to lead');
    for (const effect of effects) this.#perform(node, effect);
    if (state.role === 'leader' && state.commit > commitBefore) this.#checkQuorumOnDisk(state);
    return effects;
  }

  #perform(node: SimNode, effect: RaftEffect): void {
    if (effect.type === 'send') this.#send(node.id, effect.to, effect.message);
    else if (effect.type === 'persist') this.#persist(node, effect);
    else if (effect.type === 'committed') this.#checkCommitted(node, effect.index);
    else if (effect.type === 'electionTimer') this.#arm(node, 'electionTimer', effect.ms);
    else if (effect.type === 'heartbeatTimer') this.#arm(node, 'heartbeatTimer', effect.ms);
    else if (effect.type === 'roleChanged' && effect.role === 'leader') this.#checkLeader(node);
    else if (effect.type === 'snapshotNeeded') this.fetchSnapshot(node, this.node(effect.from));
    else if (effect.type === 'readReady') this.#checkRead(effect.id, effect.index);
    else if (effect.type === 'violation')
      throw new Error(`violation at n${node.id}: ${effect.detail}`);
  }

  #arm(node: SimNode, timer: 'electionTimer' | 'heartbeatTimer', ms: number): void {
    node[timer] += 1;
    const number = node[timer];
    const { life } = node;
    const type = timer === 'electionTimer' ? 'electionTimeout' : 'heartbeatTimeout';
    this.after(ms, () => {
      if (node.life === life && node[timer] === number) this.feed(node, { type });
    });
  }

  #persist(node: SimNode, effect: PersistEffect): void {
    if (node.persisting !== undefined) throw new Error('two persists under way');
    node.persisting = effect;
    const { life } = node;
    this.after(this.random() * this.faults.maxSyncMs, () => {
      if (node.life !== life) return;
      node.persisting = undefined;
      this.#write(node, effect, 1);
      this.feed(node, effect.then as PersistedEvent);
    });
  }

  /** Writes a share of the effect in its order: hard state, cut, entries. */
  #write(node: SimNode, effect: PersistEffect, share: number): void {
    const steps: (() => void)[] = [];
    const { disk } = node;
    const { hardState, truncateFrom, base, isReset, unmutes } = effect;
    if (hardState !== undefined) {
      steps.push(() => {
        disk.hardState = hardState;
      });
    }
    if (unmutes === true) {
      steps.push(() => {
        disk.isMuted = false;
      });
    }
    if (base !== undefined) {
      steps.push(() => {
        disk.entries.splice(0, isReset === true ? Infinity : base.index - disk.base.index);
        disk.base = base;
        disk.commit = Math.max(disk.commit, base.index);
      });
    }
    if (truncateFrom !== undefined) {
      steps.push(() => {
        disk.entries.length = truncateFrom - 1 - disk.base.index;
      });
    }
    for (const entry of effect.entries) {
      steps.push(() => {
        if (entry.index !== disk.base.index + disk.entries.length + 1)
          throw new Error('a gap in the file');
        disk.entries.push(entry);
      });
    }
    const { commit } = effect;
    if (commit !== undefined) {
      steps.push(() => {
        disk.commit = Math.max(disk.commit, commit);
      });
    }
    const count = share === 1 ? steps.length : Math.floor(share * (steps.length + 1));
    for (const write of steps.slice(0, count)) write();
  }

  #send(from: NodeId, to: NodeId, message: RaftMessage): void {
    const times = this.random() < this.faults.duplication ? 2 : 1;
    for (let i = 0; i < times; i += 1) {
      if (this.random() < this.faults.loss) continue;
      this.after(0.2 + this.random() * this.faults.maxDelayMs, () => {
        const receiver = this.nodes.get(to);
        if (receiver === undefined || this.cuts.has(`${from}>${to}`)) return;
        this.feed(receiver, { type: 'message', from, message });
      });
    }
  }

  // ------------------------------------------------------------------------------------------- checks

  #checkLeader(node: SimNode): void {
    const term = node.state?.term ?? 0;
    const other = this.leaders.get(term);
    if (other !== undefined) throw new Error(`A1: n${other} and n${node.id} lead term ${term}`);
    this.leaders.set(term, node.id);
    this.elections.push({ term, node: node.id, at: this.now });
    for (const entry of this.committed) {
      const state = node.state as RaftState;
      if (entry.index <= state.base.index) continue;
      if (!isSame(entryAt(state, entry.index), entry))
        throw new Error(`A3: leader n${node.id} lacks committed ${entry.index}`);
    }
  }

  #checkRead(id: number, index: number): void {
    const known = this.#reads.get(id) ?? 0;
    if (index < known) throw new Error(`C2.3: a read saw ${index} where ${known} was committed`);
    this.readsDone += 1;
  }

  #checkCommitted(node: SimNode, index: number): void {
    const { disk } = node;
    disk.commit = index;
    const first = disk.base.index + 1;
    if (disk.base.index + disk.entries.length < index)
      throw new Error('C2.9: committed before it is synced here');
    for (let i = first; i <= index; i += 1) {
      const own = disk.entries[i - first] as LogEntry;
      const known = this.committed[i - 1];
      if (known === undefined) this.committed[i - 1] = own;
      else if (!isSame(known, own))
        throw new Error(`A3: n${node.id} commits another entry at ${i}`);
    }
    this.#checkVoterSets();
  }

  #checkQuorumOnDisk(state: RaftState): void {
    const entry = entryAt(state, state.commit) as LogEntry;
    const has = (id: NodeId) => {
      const { base, entries, isMuted } = this.node(id).disk;
      // It had it when it said so. Nobody is elected by a muted voter, so the loss elects nobody who lacks it.
      if (isMuted) return true;
      if (entry.index <= base.index) return true;
      return isSame(entries[entry.index - 1 - base.index], entry);
    };
    if (!hasQuorum(state.voterSets.at(-1), has)) {
      throw new Error(`C2.1: n${state.self} commits ${entry.index} without a quorum on disk`);
    }
  }

  /** A9: a change goes final -> joint (starting from it) -> final. */
  #checkVoterSets(): void {
    let last: VoterSet | undefined;
    for (const set of voterSetsOf(this.committed)) {
      const expected = last?.next ?? last?.voters;
      if (expected !== undefined && `${expected}` !== `${set.voters}`)
        throw new Error('A9: sets do not meet');
      if (last !== undefined && (last.next === undefined) === (set.next === undefined)) {
        throw new Error('A9: no joint phase between two sets');
      }
      last = set;
    }
  }

  /** A2: where two logs have an entry of one index and term, they are equal up to there, as far as both are kept. */
  checkLogMatching(): void {
    const logs = [...this.nodes.values()].map((node) => node.state ?? rawOf(node.disk));
    for (const a of logs) {
      for (const b of logs) {
        let isEqual = a !== b;
        const first = Math.max(a.base.index, b.base.index) + 1;
        const last = Math.min(endOf(a), endOf(b));
        for (let i = first; i <= last; i += 1) {
          if (isSame(a.log[i - 1 - a.base.index], b.log[i - 1 - b.base.index])) {
            if (!isEqual && a !== b) throw new Error(`A2: logs meet again at ${i}`);
          } else isEqual = false;
        }
      }
    }
  }

  votersOf(node: SimNode): readonly NodeId[] {
    return allVoters(node.state?.voterSets.at(-1));
  }
}

type RawLog = Pick<RaftState, 'base' | 'log'>;

function rawOf({ base, entries }: SimDisk): RawLog {
  return { base, log: entries };
}

function endOf({ base, log }: RawLog): number {
  return base.index + log.length;
}

export function isSame(a: LogEntry | undefined, b: LogEntry | undefined): boolean {
  if (a === undefined || b === undefined || a.term !== b.term) return false;
  return (
    a.origin.counter === b.origin.counter &&
    a.origin.node === b.origin.node &&
    a.body.type === b.body.type
  );
}

/** A cluster whose voters are `count` nodes, with a leader, calm. */
export function clusterOf(seed: number, count: number): RaftCluster {
  const cluster = new RaftCluster(seed, count);
  cluster.startAll();
  cluster.runUntil('first leader', () => cluster.leader() !== undefined, 1000);
  if (count === 1) return cluster;
  const all = [...cluster.nodes.keys()];
  cluster.runUntil('voters changed', () => cluster.changeVoters(all), 5000);
  const isDone = () =>
    [...cluster.nodes.values()].every((node) => {
      const set = node.state?.voterSets.at(-1);
      return (
        set?.next === undefined &&
        set?.voters.length === count &&
        (node.state?.commit ?? 0) >= set.index
      );
    });
  cluster.runUntil('all know the final voters', isDone, 5000);
  return cluster;
}
