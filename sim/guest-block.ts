// The content of a guest's block: who wrote what, where and which time, so that a block in the wrong place, a torn one
// or a stale one is recognised. A value is a number unique in its run; zeroes are value 0.

import { crc32 } from 'node:zlib';

export const BLOCK_BYTES = 4096;
const MAGIC = 0x5ee9d06;
const HEADER_BYTES = 20;
const ZERO_BLOCK = new Uint8Array(BLOCK_BYTES);

/** Fills one block of `target`. */
export function fillBlock(
  target: Uint8Array,
  at: number,
  tag: { readonly volume: number; readonly block: number; readonly value: number },
): void {
  const words = new Uint32Array(BLOCK_BYTES / 4).fill(Math.imul(tag.value, 0x9e3779b1));
  words[0] = MAGIC;
  words[1] = tag.volume;
  words[2] = tag.block;
  words[3] = tag.value;
  words[4] = crc32(new Uint8Array(words.buffer, 0, HEADER_BYTES - 4));
  target.set(new Uint8Array(words.buffer), at);
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
  const view = new DataView(block.buffer, block.byteOffset, block.length);
  if (view.getUint32(0, true) === 0) return Buffer.compare(block, ZERO_BLOCK) === 0 ? 0 : undefined;
  const value = view.getUint32(12, true);
  const expected = new Uint8Array(BLOCK_BYTES);
  fillBlock(expected, 0, { ...place, value });
  return Buffer.compare(block, expected) === 0 ? value : undefined;
}
