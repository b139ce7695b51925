// The memory of long frames, used again: fresh pages cost a bulk copy more than the bytes in them. Only who knows that
// nobody looks at a frame any more gives its memory back; what nobody gives back goes the way of all memory.

import { allocUnsafe } from 'uint8arrays/alloc';
import { invariant } from '../core/invariant.ts';
import { KIB } from '../core/units.ts';

/** Shorter frames have memory of their own. */
export const MIN_SPARE_FRAME_BYTES = 512 * KIB;
/** Memory of frames that waits for the next ones. */
export const MAX_SPARE_FRAMES = 8;

/** What was lent; the owner may be gone without a word. */
const lent = new WeakSet<ArrayBufferLike>();
const spare: Uint8Array[] = [];

/**
 * @param bytes of the frame
 * @param most that any frame has
 * @returns memory with whatever was in it before
 */
export function takeFrameMemory(bytes: number, most: number): Uint8Array {
  if (bytes < MIN_SPARE_FRAME_BYTES) return allocUnsafe(bytes);
  let memory = spare.pop();
  if (memory === undefined || memory.length < bytes) memory = allocUnsafe(most);
  lent.add(memory.buffer);
  return memory.subarray(0, bytes);
}

/**
 * Nobody looks at the frame any more that `part` is of. Once for a frame: its memory is another's afterwards.
 * @param part of any frame, or of none: only what was lent comes back
 */
export function giveFrameMemory(part: Uint8Array): void {
  if (!lent.delete(part.buffer)) return;
  invariant(part.buffer instanceof ArrayBuffer, 'frames have memory of their own');
  if (spare.length < MAX_SPARE_FRAMES) spare.push(new Uint8Array(part.buffer));
}
