// When a row of a deleted generation may go (S6): when nobody below can see it any more. Each replica decides by its own
// rows and the tree of the map, row by row; what one has dropped and another not yet looks the same to every reader. Pure.

import { regionMask } from './extent.ts';
import { ancestry, deletedOf, type Generations, type Layer, readersBelow } from './generations.ts';
import type { GenerationId, NodeId } from './ids.ts';
import { OBJECT_BYTES } from './units.ts';
import type { ClusterView } from './view.ts';

/** What a replica notes of one generation at one index. */
export interface LayerRow {
  readonly ownLow: number;
  readonly ownHigh: number;
  readonly verCount: number;
  /** Writes up to this count are on all members. */
  readonly closed: number;
}

interface Tree {
  readonly generations: Generations;
}

const deleted = new WeakMap<Generations, boolean>();

/** True while there are deleted generations that may still show somewhere. */
export function hasDeleted({ generations }: Tree): boolean {
  let found = deleted.get(generations);
  if (found === undefined) {
    found = [...generations.values()].some(({ state }) => state === 'deleted');
    deleted.set(generations, found);
  }
  return found;
}

/** True for a generation that somebody reads or writes: copies of its rows are compared. */
export function isRead({ generations }: Tree, generation: GenerationId): boolean {
  const state = generations.get(generation)?.state;
  return state === 'head' || state === 'frozen';
}

/**
 * True when the row of this deleted generation shows nowhere: for every head and snapshot below it, closed rows nearer to
 * that one own every region of it that the limits let through, or there is none below. Nearer rows that are open do not
 * count: they may be made equal to others that own less. Whether the row itself is open does not matter.
 * @param rowOf the rows of the same index here
 */
export function mayReclaim(
  tree: Tree,
  generation: GenerationId,
  index: number,
  rowOf: (generation: GenerationId) => LayerRow | undefined,
): boolean {
  const row = rowOf(generation);
  const isDeleted = tree.generations.get(generation)?.state === 'deleted';
  if (row === undefined || !isDeleted) return false;
  const readers = readersBelow(tree, generation);
  if (readers.length === 0) return true;
  return readers.every((reader) => {
    return isHidden(ancestry(tree, reader), generation, index, row, rowOf);
  });
}

/** Nothing of the row shows through this path. */
function isHidden(
  path: readonly Layer[],
  generation: GenerationId,
  index: number,
  row: LayerRow,
  rowOf: (generation: GenerationId) => LayerRow | undefined,
): boolean {
  let low = row.ownLow;
  let high = row.ownHigh;
  for (const layer of path) {
    if (layer.generation === generation) {
      const visible = Math.max(0, Math.min(OBJECT_BYTES, layer.limitBytes - index * OBJECT_BYTES));
      return (low & regionMask(0, visible, 0)) === 0 && (high & regionMask(0, visible, 1)) === 0;
    }
    const nearer = rowOf(layer.generation);
    if (nearer === undefined || nearer.closed < nearer.verCount) continue;
    low &= ~nearer.ownLow;
    high &= ~nearer.ownHigh;
  }
  // It is not on the way to the root: nothing of it can show.
  return true;
}

/** Layers that one round of a leader asks the members about. */
export const MAX_LAYERS_PER_ROUND = 256;

/**
 * Whom a leader asks what is left of deleted layers: all that may hold a row that counts. Who is out and down compares all
 * that it has when it comes back, and drops what is no generation by then. Undefined: one of them can not be asked now.
 */
export function reclaimWitnesses(
  view: Pick<ClusterView, 'members'>,
): readonly NodeId[] | undefined {
  const members = [...view.members.values()].filter(({ isWitness, standing, state }) => {
    return !isWitness && state !== 'joined' && (standing === 'in' || state === 'up');
  });
  return members.every(({ state }) => state === 'up') ? members.map(({ node }) => node) : undefined;
}

/** The next deleted layers after this one, round and round, so that each has its turn. */
export function layersToAsk(tree: Tree, after: GenerationId | 0): readonly GenerationId[] {
  const all = deletedOf(tree).map(({ id }) => id);
  const later = all.filter((id) => id > after);
  return [...later, ...all.slice(0, all.length - later.length)].slice(0, MAX_LAYERS_PER_ROUND);
}
