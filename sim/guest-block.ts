// The content of a guest's block: who wrote what, where and which time, so that a block in the wrong place, a torn one
// or a stale one is recognised. A value is a number unique in its run; zeroes are value 0.

import { mixNumber } from './sim-random.ts';

export const BLOCK_BYTES = 4096;
const MAGIC = 0x5ee9d06;
const HEADER_WORDS = 5;
const BLOCK_WORDS = BLOCK_BYTES / 4;
const expected = new Uint8Array(BLOCK_BYTES);
const ZERO_BLOCK = new Uint8Array(BLOCK_BYTES);

interface Tag {
  readonly volume: number;
  readonly block: number;
  readonly value: number;
}

/** Fills one block of `target`, which begins at a multiple of 4. */
export function fillBlock(target: Uint8Array, at: number, tag: Tag): void {
  const words = new Uint32Array(target.buffer, target.byteOffset + at, BLOCK_WORDS);
  words[0] = MAGIC;
  words[1] = tag.volume;
  words[2] = tag.block;
  words[3] = tag.value;
  words[4] = mixNumber(mixNumber(mixNumber(MAGIC, tag.volume), tag.block), tag.value);
  words.fill(Math.imul(tag.value, 0x9e3779b1), HEADER_WORDS);
}

/**
 * The value that a block holds.
 * @returns undefined when it is neither zeroes nor exactly what somebody wrote to this block of this volume
 */
export function blockValue(
  bytes: Uint8Array,
  at: number,
  place: { readonly volume: number; readonly block: number },
): number | undefined {
  const block = bytes.subarray(at, at + BLOCK_BYTES);
  const words = new DataView(block.buffer, block.byteOffset, block.length);
  if (words.getUint32(0, true) === 0)
    return Buffer.compare(block, ZERO_BLOCK) === 0 ? 0 : undefined;
  const value = words.getUint32(12, true);
  fillBlock(expected, 0, { ...place, value });
  return Buffer.compare(block, expected) === 0 ? value : undefined;
}
