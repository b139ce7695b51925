// Refuses writes before the file system is full: what was confirmed must always be applicable (4.9). The answer of the
// file system is kept for a moment and reduced by what was accepted since.

import { OperatingError } from '../core/errors.ts';
import { MIB, SECOND_MS } from '../core/units.ts';
import type { Clock, Disk } from '../ports/ports.ts';

/** Free space that writes never touch; a small file system keeps SMALL_DISK_SHARE of itself instead. */
export const SPACE_RESERVE_BYTES = 64 * MIB;
const SMALL_DISK_SHARE = 0.02;
/** How long, and for how many accepted bytes, one answer of the file system is used. */
const FRESH_MS = SECOND_MS;
const FRESH_BYTES = 8 * MIB;

export class SpaceGuard {
  readonly #disk: Disk;
  readonly #clock: Clock;
  #freeBytes = 0;
  #reserveBytes = 0;
  #acceptedBytes = 0;
  #askedMs = Number.NEGATIVE_INFINITY;

  constructor(disk: Disk, clock: Clock) {
    this.#disk = disk;
    this.#clock = clock;
  }

  /** Undefined when a write of this size is welcome; counts it then. */
  refusal(bytes: number): OperatingError | undefined {
    const isFresh =
      this.#clock.now() - this.#askedMs < FRESH_MS && this.#acceptedBytes < FRESH_BYTES;
    if (!isFresh) this.#ask();
    const left = this.#freeBytes - this.#acceptedBytes - bytes;
    if (left >= this.#reserveBytes) {
      this.#acceptedBytes += bytes;
      return undefined;
    }
    this.#askedMs = Number.NEGATIVE_INFINITY;
    return new OperatingError('no-space', `the data disk has ${left} bytes left for data`, {
      remedy: 'free space on the data disk, or add a node',
    });
  }

  #ask(): void {
    const { freeBytes, totalBytes } = this.#disk.space();
    this.#freeBytes = freeBytes;
    this.#reserveBytes = Math.min(SPACE_RESERVE_BYTES, totalBytes * SMALL_DISK_SHARE);
    this.#acceptedBytes = 0;
    this.#askedMs = this.#clock.now();
  }
}
