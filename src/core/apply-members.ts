// Entries about the cluster and its members: format, settings, join, up, down, voters. Up, down and join raise the
// epoch (A5); only a member's first `nodeUp` changes the ring (down is not out).

import { HASH_VERSION } from './hash.ts';
import type { ClusterId, Epoch, Incarnation, MapIndex, NodeId, PolicyId, VolumeId } from './ids.ts';
import { MAX_COPIES, MAX_WEIGHT } from './limits.ts';
import type { EntryBody } from './log-entry.ts';
import { dropDown, isPartitionCount } from './partition.ts';
import {
  createPolicy,
  PolicyDraft,
  type PolicyState,
  partitionsWith,
  withRing,
} from './policy-state.ts';
import { buildRing, type Ring } from './ring.ts';
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
import { OBJECT_BYTES } from './units.ts';
import type { Member, Policy, Volume } from './view.ts';

/** Most members of a cluster, for ever: ids are not reused. */
export const MAX_MEMBERS = 1024;
export const MAX_POLICIES = 64;
export const MAX_VOTERS = 7;
/** Most settings that are not invites, most invites, and the longest of each in characters. */
export const MAX_SETTINGS = 256;
export const MAX_INVITES = 64;
export const MAX_SETTING_KEY = 128;
export const MAX_SETTING_VALUE = 4096;
export const MAX_ADDRESSES = 16;
export const MAX_ADDRESS = 256;
export const MAX_ZONE = 64;
export const MAX_PEER_KEY = 128;
export const MAX_CLUSTER_NAME = 255;

/** Key prefix of the settings that hold invites; the oldest goes when there are too many. */
export const INVITE_PREFIX = 'invite/';

const U32_MAX = 0xffffffff;

type Body<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

/** Mints the cluster with policy 0; its partitions have no members until the first one is up. */
export function applyFormat(state: ClusterState, body: Body<'format'>): Applied {
  if (state.clusterId !== '') return declined(state, 'exists', 'the cluster is formatted already');
  const policy = policyOf(0, body);
  if (policy === undefined) return declined(state, 'refused', 'no such redundancy');
  if (!isPartitionCount(body.partitions)) {
    return declined(state, 'refused', 'the number of partitions is a power of two up to 65536');
  }
  if (!/^[0-9a-f]{32}$/.test(body.clusterId)) return declined(state, 'refused', 'no cluster id');
  if (body.name.length > MAX_CLUSTER_NAME)
    return declined(state, 'refused', 'the name is too long');
  if (body.objectBytes !== OBJECT_BYTES || body.hashVersion !== HASH_VERSION) {
    return declined(state, 'refused', 'this version knows no such object size or hash');
  }
  const { clusterId, name, partitions } = body;
  const first = createPolicy(policy, state.ring, { partitions, isLive: () => false });
  const policies = new Map([[policy.id, first]]);
  return accepted({ ...state, clusterId: clusterId as ClusterId, name, partitions, policies }, 0);
}

/** Finds or makes a policy. A new one starts with I(p) = the live part of T(p). */
export function applyPolicyCreate(state: ClusterState, body: Body<'policyCreate'>): Applied {
  for (const { policy } of state.policies.values()) {
    const same = policy.copies === body.copies && policy.minCopies === body.minCopies;
    if (same && policy.strict === body.strict) return accepted(state, policy.id);
  }
  if (state.policies.size >= MAX_POLICIES) return declined(state, 'full', 'too many policies');
  const policy = policyOf(state.policies.size, body);
  if (policy === undefined) return declined(state, 'refused', 'no such redundancy');
  const context = { partitions: state.partitions, isLive: liveIn(state.members) };
  const made = createPolicy(policy, state.ring, context);
  return accepted({ ...state, policies: withEntry(state.policies, policy.id, made) }, policy.id);
}

function policyOf(
  id: number,
  body: { copies: number; minCopies: number; strict: boolean },
): Policy | undefined {
  const { copies, minCopies, strict } = body;
  if (!isWithin(copies, 1, MAX_COPIES) || !isWithin(minCopies, 1, copies)) return undefined;
  return { id: id as PolicyId, copies, minCopies, strict };
}

/** Sets a key; an empty value removes it. */
export function applySetting(state: ClusterState, body: Body<'setting'>): Applied {
  const { key, value } = body;
  if (!isWithin(key.length, 1, MAX_SETTING_KEY) || value.length > MAX_SETTING_VALUE) {
    return declined(state, 'refused', 'the setting is too long, or has no name');
  }
  if (value === '') return accepted({ ...state, settings: withoutEntry(state.settings, key) }, 0);
  const settings = withEntry(state.settings, key, value);
  const invites = [...settings.keys()].filter((one) => one.startsWith(INVITE_PREFIX));
  if (settings.size - invites.length > MAX_SETTINGS) {
    return declined(state, 'full', `there are ${MAX_SETTINGS} settings already`);
  }
  if (invites.length > MAX_INVITES) settings.delete(invites[0] as string);
  return accepted({ ...state, settings }, 0);
}

/** Notes what the state hashed to; nodes compare with their own (C2.8). */
export function applyAudit(state: ClusterState, body: Body<'audit'>): Applied {
  const isPast = isWithin(body.atIndex, 1, state.index) && body.atIndex > state.audit.atIndex;
  if (!isPast || body.stateHash.length > 64) return declined(state, 'stale', 'no audit point');
  const audit = { atIndex: body.atIndex as MapIndex, stateHash: body.stateHash };
  return accepted({ ...state, audit }, body.atIndex);
}

/** Gives a node id to a peer key; twice the same key, twice the same id. The first member is the first voter. */
export function applyNodeJoin(state: ClusterState, body: Body<'nodeJoin'>): Applied {
  const known = state.nodeOfKey.get(body.peerKey);
  if (known !== undefined) return accepted(state, known);
  if (state.counters.node >= MAX_MEMBERS) return declined(state, 'full', 'too many members');
  const problem = joinProblem(body);
  if (problem !== undefined) return declined(state, 'refused', problem);
  const node = (state.counters.node + 1) as NodeId;
  const member: Member = {
    node,
    peerKey: body.peerKey,
    addresses: [...body.addresses],
    zone: body.zone,
    weight: body.weight,
    state: 'joined',
    incarnation: 0 as Incarnation,
    since: nextEpoch(state),
    storeGeneration: 0,
    journalSeq: 0,
  };
  const next: ClusterState = {
    ...state,
    epoch: nextEpoch(state),
    members: withEntry(state.members, node, member),
    nodeOfKey: withEntry(state.nodeOfKey, body.peerKey, node),
    counters: { ...state.counters, node },
    voters: state.voters.length === 0 ? [node] : state.voters,
  };
  return accepted(next, node);
}

function joinProblem(body: Body<'nodeJoin'>): string | undefined {
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
 * A node says that it is up in a new life. It stays in each I where it is (durable mode loses nothing in a restart);
 * it leaves each J, for what it had noted as `synced` lived in memory. Locks follow only a life that went on (C4.2).
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
  const risen: Member = {
    ...member,
    addresses: [...body.addresses],
    state: 'up',
    incarnation: body.incarnation,
    since: member.state === 'up' ? member.since : epoch,
    storeGeneration: body.storeGeneration,
    journalSeq: body.journalSeq,
  };
  const members = withEntry(state.members, body.node, risen);
  let next: ClusterState = { ...state, epoch, members };
  if (member.state === 'joined') next = withNewRing(next);
  next = withPolicies(next, (policy) => leaveJoining(policy, body.node));
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

/** The ring of these members: it says nothing that they do not, so a snapshot leaves it out. */
export function ringOf(members: ReadonlyMap<NodeId, Member>): Ring {
  return buildRing([...members.values()].filter((one) => one.state !== 'joined'));
}

function withNewRing(state: ClusterState): ClusterState {
  const ring = ringOf(state.members);
  const isLive = liveIn(state.members);
  return withPolicies({ ...state, ring }, (policy) => withRing(policy, ring, isLive));
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
    members.set(node, { ...member, state: 'down', since: epoch });
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

function withPolicies(
  state: ClusterState,
  change: (policy: PolicyState) => PolicyState,
): ClusterState {
  const policies = new Map<PolicyId, PolicyState>();
  for (const [id, policy] of state.policies) policies.set(id, change(policy));
  return { ...state, policies };
}

/** Voters change through a joint phase (A9); one change at a time. */
export function applyVotersJoint(state: ClusterState, body: Body<'votersJoint'>): Applied {
  if (state.nextVoters.length > 0) return declined(state, 'refused', 'a change is under way');
  if (!isSameSet(body.old, state.voters)) return declined(state, 'stale', 'other voters by now');
  const next = [...new Set(body.next)].sort((a, b) => a - b);
  const isPossible = isWithin(next.length, 1, MAX_VOTERS) && next.length === body.next.length;
  if (!isPossible || !next.every((node) => state.members.has(node))) {
    return declined(state, 'refused', 'no such set of voters');
  }
  return accepted({ ...state, nextVoters: next }, 0);
}

/** Ends the joint phase: the next voters are the voters. */
export function applyVotersFinal(state: ClusterState, body: Body<'votersFinal'>): Applied {
  const { voters, nextVoters } = state;
  const isExpected = isSameSet(body.old, voters) && isSameSet(body.next, nextVoters);
  if (nextVoters.length === 0 || !isExpected) return declined(state, 'stale', 'no such change');
  return accepted({ ...state, voters: nextVoters, nextVoters: [] }, 0);
}

function isSameSet(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((node) => b.includes(node));
}

function nextEpoch(state: ClusterState): Epoch {
  return (state.epoch + 1) as Epoch;
}
