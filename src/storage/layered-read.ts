// Reads through the layers of a generation (S1): each run from the object of the layer that shows there, with the accepted
// changes of those above whose regions are being copied laid over it. What is read in one look is looked at again when
// the layers moved meanwhile. Volumes without snapshots never come here.

import { invariant } from '../core/invariant.ts';
import { alignDown, alignUp, SECTOR_BYTES } from '../core/units.ts';
import type { LayeredRange, Lineage, Run } from './lineage.ts';
import {
  MAX_READ_LOOKS,
  MAX_SYNC_READ_BYTES,
  type ObjectReader,
  overlay,
  type SectorsDone,
} from './object-read.ts';
import type { ReadOutcome } from './store-types.ts';

export class LayeredReader {
  readonly #lineage: Lineage;
  readonly #reader: ObjectReader;
  readonly #scratch = new Uint8Array(MAX_SYNC_READ_BYTES + 2 * SECTOR_BYTES);

  constructor(lineage: Lineage, reader: ObjectReader) {
    this.#lineage = lineage;
    this.#reader = reader;
  }

  /** Any alignment, at most MAX_SYNC_READ_BYTES; `cold` when something must be loaded first. */
  readNow(
    generation: number,
    index: number,
    offset: number,
    count: number,
    target: Uint8Array,
    at: number,
  ): ReadOutcome {
    const from = alignDown(offset, SECTOR_BYTES);
    const length = alignUp(offset + count, SECTOR_BYTES) - from;
    const isWhole = length === count;
    const bytes = isWhole ? target : this.#scratch;
    const wanted = { generation, index, offset: from, count: length };
    const outcome = this.#runsNow(wanted, bytes, isWhole ? at : 0);
    if (outcome === 'ok' && !isWhole) {
      target.set(bytes.subarray(offset - from, offset - from + count), at);
    }
    return outcome;
  }

  /** Any alignment and count; `target` may change before it is done. */
  read(
    generation: number,
    index: number,
    offset: number,
    count: number,
    target: Uint8Array,
    at: number,
    done: SectorsDone,
  ): void {
    const from = alignDown(offset, SECTOR_BYTES);
    const length = alignUp(offset + count, SECTOR_BYTES) - from;
    const bytes = length === count ? target.subarray(at, at + count) : new Uint8Array(length);
    this.#next({ generation, index, offset: from, count: length }, bytes, 0, (outcome, error) => {
      const isOk = outcome === 'ok';
      if (isOk && length !== count) {
        target.set(bytes.subarray(offset - from, offset - from + count), at);
      }
      done(outcome, error);
    });
  }

  #runsNow(wanted: LayeredRange, bytes: Uint8Array, at: number): ReadOutcome {
    const end = wanted.offset + wanted.count;
    for (let offset = wanted.offset; offset < end; ) {
      const run = this.#lineage.runAt({ ...wanted, offset, count: end - offset });
      const place = at + offset - wanted.offset;
      const count = run.end - offset;
      if (run.state === undefined) bytes.fill(0, place, place + count);
      else {
        const outcome = this.#reader.readNow(run.state, offset, count, bytes, place);
        if (outcome !== 'ok') return outcome;
      }
      for (const state of run.over) overlay(state, offset, count, bytes, place);
      offset = run.end;
    }
    return 'ok';
  }

  /** The run at `at` bytes, then the next ones. */
  #next(wanted: LayeredRange, bytes: Uint8Array, at: number, done: SectorsDone, looks = 0): void {
    if (at === wanted.count) {
      done('ok', undefined);
      return;
    }
    const offset = wanted.offset + at;
    const range = { ...wanted, offset, count: wanted.count - at };
    const run = this.#lineage.runAt(range);
    const count = run.end - offset;
    const target = bytes.subarray(at, at + count);
    const finish: SectorsDone = (outcome, error) => {
      const isMoved = !isSame(run, this.#lineage.runAt(range));
      if (isMoved) {
        // The last look is taken at once: nothing moves under it.
        invariant(looks < MAX_READ_LOOKS, 'a look at once sees the layers stand still');
        this.#next(wanted, bytes, at, done, looks + 1);
        return;
      }
      if (outcome !== 'ok') return done(outcome, error);
      for (const state of run.over) overlay(state, offset, count, target, 0);
      this.#next(wanted, bytes, at + count, done);
    };
    if (run.state !== undefined) this.#reader.read(run.state, offset, count, target, finish, looks);
    else {
      target.fill(0);
      finish('ok', undefined);
    }
  }
}

function isSame(one: Run, other: Run): boolean {
  if (one.end !== other.end || one.state !== other.state) return false;
  if (one.over.length !== other.over.length) return false;
  return one.over.every((state, i) => state === other.over[i]);
}
