// How contents are made small: zstd, level 1, and only where it helps. Both ways are done in this thread: handed to others
// it costs twice the processor time, and a backup is bound by that. What is decoded is bounded before it is begun.

import { constants, crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { OperatingError } from '../core/errors.ts';
import type { Coding } from './backup-format.ts';
import { freed } from './freed.ts';

const LEVEL = 1;
/** Below this part of the content, in 16ths, the small form is worth its decoding. */
const WORTH_16THS = 15;
/** More than zstd adds to what it can not make smaller. */
const SLACK_BYTES = 16 * 1024;

export interface Coded {
  readonly coding: Coding;
  readonly bytes: Uint8Array;
}

export function encoded(content: Uint8Array): Coded {
  const small = zstdCompressSync(content, {
    params: { [constants.ZSTD_c_compressionLevel]: LEVEL },
    chunkSize: content.length + SLACK_BYTES,
  });
  if (small.length * 16 < content.length * WORTH_16THS) return { coding: 'zstd', bytes: small };
  freed(small);
  return { coding: 'plain', bytes: content };
}

/** The CRC-32 of what has this sum already and of these bytes behind it: no need to join them. */
export function sumOver(sum: number, bytes: Uint8Array): number {
  return crc32(bytes, sum);
}

/** Exactly so many bytes, or undefined: these are not what was encoded. */
export function decoded({ coding, bytes }: Coded, contentBytes: number): Uint8Array | undefined {
  if (coding === 'plain') return bytes.length === contentBytes ? bytes : undefined;
  try {
    const content = zstdDecompressSync(bytes, {
      maxOutputLength: Math.max(1, contentBytes),
      chunkSize: Math.max(64, contentBytes),
    });
    return content.length === contentBytes ? content : undefined;
  } catch (error) {
    if (error instanceof RangeError || isZlibError(error)) return undefined;
    throw new OperatingError('io', 'zstd fails', { cause: error });
  }
}

function isZlibError(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && /^(ZSTD|Z|ERR)_/.test(code);
}
