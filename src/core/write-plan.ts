// What a write needs: the members that must confirm it and the config under which their confirmations count (R3). A
// partition whose in-sync set has fewer than minCopies live members is halted: it takes no writes, reads go on.

import type { ConfigVersion, NodeId } from './ids.ts';
import { invariant } from './invariant.ts';
import { type IsLive, MAX_WRITE_SET, upCount, writeSetOf } from './partition.ts';
import type { PartitionConfig, Policy } from './view.ts';

export interface WritePlan {
  readonly cfg: ConfigVersion;
  /** W = I + J, sorted. Bit i of the answers is members[i]. */
  readonly members: readonly NodeId[];
  /** Answers when every member has confirmed. */
  readonly allBits: number;
  /** Why no write can be acknowledged now; undefined when it can. */
  readonly halted: string | undefined;
}

/** The plan of a write under this config. A halted plan still names W: the write waits for a change of the map. */
export function planWrite(
  config: PartitionConfig,
  policy: Pick<Policy, 'minCopies'>,
  isLive: IsLive,
): WritePlan {
  const members = writeSetOf(config);
  invariant(members.length <= MAX_WRITE_SET, 'a write set fits MAX_WRITE_SET bits');
  return {
    cfg: config.cfg,
    members,
    allBits: 2 ** members.length - 1,
    halted: haltReason(config, policy, isLive),
  };
}

function haltReason(
  config: PartitionConfig,
  policy: Pick<Policy, 'minCopies'>,
  isLive: IsLive,
): string | undefined {
  if (config.inSync.length === 0) return 'no member holds this partition yet';
  // Doubtful members confirm, and count here (R3): it is for leaving I that only sure ones do (R8).
  const live = upCount(config, isLive);
  if (live >= policy.minCopies) return undefined;
  return `${live} of ${policy.minCopies} needed copies are live`;
}

/** The answers with this member's confirmation. Confirmations of others than W do not count. */
export function withAnswer(plan: WritePlan, answers: number, node: NodeId): number {
  const place = plan.members.indexOf(node);
  return place < 0 ? answers : answers | (1 << place);
}

/**
 * R3: every member of W, at the cfg the holder knows now, has confirmed durable, and |I| >= m. `answers` were given
 * under the plan's cfg; after a change of cfg they start again from 0.
 */
export function isAcknowledged(plan: WritePlan, answers: number): boolean {
  return plan.halted === undefined && plan.members.length > 0 && answers === plan.allBits;
}
