// Snapshots as people look for them: by name and tag, of one volume, as a tree. Pure.

import { childrenOf, type Generation } from './generations.ts';
import type { GenerationId } from './ids.ts';
import type { ClusterView, Volume } from './view.ts';

/** The snapshot that is called so. */
export function snapshotNamed(
  { generations }: Pick<ClusterView, 'generations'>,
  name: string,
  tag: string,
): Generation | undefined {
  for (const one of generations.values()) {
    if (one.state === 'frozen' && one.tag === tag && one.name === name) return one;
  }
  return undefined;
}

/** What `name` or `name@tag` stands for: a volume, or a snapshot. */
export function readableNamed(view: ClusterView, text: string): Volume | Generation | undefined {
  const at = text.indexOf('@');
  if (at < 0) return view.volumeByName(text);
  return snapshotNamed(view, text.slice(0, at), text.slice(at + 1));
}

/** A layer and how many layers lie above it. */
export interface TreeRow {
  readonly layer: Generation;
  readonly depth: number;
}

/** All layers of the families that a predicate finds one of, roots first, each before what lies below it. */
export function treeOf(
  view: Pick<ClusterView, 'generations'>,
  isWanted: (layer: Generation) => boolean,
): readonly TreeRow[] {
  const all = [...view.generations.values()];
  const families = new Set(all.filter(isWanted).map(({ family }) => family));
  const roots = all
    .filter(({ parent, family }) => parent === 0 && families.has(family))
    .sort((a, b) => a.id - b.id);
  const rows: TreeRow[] = [];
  const open = roots.reverse().map((layer): TreeRow => ({ layer, depth: 0 }));
  // Each layer has one parent: each is met once.
  for (let row = open.pop(); row !== undefined; row = open.pop()) {
    rows.push(row);
    const { depth } = row;
    for (const child of childrenOf(view, row.layer.id).toReversed()) {
      const layer = view.generations.get(child as GenerationId);
      if (layer !== undefined) open.push({ layer, depth: depth + 1 });
    }
  }
  return rows;
}
