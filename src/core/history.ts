// Which history of the map a state belongs to. A forced recovery leaves a mark in the settings: how far the log that it went
// on from was committed. Whoever knows more than that and has no such mark decided otherwise (section 6). Logs are compared
// entry by entry; this is for states, where the entries are compacted away. Pure.

import type { ClusterState } from './state.ts';

const HISTORY_PREFIX = 'history/';

/** The key of the mark of a forced recovery; its value is the last index that was committed before it. */
export function historyKey(term: number): string {
  return HISTORY_PREFIX + term;
}

type Known = Pick<ClusterState, 'index' | 'settings'>;

/** True when one of the two was left behind by a forced recovery that the other one knows of. */
export function areOtherHistories(ours: Known, theirs: Known): boolean {
  return wasLeftBehind(ours, theirs) || wasLeftBehind(theirs, ours);
}

function wasLeftBehind(one: Known, other: Known): boolean {
  for (const [key, value] of other.settings) {
    if (!key.startsWith(HISTORY_PREFIX) || one.settings.has(key)) continue;
    if (/^\d{1,15}$/.test(value) && one.index > Number(value)) return true;
  }
  return false;
}
