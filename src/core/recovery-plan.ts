// What the leader proposes for in-sync sets (4.4, C4.1), in the order of core/recovery-order.ts. One
// change per partition and plan, since each raises cfg; the next plan goes on. At rest, with all members up, only the
// explicit partitions are looked at; while a member is down all are, for I = T may hold it (too few were live).

import { FullTrials } from './full-trials.ts';
import { hash32 } from './hash.ts';
import { type NodeId, type PolicyId, partitionKey } from './ids.ts';
import { type EntryBody, MAX_PARTITIONS_PER_ENTRY, type PartitionCas } from './log-entry.ts';
import { type IsLive, liveCount, release, shrink, upCount } from './partition.ts';
import {
  admitted,
  JoinLoad,
  joinWindows,
  ObjectPlaces,
  URGENCY,
  type Urgency,
  urgencyOf,
} from './recovery-order.ts';
import { isRecoveryHeld, pauseOf } from './recovery-settings.ts';
import type { ClusterView, Member, PartitionConfig, Policy } from './view.ts';

/** After so long with one live member, a spare node joins (4.4). */
export const SPARE_AFTER_MS = 60_000;
/** After so long without a sure member that is up, doubtful ones count as live for a shrink (R8). */
export const UNSURE_AFTER_MS = 60_000;
/** Entries of one plan: below the proposals that a node may have in flight. */
export const MAX_ENTRIES_PER_PLAN = 16;

type Kind = 'shrink' | 'shrinkUnsure' | 'join' | 'abort' | 'release';

interface Change {
  readonly kind: Kind;
  readonly node: NodeId;
}

interface Planned extends Change {
  readonly policy: PolicyId;
  readonly urgency: Urgency;
  readonly isEmpty: boolean;
  /** Live copies: of equal urgency the fewest come first. */
  readonly live: number;
  readonly cas: PartitionCas;
}

interface LastPlan {
  readonly members: ClusterView['members'];
  readonly placement: ClusterView['placement'];
  readonly pause: string;
  /** ms */
  readonly until: number;
  readonly entries: EntryBody[];
}

/** Remembers since when partitions have one live member, or only doubtful ones; nothing else outlives a plan. */
export class ChangePlanner {
  /** partitionKey -> ms. At most one per partition that hangs on one member. */
  #lonelySince = new Map<number, number>();
  /** partitionKey -> ms, while no sure member is up. */
  #unsureSince = new Map<number, number>();
  readonly #fullTrials = new FullTrials();
  readonly #places = new ObjectPlaces();

  /** What the last look found, and until when it holds: a look at all partitions of a large cluster is dear. */
  #last: LastPlan | undefined;

  /**
   * The entries to propose now, most urgent first; empty when nothing is to be done. Asking twice changes nothing.
   * @param slow members that hold nothing where enough others do (C1.7), ascending
   */
  plan(view: ClusterView, now: number, slow: readonly NodeId[] = []): EntryBody[] {
    const { members, placement } = view;
    const pause = `${pauseOf(view)} ${slow.join()}`;
    const last = this.#last;
    const isSame = last?.members === members && last.placement === placement;
    if (isSame && last.pause === pause && now < last.until) return last.entries;
    const entries = this.#look(view, now, slow);
    this.#last = { members, placement, pause, until: this.#nextMoment(now), entries };
    return entries;
  }

  /** When time alone makes a difference: a partition has had one live member, or no sure one, for long enough. */
  #nextMoment(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const [sinces, afterMs] of [
      [this.#lonelySince, SPARE_AFTER_MS],
      [this.#unsureSince, UNSURE_AFTER_MS],
    ] as const) {
      for (const since of sinces.values()) {
        if (since + afterMs > now) next = Math.min(next, since + afterMs);
      }
    }
    return next;
  }

  #look(view: ClusterView, now: number, slow: readonly NodeId[]): EntryBody[] {
    const isLive: IsLive = (node) => view.members.get(node)?.state === 'up';
    // One that leaves would be copied to in vain.
    const mayJoin: IsLive = (node) => isLive(node) && view.members.get(node)?.standing === 'in';
    const lonely = new Map<number, number>();
    const unsure = new Map<number, number>();
    const load = new JoinLoad();
    const planned: Planned[] = [];
    this.#fullTrials.begin(view);
    for (const policy of view.policies.values()) {
      for (const p of slow.length > 0 ? allPartitions(view) : partitionsToSee(view, policy.id)) {
        const config = view.partition(policy.id, p);
        const live = liveCount(config, isLive);
        const key = partitionKey(policy.id, p);
        const urgency = urgencyOf(config, policy, isLive);
        this.#fullTrials.see(key, config);
        const isEmpty = !this.#places.has(view, policy.id, p);
        if (!isEmpty) for (const node of config.joining) load.note(node, urgency);
        const place = { policy: policy.id, urgency, live, isEmpty };
        const cas = { policy: policy.id, p, cfg: config.cfg };
        if (live === 0) {
          if (upCount(config, isLive) === 0) continue;
          const since = this.#unsureSince.get(key) ?? now;
          unsure.set(key, since);
          const change = unsureChangeOf(config, policy, isLive, now - since);
          if (change !== undefined) planned.push({ ...change, ...place, cas });
          continue;
        }
        const since = this.#lonelySince.get(key) ?? now;
        if (live === 1 && policy.copies > 1) lonely.set(key, since);
        const isLonely = live === 1 && policy.copies > 1 && now - since >= SPARE_AFTER_MS;
        const isSpared: IsLive = (node) => slow.includes(node) && live >= policy.minCopies;
        const mayHold: IsLive = (node) =>
          mayJoin(node) &&
          !isSpared(node) &&
          (hasRoom(view, node, live >= policy.copies) || this.#fullTrials.has(node, key));
        const change =
          changeOf(config, policy, isLive, mayHold) ??
          slowChangeOf(config, policy, isLive, slow) ??
          (isLonely ? spareFor(view, policy, p) : undefined);
        if (change !== undefined) planned.push({ ...change, ...place, cas });
      }
    }
    this.#lonelySince = lonely;
    this.#unsureSince = unsure;
    return entriesOf(view, begun(view, planned, load));
  }
}

/**
 * What of the plan is proposed now. Who leaves an in-sync set leaves at once, for guests wait; joins begin in their order
 * and number (4.8). A pause holds copies and the end of copies, but not a partition with fewer than minCopies.
 */
function begun(view: ClusterView, planned: readonly Planned[], load: JoinLoad): Planned[] {
  const isHeld = ({ kind, node, urgency }: Planned): boolean => {
    if (kind === 'join') return urgency !== URGENCY.below && isRecoveryHeld(view, node);
    return kind === 'release' && isRecoveryHeld(view, node);
  };
  const free = planned.filter((one) => !isHeld(one)).sort((a, b) => a.live - b.live);
  const joins = free.filter(({ kind }) => kind === 'join');
  const others = free.filter(({ kind }) => kind !== 'join');
  return [...others, ...admitted(joins, load, joinWindows(view))];
}

/** 4.9: a full disk takes no copy, a nearly full one none that only moves. */
export function hasRoom(view: ClusterView, node: NodeId, isMove: boolean): boolean {
  const space = view.members.get(node)?.space ?? 'ok';
  return space === 'ok' || (space === 'nearfull' && !isMove);
}

/** Partitions that lack a member which is up and has no room for them, and these members. */
export function partitionsWithoutRoom(view: ClusterView): {
  readonly count: number;
  readonly nodes: ReadonlySet<NodeId>;
} {
  const nodes = new Set<NodeId>();
  let count = 0;
  for (const policy of view.policies.values()) {
    for (const p of view.explicitPartitions(policy.id)) {
      const { inSync, joining, targets } = view.partition(policy.id, p);
      const isLive = (node: NodeId): boolean => view.members.get(node)?.state === 'up';
      // All copies are there: it only waits to be moved.
      if (inSync.filter(isLive).length >= policy.copies) continue;
      const left = targets.filter((node) => {
        const isMissing = !inSync.includes(node) && !joining.includes(node);
        return isMissing && isLive(node) && !hasRoom(view, node, false);
      });
      if (left.length > 0) count += 1;
      for (const node of left) nodes.add(node);
    }
  }
  return { count, nodes };
}

function allPartitions({ partitions }: ClusterView): Iterable<number> {
  return Array.from({ length: partitions }, (_, p) => p);
}

/** C1.7: a slow member leaves like a dead one, where minCopies sure members that are up stay. */
function slowChangeOf(
  config: PartitionConfig,
  policy: Policy,
  isLive: IsLive,
  slow: readonly NodeId[],
): Change | undefined {
  const node = config.inSync.find((one) => slow.includes(one) && isLive(one));
  if (node === undefined) return undefined;
  const rule = { minCopies: policy.minCopies, isLive };
  return typeof shrink(config, node, rule) === 'string' ? undefined : { kind: 'shrink', node };
}

function partitionsToSee(view: ClusterView, policy: PolicyId): Iterable<number> {
  for (const member of view.members.values()) {
    if (member.state === 'down' && member.standing === 'in') return allPartitions(view);
  }
  return view.explicitPartitions(policy);
}

/** The most urgent legal change of one partition; undefined when it needs none. */
function changeOf(
  config: PartitionConfig,
  policy: Policy,
  isLive: IsLive,
  mayJoin: IsLive,
): Change | undefined {
  const { inSync, joining, targets } = config;
  const gone = joining.find((node) => !mayJoin(node));
  if (gone !== undefined) return { kind: 'shrink', node: gone };
  const down = inSync.find((node) => !isLive(node));
  const canShrink = liveCount(config, isLive) >= Math.max(1, policy.minCopies);
  if (down !== undefined && canShrink) return { kind: 'shrink', node: down };
  const vain = joining.find((node) => !targets.includes(node));
  if (vain !== undefined && isVain(config, policy, isLive)) return { kind: 'abort', node: vain };
  const missing = targets.find((node) => {
    return mayJoin(node) && !inSync.includes(node) && !joining.includes(node);
  });
  if (missing !== undefined) return { kind: 'join', node: missing };
  const rule = { minCopies: policy.minCopies, isLive };
  const spare = inSync.find((node) => typeof release(config, node, rule) !== 'string');
  return spare === undefined ? undefined : { kind: 'release', node: spare };
}

/**
 * A copy that the ring does not want any more (a drain or a weight was taken back) is not made to the end, where enough
 * others are in sync without it. The last live member keeps its spare.
 */
function isVain(config: PartitionConfig, policy: Policy, isLive: IsLive): boolean {
  const live = liveCount(config, isLive);
  const wanted = Math.min(policy.copies, config.targets.length);
  return wanted > 0 && live >= wanted && (live > 1 || policy.copies === 1);
}

/**
 * Where only doubtful members are up, nobody can be a source: a joiner that is gone leaves, nobody joins. After a while
 * they count as live for a shrink, so that those who are down do not keep them from settling (R8).
 */
function unsureChangeOf(
  config: PartitionConfig,
  policy: Policy,
  isLive: IsLive,
  unsureMs: number,
): Change | undefined {
  const gone = config.joining.find((node) => !isLive(node));
  if (gone !== undefined) return { kind: 'shrink', node: gone };
  const down = config.inSync.find((node) => !isLive(node));
  const canShrink = upCount(config, isLive) >= Math.max(1, policy.minCopies);
  if (down === undefined || !canShrink || unsureMs < UNSURE_AFTER_MS) return undefined;
  return { kind: 'shrinkUnsure', node: down };
}

/** A member to join beside the last live one: of another zone first, else (unless strict) any; drawn by a hash. */
function spareFor(view: ClusterView, policy: Policy, p: number): Change | undefined {
  const { inSync, joining } = view.partition(policy.id, p);
  if (joining.length > 0) return undefined;
  const zones = new Set<string | undefined>();
  for (const node of inSync) {
    const member = view.members.get(node);
    if (member?.state === 'up') zones.add(member.zone);
  }
  let best: Member | undefined;
  let bestScore = -1;
  for (const member of view.members.values()) {
    const canHold = member.state === 'up' && member.standing === 'in' && member.weight > 0;
    if (!canHold || member.space === 'full' || inSync.includes(member.node)) continue;
    const isApart = !zones.has(member.zone);
    if (policy.strict && !isApart) continue;
    const score = hash32(partitionKey(policy.id, p), member.node) + (isApart ? 2 ** 32 : 0);
    if (score <= bestScore) continue;
    best = member;
    bestScore = score;
  }
  return best === undefined ? undefined : { kind: 'join', node: best.node };
}

/** One entry per kind and node, in the given order, each list and their number bounded. */
function entriesOf(view: ClusterView, planned: readonly Planned[]): EntryBody[] {
  const lists = new Map<string, { change: Change; partitions: PartitionCas[] }>();
  for (const one of planned) {
    const key = `${one.kind} ${one.node}`;
    let list = lists.get(key);
    if (list === undefined) {
      if (lists.size >= MAX_ENTRIES_PER_PLAN) continue;
      list = { change: one, partitions: [] };
      lists.set(key, list);
    }
    if (list.partitions.length < MAX_PARTITIONS_PER_ENTRY) list.partitions.push(one.cas);
  }
  return [...lists.values()].map(({ change, partitions }) => entryOf(view, change, partitions));
}

function entryOf(view: ClusterView, change: Change, partitions: PartitionCas[]): EntryBody {
  const { kind, node } = change;
  if (kind === 'shrink') return { type: 'isrShrink', partitions, node, reason: 'down' };
  if (kind === 'shrinkUnsure') {
    return { type: 'isrShrinkUnsure', partitions, node, reason: 'down, and nobody is sure' };
  }
  if (kind === 'release') return { type: 'isrRelease', partitions, node };
  if (kind === 'abort') return { type: 'isrAbort', partitions, node };
  const incarnation = view.members.get(node)?.incarnation as Member['incarnation'];
  return { type: 'isrJoin', partitions, node, incarnation };
}
