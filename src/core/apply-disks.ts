// Entries about the disk of a member, told by that member itself: why it ended (`nodeFailed`), how full its disk is
// (`nodeSpace`). They make causes known on every node; what they do to in-sync sets is what `nodesDown` does.

import { applyNodesDown } from './apply-members.ts';
import type { EntryBody } from './log-entry.ts';
import { type Applied, accepted, type ClusterState, declined, isUp, withEntry } from './state.ts';

type Body<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

/** Longest cause that the map keeps, in characters. */
export const MAX_FAILURE = 160;

/**
 * A member that can not go on said why: it is down at once, and the cause is kept until it is up in another life. Comes
 * it after the verdict of others on the same life, only the cause is new.
 */
export function applyNodeFailed(state: ClusterState, body: Body<'nodeFailed'>): Applied {
  const member = state.members.get(body.node);
  if (member === undefined) return declined(state, 'missing', `n${body.node} is not a member`);
  if (member.incarnation !== body.incarnation || member.state === 'joined') {
    return declined(state, 'stale', `n${body.node} is not in incarnation ${body.incarnation}`);
  }
  const failure = body.reason.slice(0, MAX_FAILURE);
  const { node, incarnation } = body;
  const down =
    member.state === 'up'
      ? applyNodesDown(state, {
          type: 'nodesDown',
          nodes: [{ node, incarnation }],
          baseEpoch: state.epoch,
        })
      : accepted(state, state.epoch);
  const after = down.state.members.get(node);
  if (down.result.code !== 'ok' || after === undefined) return down;
  const members = withEntry(down.state.members, node, { ...after, failure });
  return accepted({ ...down.state, members }, down.state.epoch);
}

/** A member says how full its disk is; planner and health read it from the view (4.9). */
export function applyNodeSpace(state: ClusterState, body: Body<'nodeSpace'>): Applied {
  const { node, incarnation, level } = body;
  const member = state.members.get(node);
  if (member === undefined || !isUp(state, node, incarnation)) {
    return declined(state, 'stale', `n${node} is not up in incarnation ${incarnation}`);
  }
  if (member.space === level) return accepted(state, 0);
  return accepted(
    { ...state, members: withEntry(state.members, node, { ...member, space: level }) },
    1,
  );
}
