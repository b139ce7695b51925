// How the tree of generations changes in the state: a layer more, a layer less. A deleted generation is kept as long as
// something lies below it, for its rows show through there; without, it is dropped by the same step, and so is every
// deleted one above that nothing lies below of any more. No record at or below the counter: deleted for good (S5).

import { childrenOf, type Generation, type Generations } from './generations.ts';
import type { GenerationId } from './ids.ts';
import type { ClusterState } from './state.ts';

type Tree = Pick<ClusterState, 'generations'>;

/** The tree with this generation, new or changed. */
export function withGeneration(state: Tree, generation: Generation): Generations {
  return new Map(state.generations).set(generation.id, generation);
}

/** The tree without this one: dropped, or kept as deleted as long as it shows through to something. */
export function withoutGeneration(state: Tree, id: GenerationId): Generations {
  const known = state.generations.get(id);
  if (known === undefined) return state.generations;
  const changed = new Map(state.generations);
  if (childrenOf(state, id).length > 0) {
    return changed.set(id, { ...known, state: 'deleted', name: '', tag: '', isProtected: false });
  }
  let at: Generation | undefined = known;
  // Ends: each step is one closer to the root.
  while (at !== undefined) {
    const dropped: Generation = at;
    changed.delete(dropped.id);
    const parent = dropped.parent === 0 ? undefined : changed.get(dropped.parent);
    const isAlone = parent !== undefined && childrenOf(state, parent.id).length === 1;
    at = isAlone && parent.state === 'deleted' ? parent : undefined;
  }
  return changed;
}
