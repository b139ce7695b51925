// What a client may ask about the blocks of a volume (metadata contexts), and how an answer in the volume's own words
// becomes the flags of each context. `x-sheepdog:diff:TAG` there is for every snapshot of the volume. Pure.

import type { ChangedRun } from '../core/changed-regions.ts';
import { OperatingError } from '../core/errors.ts';
import { snapshotName } from '../core/snapshot-name.ts';
import type { AllocationExtent } from '../datapath/volume-session.ts';

/** Snapshots that one connection compares with: each is a session of its own. */
export const MAX_CHOSEN_DIFFS = 16;

const HOLE = 1;
const ZERO = 2;
const CHANGED = 1;
const ZERO_NOW = 2;
const DIFF = 'x-sheepdog:diff:';

/** About what is exported alone. */
interface OwnContext {
  readonly id: number;
  readonly name: string;
  /** Flags of an extent. */
  readonly flagsOf: (extent: AllocationExtent) => number;
}

/** About what changed since a snapshot. */
export interface DiffContext {
  readonly id: number;
  readonly name: string;
  /** The snapshot's export. */
  readonly before: string;
}

export type MetaContext = OwnContext | DiffContext;

/** The volume that is exported, or of which a snapshot is. */
export interface Snapshotted {
  readonly volume: string;
  /** Tags that are listed. */
  readonly tags: () => readonly string[];
  readonly hasTag: (tag: string) => boolean;
}

/** In the order of their ids; those of snapshots follow. */
const OWN_CONTEXTS: readonly OwnContext[] = [
  {
    id: 1,
    name: 'base:allocation',
    flagsOf: ({ isAllocated }) => (isAllocated ? 0 : HOLE | ZERO),
  },
  {
    id: 2,
    // 0: nowhere. 1: in what is exported itself. 2 and more: so many layers down, less one; 1 also where nobody knows.
    name: 'x-sheepdog:allocation-depth',
    flagsOf: ({ isAllocated, depth }) => (isAllocated ? (depth ?? 1) : 0),
  },
];

/** Of a run: 0 = the same as in the snapshot, 1 = changed, 3 = changed, and zeroes now. */
export function diffFlags({ isChanged, isAllocated }: ChangedRun): number {
  if (!isChanged) return 0;
  return isAllocated ? CHANGED : CHANGED | ZERO_NOW;
}

/** For LIST_META_CONTEXT: all without a query; a name, or a namespace (`base:`), names what there is of it. */
export function listedContexts(
  queries: readonly string[],
  of: Snapshotted,
): readonly MetaContext[] {
  const isAsked = ({ name }: MetaContext, query: string) =>
    query === name || (query.endsWith(':') && name.startsWith(query));
  const wantsTags = queries.length === 0 || queries.some((query) => isSpace(query));
  const tags = new Set([...(wantsTags ? of.tags() : []), ...namedTags(queries, of)]);
  const all = [...OWN_CONTEXTS, ...diffs([...tags], of)];
  if (queries.length === 0) return all;
  return all.filter((one) => queries.some((query) => isAsked(one, query)));
}

/**
 * For SET_META_CONTEXT: exact names only; what is unknown is left out, as the protocol wants it.
 * @throws OperatingError 'too-large': more snapshots than one connection compares with
 */
export function chosenContexts(
  queries: readonly string[],
  of: Snapshotted,
): readonly MetaContext[] {
  const tags = namedTags(queries, of);
  if (tags.length > MAX_CHOSEN_DIFFS) {
    const text = `a connection compares with at most ${MAX_CHOSEN_DIFFS} snapshots`;
    throw new OperatingError('too-large', text);
  }
  return [...OWN_CONTEXTS.filter(({ name }) => queries.includes(name)), ...diffs(tags, of)];
}

/** The snapshots that contexts are asked for by name, whether they are there or not: as exports. */
export function snapshotsAsked(volume: string, queries: readonly string[]): readonly string[] {
  return [...tagsIn(queries)].map((tag) => snapshotName(volume, tag));
}

function diffs(tags: readonly string[], { volume }: Snapshotted): DiffContext[] {
  return tags.map((tag, i) => {
    const id = OWN_CONTEXTS.length + 1 + i;
    return { id, name: `${DIFF}${tag}`, before: snapshotName(volume, tag) };
  });
}

function isSpace(query: string): boolean {
  return query.endsWith(':') && DIFF.startsWith(query);
}

function namedTags(queries: readonly string[], { hasTag }: Snapshotted): readonly string[] {
  return [...tagsIn(queries)].filter(hasTag);
}

function tagsIn(queries: readonly string[]): ReadonlySet<string> {
  const named = queries.filter((query) => query.startsWith(DIFF) && query.length > DIFF.length);
  return new Set(named.map((query) => query.slice(DIFF.length)));
}
