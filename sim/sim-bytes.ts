// Bytes for pages and frames, cut from larger pieces: an array of its own for each costs a microsecond and much work for
// the collector. What is cut never overlaps and is never given back; a piece goes when nobody holds a part of it.

/** Small enough that one page which lives long does not keep much else alive. */
const SLAB_BYTES = 64 * 1024;
/** Larger ones are arrays of their own. */
const MAX_CUT_BYTES = 16 * 1024;

let slab = new ArrayBuffer(0);
let used = 0;

/** Bytes to be filled by the caller wholly: they hold anything. */
export function takeBytes(length: number): Uint8Array {
  if (length > MAX_CUT_BYTES) return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
  if (used + length > slab.byteLength) {
    slab = Buffer.allocUnsafeSlow(SLAB_BYTES).buffer;
    used = 0;
  }
  const bytes = new Uint8Array(slab, used, length);
  used += (length + 7) & ~7;
  return bytes;
}
