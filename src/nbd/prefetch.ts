// CACHE: reads a range and drops it, so that sums and blocks lie in memory when the client comes for them. One buffer per
// request, whatever its length.

import { KIB, MIB } from '../core/units.ts';
import type { Done, VolumeSession } from '../datapath/volume-session.ts';

/** What is read of one CACHE request, from its start; more would only push out what was read first. Bytes. */
export const MAX_PREFETCH_BYTES = 32 * MIB;
const PIECE_BYTES = 256 * KIB;

/** `done` when all is read, or at the first error. */
export function prefetch(session: VolumeSession, offset: number, length: number, done: Done): void {
  const end = offset + Math.min(length, MAX_PREFETCH_BYTES);
  const scratch = Buffer.allocUnsafe(Math.min(PIECE_BYTES, end - offset));
  const readFrom = (at: number): void => {
    const size = Math.min(scratch.length, end - at);
    session.read(at, size, scratch, 0, (error) => {
      if (error !== undefined || at + size === end) done(error);
      else readFrom(at + size);
    });
  };
  readFrom(offset);
}
