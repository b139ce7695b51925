// Hashing for placement: ring points, partitions, observer rings. Results are exact JS integers below 2^48 (or u32),
// the same on every machine and for ever (`hashVersion` 1 of the `format` entry): a change here moves all data.
// No BigInt, no allocation. Not for secrets and not for checksums.

/** Value of `format.hashVersion` that names the functions of this file. */
export const HASH_VERSION = 1;
/** All results of `hash48...` are below this. */
export const HASH48_LIMIT = 2 ** 48;

const TWO_32 = 2 ** 32;
const SEED_LOW = 0x9e3779b9;
const SEED_HIGH = 0x85ebca6b;
const LOW_16_BITS = 0xffff;

/** Finaliser of MurmurHash3: each input bit reaches each output bit. Input and output are 32 bits. */
function finish(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Takes one more 32-bit word into a 32-bit state. */
function absorb(state: number, word: number): number {
  return finish(Math.imul(state ^ finish(word ^ SEED_LOW), 0x27d4eb2d) + 0x165667b1);
}

/** Hash of two u32, as u32. */
export function hash32(a: number, b: number): number {
  return absorb(absorb(SEED_LOW, a), b) >>> 0;
}

/** Hash of three u32, below 2^48. */
export function hash48(a: number, b: number, c: number): number {
  const low = absorb(absorb(absorb(SEED_LOW, a), b), c) >>> 0;
  const high = absorb(absorb(absorb(SEED_HIGH, c), b), a) & LOW_16_BITS;
  return high * TWO_32 + low;
}

/** Hash of a text by its UTF-16 units, as u32. For seeds that come from ids. */
export function hashText(text: string): number {
  let state = SEED_HIGH;
  for (let i = 0; i < text.length; i += 1) state = absorb(state, text.charCodeAt(i));
  return absorb(state, text.length) >>> 0;
}

/** An order of `count` things drawn by a seed (u32): Fisher-Yates over hashed draws. Deterministic. */
export function shuffled<T>(items: readonly T[], seed: number): T[] {
  const result = items.slice();
  for (let i = result.length - 1; i > 0; i -= 1) {
    const j = hash32(seed, i) % (i + 1);
    const held = result[i] as T;
    result[i] = result[j] as T;
    result[j] = held;
  }
  return result;
}
