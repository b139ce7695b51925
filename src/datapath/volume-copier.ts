// Copies what a volume holds from the head's path to that of its move (S8). Three steps: every change that the head got
// alone is waited for; what there is is counted, by the rows of one sure member per partition; then region by region, a few
// pieces at once, each under the range lock of the head. What is written from the first step on goes to both, so what
// shows up after the count needs no copy. Sectors of zeroes are not written: sparse stays sparse.
//
//   settling ──all ranges were free once──▶ counting ──▶ copying ──▶ done
//                                                          ▲ └─ a piece that can not be read: again, after a pause
//                                                          └── paused, or the rate of bulk copies: waits

import type { OperatingError } from '../core/errors.ts';
import { type ObjectRange, regionRuns } from '../core/extent.ts';
import { partitionOf } from '../core/partition.ts';
import { isRecoveryHeld } from '../core/recovery-settings.ts';
import { divideUp, OBJECT_BYTES, REGION_BYTES, SECTOR_BYTES } from '../core/units.ts';
import { countRegions } from '../storage/object-state.ts';
import type { Parts } from './context.ts';
import { partDone, startJob } from './job.ts';
import { lookUpShown, type ShownData } from './lookup.ts';
import { isPathOver } from './path-cell.ts';
import type { RangeTicket } from './range-lock.ts';
import type { ObjectPipe } from './version-pipe.ts';
import type { VolumePath } from './volume-path.ts';
import type { Done } from './volume-session.ts';

/** Pieces on their way at once. */
export const COPY_LANES = 4;
/** Partitions that are counted at once. */
export const COUNT_LANES = 8;
/** Objects asked for in one request while counting. */
export const COUNT_BATCH = 512;
/** Objects that are sorted into their partitions before others get a turn. */
export const SORT_BATCH = 16_384;
/** Pause before a piece is tried again that could not be read or whose range could not be had. */
export const COPY_RETRY_MS = 1000;
/** How often a copy that is paused looks whether it still is. */
export const HELD_LOOK_MS = 500;
/** Behind all copies that bring a partition in sync: those are for redundancy, this is for comfort. */
const COPY_RANK = 1_000_000;

export interface CopierHooks {
  /** What there is to copy, once. */
  readonly onCounted: (bytes: number) => void;
  /** So much of it is copied. */
  readonly onCopied: (bytes: number) => void;
  /** A piece can not be read now; undefined: nothing is waited for any more. */
  readonly onWaiting: (reason: string | undefined) => void;
  /** The copy did not take a piece. */
  readonly onTrouble: (error: OperatingError) => void;
  /** All that was counted is on all of the copy's W. */
  readonly onDone: () => void;
}

interface HeldRange {
  readonly pipe: ObjectPipe;
  readonly ticket: RangeTicket;
  readonly sinceMs: number;
}

interface Piece {
  readonly index: number;
  readonly range: ObjectRange;
  /** What it counts for. */
  readonly bytes: number;
}

export class VolumeCopier {
  readonly #parts: Parts;
  readonly #from: VolumePath;
  readonly #to: VolumePath;
  readonly #hooks: CopierHooks;
  /** Regions to copy, by object. */
  readonly #low: Uint32Array;
  readonly #high: Uint32Array;
  #nextObject = 0;
  #pieces: Piece[] = [];
  #lanes = 0;
  #isOver = false;
  /** Ranges of the head that are held for a piece, oldest first: writers wait for them. */
  readonly #held = new Set<HeldRange>();

  constructor(parts: Parts, paths: { from: VolumePath; to: VolumePath }, hooks: CopierHooks) {
    this.#parts = parts;
    this.#from = paths.from;
    this.#to = paths.to;
    this.#hooks = hooks;
    const objects = divideUp(paths.from.cell.volume.sizeBytes, OBJECT_BYTES);
    this.#low = new Uint32Array(objects);
    this.#high = new Uint32Array(objects);
  }

  start(): void {
    const busy = this.#from.pipes.busy();
    const job = startJob(busy.length, () => this.#sort(0, new Map()));
    for (const pipe of busy) this.#whenFree(pipe, () => partDone(job, undefined));
  }

  /** Nothing is told any more, and nobody waits for a piece. */
  stop(): void {
    this.#isOver = true;
    for (const { pipe, ticket } of [...this.#held]) pipe.ranges.release(ticket);
    this.#held.clear();
  }

  /** Since when a piece keeps writers of its range waiting; undefined = none does. */
  get oldestMs(): number | undefined {
    return this.#held.values().next().value?.sinceMs;
  }

  get #isCurrent(): boolean {
    return !this.#isOver && this.#from.cell.isHeld && this.#to.cell.isHeld;
  }

  /** Once nobody changes the object who began before: a shared range of all of it was held. */
  #whenFree(pipe: ObjectPipe, then: () => void): void {
    const whole = { offset: 0, count: OBJECT_BYTES, isExclusive: false };
    pipe.ranges.acquire(
      whole,
      (ticket) => {
        pipe.ranges.release(ticket);
        then();
      },
      () => this.#again(() => this.#whenFree(pipe, then)),
    );
  }

  #again(fn: () => void): void {
    this.#parts.clock.setTimer(COPY_RETRY_MS, () => {
      if (this.#isCurrent) fn();
    });
  }

  // ------------------------------------------------------------------------------------------ counting

  /** Which objects lie in which partition; a large volume has many. */
  #sort(start: number, found: Map<number, number[]>): void {
    if (!this.#isCurrent) return;
    const { family } = this.#from.cell.volume;
    const { partitions } = this.#parts.views.current();
    const end = Math.min(start + SORT_BATCH, this.#low.length);
    for (let index = start; index < end; index += 1) {
      const p = partitionOf(family, index, partitions);
      const list = found.get(p);
      if (list === undefined) found.set(p, [index]);
      else list.push(index);
    }
    if (end < this.#low.length) this.#parts.clock.soon(() => this.#sort(end, found));
    else this.#count([...found].flatMap(([p, indexes]) => batchesOf(p, indexes)));
  }

  #count(batches: readonly { readonly p: number; readonly indexes: readonly number[] }[]): void {
    let next = 0;
    const lanes = Math.min(COUNT_LANES, batches.length);
    const job = startJob(lanes, () => this.#counted());
    const lane = (): void => {
      const batch = batches[next];
      next += 1;
      if (batch === undefined) {
        partDone(job, undefined);
        return;
      }
      this.#from.reconciler.whenTouched(batch.p, () => {
        lookUpShown(this.#parts, this.#from.cell, batch, (shown) => {
          if (shown === undefined || !this.#isCurrent) return;
          for (const one of shown) this.#note(one);
          this.#parts.clock.soon(lane);
        });
      });
    };
    for (let i = 0; i < lanes; i += 1) lane();
  }

  #note({ index, low, high }: ShownData): void {
    this.#low[index] = low;
    this.#high[index] = high;
  }

  #counted(): void {
    if (!this.#isCurrent) return;
    let regions = 0;
    for (const [index, low] of this.#low.entries()) {
      regions += countRegions(low, this.#high[index] ?? 0);
    }
    this.#hooks.onCounted(regions * REGION_BYTES);
    this.#lanes = COPY_LANES;
    for (let i = 0; i < COPY_LANES; i += 1) this.#lane();
  }

  #runsOf(index: number, most: number): readonly ObjectRange[] {
    const mask = { low: this.#low[index] ?? 0, high: this.#high[index] ?? 0 };
    return mask.low === 0 && mask.high === 0 ? [] : regionRuns(mask, most);
  }

  // ------------------------------------------------------------------------------------------ copying

  /** One piece after the other, while there are any. */
  #lane(): void {
    if (!this.#isCurrent) return;
    const piece = this.#nextPiece();
    if (piece === undefined) {
      this.#lanes -= 1;
      if (this.#lanes === 0) this.#hooks.onDone();
      return;
    }
    this.#whenAllowed(piece.bytes, () => this.#copy(piece));
  }

  #nextPiece(): Piece | undefined {
    while (this.#pieces.length === 0 && this.#nextObject < this.#low.length) {
      const index = this.#nextObject;
      this.#nextObject += 1;
      const most = Math.max(1, Math.floor(this.#parts.streams.pieceBytes / REGION_BYTES));
      this.#pieces = this.#runsOf(index, most).map((range) => {
        return { index, range, bytes: range.count };
      });
    }
    return this.#pieces.shift();
  }

  /** While recovery is not paused, and within the rate that guests leave to copies. */
  #whenAllowed(bytes: number, then: () => void): void {
    const { clock, streams, views, self } = this.#parts;
    if (!this.#isCurrent) return;
    if (isRecoveryHeld(views.current(), self)) {
      this.#hooks.onWaiting('recovery is paused');
      clock.setTimer(HELD_LOOK_MS, () => this.#whenAllowed(bytes, then));
      return;
    }
    streams.whenPaced(COPY_RANK, bytes, () => {
      if (this.#isCurrent) then();
    });
  }

  /** The range is shared with readers; writers wait, so what is read is what the copy must have. */
  #copy(piece: Piece): void {
    const { index, range } = piece;
    const pipe = this.#from.pipes.get(index);
    const target = new Uint8Array(range.count);
    pipe.ranges.acquire(
      { ...range, isExclusive: false },
      (ticket) => {
        const held = { pipe, ticket, sinceMs: this.#parts.clock.now() };
        this.#held.add(held);
        const free = (): void => {
          if (this.#held.delete(held)) pipe.ranges.release(ticket);
        };
        this.#from.reader.read({ pipe, ...range, target, at: 0 }, (error) => {
          if (error === undefined && this.#isCurrent) {
            this.#write(index, range, target, (failed) => {
              free();
              this.#ended(piece, failed);
            });
            return;
          }
          free();
          if (error !== undefined && !isPathOver(error)) this.#unreadable(piece, error);
        });
      },
      () => this.#again(() => this.#copy(piece)),
    );
  }

  #write(index: number, range: ObjectRange, bytes: Uint8Array, done: Done): void {
    const runs = dataRuns(bytes);
    const job = startJob(runs.length, done);
    for (const { offset, count } of runs) {
      const slice = { index, offset: range.offset + offset, length: count, at: 0 };
      const data = { bytes: bytes.subarray(offset, offset + count), isForced: false };
      this.#to.slices.write(slice, data, (error) => partDone(job, error));
    }
  }

  #ended({ bytes }: Piece, error: OperatingError | undefined): void {
    if (!this.#isCurrent) return;
    if (error !== undefined) {
      this.#hooks.onTrouble(error);
      return;
    }
    this.#hooks.onWaiting(undefined);
    this.#hooks.onCopied(bytes);
    // Through `soon`: pieces that are done at once must not nest.
    this.#parts.clock.soon(() => this.#lane());
  }

  /** Nothing wrong may be copied in place of what no copy can give: the move waits for a repair, or for its cancel. */
  #unreadable(piece: Piece, error: OperatingError): void {
    if (!this.#isCurrent) return;
    const from = piece.index * OBJECT_BYTES + piece.range.offset;
    this.#hooks.onWaiting(`bytes from ${from} on can not be read: ${error.message}`);
    this.#again(() => this.#copy(piece));
  }
}

function batchesOf(p: number, indexes: readonly number[]): { p: number; indexes: number[] }[] {
  const batches: { p: number; indexes: number[] }[] = [];
  for (let at = 0; at < indexes.length; at += COUNT_BATCH) {
    batches.push({ p, indexes: indexes.slice(at, at + COUNT_BATCH) });
  }
  return batches;
}

const ZEROES = new Uint8Array(SECTOR_BYTES);

/** Runs of sectors with anything but zeroes. */
export function dataRuns(bytes: Uint8Array): ObjectRange[] {
  const runs: { offset: number; count: number }[] = [];
  for (let offset = 0; offset < bytes.length; offset += SECTOR_BYTES) {
    const sector = bytes.subarray(offset, offset + SECTOR_BYTES);
    if (Buffer.compare(sector, ZEROES) === 0) continue;
    const last = runs.at(-1);
    if (last !== undefined && last.offset + last.count === offset) last.count += SECTOR_BYTES;
    else runs.push({ offset, count: SECTOR_BYTES });
  }
  return runs;
}
