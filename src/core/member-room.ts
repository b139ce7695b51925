// Whether the members that stay could hold the copies of one that leaves. Used by the state machine, which has the last
// word, and by whoever wants to know before asking.

import { DEFAULT_POLICY, type PolicyId } from './ids.ts';
import type { Ring } from './ring.ts';
import type { Policy } from './view.ts';

/** `min-copies`: writes go on; `all-copies`: as many copies as asked for. */
export type Room = 'min-copies' | 'all-copies';

/** In every answer of `roomBar`: the cure is more members, or fewer copies. */
export const NO_PLACE = 'would be left to hold data';

/** How many members of a ring can hold a copy of one partition of this policy. */
export function placesOf(ring: Ring, policy: Policy): number {
  return policy.strict ? ring.zoneCount : ring.nodes.length;
}

/** What a state and a view know of policies. */
interface PolicyUse {
  /** Heads, what moves copy into, what is in the trash, and snapshots, which outlive their volumes. */
  readonly generations: ReadonlyMap<unknown, { readonly policy: PolicyId }>;
}

/** The default policy, and those of data that is there: what deleted volumes leave bars nobody. */
export function policiesInUse(policies: Iterable<Policy>, { generations }: PolicyUse): Policy[] {
  const used = new Set<PolicyId>([DEFAULT_POLICY]);
  for (const { policy } of generations.values()) used.add(policy);
  return [...policies].filter(({ id }) => used.has(id));
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
    return `${places} ${what} ${NO_PLACE}, ${rule}`;
  }
  return undefined;
}

/** For people. What `roomBar` says itself is part of the state and of its hash: it stays as it is, letter by letter. */
export function spokenBar(bar: string): string {
  return bar
    .replace(/\b1 (member|zone)s would/, '1 $1 would')
    .replace(/\b1 copies need\b/, '1 copy needs')
    .replace(/\bfor 1 copies\b/, 'for 1 copy');
}
