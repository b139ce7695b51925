// Whether the members that stay could hold the copies of one that leaves. Used by the state machine, which has the last
// word, and by whoever wants to know before asking.

import type { Ring } from './ring.ts';
import type { Policy } from './view.ts';

/** `min-copies`: writes go on; `all-copies`: as many copies as asked for. */
export type Room = 'min-copies' | 'all-copies';

/** How many members of a ring can hold a copy of one partition of this policy. */
export function placesOf(ring: Ring, policy: Policy): number {
  return policy.strict ? ring.zoneCount : ring.nodes.length;
}

/** Why a ring is too small for these policies; undefined when it is not. */
export function roomBar(ring: Ring, policies: readonly Policy[], need: Room): string | undefined {
  for (const policy of policies) {
    const wanted = need === 'min-copies' ? policy.minCopies : policy.copies;
    const places = placesOf(ring, policy);
    if (places >= wanted) continue;
    const what = policy.strict ? 'zones' : 'members';
    const rule =
      need === 'min-copies'
        ? `${policy.copies} copies need at least ${policy.minCopies} for writes`
        : `there is no room for ${policy.copies} copies`;
    return `${places} ${what} would be left to hold data, ${rule}`;
  }
  return undefined;
}
