// One partition: which objects it has, and the legal changes of its config (PROTOCOL 4.4). Each change is a pure
// function config -> config with cfg raised by one (I11), or a sentence that says why it is not legal. J never counts
// as a copy; I never becomes empty and keeps an old member (A7); |I| never sinks below minCopies (I6).

import { hash32 } from './hash.ts';
import type { ConfigVersion, FamilyId, NodeId } from './ids.ts';
import { invariant } from './invariant.ts';
import type { PartitionConfig } from './view.ts';

/** Most partitions of a policy. */
export const MAX_PARTITIONS = 65536;
/** Most members of W = I + J: the confirmations of a write fit one integer as bits. */
export const MAX_WRITE_SET = 31;

/** True for a member that counts as live: up in the map. */
export type IsLive = (node: NodeId) => boolean;

/** The config after a change, or why there is none. */
export type ConfigChange = PartitionConfig | string;

/** The hash part of the partition of an object: hash(family, index) mod P. */
export function partitionOf(family: FamilyId, index: number, partitions: number): number {
  return hash32(family, index) % partitions;
}

/** True for a usable P: a power of two from 1 to MAX_PARTITIONS. */
export function isPartitionCount(count: number): boolean {
  return (
    Number.isInteger(count) && count >= 1 && count <= MAX_PARTITIONS && (count & (count - 1)) === 0
  );
}

/** How many of I are live. */
export function liveCount(config: PartitionConfig, isLive: IsLive): number {
  let count = 0;
  for (const node of config.inSync) if (isLive(node)) count += 1;
  return count;
}

/** The write set W = I + J, sorted. */
export function writeSetOf(config: PartitionConfig): readonly NodeId[] {
  if (config.joining.length === 0) return config.inSync;
  return sorted([...config.inSync, ...config.joining]);
}

/**
 * Takes `node` out of I while at least `minCopies` live others stay (also a live one: slow, or its disk is full).
 */
export function shrink(
  config: PartitionConfig,
  node: NodeId,
  rule: { minCopies: number; isLive: IsLive },
): ConfigChange {
  if (!config.inSync.includes(node)) return `n${node} is not in sync here`;
  const rest = without(config.inSync, node);
  const live = rest.filter(rule.isLive).length;
  if (live < Math.max(1, rule.minCopies)) return 'fewer than minCopies live members would be left';
  return changed(config, rest, config.joining);
}

/**
 * Members just declared down leave J, and leave I where `minCopies` live members stay (1.4). Undefined: no change.
 */
export function dropDown(
  config: PartitionConfig,
  down: ReadonlySet<NodeId>,
  rule: { minCopies: number; isLive: IsLive },
): PartitionConfig | undefined {
  const keepsEnough = liveCount(config, rule.isLive) >= Math.max(1, rule.minCopies);
  const inSync = keepsEnough ? config.inSync.filter((node) => !down.has(node)) : config.inSync;
  const joining = config.joining.filter((node) => !down.has(node));
  const same = inSync.length === config.inSync.length && joining.length === config.joining.length;
  return same ? undefined : changed(config, inSync, joining);
}

/** J += node. */
export function join(config: PartitionConfig, node: NodeId): ConfigChange {
  if (config.inSync.includes(node)) return `n${node} is in sync already`;
  if (config.joining.includes(node)) return `n${node} is joining already`;
  if (config.inSync.length === 0) return 'nobody is in sync yet';
  if (config.inSync.length + config.joining.length >= MAX_WRITE_SET) return 'the write set is full';
  return changed(config, config.inSync, sorted([...config.joining, node]));
}

/** J -= node. */
export function abort(config: PartitionConfig, node: NodeId): ConfigChange {
  if (!config.joining.includes(node)) return `n${node} is not joining here`;
  return changed(config, config.inSync, without(config.joining, node));
}

/** J -= node, I += node, after a drain from `source`, a member of I (A8). */
export function promote(config: PartitionConfig, node: NodeId, source: NodeId): ConfigChange {
  if (!config.joining.includes(node)) return `n${node} is not joining here`;
  if (!config.inSync.includes(source)) return `the source n${source} is not in sync here`;
  return changed(config, sorted([...config.inSync, node]), without(config.joining, node));
}

/** I -= node, which is outside T, once all of T is in sync and `minCopies` live ones stay (I5, I6). */
export function release(
  config: PartitionConfig,
  node: NodeId,
  rule: { minCopies: number; isLive: IsLive },
): ConfigChange {
  if (!config.inSync.includes(node)) return `n${node} is not in sync here`;
  if (config.targets.includes(node)) return `the ring wants n${node} here`;
  if (config.targets.length === 0 || !containsAll(config.inSync, config.targets)) {
    return 'not all targets are in sync';
  }
  const rest = without(config.inSync, node);
  const live = rest.filter(rule.isLive).length;
  if (live < Math.max(1, rule.minCopies)) return 'fewer than minCopies live members would be left';
  return changed(config, rest, config.joining);
}

/** Why copies on `node` may not be deleted here; undefined when they may (I5). */
export function purgeBar(config: PartitionConfig, node: NodeId): string | undefined {
  if (config.inSync.includes(node)) return `n${node} is in sync here`;
  if (config.joining.includes(node)) return `n${node} is joining here`;
  if (config.targets.includes(node)) return `the ring wants n${node} here`;
  return isAtRest(config) ? undefined : 'the in-sync set is not what the ring wants';
}

/** True when I = T as sets and nobody is joining: nothing to do for recovery. */
export function isAtRest(config: PartitionConfig): boolean {
  const { inSync, targets, joining } = config;
  return joining.length === 0 && inSync.length === targets.length && containsAll(inSync, targets);
}

/** Ascending by node id; a new array. */
export function sorted(nodes: readonly NodeId[]): NodeId[] {
  return nodes.slice().sort((a, b) => a - b);
}

/** True when `all` is a subset of `set`. */
export function containsAll(set: readonly NodeId[], all: readonly NodeId[]): boolean {
  for (const node of all) if (!set.includes(node)) return false;
  return true;
}

function without(nodes: readonly NodeId[], node: NodeId): NodeId[] {
  return nodes.filter((one) => one !== node);
}

/** The only place where a config changes: A7 and I11 are checked here for all of them. */
function changed(
  config: PartitionConfig,
  inSync: readonly NodeId[],
  joining: readonly NodeId[],
): PartitionConfig {
  invariant(inSync.length > 0, 'an in-sync set never becomes empty (A7)');
  invariant(
    inSync.some((node) => config.inSync.includes(node)),
    'a change keeps an old member (A7)',
  );
  return { cfg: (config.cfg + 1) as ConfigVersion, targets: config.targets, inSync, joining };
}
