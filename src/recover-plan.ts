// What is lost, or may be, when a majority of the voters is gone for good (PROTOCOL section 6). For `dog cluster recover
// force`, which only prints it, and for the offline tool, which acts. Pure.

import { counted } from './core/count-text.ts';
import type { NodeId } from './core/ids.ts';
import type { ClusterView } from './core/view.ts';
import type { RecoverPlan } from './node-handle.ts';

/** Volumes named in one sentence of a plan. */
const MAX_NAMED = 5;

/**
 * @param reached members that answer, and how far their logs are committed
 */
export function planOfRecovery(
  view: ClusterView,
  self: NodeId,
  reached: ReadonlyMap<NodeId, number>,
): RecoverPlan {
  const voters = view.voters.map((node) => ({ node, commit: reached.get(node) }));
  const needed = Math.floor(view.voters.length / 2) + 1;
  let best = self;
  for (const [node, commit] of reached) if (commit > (reached.get(best) ?? 0)) best = node;
  return { voters, needed, best, mayLose: lossesOf(view, reached, best) };
}

function lossesOf(
  view: ClusterView,
  reached: ReadonlyMap<NodeId, number>,
  best: NodeId,
): readonly string[] {
  const losses = [
    `whatever the lost voters decided after entry ${reached.get(best) ?? view.index}: volumes made or ` +
      'deleted, locks granted, members that joined since',
  ];
  let gone = 0;
  let thin = 0;
  for (const policy of view.policies.values()) {
    for (let p = 0; p < view.partitions; p += 1) {
      const { inSync } = view.partition(policy.id, p);
      const left = inSync.filter((node) => reached.has(node)).length;
      if (inSync.length > 0 && left === 0) gone += 1;
      else if (left < policy.minCopies) thin += 1;
    }
  }
  if (gone > 0) {
    losses.push(`the data of ${counted(gone, 'partition')}, all of whose copies are out of reach`);
  }
  if (thin > 0) {
    losses.push(
      `nothing in ${thin} more partition${thin === 1 ? ', but it takes' : 's, but they take'} no writes until copies are made`,
    );
  }
  const held = [...view.volumes.values()].filter(({ lock }) => lock.state === 'held');
  if (held.length > 0) {
    const names = held.slice(0, MAX_NAMED).map(({ name }) => name);
    const more = held.length > MAX_NAMED ? ` and ${held.length - MAX_NAMED} more` : '';
    losses.push(
      `the last acknowledged writes of ${names.join(', ')}${more}, if they were taken over since`,
    );
  }
  return losses;
}
