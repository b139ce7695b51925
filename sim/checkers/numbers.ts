// I10: a number (token, n) of an object names the same bytes in every frame ever sent, whatever the guest was told (R2).
// Looks at the writes on the cable as their receivers see them; a node's own copy is reached by a call and is not seen.

import { crc32 } from '../../src/core/checksum.ts';
import { decodeFrame, OP } from '../../src/wire/frame.ts';

/** Numbers remembered; the oldest go first. */
const MAX_NUMBERS = 200_000;
/** Where a frame says its op (FORMATS). */
const OP_AT = 8;

export class NumberChecker {
  /** What a number stands for: op, range, sum of the bytes. */
  readonly #meaning = new Map<string, string>();

  /** @returns the contradiction, as a sentence */
  note(bytes: Uint8Array): string | undefined {
    const op = bytes[OP_AT];
    if (op !== OP.WRITE && op !== OP.ZERO) return undefined;
    const { generation, index, token, verCount, offset, count, payload } = decodeFrame(bytes);
    const name = `${generation}.${index} version ${token}.${verCount + 1}`;
    const meaning = `op ${op} of ${count} bytes at ${offset}, sum ${crc32(payload)}`;
    const known = this.#meaning.get(name);
    if (known !== undefined && known !== meaning) {
      return `I10: object ${name} was ${known}, and is ${meaning}`;
    }
    if (known === undefined) this.#meaning.set(name, meaning);
    if (this.#meaning.size > MAX_NUMBERS) {
      const [oldest] = this.#meaning.keys();
      if (oldest !== undefined) this.#meaning.delete(oldest);
    }
    return undefined;
  }
}
