// When a dev cluster is ready: its nodes are up, and what they wait for will come by itself.

import type { ClusterData, Warning } from '../core/admin-shapes.ts';

/** With these health codes copies may be missing for as long as the operator wants, or the disk is as it is. */
const NO_COPIES: readonly string[] = ['RECOVERY_PAUSED', 'DISK_FULL'];
/** With this one copies only stay where they are. */
const NO_MOVES = 'DISK_NEARFULL';

/** True when `dog dev up` has nothing more to wait for. */
export function isClusterReady(
  { partitions, members }: Pick<ClusterData, 'partitions' | 'members'>,
  warnings: readonly Pick<Warning, 'code'>[],
  nodes: number,
): boolean {
  if (members.up < nodes) return false;
  // A node that joined by hand may be down, or catching up: that is not ours to wait for.
  if (members.total > nodes) return true;
  const { total, settled, degraded, halted } = partitions;
  if (total === 0 || halted > 0) return false;
  return (
    settled === total ||
    warnings.some(({ code }) => NO_COPIES.includes(code) || (code === NO_MOVES && degraded === 0))
  );
}
