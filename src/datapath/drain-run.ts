// One run of catch-up (4.6): takes the partitions that its orders name, asks each source once for many of them, and copies
// what differs, several objects at once, those of the most urgent partition first. A partition without work costs a line in
// a question and one in its answer. What is synced for the joining cfg (written, equalised or copied under it) is left
// alone: a drain never puts a shorter prefix in its place (Trap 1).

import type { OperatingError } from '../core/errors.ts';
import { type MapIndex, type NodeId, type ObjectId, partitionOfKey } from '../core/ids.ts';
import { KIB, REGION_BYTES } from '../core/units.ts';
import { countRegions } from '../storage/object-state.ts';
import type { PartitionCfg, RowImage } from '../wire/payloads.ts';
import { askContents } from './contents.ts';
import type { Parts } from './context.ts';
import { type Drain, drainOf, isCurrent } from './drain.ts';
import { type JoinMarks, type ObjectGates, objectKey } from './object-gate.ts';
import { imageOf } from './peer-answer.ts';

/** Objects copied at once: while some are fetched, others are made durable. The streams bound what is fetched. */
export const COPIES_AT_ONCE = 8;
/** The same while there is a rate: a write to an object that has begun waits for it. */
export const PACED_COPIES_AT_ONCE = 2;
/** What an object that is here already is taken to lack, until it is known. */
const LIKELY_DIFFERENT_BYTES = 256 * KIB;
/** Partitions of the first question of a run, and the most of one: four times as many after one that found little. */
export const FIRST_BATCH = 32;
export const MOST_PER_BATCH = 2048;
/** Objects to copy among the partitions of one question: with fewer it found little. */
const LITTLE_WORK = 128;

/** What `isrPromote` names (A8). */
export interface CaughtUp extends PartitionCfg {
  readonly source: NodeId;
  /** Applied index at which the source confirmed the cfg. */
  readonly sourceApplied: MapIndex;
}

/** A partition to drain: the smaller, the more urgent. */
export interface DrainWanted extends PartitionCfg {
  readonly urgency: number;
}

/** Whoever decides what is drained, and is told of it. */
export interface DrainOrders {
  /** The most urgent partition that is not under way; undefined: nothing more in this run. */
  next(): DrainWanted | undefined;
  /** False: paused, or overtaken. What is under way ends with its present object. */
  isWanted(where: PartitionCfg): boolean;
  /** True: nothing further is begun, and what was named and not begun is given back. */
  isOver?(): boolean;
  givenBack?(where: PartitionCfg): void;
  /** So many of `total` objects that differ are equal now. */
  moved?(where: PartitionCfg, done: number, total: number): void;
  /** An object was copied, but for sectors that no member has right. */
  incomplete?(where: PartitionCfg): void;
  /** An object could not be copied; its partition is not caught up. */
  failed?(where: PartitionCfg, oid: ObjectId, error: OperatingError): void;
  /** Once per partition: caught up, durably; or not, then look at the view and run again. */
  ended(where: PartitionCfg, result: CaughtUp | undefined): void;
}

type CopyObject = (
  drain: Drain,
  row: RowImage,
  done: (error: OperatingError | undefined, lost: number, bytes: number) => void,
) => void;

export interface DrainRunParts {
  readonly parts: Parts;
  readonly gates: ObjectGates;
  readonly marks: JoinMarks;
  readonly orders: DrainOrders;
  readonly copy: CopyObject;
  /** Copied, whatever its version: its file or sums are gone (R4). */
  readonly isDamaged: (row: RowImage) => boolean;
  /** Chooses among sources; moves on after a failure. */
  readonly turn: { count: number };
  readonly done: () => void;
}

/** A partition with objects to copy. */
interface Work {
  readonly drain: Drain;
  readonly where: DrainWanted;
  readonly rows: readonly RowImage[];
  next: number;
  /** Objects of it being copied. */
  busy: number;
  copied: number;
  hasFailed: boolean;
}

export class DrainRun {
  readonly #run: DrainRunParts;
  /** Most urgent first; at most those of one batch, and COPIES_AT_ONCE. */
  readonly #work: Work[] = [];
  #batch = FIRST_BATCH;
  /** Partitions whose contents are asked for, or that are being made durable. */
  #waiting = 0;
  #isAsking = false;
  #copying = 0;
  #isScheduled = false;
  #isOver = false;

  constructor(run: DrainRunParts) {
    this.#run = run;
  }

  start(): void {
    this.#pump();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#run.parts.clock.soon(() => {
      this.#isScheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#run.orders.isOver?.() === true) this.#giveBack();
    const most = this.#run.parts.streams.isPaced ? PACED_COPIES_AT_ONCE : COPIES_AT_ONCE;
    while (this.#copying < most && this.#beginObject()) {}
    if (!this.#isAsking && this.#copying < most) this.#ask();
    const isBusy = this.#isAsking || this.#waiting > 0 || this.#work.length > 0;
    if (isBusy || this.#isOver) return;
    this.#isOver = true;
    this.#run.done();
  }

  // ------------------------------------------------------------------------------------------ what there is

  #ask(): void {
    const { orders, parts, turn } = this.#run;
    const bySource = new Map<NodeId, { drain: Drain; where: DrainWanted }[]>();
    let taken = 0;
    for (; taken < this.#batch; taken += 1) {
      const where = orders.next();
      if (where === undefined) break;
      const how = { rank: where.urgency + 1, isWanted: () => orders.isWanted(where) };
      const drain = drainOf(parts, where, turn.count, how);
      if (drain === undefined) {
        this.#ended(where, undefined);
        continue;
      }
      const list = bySource.get(drain.source) ?? [];
      list.push({ drain, where });
      bySource.set(drain.source, list);
    }
    if (taken > 0) this.#schedule();
    if (bySource.size === 0) return;
    this.#isAsking = true;
    const answers = {
      left: 0,
      objects: 0,
      empty: [] as { drain: Drain; where: DrainWanted }[],
    };
    for (const list of bySource.values()) answers.left += list.length;
    for (const list of bySource.values()) {
      const whereOf = new Map(list.map(({ drain, where }) => [drain, where]));
      askContents(parts, [...whereOf.keys()], (drain, rows) => {
        const where = whereOf.get(drain) as DrainWanted;
        const objects = rows === undefined ? 0 : this.#enqueue(drain, where, rows);
        answers.objects += objects;
        if (rows === undefined) this.#ended(where, undefined);
        else if (objects === 0) answers.empty.push({ drain, where });
        answers.left -= 1;
        if (answers.left > 0) return;
        this.#isAsking = false;
        const isLittle = answers.objects < LITTLE_WORK;
        this.#batch = isLittle ? Math.min(this.#batch * 4, MOST_PER_BATCH) : FIRST_BATCH;
        this.#settle(answers.empty);
        this.#schedule();
      });
    }
  }

  /** Returns how many objects there are to copy. */
  #enqueue(drain: Drain, where: DrainWanted, listed: readonly RowImage[]): number {
    const rows = this.#workOf(drain, listed);
    if (rows.length === 0) return 0;
    const one = { drain, where, rows, next: 0, busy: 0, copied: 0, hasFailed: false };
    const behind = this.#work.findIndex(({ where: { urgency } }) => urgency > where.urgency);
    this.#work.splice(behind < 0 ? this.#work.length : behind, 0, one);
    return rows.length;
  }

  /** What differs, as the source lists it; verCount 0 = the source lacks it. What is equal is synced from here on. */
  #workOf(drain: Drain, rows: readonly RowImage[]): RowImage[] {
    const { parts } = this.#run;
    const view = parts.views.current();
    const listed = new Set(rows.map((row) => objectKey(row.generation, row.index)));
    const work = rows.filter((row) => row.partition === drain.key && !this.#isEqual(drain, row));
    for (const row of parts.store.rowsOf(drain.key)) {
      if (listed.has(objectKey(row.generation, row.index))) continue;
      work.push({ ...imageOf(row), verToken: 0, verCount: 0 });
    }
    // Rows of deleted generations are no longer settled or copied; they are dropped where they lie.
    return work.filter((row) => view.volumeOfGeneration(row.generation) !== undefined);
  }

  #isEqual(drain: Drain, row: RowImage): boolean {
    const { parts, gates, marks, isDamaged } = this.#run;
    const own = parts.store.row(row.generation, row.index);
    const key = objectKey(row.generation, row.index);
    if (gates.isBusy(key) || isDamaged(row)) return false;
    if (own?.verToken !== row.verToken || own.verCount !== row.verCount) return false;
    marks.set(drain.key, drain.cfg, key);
    return true;
  }

  // ------------------------------------------------------------------------------------------ copying

  /** False: there is none to begin. */
  #beginObject(): boolean {
    for (const work of this.#work) {
      if (work.hasFailed || work.next === work.rows.length) continue;
      const { drain, where } = work;
      if (!isCurrent(this.#run.parts, drain) || !this.#run.orders.isWanted(where)) {
        this.#fail(work);
        return true;
      }
      const row = work.rows[work.next] as RowImage;
      work.next += 1;
      work.busy += 1;
      this.#copying += 1;
      this.#copyObject(work, row);
      return true;
    }
    return false;
  }

  /**
   * Waits for the rate before it begins: then the object is copied in one go, and a guest's write waits for that and not
   * for the rate. Until then such a write has it copied by itself.
   */
  #copyObject(work: Work, row: RowImage): void {
    const { parts, orders } = this.#run;
    const { drain } = work;
    const { streams } = parts;
    const planned = this.#bytesOf(row);
    streams.whenPaced(drain.rank, planned, () => {
      if (isCurrent(parts, drain) && orders.isWanted(work.where)) {
        this.#copyPaid(work, row, planned);
        return;
      }
      streams.settleUp(planned, 0);
      work.hasFailed = true;
      this.#copied(work);
    });
  }

  #bytesOf(row: RowImage): number {
    const own = this.#run.parts.store.row(row.generation, row.index);
    if (row.verCount === 0 || row.kind === 'zero') return 0;
    const bytes = countRegions(row.ownLow, row.ownHigh) * REGION_BYTES;
    return own?.kind === 'data' ? Math.min(bytes, LIKELY_DIFFERENT_BYTES) : bytes;
  }

  #copyPaid(work: Work, row: RowImage, planned: number): void {
    const { gates, marks, copy, orders, parts } = this.#run;
    const { drain } = work;
    const key = objectKey(row.generation, row.index);
    const isSynced = (): boolean => marks.isSynced(drain.key, drain.cfg, key);
    const already = (): void => {
      parts.streams.settleUp(planned, 0);
      this.#copied(work);
    };
    if (isSynced()) {
      already();
      return;
    }
    const waits = gates.wait(key, () => {
      if (isSynced()) return already();
      gates.enter(key);
      copy(drain, row, (error, lost, bytes) => {
        gates.leave(key);
        parts.streams.settleUp(planned, bytes);
        if (error === undefined) {
          if (lost > 0) orders.incomplete?.(drain);
          return this.#copied(work);
        }
        // 4.9: what would stay half done leaves, instead of trying for ever.
        if (error.code === 'no-space') parts.noRoom?.(partitionOfKey(drain.key));
        if (isCurrent(parts, drain) && drain.isWanted()) orders.failed?.(drain, row, error);
        work.hasFailed = true;
        this.#copied(work);
      });
    });
    if (waits) return;
    work.hasFailed = true;
    this.#copied(work);
  }

  /** An object is equal, or its partition has failed. */
  #copied(work: Work): void {
    work.busy -= 1;
    this.#copying -= 1;
    this.#schedule();
    if (work.hasFailed) {
      this.#fail(work);
      return;
    }
    work.copied += 1;
    this.#run.orders.moved?.(work.drain, work.copied, work.rows.length);
    if (work.copied < work.rows.length) return;
    this.#remove(work);
    // What it owes is paid before the partition is promoted, and others join: what joins finds no debt, so few writes meet
    // an object that is not copied yet.
    this.#waiting += 1;
    this.#run.parts.streams.whenPaced(work.drain.rank, 0, () => {
      this.#waiting -= 1;
      this.#settle([work]);
    });
  }

  /** What was not begun waits for another run. */
  #giveBack(): void {
    for (const work of [...this.#work]) {
      if (work.next > 0 || work.hasFailed) continue;
      this.#remove(work);
      this.#run.orders.givenBack?.(work.where);
    }
  }

  /** Nothing further of it is begun; it ends when what is under way has ended. */
  #fail(work: Work): void {
    work.hasFailed = true;
    if (work.busy > 0) return;
    this.#remove(work);
    this.#ended(work.where, undefined);
    this.#schedule();
  }

  #remove(work: Work): void {
    this.#work.splice(this.#work.indexOf(work), 1);
  }

  // ------------------------------------------------------------------------------------------ the end

  /** Caught up, once what was accepted of it is durable. */
  #settle(list: readonly { readonly drain: Drain; readonly where: DrainWanted }[]): void {
    if (list.length === 0) return;
    const { parts } = this.#run;
    this.#waiting += list.length;
    parts.store.settled((failed) => {
      for (const { drain, where } of list) {
        this.#waiting -= 1;
        const isGood = failed === undefined && isCurrent(parts, drain);
        const { policy, p, cfg, source, sourceApplied } = drain;
        this.#ended(where, isGood ? { policy, p, cfg, source, sourceApplied } : undefined);
      }
      this.#schedule();
    });
  }

  #ended(where: DrainWanted, result: CaughtUp | undefined): void {
    if (result === undefined) this.#run.turn.count += 1;
    this.#run.orders.ended(where, result);
  }
}
