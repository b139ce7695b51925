// What time or an operator decides of a member: out, in, leaving, gone, lost, its weight (1.4). Each raises the epoch (A5)
// and all but `nodeGone` change the ring; the in-sync sets follow by joins, promotions and releases, so that redundancy
// never sinks by it. Only `nodeLost` takes a member out of in-sync sets: its copies do not exist any more (I6).

import { MAX_ZONE } from './apply-members.ts';
import type { NodeId } from './ids.ts';
import { MAX_WEIGHT } from './limits.ts';
import type { EntryBody } from './log-entry.ts';
import { policiesInUse, roomBar } from './member-room.ts';
import { retire } from './partition.ts';
import { holdsPlace, PolicyDraft, type PolicyState } from './policy-state.ts';
import { nextEpoch, ringOf, withNewRing, withPolicies } from './ring-change.ts';
import {
  type Applied,
  accepted,
  type ClusterState,
  declined,
  isWithin,
  withEntry,
  withoutEntry,
} from './state.ts';
import type { Member, Retired } from './view.ts';

/** Former members that are remembered, so that their identities are refused; the oldest are forgotten first. */
export const MAX_RETIRED = 4096;

type Body<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

/** `auto` only where it is down and enough others are up to take all copies; else there is nothing to gain. */
export function applyNodeOut(state: ClusterState, body: Body<'nodeOut'>): Applied {
  const found = lifeOf(state, body);
  if ('result' in found) return found;
  if (found.standing === 'out' || found.standing === 'gone') {
    return declined(state, 'exists', `n${body.node} is ${found.standing} already`);
  }
  const isAuto = body.reason === 'auto';
  if (isAuto && (found.standing !== 'in' || found.state !== 'down')) {
    return declined(state, 'stale', `n${body.node} is not down`);
  }
  const bar = roomWithout(state, found, isAuto ? 'all-copies' : 'min-copies');
  if (bar !== undefined) return declined(state, 'refused', bar);
  return placed(state, { ...found, standing: 'out', outBy: body.reason });
}

/** Takes it back, wherever it was on its way to. */
export function applyNodeIn(state: ClusterState, body: Body<'nodeIn'>): Applied {
  const found = lifeOf(state, body);
  if ('result' in found) return found;
  if (found.standing === 'in') return declined(state, 'exists', `n${body.node} is in already`);
  return placed(state, { ...found, standing: 'in', outBy: '' });
}

/** The drain begins: it leaves the ring at once, and its in-sync sets one by one. */
export function applyNodeLeave(state: ClusterState, body: Body<'nodeLeave'>): Applied {
  const member = state.members.get(body.node);
  if (member === undefined) return declined(state, 'missing', `n${body.node} is not a member`);
  if (member.standing === 'leaving' || member.standing === 'gone') {
    return declined(state, 'exists', `n${body.node} is ${member.standing} already`);
  }
  const bar = roomWithout(state, member, 'min-copies');
  if (bar !== undefined) return declined(state, 'refused', bar);
  return placed(state, { ...member, standing: 'leaving', outBy: '' });
}

/** The drain is complete: it is in no set and does not vote. */
export function applyNodeGone(state: ClusterState, body: Body<'nodeGone'>): Applied {
  const { node } = body;
  const member = state.members.get(node);
  if (member === undefined) return declined(state, 'missing', `n${node} is not a member`);
  if (member.standing !== 'leaving') return declined(state, 'stale', `n${node} is not leaving`);
  if (state.voters.includes(node) || state.nextVoters.includes(node)) {
    return declined(state, 'stale', `n${node} is a voter still`);
  }
  for (const policy of state.policies.values()) {
    if (holdsPlace(policy, node)) return declined(state, 'stale', `n${node} holds copies still`);
  }
  const gone: Member = { ...member, standing: 'gone' };
  const members = withEntry(state.members, node, gone);
  return accepted({ ...state, epoch: nextEpoch(state), members }, node);
}

/** Retires an id for good. One that lives, and holds copies, is refused: that would be a drain. */
export function applyNodeLost(state: ClusterState, body: Body<'nodeLost'>): Applied {
  const { node } = body;
  const member = state.members.get(node);
  if (member === undefined) return declined(state, 'missing', `n${node} is not a member`);
  const isDrained = member.standing === 'gone' || member.state === 'joined';
  if (member.state === 'up' && !isDrained) {
    return declined(state, 'refused', `n${node} is up: drain it first`);
  }
  if (state.voters.length === 1 && state.voters[0] === node) {
    return declined(state, 'refused', `n${node} is the only voter`);
  }
  return retiredNow(state, member, isDrained ? 'forgotten' : 'lost');
}

/**
 * Its disk is an older image of itself, as an observer of an earlier life knows: its copies do not exist any more, and
 * whoever holds them is another node (C1.9). The same question as at `nodeUp`, for observers that were not asked there.
 */
export function applyNodeOutdated(state: ClusterState, body: Body<'nodeOutdated'>): Applied {
  const found = lifeOf(state, body);
  if ('result' in found) return found;
  const { node, storeGeneration, journalSeq } = body;
  if (found.storeGeneration !== storeGeneration || found.journalSeq >= journalSeq) {
    return declined(state, 'stale', `n${node} did not start with less than batch ${journalSeq}`);
  }
  if (state.voters.length === 1 && state.voters[0] === node) {
    return declined(state, 'refused', `n${node} is the only voter`);
  }
  return retiredNow(state, found, 'outdated');
}

function retiredNow(state: ClusterState, member: Member, how: Retired['how']): Applied {
  const { node } = member;
  const epoch = nextEpoch(state);
  const retired = withEntry(state.retired, node, {
    node,
    peerKey: member.peerKey,
    how,
    since: epoch,
  });
  let nodeOfKey = state.nodeOfKey;
  const [oldest] = retired.values();
  if (retired.size > MAX_RETIRED && oldest !== undefined) {
    retired.delete(oldest.node);
    nodeOfKey = withoutEntry(nodeOfKey, oldest.peerKey);
  }
  const members = withoutEntry(state.members, node);
  const proposals = withoutEntry(state.proposals, node);
  const next = withNewRing({ ...state, epoch, members, retired, nodeOfKey, proposals });
  return accepted(
    withPolicies(next, (policy) => withoutLost(policy, node)),
    node,
  );
}

function withoutLost(policy: PolicyState, node: NodeId): PolicyState {
  const draft = new PolicyDraft(policy);
  for (let p = 0; p < policy.targets.length; p += 1) {
    const changed = retire(draft.config(p), node);
    if (changed !== undefined) draft.set(p, changed);
  }
  return draft.finish();
}

/** Its share of the ring, and where it stands. Weight 0 is a gateway: it holds nothing. */
export function applyNodeWeight(state: ClusterState, body: Body<'nodeWeight'>): Applied {
  const { node, weight, zone } = body;
  const member = state.members.get(node);
  if (member === undefined) return declined(state, 'missing', `n${node} is not a member`);
  if (!Number.isFinite(weight) || !isWithin(Math.ceil(weight), 0, MAX_WEIGHT)) {
    return declined(state, 'refused', `a weight is a number from 0 to ${MAX_WEIGHT}`);
  }
  if (zone.length > MAX_ZONE) return declined(state, 'refused', 'the name of the zone is too long');
  if (member.isWitness && weight !== 0) {
    return declined(state, 'refused', `n${node} is a witness: it holds no data`);
  }
  if (member.weight === weight && member.zone === zone) return accepted(state, 0);
  const bar = weight === 0 ? roomWithout(state, member, 'min-copies') : undefined;
  if (bar !== undefined) return declined(state, 'refused', bar);
  return placed(state, { ...member, weight, zone });
}

function lifeOf(
  state: ClusterState,
  body: { readonly node: NodeId; readonly incarnation: number },
): Member | Applied {
  const member = state.members.get(body.node);
  if (member === undefined) return declined(state, 'missing', `n${body.node} is not a member`);
  if (member.incarnation === body.incarnation) return member;
  return declined(state, 'stale', `n${body.node} is in incarnation ${member.incarnation}`);
}

function placed(state: ClusterState, member: Member): Applied {
  const members = withEntry(state.members, member.node, member);
  return accepted(withNewRing({ ...state, epoch: nextEpoch(state), members }), member.node);
}

function roomWithout(
  state: ClusterState,
  member: Member,
  need: 'all-copies' | 'min-copies',
): string | undefined {
  if (member.weight === 0 || member.state === 'joined') return undefined;
  const others = [...state.members.values()].filter(
    (one) => one.node !== member.node && (need === 'min-copies' || one.state === 'up'),
  );
  const all = [...state.policies.values()].map(({ policy }) => policy);
  return roomBar(ringOf(others), policiesInUse(all, state), need);
}
