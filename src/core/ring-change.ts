// What several kinds of entries do to a state: a new epoch, a new ring, a change of every policy. When T changes, each I
// that differs from the new T becomes explicit in the same step (C2.8); nobody leaves an in-sync set by it.

import type { Epoch, PolicyId } from './ids.ts';
import { type PolicyState, withRing } from './policy-state.ts';
import { buildRing, type Ring } from './ring.ts';
import { type ClusterState, liveIn } from './state.ts';
import type { Member } from './view.ts';

/** The epoch after this entry (A5). */
export function nextEpoch(state: ClusterState): Epoch {
  return (state.epoch + 1) as Epoch;
}

/**
 * The ring of these members: those that were up at least once and are `in`; members of weight 0 own nothing. It says
 * nothing that they do not, so a snapshot leaves it out.
 */
export function ringOf(members: Iterable<Member>): Ring {
  return buildRing([...members].filter((one) => one.state !== 'joined' && one.standing === 'in'));
}

/** The same state under the ring that its members make, which is built when somebody asks where data belongs. */
export function withNewRing(state: ClusterState): ClusterState {
  const { members } = state;
  let built: Ring | undefined;
  const ring = (): Ring => {
    built ??= ringOf(members.values());
    return built;
  };
  const isLive = liveIn(members);
  return withPolicies(state, (policy) => withRing(policy, ring, isLive));
}

/** Every policy changed by the same rule. */
export function withPolicies(
  state: ClusterState,
  change: (policy: PolicyState) => PolicyState,
): ClusterState {
  const policies = new Map<PolicyId, PolicyState>();
  for (const [id, policy] of state.policies) policies.set(id, change(policy));
  return { ...state, policies };
}
