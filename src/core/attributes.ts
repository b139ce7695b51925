// Attributes of volumes: bytes under a key, which operators and programs keep there. Made only where there is none
// (create-only), one is a mutex: of all who try, one has it. Bounded, since every node holds all of them.

import { byteLength } from './text-bytes.ts';
import { KIB, MIB } from './units.ts';
import type { Attributes } from './view.ts';

export const MAX_ATTRIBUTE_KEY_BYTES = 255;
export const MAX_ATTRIBUTE_BYTES = 64 * KIB;
/** Attributes of one volume. */
export const MAX_ATTRIBUTES = 256;
/** Keys and values of all volumes together: they are in every node's memory and in each snapshot of the map. */
export const MAX_ALL_ATTRIBUTE_BYTES = 8 * MIB;
/** What an empty attribute takes beside its bytes. */
const OVERHEAD_BYTES = 64;

/** Why this is no key; undefined when it is one. */
export function attributeKeyProblem(key: string): string | undefined {
  if (typeof key !== 'string' || key.length === 0) return 'a key may not be empty';
  if (byteLength(key, MAX_ATTRIBUTE_KEY_BYTES) > MAX_ATTRIBUTE_KEY_BYTES) {
    return `a key has at most ${MAX_ATTRIBUTE_KEY_BYTES} bytes`;
  }
  for (const character of key) {
    const code = character.codePointAt(0) as number;
    if (code < 0x20 || code === 0x7f) return 'a key has no control characters';
    if (code >= 0xd800 && code <= 0xdfff) return 'a key is text';
  }
  return undefined;
}

/** Why this is no value; undefined when it is one. */
export function attributeValueProblem(value: Uint8Array): string | undefined {
  if (!(value instanceof Uint8Array)) return 'a value is bytes';
  if (value.length <= MAX_ATTRIBUTE_BYTES) return undefined;
  return `a value has at most ${MAX_ATTRIBUTE_BYTES} bytes, not ${value.length}`;
}

/** What these count for in the bound of all. */
export function attributesBytes(attributes: Attributes): number {
  let bytes = 0;
  for (const [key, value] of attributes) {
    bytes += byteLength(key, MAX_ATTRIBUTE_KEY_BYTES) + value.length + OVERHEAD_BYTES;
  }
  return bytes;
}
