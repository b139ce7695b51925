// When a row of a deleted generation may go (S6): when nobody below can see it any more. Each replica decides by its own
// rows and the tree of the map, row by row; what one has dropped and another not yet looks the same to every reader. Pure.

import { regionMask } from './extent.ts';
import { childrenOf, deletedOf, type Generations, NO_LIMIT } from './generations.ts';
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
  const open: Shown[] = [{ generation, low: row.ownLow, high: row.ownHigh }];
  // Down the tree, each generation once at most, and no further than anything of the row may show.
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    for (const child of childrenOf(tree, at.generation)) {
      const below = shownBelow(tree, at, child, index, rowOf);
      if (below.low === 0 && below.high === 0) continue;
      if (isRead(tree, child)) return false;
      open.push(below);
    }
  }
  return true;
}

/** Regions of the row that may show in a generation and in what lies below it. */
interface Shown {
  readonly generation: GenerationId;
  readonly low: number;
  readonly high: number;
}

/** What of it gets past the limit of the next generation and past what that one owns. */
function shownBelow(
  { generations }: Tree,
  { low, high }: Shown,
  generation: GenerationId,
  index: number,
  rowOf: (generation: GenerationId) => LayerRow | undefined,
): Shown {
  const limitBytes = generations.get(generation)?.limitBytes ?? NO_LIMIT;
  const visible = Math.max(0, Math.min(OBJECT_BYTES, limitBytes - index * OBJECT_BYTES));
  const row = rowOf(generation);
  const covers = row !== undefined && row.closed >= row.verCount;
  return {
    generation,
    low: low & regionMask(0, visible, 0) & ~(covers ? row.ownLow : 0),
    high: high & regionMask(0, visible, 1) & ~(covers ? row.ownHigh : 0),
  };
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
