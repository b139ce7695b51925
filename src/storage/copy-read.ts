// Reading part of an object for a peer (FETCH): sums of the range, and the data of those sectors that have one, one
// after the other. Everything is checked on the way out (I8) and is as accepted, like the row's version.

import { getSum } from '../core/checksum.ts';
import { OperatingError } from '../core/errors.ts';
import { objectName } from '../core/ids.ts';
import { SECTOR_BYTES } from '../core/units.ts';
import { NO_BYTES } from './journal-codec.ts';
import type { ObjectReader } from './object-read.ts';
import type { ObjectState } from './object-state.ts';

/**
 * @param offset,count whole sectors
 * @param done at once when there is nothing to read; 'suspect' when a checksum fails
 */
export function readForCopy(
  reader: ObjectReader,
  state: ObjectState | undefined,
  offset: number,
  count: number,
  done: (error: OperatingError | undefined, sums: Uint8Array, data: Uint8Array) => void,
): void {
  if (state === undefined) {
    done(undefined, new Uint8Array((count / SECTOR_BYTES) * 4), NO_BYTES);
    return;
  }
  const bytes = new Uint8Array(count);
  reader.read(state, offset, count, bytes, (outcome, error) => {
    if (outcome === 'suspect') {
      const text = error?.message ?? 'a checksum does not match';
      const message = `object ${objectName(state)} is damaged here: ${text}`;
      done(new OperatingError('suspect', message, { advice: 'next-replica' }), NO_BYTES, NO_BYTES);
      return;
    }
    if (state.pendingCopies > 0) {
      // What it owns by now is not in its file yet: its version rose meanwhile.
      const text = `object ${objectName(state)} is being changed`;
      done(new OperatingError('busy', text, { advice: 'retry' }), NO_BYTES, NO_BYTES);
      return;
    }
    const sums = reader.sumsOf(state, offset, count);
    done(undefined, sums, packed(sums, bytes));
  });
}

/** Moves the sectors that have a sum together; returns them as a view of the same bytes. */
function packed(sums: Uint8Array, bytes: Uint8Array): Uint8Array {
  let length = 0;
  for (let i = 0; i < sums.length / 4; i += 1) {
    if (getSum(sums, i) === 0) continue;
    const at = i * SECTOR_BYTES;
    if (length !== at) bytes.copyWithin(length, at, at + SECTOR_BYTES);
    length += SECTOR_BYTES;
  }
  return bytes.subarray(0, length);
}
