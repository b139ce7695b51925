// What a member of I does with its notes of what another member misses while that one is away (4.7), decided by the
// configs of the partition before and after one step of the map. Pure.

import type { NodeId } from './ids.ts';
import type { PartitionConfig } from './view.ts';

/** Objects noted at once, of all partitions and absent nodes together; about 200 bytes each. */
export const MAX_DIRTY_OBJECTS = 262_144;

/**
 * `none`: there are no notes and none begin. `begin`: new notes, from the open regions on. `note`: each change counts.
 * `freeze`: it gets every change itself now; the notes stay. `reopen`: as `note`, and the open regions count,
 * too, since what it confirmed while it joined is known to be there only as far as it is closed (4.3). `forget`: they are
 * worth nothing.
 */
export type OutageStep = 'none' | 'begin' | 'note' | 'freeze' | 'reopen' | 'forget';

/** What one step of the map means for the notes. */
export interface OutageQuestion {
  /** Who notes. */
  readonly self: NodeId;
  /** Who is away. */
  readonly node: NodeId;
  readonly before: PartitionConfig;
  readonly after: PartitionConfig;
  /** There are notes. */
  readonly isNoting: boolean;
  /** This process was a member by the view before: what its earlier lives noted nobody knows. */
  readonly wasAnnounced: boolean;
}

/**
 * Notes are exact only from a member that was in I all the while since the other one was: they begin in the step in
 * which that one leaves I, and end when either is not what it was. Who comes into I later has none (`since`, 4.7).
 */
export function outageStep(question: OutageQuestion): OutageStep {
  const { self, node, before, after, isNoting, wasAnnounced } = question;
  const isAway = after.targets.includes(node) && !after.inSync.includes(node);
  if (!isAway || !after.inSync.includes(self)) return isNoting ? 'forget' : 'none';
  if (isNoting) {
    if (before.joining.includes(node) && before.cfg !== after.cfg) return 'reopen';
    return after.joining.includes(node) ? 'freeze' : 'note';
  }
  const sawItLeave = before.inSync.includes(self) && before.inSync.includes(node);
  return sawItLeave && wasAnnounced ? 'begin' : 'none';
}
