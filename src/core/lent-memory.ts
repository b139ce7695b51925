// Memory of frames and of a guest's requests, used again: fresh pages and their collection cost more than the bytes in them.
// Only who knows that nobody looks at it any more gives it back; what nobody gives back goes the way of all memory.

import { invariant } from './invariant.ts';
import { KIB, MIB } from './units.ts';

/** Shorter parts have memory of their own. */
export const MIN_LENT_BYTES = 2 * KIB;
/** Longer ones, too. */
export const MAX_LENT_BYTES = 4 * MIB;
/** What waits for its next use, all sizes together. */
export const MAX_SPARE_BYTES = 16 * MIB;

/** Sizes are powers of two and an eighth: a frame is its bytes and something more. */
const SMALLEST = 4 * KIB + 512;
const SIZES = 11;
/** What memory that was given back holds in tests and simulations: who still reads it fails. */
const SCRIBBLE = 0xdd;

/** By size, the smallest first. */
const spare: Uint8Array[][] = Array.from({ length: SIZES }, () => []);
/** By size: how many waited at the least since the last trim. */
const leastSpare = new Uint32Array(SIZES);
/** What was lent; the borrower may be gone without a word. */
const lent = new WeakSet<ArrayBufferLike>();
let spareBytes = 0;
let isScribbled = false;

/** @returns memory of this length with whatever was in it before */
export function lendMemory(bytes: number): Uint8Array {
  if (bytes < MIN_LENT_BYTES || bytes > MAX_LENT_BYTES) return new Uint8Array(bytes);
  const size = sizeOf(bytes);
  let memory = spare[size]?.pop();
  if (memory === undefined)
    memory = new Uint8Array(Buffer.allocUnsafeSlow(SMALLEST << size).buffer);
  else spareBytes -= memory.length;
  leastSpare[size] = Math.min(leastSpare[size] as number, spare[size]?.length ?? 0);
  lent.add(memory.buffer);
  return memory.subarray(0, bytes);
}

/**
 * Nobody looks any more at the memory that `part` is of: it is another's afterwards.
 * @param part of anything: only what was lent, and not kept since, comes back
 */
export function returnMemory(part: Uint8Array): void {
  if (!lent.delete(part.buffer)) return;
  const memory = new Uint8Array(part.buffer);
  if (isScribbled) memory.fill(SCRIBBLE);
  if (spareBytes + memory.length > MAX_SPARE_BYTES) dropOthers(memory.length);
  spareBytes += memory.length;
  spare[sizeOf(memory.length)]?.push(memory);
}

/** Somebody may look at it for longer than its owner knows: it never comes back. */
export function keepMemory(part: Uint8Array): void {
  lent.delete(part.buffer);
}

/** From now on memory that comes back is overwritten, for tests and simulations. */
export function scribbleReturned(): void {
  isScribbled = true;
}

/** Gives back to the system what nobody needed since the last call. To be called now and then. */
export function trimSpareMemory(): void {
  for (const [size, waiting] of spare.entries()) {
    free(waiting, leastSpare[size] as number);
    leastSpare[size] = waiting.length;
  }
}

/** Makes room for memory of this size: that of the other sizes goes, for it is this one that is used now. */
function dropOthers(bytes: number): void {
  const own = sizeOf(bytes);
  for (const [size, waiting] of spare.entries()) if (size !== own) free(waiting, waiting.length);
  if (spareBytes + bytes > MAX_SPARE_BYTES) free(spare[own] as Uint8Array[], 1);
}

/** At once, not when garbage is looked for next: nobody looks at it. */
function free(waiting: Uint8Array[], count: number): void {
  for (const memory of waiting.splice(0, count)) {
    spareBytes -= memory.length;
    (memory.buffer as ArrayBuffer).transfer(0);
  }
}

/** The smallest size that holds so many bytes. */
function sizeOf(bytes: number): number {
  let size = 0;
  while (SMALLEST << size < bytes) size += 1;
  invariant(size < SIZES, 'what is lent has a size');
  return size;
}
