// Entries about the attributes of volumes. They go with their volume.

import {
  attributeKeyProblem,
  attributesBytes,
  attributeValueProblem,
  MAX_ALL_ATTRIBUTE_BYTES,
  MAX_ATTRIBUTES,
} from './attributes.ts';
import type { EntryBody } from './log-entry.ts';
import {
  type Applied,
  accepted,
  type ClusterState,
  declined,
  withEntry,
  withoutEntry,
} from './state.ts';
import type { Attributes } from './view.ts';

type Body<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

const NONE: Attributes = new Map();

/** Sets one; with `isNew` only where there is none. `value` = bytes. */
export function applyAttributeSet(state: ClusterState, body: Body<'attributeSet'>): Applied {
  const { volume, key, value } = body;
  if (!state.volumes.has(volume)) return declined(state, 'missing', 'no such volume');
  const problem = attributeKeyProblem(key) ?? attributeValueProblem(value);
  if (problem !== undefined) return declined(state, 'refused', problem);
  const known = state.attributes.get(volume) ?? NONE;
  if (body.isNew && known.has(key)) return declined(state, 'exists', 'there is one already');
  if (!known.has(key) && known.size >= MAX_ATTRIBUTES) {
    return declined(state, 'full', `a volume has at most ${MAX_ATTRIBUTES} attributes`);
  }
  // A copy: what came with a message is a view of it.
  const attributes = withEntry(state.attributes, volume, withEntry(known, key, value.slice()));
  let bytes = 0;
  for (const of of attributes.values()) bytes += attributesBytes(of);
  if (bytes > MAX_ALL_ATTRIBUTE_BYTES) {
    return declined(state, 'full', 'the attributes of all volumes take too much room');
  }
  return accepted({ ...state, attributes }, value.length);
}

/** Removes one. */
export function applyAttributeRemove(state: ClusterState, body: Body<'attributeRemove'>): Applied {
  const { volume, key } = body;
  if (!state.volumes.has(volume)) return declined(state, 'missing', 'no such volume');
  const known = state.attributes.get(volume) ?? NONE;
  if (!known.has(key)) return declined(state, 'missing', 'no such attribute');
  const left = withoutEntry(known, key);
  const attributes =
    left.size === 0
      ? withoutEntry(state.attributes, volume)
      : withEntry(state.attributes, volume, left);
  return accepted({ ...state, attributes }, 0);
}
