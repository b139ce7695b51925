// Entries about the cluster as a whole: its format, its redundancy policies, its settings, the audit points.

import { HASH_VERSION } from './hash.ts';
import type { ClusterId, MapIndex, PolicyId } from './ids.ts';
import { INVITE_PREFIX } from './invite.ts';
import { MAX_COPIES } from './limits.ts';
import type { EntryBody } from './log-entry.ts';
import { isPartitionCount } from './partition.ts';
import { changePolicy, createPolicy } from './policy-state.ts';
import { ringOf } from './ring-change.ts';
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
import type { Policy } from './view.ts';

export const MAX_POLICIES = 64;
/** Most settings that are not invites, most invites, and the longest of each in characters. */
export const MAX_SETTINGS = 256;
export const MAX_INVITES = 64;
export const MAX_SETTING_KEY = 128;
export const MAX_SETTING_VALUE = 4096;
export const MAX_CLUSTER_NAME = 255;

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
  const first = createPolicy(policy, ringOf(state.members.values()), {
    partitions,
    isLive: () => false,
  });
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
  const made = createPolicy(policy, ringOf(state.members.values()), context);
  return accepted({ ...state, policies: withEntry(state.policies, policy.id, made) }, policy.id);
}

/**
 * Other numbers of copies for the volumes of a policy. T changes like in any ring change; a change of minCopies raises
 * cfg everywhere, so that no holder goes on with the old one (1.5).
 */
export function applyPolicyChange(state: ClusterState, body: Body<'policyChange'>): Applied {
  const known = state.policies.get(body.policy);
  if (known === undefined) return declined(state, 'missing', 'no such policy');
  const policy = policyOf(body.policy, body);
  if (policy === undefined) return declined(state, 'refused', 'no such redundancy');
  const changed = changePolicy(
    known,
    policy,
    () => ringOf(state.members.values()),
    liveIn(state.members),
  );
  return accepted({ ...state, policies: withEntry(state.policies, policy.id, changed) }, policy.id);
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
