// How a replica judges a request against its own applied map, in this order: is the map new enough, does the generation
// live, is the token not older (F1), is the cfg equal (F2), is this node in the sets. Pure.

import type { NodeId } from '../core/ids.ts';
import { partitionOf } from '../core/partition.ts';
import type { ClusterView, PartitionConfig, Volume } from '../core/view.ts';
import { type Frame, STATUS, type Status } from '../wire/frame.ts';
import type { PartitionCfg } from '../wire/payloads.ts';

/** F1, by the volume's record. A token above the map's can not be: the sender names an index at or above its grant. */
export function judgeToken(volume: Volume | undefined, token: number): Status {
  if (volume === undefined) return STATUS.GONE;
  if (token < volume.lock.token) return STATUS.FENCED;
  return token > volume.lock.token ? STATUS.BAD : STATUS.OK;
}

/**
 * S3. A frozen generation is written by nobody; whoever reads it carries no token. The holder of its volume, who does not
 * know yet, learns it by this.
 */
export function judgeFrozen(place: ObjectPlace, frame: Frame, isWrite: boolean): Status {
  return place.isFrozen && (isWrite || frame.token !== 0) ? STATUS.FROZEN : STATUS.OK;
}

/** F2. The map is at the sender's index, so a cfg above ours can not be: the sender is confused. */
export function judgeCfg(config: PartitionConfig, cfg: number): Status {
  if (cfg < config.cfg) return STATUS.STALE;
  return cfg > config.cfg ? STATUS.BAD : STATUS.OK;
}

/** What is known of the object of a request: its volume, and its partition as the receiver computes it. */
export interface ObjectPlace {
  readonly volume: Volume;
  /** Nothing can be written to its generation any more (S3). */
  readonly isFrozen: boolean;
  readonly p: number;
  readonly config: PartitionConfig;
}

/** The place of a request on one object, or why there is none. The hash part in the frame is a check. */
export function placeOf(view: ClusterView, frame: Frame): ObjectPlace | Status {
  const volume = view.volumeOfGeneration(frame.generation);
  if (volume === undefined) {
    return frame.generation > view.lastGeneration ? STATUS.BAD : STATUS.GONE;
  }
  const state = view.generations.get(frame.generation)?.state ?? 'head';
  // Its rows are settled and copied as long as it shows through, but nobody reads or writes it (S5).
  if (state === 'deleted') return STATUS.GONE;
  const p = partitionOf(volume.family, frame.index, view.partitions);
  if (p !== frame.partition) return STATUS.BAD;
  return { volume, isFrozen: state === 'frozen', p, config: view.partition(volume.policy, p) };
}

/** Judges a list of (p, cfg): all must be equal here and have this node in W. */
export function judgeList(view: ClusterView, self: NodeId, list: readonly PartitionCfg[]): Status {
  for (const { policy, p, cfg } of list) {
    if (!view.policies.has(policy) || p >= view.partitions) return STATUS.BAD;
    const config = view.partition(policy, p);
    const status = judgeCfg(config, cfg);
    if (status !== STATUS.OK) return status;
    if (!isMember(config, self)) return STATUS.NOT_MEMBER;
  }
  return STATUS.OK;
}

/** True for a member of I + J. */
export function isMember(config: PartitionConfig, node: NodeId): boolean {
  return config.inSync.includes(node) || config.joining.includes(node);
}
