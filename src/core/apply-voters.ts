// Entries that say who votes. What raft took for legal when it was appended rules from then on, whatever else happened
// on the way here; so these entries must follow raft's own rule (raft/voters.ts), no more and no less. Whether a set is
// a good one is judged before it is appended (voter-choice.ts).

import type { NodeId } from './ids.ts';
import type { EntryBody } from './log-entry.ts';
import { MAX_VOTERS } from './raft/voters.ts';
import { type Applied, accepted, type ClusterState, declined, isWithin } from './state.ts';

type Body<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

/** Voters change through a joint phase (A9); one change at a time. */
export function applyVotersJoint(state: ClusterState, body: Body<'votersJoint'>): Applied {
  if (state.nextVoters.length > 0) return declined(state, 'refused', 'a change is under way');
  if (!isSameSet(body.old, state.voters)) return declined(state, 'stale', 'other voters by now');
  const next = [...new Set(body.next)].sort((a, b) => a - b);
  if (!isWithin(next.length, 1, MAX_VOTERS) || next.length !== body.next.length) {
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

/** The offline tool's word: the voters that are left rule alone (section 6). Raft obeys it without a joint phase, too. */
export function applyVotersForced(state: ClusterState, body: Body<'votersForced'>): Applied {
  const next = [...body.next].sort((a, b) => a - b);
  if (!isWithin(next.length, 1, MAX_VOTERS)) {
    return declined(state, 'refused', 'no such set of voters');
  }
  return accepted({ ...state, voters: next, nextVoters: [] }, 0);
}

function isSameSet(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((node) => b.includes(node));
}
