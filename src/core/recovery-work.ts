// What a node reads from its view about its own part in recovery: what it joins, most urgent first, where it can settle
// what it may lack, whom it asks, and which of its copies nobody wants. Pure.

import { changedPartitions } from './cluster-state.ts';
import { type NodeId, type PartitionId, partitionOfKey } from './ids.ts';
import { MAX_PARTITIONS_PER_ENTRY, type PartitionCas } from './log-entry.ts';
import { type IsLive, isSure, purgeBar } from './partition.ts';
import { URGENCY, type Urgency, urgencyOf } from './recovery-order.ts';
import { isRecoveryHeld } from './recovery-settings.ts';
import type { ClusterView, PartitionConfig } from './view.ts';

/** A partition with its config. */
export interface PartitionWork extends PartitionId {
  readonly config: PartitionConfig;
}

/** A partition that a node joins. */
export interface JoinWork extends PartitionWork {
  readonly urgency: Urgency;
}

/** The partitions that `self` is joining, most urgent first: what its catch-up has to do (4.8). */
export function joinsOf(view: ClusterView, self: NodeId): JoinWork[] {
  const work: JoinWork[] = [];
  const isLive: IsLive = (node) => view.members.get(node)?.state === 'up';
  for (const [policy, rule] of view.policies) {
    for (const p of view.explicitPartitions(policy)) {
      const config = view.partition(policy, p);
      if (!config.joining.includes(self)) continue;
      work.push({ policy, p, config, urgency: urgencyOf(config, rule, isLive) });
    }
  }
  return work.sort((a, b) => a.urgency - b.urgency);
}

/**
 * Those of them that may be copied now: all, or, where recovery is held, only what guests wait for, the partitions with
 * fewer than minCopies.
 */
export function joinsDue(view: ClusterView, self: NodeId): JoinWork[] {
  const joins = joinsOf(view, self);
  if (!isRecoveryHeld(view, self)) return joins;
  return joins.filter(({ urgency }) => urgency === URGENCY.below);
}

/**
 * The same, handed out one by one, most urgent first, while the map moves on: a step of it changes few of thousands, and
 * costs no more than these. Some may be named again; whoever asks looks at the cfg.
 */
export class DueJoins {
  readonly #self: NodeId;
  /** By urgency. Outdated ones are left out when their turn comes. */
  readonly #byUrgency: JoinWork[][] = [];
  #view: ClusterView | undefined;

  constructor(self: NodeId) {
    this.#self = self;
  }

  /** How many there are at most. */
  get count(): number {
    return this.#byUrgency.reduce((sum, list) => sum + list.length, 0);
  }

  /** The most urgent one by this view, which is not older than the one before. */
  next(view: ClusterView): JoinWork | undefined {
    this.#follow(view);
    for (const list of this.#byUrgency) {
      for (let work = list?.pop(); work !== undefined; work = list.pop()) {
        const { policy, p, config } = work;
        if (view.partition(policy, p).cfg === config.cfg) return work;
      }
    }
    return undefined;
  }

  #follow(view: ClusterView): void {
    const before = this.#view;
    this.#view = view;
    if (before === view) return;
    // Who is up, and what is held, concerns all of them.
    const isSame = before?.members === view.members && before.settings === view.settings;
    if (before === undefined || !isSame) {
      this.#byUrgency.length = 0;
      for (const work of joinsDue(view, this.#self).reverse()) this.#add(work);
      return;
    }
    const isLive: IsLive = (node) => view.members.get(node)?.state === 'up';
    for (const [policy, rule] of view.policies) {
      for (const p of changedPartitions(before, view, policy)) {
        const config = view.partition(policy, p);
        if (!config.joining.includes(this.#self) || !isJoinDue(view, this.#self, { policy, p }))
          continue;
        this.#add({ policy, p, config, urgency: urgencyOf(config, rule, isLive) });
      }
    }
  }

  #add(work: JoinWork): void {
    const { urgency } = work;
    while (this.#byUrgency.length <= urgency) this.#byUrgency.push([]);
    this.#byUrgency[urgency]?.push(work);
  }
}

/** True while this partition may be copied to `self`, which joins it. */
export function isJoinDue(view: ClusterView, self: NodeId, { policy, p }: PartitionId): boolean {
  const rule = view.policies.get(policy);
  if (rule === undefined) return false;
  if (!isRecoveryHeld(view, self)) return true;
  const isLive: IsLive = (node) => view.members.get(node)?.state === 'up';
  return urgencyOf(view.partition(policy, p), rule, isLive) === URGENCY.below;
}

/** True where the ring wants `self` and it is not in sync, and where it joins. */
export function isLacking({ targets, inSync, joining }: PartitionConfig, self: NodeId): boolean {
  return joining.includes(self) || (targets.includes(self) && !inSync.includes(self));
}

/** Those partitions. */
export function lacksOf(view: ClusterView, self: NodeId): PartitionWork[] {
  const work: PartitionWork[] = [];
  for (const policy of view.policies.keys()) {
    for (const p of view.explicitPartitions(policy)) {
      const config = view.partition(policy, p);
      if (isLacking(config, self)) work.push({ policy, p, config });
    }
  }
  return work;
}

/** A sure member of I that is up, other than `self`, to ask what there is; undefined: nobody can tell. */
export function sourceFor(
  view: ClusterView,
  config: PartitionConfig,
  self: NodeId,
): NodeId | undefined {
  return config.inSync.find((node) => {
    return node !== self && isSure(config, node) && view.members.get(node)?.state === 'up';
  });
}

/** The partitions where `self` is doubtful and can settle now (R8). */
export function doubtsOf(view: ClusterView, self: NodeId): PartitionWork[] {
  const work: PartitionWork[] = [];
  for (const policy of view.policies.keys()) {
    for (const p of view.explicitPartitions(policy)) {
      const config = view.partition(policy, p);
      const isDoubtful = config.doubtful.includes(self);
      if (isDoubtful && settlingSources(view, config, self) !== undefined) {
        work.push({ policy, p, config });
      }
    }
  }
  return work;
}

/** Whom a doubtful member asks: one sure member that is up, else all others of I, if all are up (R8). */
export function settlingSources(
  view: ClusterView,
  config: PartitionConfig,
  self: NodeId,
): readonly NodeId[] | undefined {
  const isLive: IsLive = (node) => view.members.get(node)?.state === 'up';
  const others = config.inSync.filter((node) => node !== self);
  const sure = others.find((node) => isSure(config, node) && isLive(node));
  if (sure !== undefined) return [sure];
  return others.every(isLive) ? others : undefined;
}

/**
 * Of the partitions that `self` holds rows of (partitionKey), those whose copies a purge would let it delete (I5). At
 * most MAX_PARTITIONS_PER_ENTRY: the list of one entry. None while recovery is held: a pause deletes nothing.
 */
export function surplusOf(
  view: ClusterView,
  self: NodeId,
  held: readonly number[],
): PartitionCas[] {
  const surplus: PartitionCas[] = [];
  if (isRecoveryHeld(view, self)) return surplus;
  for (const key of held) {
    if (surplus.length >= MAX_PARTITIONS_PER_ENTRY) break;
    const { policy, p } = partitionOfKey(key);
    const config = view.partition(policy, p);
    if (config.cfg === 0 || purgeBar(config, self) !== undefined) continue;
    surplus.push({ policy, p, cfg: config.cfg });
  }
  return surplus;
}
