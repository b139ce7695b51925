// Proposals are de-duplicated by (node, incarnation, counter), for ever (C2.5): a node that got no answer proposes
// again, and the entry is answered from here instead of being applied twice. Per node, the results of its last
// PROPOSAL_WINDOW counters are kept; what is older, or from an earlier life, is stale.

import type { ApplyResult, EntryOrigin } from './log-entry.ts';
import { type Applied, type ClusterState, isWithin, withEntry } from './state.ts';

/** Results kept per node. At least twice the proposals that a node has in flight (32). */
export const PROPOSAL_WINDOW = 64;

const U32_MAX = 0xffffffff;

/** The answer to a proposal that was applied before, or comes too late; undefined for a new one. */
export function recall(state: ClusterState, origin: EntryOrigin): ApplyResult | undefined {
  if (!isCounted(state, origin)) return undefined;
  if (!isWithin(origin.counter, 0, Number.MAX_SAFE_INTEGER)) return staleResult('no counter');
  const window = state.proposals.get(origin.node);
  if (window === undefined || origin.incarnation > window.incarnation) return undefined;
  if (origin.incarnation < window.incarnation) return staleResult('proposed in an earlier life');
  const first = window.results.get(origin.counter);
  if (first !== undefined) return first.code === 'ok' ? { ...first, code: 'duplicate' } : first;
  if (origin.counter > window.highest - PROPOSAL_WINDOW) return undefined;
  return staleResult('proposed too long ago');
}

/** Keeps the result of a new proposal. */
export function remember(applied: Applied, origin: EntryOrigin): Applied {
  const { state, result } = applied;
  if (!isCounted(state, origin)) return applied;
  const { incarnation, counter } = origin;
  const before = state.proposals.get(origin.node);
  const isSameLife = before !== undefined && before.incarnation === incarnation;
  const highest = isSameLife ? Math.max(before.highest, counter) : counter;
  const results = new Map<number, ApplyResult>();
  if (isSameLife) {
    for (const [known, answer] of before.results) {
      if (known > highest - PROPOSAL_WINDOW) results.set(known, answer);
    }
  }
  results.set(counter, result);
  const window = { incarnation, highest, results };
  return {
    state: { ...state, proposals: withEntry(state.proposals, origin.node, window) },
    result,
  };
}

/** Only members count: the number of windows is bounded by theirs. Node 0 is the bootstrap's. */
function isCounted(state: ClusterState, origin: EntryOrigin): boolean {
  return state.members.has(origin.node) && isWithin(origin.incarnation, 0, U32_MAX);
}

function staleResult(detail: string): ApplyResult {
  return { code: 'stale', value: 0, detail };
}
