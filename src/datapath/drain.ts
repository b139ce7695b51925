// A partition on its way to this node (4.6): which source, under which cfg, and whether what is copied from it still
// counts. What the copier of objects and the catch-up of partitions share.

import { OperatingError } from '../core/errors.ts';
import { type MapIndex, type NodeId, partitionKey } from '../core/ids.ts';
import { isSure } from '../core/partition.ts';
import type { Frame } from '../wire/frame.ts';
import type { PartitionCfg } from '../wire/payloads.ts';
import { isUp, type Parts, requestFrame } from './context.ts';
import type { Rank } from './copy-streams.ts';

export interface Drain extends PartitionCfg {
  readonly key: number;
  readonly source: NodeId;
  /** Other sure members of I that are up: for what is damaged at the source. */
  readonly others: readonly NodeId[];
  readonly rank: Rank;
  /** False while it is paused: what waits for a stream then is not begun. */
  readonly isWanted: () => boolean;
  sourceApplied: MapIndex;
}

/** A drain from a sure member that is up (A8), chosen by `turn`; undefined where this node does not join at this cfg. */
export function drainOf(
  parts: Parts,
  where: PartitionCfg,
  turn: number,
  how: Pick<Drain, 'rank' | 'isWanted'>,
): Drain | undefined {
  const { self, views } = parts;
  const view = views.current();
  const config = view.partition(where.policy, where.p);
  if (config.cfg !== where.cfg || !config.joining.includes(self)) return undefined;
  const sources = config.inSync.filter((node) => isUp(view, node) && isSure(config, node));
  const source = sources[(where.p + turn) % Math.max(1, sources.length)];
  if (source === undefined) return undefined;
  const { policy, p, cfg } = where;
  const others = sources.filter((node) => node !== source);
  const key = partitionKey(policy, p);
  return { policy, p, cfg, key, source, others, ...how, sourceApplied: 0 as MapIndex };
}

/** What was fetched is void once cfg changed. */
export function isCurrent(parts: Parts, { policy, p, cfg }: PartitionCfg): boolean {
  const config = parts.views.current().partition(policy, p);
  return config.cfg === cfg && config.joining.includes(parts.self);
}

/** No token: judged by cfg alone. */
export function drainFrame(parts: Parts, drain: PartitionCfg, op: number): Frame {
  const frame = requestFrame(parts.views.current(), op);
  frame.partition = drain.p;
  frame.cfg = drain.cfg;
  return frame;
}

export function overtaken(): OperatingError {
  return new OperatingError('stale-config', 'the config changed', { advice: 'retry' });
}
