// C-conv: what must become true once the trouble is over: every running node is up and has applied the same log, there
// is one leader, every in-sync set is what the ring wants of those that live, and nobody is joining or doubtful.

import type { ClusterView } from '../../src/core/view.ts';
import type { NodeStatus } from '../../src/node-handle.ts';

/** Voters by members (1.3); clusters of 200 and more are judged by their own stories. */
const VOTERS_BY_MEMBERS = [0, 1, 2, 3, 3, 5];

/** One running node as its fronts see it. */
export interface Seen {
  readonly name: string;
  readonly status: NodeStatus;
  readonly view: ClusterView | undefined;
}

/** @returns what is still missing, as a sentence, or undefined when all is at rest */
export function whatIsMissing(nodes: readonly Seen[]): string | undefined {
  for (const { name, status } of nodes) {
    if (status.phase !== 'up') return `${name} is ${status.phase}: ${status.waitingFor}`;
    if (status.catchUp.partitionsLeft > 0)
      return `${name} has ${status.catchUp.partitionsLeft} partitions to catch up`;
  }
  const leaders = nodes.filter(({ status }) => status.role === 'leader');
  if (leaders.length !== 1) return `${leaders.length} leaders`;
  const view = nodes[0]?.view;
  if (view === undefined) return 'no view';
  const behind = nodes.find((node) => node.view?.index !== view.index);
  if (behind !== undefined)
    return `${behind.name} has applied ${behind.view?.index}, not ${view.index}`;
  const running = new Set(nodes.map(({ status }) => status.node));
  for (const member of view.members.values()) {
    if ((member.state === 'up') !== running.has(member.node))
      return `node ${member.node} is ${member.state} in the map`;
  }
  return votersMissing(view) ?? partitionMissing(view);
}

/** As many as the size asks for where enough live, and never more. */
function votersMissing(view: ClusterView): string | undefined {
  const staying = [...view.members.values()].filter(
    ({ state, standing }) => state !== 'joined' && (standing === 'in' || standing === 'out'),
  );
  const wanted = VOTERS_BY_MEMBERS[Math.min(staying.length, VOTERS_BY_MEMBERS.length - 1)] ?? 0;
  const live = staying.filter(({ state, standing }) => state === 'up' && standing === 'in').length;
  const { length } = view.voters;
  if (view.nextVoters.length > 0) return 'a change of voters is under way';
  if (length > wanted || (length < wanted && live >= wanted)) {
    return `${length} voters among ${staying.length} members`;
  }
  return undefined;
}

function partitionMissing(view: ClusterView): string | undefined {
  const isUp = (node: number): boolean =>
    [...view.members.values()].some((member) => member.node === node && member.state === 'up');
  for (const policy of view.policies.values()) {
    for (let p = 0; p < view.partitions; p += 1) {
      const { inSync, joining, targets, doubtful } = view.partition(policy.id, p);
      const wanted = targets.filter(isUp);
      const absent = wanted.filter((node) => !inSync.includes(node));
      const name = `partition ${policy.id}/${p}`;
      if (joining.length > 0) return `${name}: ${joining.join(',')} still joining`;
      if (doubtful.length > 0) return `${name}: ${doubtful.join(',')} not settled`;
      if (absent.length > 0) return `${name}: ${absent.join(',')} not in sync`;
      if (wanted.length === targets.length && inSync.length !== targets.length) {
        return `${name}: in sync ${inSync.join(',')}, the ring wants ${targets.join(',')}`;
      }
      const deadInSync = inSync.filter((node) => !isUp(node));
      if (deadInSync.length > 0 && inSync.length - deadInSync.length >= policy.minCopies) {
        return `${name}: ${deadInSync.join(',')} is down and still in sync`;
      }
    }
  }
  return undefined;
}
