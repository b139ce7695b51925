// Gives the space of a range of an open file back to the file system: fallocate(2) of the C library. Where that is missing,
// or the file system has no holes, the answer is false. Loaded with the first hole.

import { cFunction } from './c-library.ts';

/** Holes begin and end at multiples of this. */
export const HOLE_ALIGN_BYTES = 4096;
/** FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE */
const PUNCH_FLAGS = 3;
/** Takes 64-bit offsets on every machine. */
const FUNCTION = 'fallocate64';

type Fallocate = (fd: number, flags: number, position: bigint, length: bigint) => number;

let fallocate: Fallocate | undefined;
let isLoaded = false;

/** Makes a hole. False when nothing was changed: this machine has no holes, or the file system refuses. */
export function punchHole(fd: number, position: number, length: number): boolean {
  if (!isLoaded) {
    isLoaded = true;
    fallocate = cFunction<Fallocate>(FUNCTION, ['i32', 'i32', 'i64', 'i64']);
  }
  return fallocate?.(fd, PUNCH_FLAGS, BigInt(position), BigInt(length)) === 0;
}
