// Bytes for pages, frames and guests, cut from larger pieces: an array of its own for each costs a microsecond and much
// work for the collector. Pages are given back by the disk that knows that nobody looks at them any more; what else is cut
// goes with its piece, when nobody holds a part of it.

export const PAGE_BYTES = 4096;
/** Small enough that one part which lives long does not keep much else alive. */
const SLAB_BYTES = 64 * 1024;
/** Larger ones are arrays of their own. */
const MAX_CUT_BYTES = 16 * 1024;
/** Pages that were given back and wait for their next use. 64 MiB. */
const MAX_FREE_PAGES = 16_384;

const freePages: Uint8Array[] = [];
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

/** A page to be filled wholly. */
export function takePage(): Uint8Array {
  return freePages.pop() ?? takeBytes(PAGE_BYTES);
}

/** Nobody reads this page any more. */
export function givePage(page: Uint8Array): void {
  if (freePages.length < MAX_FREE_PAGES) freePages.push(page);
}
