// Memory that is given back at once. The bytes of a piece lie outside the heap: the garbage collector sees small objects and
// lets a hundred MiB of them gather. Who is the last one to use a piece says so here instead, and the allocator has the
// same memory again for the next one: what a backup takes is what is on its way.

/** Buffers up to here may lie in one that they share with others, which is a little larger than it says. */
const OWN_MEMORY_BYTES = 2 * Buffer.poolSize;

/**
 * These bytes are not used any more, nor any others of the same buffer. Whoever still looks at them sees none of them. Bytes
 * of a buffer that may be shared, and what was freed before, are left alone.
 */
export function freed(...all: readonly (Uint8Array | undefined)[]): void {
  for (const bytes of all) {
    const buffer = bytes?.buffer;
    if (buffer instanceof ArrayBuffer && buffer.byteLength > OWN_MEMORY_BYTES) buffer.transfer(0);
  }
}
