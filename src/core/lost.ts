// What is lost for good (section 6), for people and for the one who accepts it: partitions whose every in-sync member is
// retired, and the ranges of volumes that lie in them. Pure.

import type { NodeId } from './ids.ts';
import type { PartitionCas } from './log-entry.ts';
import { isLost, partitionOf } from './partition.ts';
import { divideUp, OBJECT_BYTES } from './units.ts';
import type { ClusterView, PartitionConfig, Volume } from './view.ts';

/** Bytes from-to of a volume, `to` not included. */
export interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/** The part of a volume that is lost. */
export interface VolumeLoss {
  readonly volume: Volume;
  readonly ranges: readonly ByteRange[];
  readonly bytes: number;
}

/** True when no copy of this partition exists any more. */
export function isLostIn(view: ClusterView, config: PartitionConfig): boolean {
  return isLost(config, (node) => view.members.has(node));
}

/** Every lost partition, with the cfg at which it is. */
export function lostPartitions(view: ClusterView): PartitionCas[] {
  const lost: PartitionCas[] = [];
  // Nobody is lost before somebody was retired.
  if (view.retired.size === 0) return lost;
  for (const policy of view.policies.keys()) {
    for (const p of view.explicitPartitions(policy)) {
      const config = view.partition(policy, p);
      if (isLostIn(view, config)) lost.push({ policy, p, cfg: config.cfg });
    }
  }
  return lost;
}

/** What would be lost with this member: its copies are the only ones that are left. */
export function lossWithout(view: ClusterView, node: NodeId): VolumeLoss[] {
  const alone: PartitionCas[] = [];
  for (const policy of view.policies.keys()) {
    for (let p = 0; p < view.partitions; p += 1) {
      const { inSync, cfg } = view.partition(policy, p);
      const isLast = inSync.every((one) => one === node || !view.members.has(one));
      if (isLast && inSync.includes(node)) alone.push({ policy, p, cfg });
    }
  }
  return lossesOf(view, alone);
}

/** The volumes with a part in these partitions, and which part. */
export function lossesOf(view: ClusterView, lost: readonly PartitionCas[]): VolumeLoss[] {
  const parts = new Map<number, Set<number>>();
  for (const { policy, p } of lost) parts.set(policy, (parts.get(policy) ?? new Set()).add(p));
  const losses: VolumeLoss[] = [];
  for (const volume of view.volumes.values()) {
    const part = parts.get(volume.policy);
    const ranges = part === undefined ? [] : rangesIn(view, volume, part);
    const bytes = ranges.reduce((sum, { from, to }) => sum + to - from, 0);
    if (bytes > 0) losses.push({ volume, ranges, bytes });
  }
  return losses;
}

function rangesIn(view: ClusterView, volume: Volume, part: ReadonlySet<number>): ByteRange[] {
  const ranges: { from: number; to: number }[] = [];
  const objects = divideUp(volume.sizeBytes, OBJECT_BYTES);
  for (let index = 0; index < objects; index += 1) {
    if (!part.has(partitionOf(volume.family, index, view.partitions))) continue;
    const from = index * OBJECT_BYTES;
    const to = Math.min(from + OBJECT_BYTES, volume.sizeBytes);
    const last = ranges.at(-1);
    if (last?.to === from) last.to = to;
    else ranges.push({ from, to });
  }
  return ranges;
}

/** Members that are down and hold the only copies of something: they may return, so nothing of it is lost yet. */
export function lastHolders(view: ClusterView): readonly NodeId[] {
  const isUp = (node: NodeId): boolean => view.members.get(node)?.state === 'up';
  const found = new Set<NodeId>();
  for (const policy of view.policies.keys()) {
    for (let p = 0; p < view.partitions; p += 1) {
      const { inSync } = view.partition(policy, p);
      if (inSync.some(isUp)) continue;
      for (const node of inSync) if (view.members.has(node)) found.add(node);
    }
  }
  return [...found].sort((a, b) => a - b);
}
