// Which history of the map a state belongs to. A forced recovery leaves a mark in the settings: how far the log that it went
// on from was committed. Whoever knows more than that and has no such mark decided otherwise (section 6). Logs are compared
// entry by entry; this is for states, where the entries are compacted away. Pure.

import type { ClusterState } from './state.ts';

const HISTORY_PREFIX = 'history/';
/**
 * A forced history begins this many terms later, and up to as many more by a draw: the lost voters, or another forced
 * recovery, never get an entry with its index and its term. That is how two histories are told apart.
 */
export const FORCED_TERMS = 2 ** 20;

/** The key of the mark of a forced recovery; its value is the last index that was committed before it. */
export function historyKey(term: number): string {
  return HISTORY_PREFIX + term;
}

type Known = Pick<ClusterState, 'index' | 'settings'>;

/** `ours`, `theirs`: that one was left behind by a forced recovery that the other one knows of. */
export function leftBehind(ours: Known, theirs: Known): 'ours' | 'theirs' | undefined {
  if (wasLeftBehind(ours, theirs)) return 'ours';
  return wasLeftBehind(theirs, ours) ? 'theirs' : undefined;
}

/**
 * An entry of another history has this term, where ours has another one: was it forced later than ours? Terms of an older
 * one may have grown beyond ours by its elections, but not by a recovery.
 */
export function isLaterHistory(term: number, ours: ReadonlyMap<string, string>): boolean {
  const forced = [...ours.keys()]
    .filter((key) => key.startsWith(HISTORY_PREFIX))
    .map((key) => Number(key.slice(HISTORY_PREFIX.length)));
  return forced.length === 0 || term >= Math.max(...forced) + FORCED_TERMS;
}

function wasLeftBehind(one: Known, other: Known): boolean {
  for (const [key, value] of other.settings) {
    if (!key.startsWith(HISTORY_PREFIX) || one.settings.has(key)) continue;
    if (/^\d{1,15}$/.test(value) && one.index > Number(value)) return true;
  }
  return false;
}
