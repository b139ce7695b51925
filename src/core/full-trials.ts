// Which copies a member whose disk is full is asked to take back (4.9). It takes no new data, but what it holds already
// needs no space: after a restart it would otherwise count for nothing, though it holds most of it. So the leader that saw
// it down has it join, once in each of its lives, what it was missing from then. Where something is to be copied that
// needs space it leaves again by its own word, and is not asked again until there is room, or a new life. Pure.

import type { NodeId } from './ids.ts';
import type { ClusterView, PartitionConfig } from './view.ts';

interface Trial {
  isDown: boolean;
  /** partitionKey of what may be tried, or is under way. At most the partitions. */
  readonly open: Set<number>;
  /** Of these: it joins now. */
  readonly running: Set<number>;
}

/** Lives with the leader's planner: a leader that never saw the member down asks nothing of it. */
export class FullTrials {
  readonly #byNode = new Map<NodeId, Trial>();

  /** A look at the partitions begins. */
  begin({ members }: Pick<ClusterView, 'members'>): void {
    for (const node of this.#byNode.keys()) {
      if (members.get(node)?.space !== 'full') this.#byNode.delete(node);
    }
    for (const { node, state, space } of members.values()) {
      if (space !== 'full') continue;
      const trial = this.#byNode.get(node);
      if (trial !== undefined) trial.isDown = state === 'down';
      else if (state === 'down') {
        this.#byNode.set(node, { isDown: true, open: new Set(), running: new Set() });
      }
    }
  }

  /** The look comes to this partition. */
  see(key: number, { inSync, joining, targets }: PartitionConfig): void {
    for (const [node, { isDown, open, running }] of this.#byNode) {
      const isJoining = joining.includes(node);
      if (isDown) {
        running.delete(key);
        if (targets.includes(node) && !inSync.includes(node)) open.add(key);
      } else if (isJoining && open.has(key)) running.add(key);
      else if (!isJoining && running.delete(key)) open.delete(key);
    }
  }

  /** True where this full member may join, or go on joining. */
  has(node: NodeId, key: number): boolean {
    const trial = this.#byNode.get(node);
    return trial?.isDown === false && trial.open.has(key);
  }
}
