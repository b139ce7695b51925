// Brings this node's copies of partitions that it joins to where a member of I has them (4.6): compares the rows of one
// source and copies what differs, one object of a partition at a time (object-copier.ts); drops what the source lacks.
// What is synced for this cfg (written, equalised or copied under it) is left alone: a drain never puts a shorter prefix
// in its place (Trap 1). A guest's write to a stack that is not synced yet has its stack recovered first: it waits for
// one object, never for the partition. In which order partitions are drained, and whether at all, is its caller's.

import { OperatingError } from '../core/errors.ts';
import { type MapIndex, type NodeId, type ObjectId, partitionOfKey } from '../core/ids.ts';
import { FLAG, type Frame, OP, STATUS } from '../wire/frame.ts';
import {
  decodePartitionCfgs,
  decodeRows,
  encodePartitionCfgs,
  type PartitionCfg,
  type RowImage,
} from '../wire/payloads.ts';
import type { Parts } from './context.ts';
import { AT_ONCE } from './copy-streams.ts';
import type { Differences } from './differences.ts';
import { type Drain, drainFrame, drainOf, isCurrent, overtaken } from './drain.ts';
import { ObjectCopier } from './object-copier.ts';
import { type CopyFence, type JoinMarks, type ObjectGates, objectKey } from './object-gate.ts';

/** Partitions drained at once: while one is compared or made durable, others are copied. */
export const CATCH_UP_WORKERS = 8;
export const LIST_DEADLINE_MS = 5000;

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
  /** So many of `total` objects that differ are equal now. */
  moved?(where: PartitionCfg, done: number, total: number): void;
  /** An object was copied, but for sectors that no member has right. */
  incomplete?(where: PartitionCfg): void;
  /** An object could not be copied; its partition is not caught up. */
  failed?(where: PartitionCfg, oid: ObjectId, error: OperatingError): void;
  /** Once per partition: caught up, durably; or not, then look at the view and run again. */
  ended(where: PartitionCfg, result: CaughtUp | undefined): void;
}

const GUEST_WAITS = { rank: AT_ONCE, isWanted: () => true };

type CopyDone = (error: OperatingError | undefined) => void;

export class CatchUp {
  readonly #parts: Parts;
  readonly #gates: ObjectGates;
  readonly #marks: JoinMarks;
  readonly #copier: ObjectCopier;
  /** Moves the choice of a source on after a failure. */
  #turn = 0;

  constructor(
    parts: Parts,
    shared: { gates: ObjectGates; marks: JoinMarks; fence: CopyFence; differences: Differences },
  ) {
    this.#parts = parts;
    this.#gates = shared.gates;
    this.#marks = shared.marks;
    this.#copier = new ObjectCopier(parts, shared);
  }

  get objectsCopied(): number {
    return this.#copier.objectsCopied;
  }

  /** Bytes of data that came from others. */
  get bytesCopied(): number {
    return this.#copier.bytesCopied;
  }

  /** Objects of which some sectors were right nowhere. */
  get objectsIncomplete(): number {
    return this.#copier.objectsIncomplete;
  }

  /** `drainAll` for the actors, which wait by promise. Never rejects. */
  run(orders: DrainOrders): Promise<void> {
    return new Promise((resolve) => this.drainAll(orders, resolve));
  }

  /** Drains what the orders name, several partitions at once, until they name none. */
  drainAll(orders: DrainOrders, done: () => void): void {
    let left = CATCH_UP_WORKERS;
    const work = (): void => {
      const where = orders.next();
      if (where === undefined) {
        left -= 1;
        if (left === 0) done();
        return;
      }
      this.#drain(where, orders, (result) => {
        if (result === undefined) this.#turn += 1;
        orders.ended(where, result);
        this.#parts.clock.soon(work);
      });
    };
    for (let workers = left; workers > 0; workers -= 1) work();
  }

  /** 4.6 step 4. The caller holds the object's gate. `done` without an error: the stack is synced for this cfg. */
  recoverStack(where: PartitionCfg, oid: ObjectId, done: CopyDone): void {
    const drain = drainOf(this.#parts, where, this.#turn, GUEST_WAITS);
    if (drain === undefined) {
      done(new OperatingError('unreachable', 'no source is up'));
      return;
    }
    this.#copier.copy(drain, oid, (error) => {
      if (error !== undefined) this.#turn += 1;
      done(error);
    });
  }

  // ------------------------------------------------------------------------------------------ one partition

  #drain(
    where: DrainWanted,
    orders: DrainOrders,
    done: (result: CaughtUp | undefined) => void,
  ): void {
    const how = { rank: where.urgency + 1, isWanted: () => orders.isWanted(where) };
    const drain = drainOf(this.#parts, where, this.#turn, how);
    if (drain === undefined) {
      done(undefined);
      return;
    }
    this.#confirm(drain, (isConfirmed) => {
      if (!isConfirmed) return done(undefined);
      this.#listAll(drain, undefined, [], (rows) => {
        if (rows === undefined) return done(undefined);
        this.#copyRows(drain, orders, this.#workOf(drain, rows), 0, (error) => {
          if (error !== undefined || !isCurrent(this.#parts, drain)) return done(undefined);
          this.#parts.store.settled((failed) => {
            if (failed !== undefined || !isCurrent(this.#parts, drain)) return done(undefined);
            const { policy, p, cfg, source, sourceApplied } = drain;
            done({ policy, p, cfg, source, sourceApplied });
          });
        });
      });
    });
  }

  /** The source has applied the joining cfg before it hands anything over: older ones are refused there (A8). */
  #confirm(drain: Drain, done: (isConfirmed: boolean) => void): void {
    const frame = drainFrame(this.#parts, drain, OP.CONFIRM);
    frame.payload = encodePartitionCfgs([drain]);
    this.#parts.ask(drain.source, frame, LIST_DEADLINE_MS, (reply) => {
      if (reply?.status !== STATUS.OK || reply.payload.length === 0) return done(false);
      drain.sourceApplied = reply.mapIndex;
      const [confirmed] = decodePartitionCfgs(reply.payload);
      if (confirmed === undefined) this.#parts.pull(reply.mapIndex, drain.source);
      done(confirmed?.p === drain.p && confirmed.cfg === drain.cfg);
    });
  }

  #listAll(
    drain: Drain,
    after: RowImage | undefined,
    rows: RowImage[],
    done: (rows: readonly RowImage[] | undefined) => void,
  ): void {
    const frame = drainFrame(this.#parts, drain, OP.LIST);
    frame.generation = after?.generation ?? (0 as Frame['generation']);
    frame.index = after?.index ?? 0;
    frame.payload = encodePartitionCfgs([drain]);
    this.#parts.ask(drain.source, frame, LIST_DEADLINE_MS, (reply) => {
      if (reply?.status === STATUS.STALE) this.#parts.pull(reply.mapIndex, drain.source);
      if (reply?.status !== STATUS.OK) return done(undefined);
      const page = decodeRows(reply.payload);
      rows.push(...page);
      const last = page.at(-1);
      if ((reply.flags & FLAG.MORE) === 0 || last === undefined) return done(rows);
      this.#listAll(drain, last, rows, done);
    });
  }

  /** What differs, as the source lists it; verCount 0 = the source lacks it. What is equal is synced from here on. */
  #workOf(drain: Drain, rows: readonly RowImage[]): RowImage[] {
    const view = this.#parts.views.current();
    const listed = new Set(rows.map((row) => objectKey(row.generation, row.index)));
    const work = rows.filter((row) => row.partition === drain.key && !this.#isEqual(drain, row));
    for (const row of this.#parts.store.rowsOf(drain.key)) {
      if (listed.has(objectKey(row.generation, row.index))) continue;
      work.push({ ...imageOf(row), verToken: 0, verCount: 0 });
    }
    // Rows of deleted generations are no longer settled or copied; they are dropped where they lie.
    return work.filter((row) => view.volumeOfGeneration(row.generation) !== undefined);
  }

  #isEqual(drain: Drain, row: RowImage): boolean {
    const own = this.#parts.store.row(row.generation, row.index);
    const key = objectKey(row.generation, row.index);
    if (this.#gates.isBusy(key) || this.#copier.isDamaged(row)) return false;
    if (own?.verToken !== row.verToken || own.verCount !== row.verCount) return false;
    this.#marks.set(drain.key, drain.cfg, key);
    return true;
  }

  #copyRows(
    drain: Drain,
    orders: DrainOrders,
    rows: readonly RowImage[],
    at: number,
    done: CopyDone,
  ): void {
    const row = rows[at];
    if (at > 0) orders.moved?.(drain, at, rows.length);
    if (row === undefined) {
      done(undefined);
      return;
    }
    if (!isCurrent(this.#parts, drain) || !orders.isWanted(drain)) {
      done(overtaken());
      return;
    }
    const key = objectKey(row.generation, row.index);
    const isSynced = (): boolean => this.#marks.isSynced(drain.key, drain.cfg, key);
    const next = (): void =>
      this.#parts.clock.soon(() => this.#copyRows(drain, orders, rows, at + 1, done));
    if (isSynced()) {
      next();
      return;
    }
    const waits = this.#gates.wait(key, () => {
      if (isSynced()) return next();
      this.#gates.enter(key);
      this.#copier.copy(drain, row, (error, lost) => {
        this.#gates.leave(key);
        if (error === undefined) {
          if (lost > 0) orders.incomplete?.(drain);
          return next();
        }
        // 4.9: what would stay half done leaves, instead of trying for ever.
        if (error.code === 'no-space') this.#parts.noRoom?.(partitionOfKey(drain.key));
        if (isCurrent(this.#parts, drain) && drain.isWanted()) orders.failed?.(drain, row, error);
        done(error);
      });
    });
    if (!waits) done(overtaken());
  }
}

function imageOf(row: RowImage): RowImage {
  const { generation, index, family, partition, kind } = row;
  const { verToken, verCount, ownLow, ownHigh, closed, openLow, openHigh } = row;
  const masks = { ownLow, ownHigh, openLow, openHigh };
  return { generation, index, family, partition, kind, verToken, verCount, closed, ...masks };
}
