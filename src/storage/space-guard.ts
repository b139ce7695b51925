// Refuses what the disk has no room for before anything is touched (4.9): what was confirmed must always be applicable,
// and a full node must still start, grow its map log, checkpoint and delete. What needs new space is refused from `full`
// on, overwrites of owned regions only near the very end. The answer of the file system is kept for a moment, less what
// was accepted and is not applied yet.

import { OperatingError } from '../core/errors.ts';
import { regionMask } from '../core/extent.ts';
import {
  DEFAULT_SPACE_RULE,
  type DiskSpace,
  type SpaceLevel,
  type SpaceRule,
  spaceLevel,
  spaceLimits,
} from '../core/space.ts';
import { MIB, SECOND_MS } from '../core/units.ts';
import type { Clock, Disk } from '../ports/ports.ts';
import type { PartitionTable } from './partition-table.ts';
import type { StoreWrite } from './store-types.ts';

/** How long, and for how many accepted bytes, one answer of the file system is used. */
const FRESH_MS = SECOND_MS;
const FRESH_BYTES = 8 * MIB;

/** An overwrite of regions that the copy owns needs no new space, or little. */
export type SpaceNeed = 'new space' | 'owned space';

export class SpaceGuard {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #rule: SpaceRule;
  #space: DiskSpace = { totalBytes: 0, freeBytes: 0 };
  #level: SpaceLevel = 'ok';
  /** Accepted and not applied: not in the file system's figures yet. */
  #pendingBytes = 0;
  /** The same as of the last answer, and what was accepted since. */
  #pendingAtAsk = 0;
  #acceptedBytes = 0;
  #askedMs = Number.NEGATIVE_INFINITY;

  constructor(disk: Disk, clock: Clock, rule: SpaceRule = DEFAULT_SPACE_RULE) {
    this.#disk = disk;
    this.#clock = clock;
    this.#rule = rule;
  }

  /** As of a moment ago. */
  get level(): SpaceLevel {
    this.#refresh();
    return this.#level;
  }

  /** Undefined when a change of this size is welcome; counts it then, until `applied`. */
  admit(bytes: number, needs: SpaceNeed): OperatingError | undefined {
    const refusal = this.refusal(bytes, needs);
    if (refusal !== undefined) return refusal;
    this.#acceptedBytes += bytes;
    this.#pendingBytes += bytes;
    return undefined;
  }

  /** Why there is no room for so much more; undefined when there is. Counts nothing. */
  refusal(bytes: number, needs: SpaceNeed): OperatingError | undefined {
    this.#refresh();
    const { totalBytes, freeBytes } = this.#space;
    const left = freeBytes - this.#pendingAtAsk - this.#acceptedBytes - bytes;
    const limits = spaceLimits(totalBytes, this.#rule);
    if (left >= (needs === 'new space' ? limits.full : limits.overwrite)) return undefined;
    // Its own word counts: what was refused once is full until there is clearly more room.
    this.#level = 'full';
    // Asked anew by the next one: space may be back.
    this.#askedMs = Number.NEGATIVE_INFINITY;
    const text = `the data disk has ${freeBytes} of ${totalBytes} bytes free: no room for ${needs}`;
    return new OperatingError('no-space', text, {
      remedy: 'free space on the data disk, make it larger, or add a node',
    });
  }

  /** So much of what was admitted is in place now. */
  applied(bytes: number): void {
    this.#pendingBytes = Math.max(0, this.#pendingBytes - bytes);
  }

  #refresh(): void {
    const now = this.#clock.now();
    if (now - this.#askedMs < FRESH_MS && this.#acceptedBytes < FRESH_BYTES) return;
    this.#space = this.#disk.space();
    this.#level = spaceLevel(this.#space, this.#rule, this.#level);
    this.#pendingAtAsk = this.#pendingBytes;
    this.#acceptedBytes = 0;
    this.#askedMs = now;
  }
}

/** What a write into the copies of this table needs. */
export function needOf(
  table: PartitionTable,
  {
    generation,
    index,
    offset,
    count,
  }: Pick<StoreWrite, 'generation' | 'index' | 'offset' | 'count'>,
): SpaceNeed {
  const state = table.find(generation, index);
  if (state === undefined || state.kind !== 'data') return 'new space';
  const low = regionMask(offset, count, 0) & ~state.ownLow;
  const high = regionMask(offset, count, 1) & ~state.ownHigh;
  return low === 0 && high === 0 ? 'owned space' : 'new space';
}
