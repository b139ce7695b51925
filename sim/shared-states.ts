// core/cluster-state.ts for many nodes of one process: equal entries on the same state give the same object, so that a
// thousand nodes keep one state, not a thousand. Only where nobody looks for differences between nodes: size runs. The
// product is not changed for it; share-states.ts puts this file in its place.

import {
  type Applied,
  applyEntry as applyOne,
  type ClusterState,
  hashOf as hashOne,
  viewOf as viewOne,
} from '../src/core/cluster-state.ts';
import type { LogEntry } from '../src/core/log-entry.ts';
import type { ClusterView } from '../src/core/view.ts';

export * from '../src/core/cluster-state.ts';

interface Next {
  readonly key: string;
  readonly applied: Applied;
}

const nexts = new WeakMap<ClusterState, Next>();
const hashes = new WeakMap<ClusterState, string>();
const views = new WeakMap<ClusterState, ClusterView>();
/** The one state before the first entry, whoever made it. */
let blank: ClusterState | undefined;

/** A log has one entry per index and term (A2); which log it is, its first entry says, with the cluster's id in it. */
const keyOf = ({ index, term, origin, body }: LogEntry): string =>
  `${index} ${term} ${JSON.stringify(index === 1 ? [origin, body] : origin)}`;

export function applyEntry(given: ClusterState, entry: LogEntry): Applied {
  blank ??= given;
  const state = given.index === 0 ? blank : given;
  const key = keyOf(entry);
  const known = nexts.get(state);
  if (known?.key === key) return known.applied;
  const applied = applyOne(state, entry);
  nexts.set(state, { key, applied });
  return applied;
}

export function hashOf(state: ClusterState): string {
  const known = hashes.get(state) ?? hashOne(state);
  hashes.set(state, known);
  return known;
}

export function viewOf(state: ClusterState): ClusterView {
  const known = views.get(state) ?? viewOne(state);
  views.set(state, known);
  return known;
}
