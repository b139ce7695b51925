// What a node reads from its view about its own part in recovery: what it joins, most urgent first, where it can settle
// what it may lack, whom it asks, and which of its copies nobody wants. Pure.

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

/** True while this partition may be copied to `self`, which joins it. */
export function isJoinDue(view: ClusterView, self: NodeId, { policy, p }: PartitionId): boolean {
  const rule = view.policies.get(policy);
  if (rule === undefined) return false;
  if (!isRecoveryHeld(view, self)) return true;
  const isLive: IsLive = (node) => view.members.get(node)?.state === 'up';
  return urgencyOf(view.partition(policy, p), rule, isLive) === URGENCY.below;
}

/** The partitions that the ring wants on `self` and that are not in sync here, and those that it joins. */
export function lacksOf(view: ClusterView, self: NodeId): PartitionWork[] {
  const work: PartitionWork[] = [];
  for (const policy of view.policies.keys()) {
    for (const p of view.explicitPartitions(policy)) {
      const config = view.partition(policy, p);
      const { targets, inSync, joining } = config;
      const isWanted = targets.includes(self) && !inSync.includes(self);
      if (isWanted || joining.includes(self)) work.push({ policy, p, config });
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
