// The read-only first touch (4.5): where too few members are live for writes, and the dead ones may not leave I, a new
// holder may still read from the sure members that live. Before its first read the dead ones are doubtful by the log
// (`isrDoubt`), so that nothing that they alone have changes later what was read (I12). Pure.

import type { NodeId, Version } from './ids.ts';
import { type IsLive, isSure, liveCount } from './partition.ts';
import type { PartitionConfig } from './view.ts';

/** `none`: the full touch is possible, or nobody may be read. `doubt`: the log has to call the dead doubtful first. */
export type ReadOnlyStep =
  | { readonly kind: 'none' }
  | { readonly kind: 'doubt' }
  | { readonly kind: 'seal'; readonly members: readonly NodeId[] };

/** What a read-only touch of this partition has to do next. */
export function readOnlyStep(
  config: PartitionConfig,
  minCopies: number,
  isLive: IsLive,
): ReadOnlyStep {
  const absent = config.inSync.filter((node) => !isLive(node));
  const live = liveCount(config, isLive);
  if (absent.length === 0 || live === 0 || live >= Math.max(1, minCopies)) return { kind: 'none' };
  if (absent.some((node) => isSure(config, node))) return { kind: 'doubt' };
  const members = config.inSync.filter((node) => isLive(node) && isSure(config, node));
  return { kind: 'seal', members };
}

/**
 * True for what a member has beyond a sure one, written under a token that is not the volume's last: the sure member has
 * all that was acknowledged, and refuses that token from now on. What the last token wrote is on its way, perhaps.
 */
export function isNeverAcknowledged(own: Version, sure: Version, lastToken: number): boolean {
  return own.count > sure.count && own.token < lastToken;
}

/** Those whose histories count in a first touch: sure members have all that was acknowledged; without any, all of I. */
export function votersOf(config: PartitionConfig): readonly NodeId[] {
  if (config.doubtful.length === 0) return config.inSync;
  const sure = config.inSync.filter((node) => !config.doubtful.includes(node));
  return sure.length > 0 ? sure : config.inSync;
}
