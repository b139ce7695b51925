// A copy in the making that changes a few regions of the object that is here (4.7): what is written into it is kept in
// memory, and `commit` journals it with the row as it is afterwards, in records of one batch, so that after a crash all of
// it counts or nothing. The disk writes what differs, twice, instead of the whole object once.

import { getSum, SUM_BYTES } from '../core/checksum.ts';
import { OperatingError } from '../core/errors.ts';
import { regionRuns } from '../core/extent.ts';
import { invariant } from '../core/invariant.ts';
import { MIB, REGIONS_PER_OBJECT, SECTOR_BYTES } from '../core/units.ts';
import type { ChangeOrder } from './change-order.ts';
import { NO_BYTES, RECORD_WRITE, RECORD_ZERO } from './journal-codec.ts';
import type { ObjectState } from './object-state.ts';
import type { PartitionTable } from './partition-table.ts';
import type { SpaceGuard } from './space-guard.ts';
import type { ObjectImage, StagedObject, StoreDone, StoreWrite } from './store-types.ts';

/** Data of one patch; what differs by more is staged as a whole. It fits, with its sums and headers, into one batch. */
export const MAX_PATCH_BYTES = MIB;

export interface PatchParts {
  readonly table: PartitionTable;
  readonly space: SpaceGuard;
  readonly order: ChangeOrder;
}

/** Sectors in a row that have data (and sums), or that have none. */
interface Run {
  readonly offset: number;
  readonly count: number;
  readonly sums: Uint8Array;
  readonly data: Uint8Array;
}

export class Patch implements StagedObject {
  readonly #parts: PatchParts;
  readonly #state: ObjectState;
  readonly #image: ObjectImage;
  readonly #runs: Run[] = [];
  #dataBytes = 0;
  #isOver = false;

  /** @param state the object that is here, of kind `data` and not lost */
  constructor(parts: PatchParts, state: ObjectState, image: ObjectImage) {
    invariant(state.kind === 'data' && image.kind === 'data', 'a patch changes data');
    this.#parts = parts;
    this.#state = state;
    this.#image = image;
  }

  writeSectors(offset: number, sums: Uint8Array, data: Uint8Array, done?: () => void): void {
    invariant(!this.#isOver, 'a patch is not over');
    const sectors = sums.length / SUM_BYTES;
    let taken = 0;
    for (let i = 0; i < sectors; ) {
      const hasData = getSum(sums, i) !== 0;
      let end = i + 1;
      while (end < sectors && (getSum(sums, end) !== 0) === hasData) end += 1;
      const count = (end - i) * SECTOR_BYTES;
      const run = { offset: offset + i * SECTOR_BYTES, count };
      if (hasData) {
        // Of its own: it is journaled long after the caller's bytes are another's.
        this.#runs.push({
          ...run,
          sums: sums.slice(i * SUM_BYTES, end * SUM_BYTES),
          data: data.slice(taken, taken + count),
        });
        taken += count;
      } else this.#runs.push({ ...run, sums: NO_BYTES, data: NO_BYTES });
      i = end;
    }
    invariant(taken === data.length, 'data holds only sectors that have a sum');
    this.#dataBytes += taken;
    done?.();
  }

  commit(done: StoreDone): void {
    invariant(!this.#isOver, 'a patch is not over');
    this.#isOver = true;
    const { table, space, order } = this.#parts;
    const state = this.#state;
    const isHere = table.find(state.generation, state.index) === state && !state.isLost;
    if (!isHere || this.#dataBytes > MAX_PATCH_BYTES) {
      order.refuse(new OperatingError('changed', 'the copy is another one by now'), done);
      return;
    }
    const refusal = order.refusal(this.#dataBytes) ?? space.admit(this.#dataBytes, 'owned space');
    if (order.answerRefusal(refusal, done)) return;
    const runs = [...this.#runs, ...this.#dropped()];
    // At least one record carries the row.
    if (runs.length === 0) runs.push({ offset: 0, count: 0, sums: NO_BYTES, data: NO_BYTES });
    const prev = { token: state.verToken, count: state.verCount } as StoreWrite['prev'];
    this.#advance();
    for (const [at, { offset, count, sums, data }] of runs.entries()) {
      const left = runs.length - 1 - at;
      const write = { ...this.#image, prev, next: this.#image.version, cfg: 0, offset, count };
      const kind = sums.length > 0 || count === 0 ? RECORD_WRITE : RECORD_ZERO;
      const ended: StoreDone = left === 0 ? done : () => undefined;
      order.append(kind, state, { write, sums, data, groupLeft: left, done: ended });
    }
  }

  abort(): void {
    this.#isOver = true;
    this.#runs.length = 0;
  }

  /** Regions that the object owned and does not own any more: what they held is no part of the version. */
  #dropped(): Run[] {
    const { ownLow, ownHigh } = this.#image;
    const state = this.#state;
    const gone = { low: (state.ownLow & ~ownLow) >>> 0, high: (state.ownHigh & ~ownHigh) >>> 0 };
    return regionRuns(gone, REGIONS_PER_OBJECT - 1).map((range) => {
      return { ...range, sums: NO_BYTES, data: NO_BYTES };
    });
  }

  #advance(): void {
    const { table } = this.#parts;
    const state = this.#state;
    const { version, ownLow, ownHigh, closed, openLow, openHigh } = this.#image;
    table.addUsage(state, -1);
    state.keepDurable();
    Object.assign(state, { verToken: version.token, verCount: version.count });
    Object.assign(state, { ownLow, ownHigh, closed, openLow, openHigh });
    table.addUsage(state, 1);
  }
}
