// The machine's random source. Streams need no separation here: nobody replays a machine.

import { randomBytes } from 'node:crypto';
import { invariant } from '../core/invariant.ts';
import type { Random } from '../ports/ports.ts';

const MAX_RANDOM_BYTES = 1024;

/** Fit for keys and secrets, too. */
export function createRealRandom(): Random {
  const random: Random = {
    u32: () => randomBytes(4).readUInt32LE(0),
    bytes: (length) => {
      invariant(length >= 0 && length <= MAX_RANDOM_BYTES, 'at most 1024 random bytes at once');
      return new Uint8Array(randomBytes(length));
    },
    fork: () => random,
  };
  return random;
}
