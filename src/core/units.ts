// Sizes and times with names, and the two divisions that block arithmetic needs. Everything is a plain integer.

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;
export const TIB = 1024 * GIB;

/** Smallest checked and atomic piece inside an object. */
export const SECTOR_BYTES = 4 * KIB;
/** Unit of ownership between generations (copy-on-write) and of "what a node missed". */
export const REGION_BYTES = 64 * KIB;
/** Unit of storage and placement. */
export const OBJECT_BYTES = 4 * MIB;
export const SECTORS_PER_OBJECT = OBJECT_BYTES / SECTOR_BYTES;
export const REGIONS_PER_OBJECT = OBJECT_BYTES / REGION_BYTES;
/** Largest payload of one block frame; a longer guest request is several writes. */
export const MAX_PAYLOAD_BYTES = MIB;

export const SECOND_MS = 1000;
export const MINUTE_MS = 60 * SECOND_MS;

/** How many pieces of `size` cover `value`. Both are non-negative integers, `size` above 0. */
export function divideUp(value: number, size: number): number {
  return Math.ceil(value / size);
}

/** `value` rounded down to a multiple of `size`. Safe for all integers below 2^53. */
export function alignDown(value: number, size: number): number {
  return value - (value % size);
}

/** `value` rounded up to a multiple of `size`. */
export function alignUp(value: number, size: number): number {
  return divideUp(value, size) * size;
}
