// One partition: which objects it has, and the legal changes of its config (PROTOCOL 4.4). Each change is a pure
// function config -> config with cfg raised by one (I11), or a sentence that says why it is not legal. J never counts
// as a copy; I never becomes empty and keeps an old member (A7); |I| never sinks below minCopies (I6).

import { hash32 } from './hash.ts';
import type { ConfigVersion, FamilyId, NodeId } from './ids.ts';
import { invariant } from './invariant.ts';
import type { PartitionConfig, Volume } from './view.ts';

/** Most partitions of a policy. */
export const MAX_PARTITIONS = 65536;
/** Most members of W = I + J: the confirmations of a write fit one integer as bits. */
export const MAX_WRITE_SET = 31;

/** True for a member that is up in the map. It is live in I(p) when it is sure, too: see `isSure`. */
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

/** How many of I are up, doubtful ones included: they confirm writes (R8). */
export function upCount(config: PartitionConfig, isLive: IsLive): number {
  let count = 0;
  for (const node of config.inSync) if (isLive(node)) count += 1;
  return count;
}

/** How many of I are live: up and sure. Only they count for what may leave I (R8). */
export function liveCount(config: PartitionConfig, isLive: IsLive): number {
  if (config.doubtful.length === 0) return upCount(config, isLive);
  let count = 0;
  for (const node of config.inSync) if (isLive(node) && isSure(config, node)) count += 1;
  return count;
}

/** True for a member of I that lacks nothing that was confirmed (R8). */
export function isSure(config: PartitionConfig, node: NodeId): boolean {
  return config.inSync.includes(node) && !config.doubtful.includes(node);
}

/**
 * Members of I that may answer reads of a volume: of a writeback volume the sure ones only (R7, R8); a durable volume
 * loses nothing in a restart.
 */
export function readersOf(
  config: PartitionConfig,
  durability: Volume['durability'],
): readonly NodeId[] {
  if (durability === 'durable' || config.doubtful.length === 0) return config.inSync;
  return config.inSync.filter((node) => !config.doubtful.includes(node));
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
  const live = rest.filter((one) => rule.isLive(one) && isSure(config, one)).length;
  if (live < Math.max(1, rule.minCopies)) return 'fewer than minCopies live members would be left';
  return changed(config, rest, config.joining);
}

/**
 * The same where no sure member of I is up: then doubtful ones count as live. Each of them has all that was ever
 * flushed, and a dead member must not block for ever (R8). Only for a member that is not up itself.
 */
export function shrinkUnsure(
  config: PartitionConfig,
  node: NodeId,
  rule: { minCopies: number; isLive: IsLive },
): ConfigChange {
  if (!config.inSync.includes(node)) return `n${node} is not in sync here`;
  if (rule.isLive(node)) return `n${node} is up`;
  if (liveCount(config, rule.isLive) > 0) return 'a sure member is up';
  const rest = without(config.inSync, node);
  const up = rest.filter(rule.isLive).length;
  if (up < Math.max(1, rule.minCopies)) return 'fewer than minCopies members would be left';
  return changed(config, rest, config.joining);
}

/**
 * A member of I that started after an unclean stop may lack confirmed writes of writeback volumes: doubtful from here on.
 * cfg rises also when it was doubtful already: what it confirmed in its last life may be gone, too (R8). Undefined: it
 * is not in I.
 */
export function doubt(config: PartitionConfig, node: NodeId): PartitionConfig | undefined {
  if (!config.inSync.includes(node)) return undefined;
  const doubtful = sorted([...without(config.doubtful, node), node]);
  return changed({ ...config, doubtful }, config.inSync, config.joining);
}

/**
 * Members of I that are not live become doubtful before a holder reads from the live ones alone (4.5): what was read
 * stays true, whatever they have beyond it (I12). Only where the dead ones may not leave.
 */
export function doubtAbsent(
  config: PartitionConfig,
  rule: { minCopies: number; isLive: IsLive },
): ConfigChange {
  const live = liveCount(config, rule.isLive);
  if (live === 0) return 'no sure member is up';
  if (live >= Math.max(1, rule.minCopies)) return 'minCopies live members are left';
  const absent = config.inSync.filter((node) => !rule.isLive(node) && isSure(config, node));
  if (absent.length === 0) return 'nobody who is down is sure';
  const doubtful = sorted([...config.doubtful, ...absent]);
  return changed({ ...config, doubtful }, config.inSync, config.joining);
}

/** The member has extended its objects from a sure one, or from all of I: doubtful no more (R8). */
export function settle(config: PartitionConfig, node: NodeId): ConfigChange {
  if (!config.doubtful.includes(node)) return `n${node} is not doubtful here`;
  const doubtful = without(config.doubtful, node);
  return changed({ ...config, doubtful }, config.inSync, config.joining);
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

/** J -= node, I += node, after a drain from `source`, a sure member of I (A8). */
export function promote(config: PartitionConfig, node: NodeId, source: NodeId): ConfigChange {
  if (!config.joining.includes(node)) return `n${node} is not joining here`;
  if (!config.inSync.includes(source)) return `the source n${source} is not in sync here`;
  if (!isSure(config, source)) return `the source n${source} is doubtful here`;
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
  const live = rest.filter((one) => rule.isLive(one) && isSure(config, one)).length;
  if (live < Math.max(1, rule.minCopies)) return 'fewer than minCopies live members would be left';
  return changed(config, rest, config.joining);
}

/**
 * A lost id leaves J, and I where another member is left, live or not: its copy does not exist any more, so this alone
 * may go below minCopies (1.4, I6). Undefined: no change.
 */
export function retire(config: PartitionConfig, node: NodeId): PartitionConfig | undefined {
  const rest = without(config.inSync, node);
  const inSync = rest.length === 0 ? config.inSync : rest;
  const joining = without(config.joining, node);
  const same = inSync.length === config.inSync.length && joining.length === config.joining.length;
  return same ? undefined : changed(config, inSync, joining);
}

/** LOST (section 6): every member of I is an identity that does not exist any more. */
export function isLost(config: PartitionConfig, isThere: IsLive): boolean {
  return config.inSync.length > 0 && !config.inSync.some(isThere);
}

/**
 * The operator goes on without what is lost: `node`, which holds nothing of the partition, is all of I; others join it.
 * The one change that keeps no old member (A7): there is none left.
 */
export function acceptLoss(config: PartitionConfig, node: NodeId, isThere: IsLive): ConfigChange {
  if (!isLost(config, isThere)) return 'it is not lost';
  // It might have taken writes, or keep what it had before.
  if (config.joining.includes(node)) return `n${node} is joining here`;
  const { targets } = config;
  const cfg = (config.cfg + 1) as ConfigVersion;
  return { cfg, targets, inSync: [node], joining: [], doubtful: [], unsureAt: cfg };
}

/** Why copies on `node` may not be deleted here; undefined when they may (I5). */
export function purgeBar(config: PartitionConfig, node: NodeId): string | undefined {
  if (config.inSync.includes(node)) return `n${node} is in sync here`;
  if (config.joining.includes(node)) return `n${node} is joining here`;
  if (config.targets.includes(node)) return `the ring wants n${node} here`;
  return isAtRest(config) ? undefined : 'the in-sync set is not what the ring wants';
}

/** True when I = T as sets, nobody is joining and nobody doubtful: nothing to do for recovery. */
export function isAtRest(config: PartitionConfig): boolean {
  const { inSync, targets, joining, doubtful } = config;
  if (joining.length > 0 || doubtful.length > 0) return false;
  return inSync.length === targets.length && containsAll(inSync, targets);
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
  const { targets } = config;
  // Who leaves I is not doubtful any more: it comes back by a drain.
  const doubtful = config.doubtful.filter((node) => inSync.includes(node));
  const cfg = (config.cfg + 1) as ConfigVersion;
  const unsureAt = doubtful.length === inSync.length ? cfg : config.unsureAt;
  const after = { cfg, targets, inSync, joining, doubtful };
  return unsureAt === undefined ? after : { ...after, unsureAt };
}
