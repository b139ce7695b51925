// The stack of an object (S1, 4.5): its rows in the generation that is worked on and in all that shows through it. First
// touches settle stacks, joiners recover them. One number names one row of a volume's stacks.

import { ancestry, type Layer } from '../core/generations.ts';
import type { GenerationId, ObjectId } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { ClusterView } from '../core/view.ts';
import { MAX_VOLUME_OBJECTS } from '../core/volume.ts';

/** A row of a stack, by its object: exact below 2^53. */
export type StackKey = number;

const sets = new WeakMap<readonly Layer[], ReadonlySet<GenerationId>>();

/** The generations that this one shows, itself among them. */
export function stackOf(view: ClusterView, generation: GenerationId): ReadonlySet<GenerationId> {
  const path = ancestry(view, generation);
  const known = sets.get(path);
  // A generation that the view does not know shows itself alone.
  if (path.length === 0) return new Set([generation]);
  if (known !== undefined) return known;
  const made = new Set(path.map((layer) => layer.generation));
  sets.set(path, made);
  return made;
}

/** Names one object of any generation. */
export function stackKey(generation: number, index: number): StackKey {
  invariant(index < MAX_VOLUME_OBJECTS, 'an index is that of an object of a volume');
  return generation * MAX_VOLUME_OBJECTS + index;
}

/** Inverse of `stackKey`. */
export function objectOfKey(key: StackKey): ObjectId {
  const index = key % MAX_VOLUME_OBJECTS;
  return { generation: ((key - index) / MAX_VOLUME_OBJECTS) as GenerationId, index };
}
