// Entries about the members' lives: join, up, down. Each raises the epoch (A5); of these only a member's first `nodeUp`, and
// one that ends time's verdict `out`, change the ring (down is not out). What an operator or time decides of a member:
// apply-life.ts.

import { withDoubt } from './apply-partitions.ts';
import type { Incarnation, NodeId, VolumeId } from './ids.ts';
import { INVITE_PREFIX, inviteBar, parseInvite } from './invite.ts';
import { MAX_WEIGHT } from './limits.ts';
import type { EntryBody } from './log-entry.ts';
import { observersOf } from './membership.ts';
import { dropDown } from './partition.ts';
import { PolicyDraft, type PolicyState, partitionsWith } from './policy-state.ts';
import { nextEpoch, withNewRing, withPolicies } from './ring-change.ts';

import {
  type Applied,
  accepted,
  type ClusterState,
  declined,
  isWithin,
  liveIn,
  withEntry,
  withoutEntry,
} from './state.ts';
import type { Member, Volume } from './view.ts';

/** Most members of a cluster at one time. */
export const MAX_MEMBERS = 1024;
/** Most ids that a cluster ever gives; they are not reused. */
export const MAX_NODE_IDS = 0xffff_ffff;
export const MAX_ADDRESSES = 16;
export const MAX_ADDRESS = 256;
export const MAX_ZONE = 64;
export const MAX_PEER_KEY = 128;

const U32_MAX = 0xffffffff;

type Body<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

/** Gives a node id to a peer key; twice the same key, twice the same id. The first member is the first voter. */
export function applyNodeJoin(state: ClusterState, body: Body<'nodeJoin'>): Applied {
  return joined(state, { ...body, isWitness: false });
}

/**
 * A stranger with an invite becomes a member. Applied again for the same key it gives the same id, whatever became of the
 * invite: a joiner that did not hear the answer knocks again.
 */
export function applyNodeAdmit(state: ClusterState, body: Body<'nodeAdmit'>): Applied {
  if (state.nodeOfKey.has(body.peerKey)) return joined(state, body);
  const key = INVITE_PREFIX + body.inviteId;
  const invite = parseInvite(state.settings.get(key));
  const bar = inviteBar(invite, body);
  if (bar !== undefined) return declined(state, 'refused', bar);
  if (body.isWitness && body.weight !== 0) {
    return declined(state, 'refused', 'a witness has weight 0: it holds no data');
  }
  const done = joined(state, body);
  if (done.result.code !== 'ok' || invite?.isSingleUse !== true) return done;
  const settings = withoutEntry(state.settings, key);
  return { ...done, state: { ...done.state, settings } };
}

type Joiner = Pick<Member, 'peerKey' | 'addresses' | 'zone' | 'weight' | 'isWitness'>;

function joined(state: ClusterState, body: Joiner): Applied {
  const known = state.nodeOfKey.get(body.peerKey);
  if (known !== undefined && state.members.has(known)) return accepted(state, known);
  if (known !== undefined) {
    const why = `n${known} was retired for good: this identity can not come back`;
    return declined(state, 'refused', `${why}; join with an empty data directory`);
  }
  if (state.members.size >= MAX_MEMBERS || state.counters.node >= MAX_NODE_IDS) {
    return declined(state, 'full', 'too many members');
  }
  const problem = joinProblem(body);
  if (problem !== undefined) return declined(state, 'refused', problem);
  const node = (state.counters.node + 1) as NodeId;
  const next: ClusterState = {
    ...state,
    epoch: nextEpoch(state),
    members: withEntry(state.members, node, newMember(state, node, body)),
    nodeOfKey: withEntry(state.nodeOfKey, body.peerKey, node),
    counters: { ...state.counters, node },
    voters: state.voters.length === 0 ? [node] : state.voters,
  };
  return accepted(next, node);
}

function newMember(state: ClusterState, node: NodeId, joiner: Joiner): Member {
  const { peerKey, addresses, zone, weight, isWitness } = joiner;
  return {
    node,
    peerKey,
    addresses: [...addresses],
    zone,
    weight,
    state: 'joined',
    standing: 'in',
    outBy: '',
    isWitness,
    incarnation: 0 as Incarnation,
    since: nextEpoch(state),
    storeGeneration: 0,
    journalSeq: 0,
    failure: '',
    space: 'ok',
    observers: [],
  };
}

function joinProblem(body: Joiner): string | undefined {
  if (!isWithin(body.peerKey.length, 1, MAX_PEER_KEY)) return 'no peer key';
  if (!isWithin(body.zone.length, 0, MAX_ZONE)) return `a zone has at most ${MAX_ZONE} characters`;
  const isWeight = Number.isFinite(body.weight) && body.weight >= 0 && body.weight <= MAX_WEIGHT;
  if (!isWeight) return `a weight is a number from 0 to ${MAX_WEIGHT}`;
  return areAddresses(body.addresses) ? undefined : 'too many addresses, or too long ones';
}

function areAddresses(addresses: readonly string[]): boolean {
  return addresses.length <= MAX_ADDRESSES && addresses.every((one) => one.length <= MAX_ADDRESS);
}

/**
 * A node says that it is up in a new life. It stays in each I where it is, as a doubtful member where R8 says so; it
 * leaves each J, for what it had noted as `synced` lived in memory. Locks follow only a life that went on (C4.2). What
 * was out because it was down for too long is back.
 */
export function applyNodeUp(state: ClusterState, body: Body<'nodeUp'>): Applied {
  const member = state.members.get(body.node);
  if (member === undefined) return declined(state, 'missing', `n${body.node} is not a member`);
  const known = member.incarnation;
  if (!isWithin(body.incarnation, 1, U32_MAX) || body.incarnation <= known) {
    return declined(state, 'stale', `n${body.node} is known at incarnation ${known}`, known);
  }
  if (body.continues !== 0 && body.continues !== known) {
    return declined(state, 'stale', `n${body.node} goes on from incarnation ${known}`, known);
  }
  const problem = upProblem(member, body);
  if (problem !== undefined) return declined(state, 'refused', problem);
  const epoch = nextEpoch(state);
  const returns = member.standing === 'out' && member.outBy === 'auto';
  const risen: Member = {
    ...member,
    ...(returns ? { standing: 'in', outBy: '' } : {}),
    addresses: [...body.addresses],
    state: 'up',
    incarnation: body.incarnation,
    since: member.state === 'up' ? member.since : epoch,
    storeGeneration: body.storeGeneration,
    journalSeq: body.journalSeq,
    failure: '',
    observers: [],
  };
  const members = withEntry(state.members, body.node, risen);
  let next: ClusterState = { ...state, epoch, members };
  if (member.state === 'joined' || returns) next = withNewRing(next);
  // Who was never up joins nowhere, and the question would have the ring drawn.
  if (member.state !== 'joined') {
    next = withPolicies(next, (policy) => leaveJoining(policy, body.node));
  }
  const isRestart = member.state !== 'joined' && body.continues === 0;
  if (isRestart && !body.cleanStop) next = withDoubt(next, body.node);
  if (body.continues !== 0) next = { ...next, volumes: movedLocks(state, body) };
  return accepted(next, body.node);
}

/** A replaced or older disk must not count as the in-sync copy that the map remembers (A10, section 6). */
function upProblem(member: Member, body: Body<'nodeUp'>): string | undefined {
  const { storeGeneration, journalSeq } = member;
  if (!areAddresses(body.addresses)) return 'too many addresses';
  if (storeGeneration !== 0 && storeGeneration !== body.storeGeneration) {
    return `the disk of n${member.node} is not the one that the cluster knows`;
  }
  if (journalSeq > body.journalSeq) return `the disk of n${member.node} is an older image`;
  return undefined;
}

function leaveJoining(policy: PolicyState, node: NodeId): PolicyState {
  const draft = new PolicyDraft(policy);
  // Not live for this one question, so that nobody's I is looked at: only J changes.
  const rule = { minCopies: Number.POSITIVE_INFINITY, isLive: () => false };
  for (const p of policy.explicit.keys()) {
    const changed = dropDown(draft.config(p), new Set([node]), rule);
    if (changed !== undefined) draft.set(p, changed);
  }
  return draft.finish();
}

function movedLocks(state: ClusterState, body: Body<'nodeUp'>): ReadonlyMap<VolumeId, Volume> {
  const volumes = new Map(state.volumes);
  for (const volume of state.volumes.values()) {
    const { lock } = volume;
    if (lock.state !== 'held' || lock.node !== body.node) continue;
    if (lock.incarnation !== body.continues) continue;
    volumes.set(volume.id, { ...volume, lock: { ...lock, incarnation: body.incarnation } });
  }
  return volumes;
}

/** C1.6: outdated in any part, it does nothing. Else its victims leave each J, and each I that keeps m live members. */
export function applyNodesDown(state: ClusterState, body: Body<'nodesDown'>): Applied {
  if (body.baseEpoch !== state.epoch) {
    return declined(state, 'stale', `the epoch is ${state.epoch}`, state.epoch);
  }
  if (body.nodes.length === 0) return declined(state, 'refused', 'nobody is named');
  const epoch = nextEpoch(state);
  const members = new Map(state.members);
  for (const { node, incarnation } of body.nodes) {
    const member = state.members.get(node);
    if (member === undefined) return declined(state, 'missing', `n${node} is not a member`);
    if (member.state !== 'up' || member.incarnation !== incarnation) {
      return declined(state, 'stale', `n${node} is not up in incarnation ${incarnation}`);
    }
    members.set(node, {
      ...member,
      state: 'down',
      since: epoch,
      observers: observersOf(state, node),
    });
  }
  const down = new Set(body.nodes.map((one) => one.node));
  const isLive = liveIn(members);
  const next = withPolicies({ ...state, epoch, members }, (policy) => {
    const draft = new PolicyDraft(policy);
    const { minCopies } = policy.policy;
    for (const p of partitionsWith(policy, down)) {
      const changed = dropDown(draft.config(p), down, { minCopies, isLive });
      if (changed !== undefined) draft.set(p, changed);
    }
    return draft.finish();
  });
  return accepted(next, epoch);
}
