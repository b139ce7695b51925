// Brings this node's copies of partitions that it joins to where a member of I has them (4.6): compares the rows of one
// source and copies what differs, by regions where the source knows which (4.7); drops what the source lacks. What is
// synced for this cfg (written, equalised or copied under it) is left alone: a drain never puts a shorter prefix in its
// place (Trap 1). A guest's write to a stack that is not synced yet has its stack recovered first (`recoverStack`).

import { OperatingError } from '../core/errors.ts';
import { type MapIndex, type NodeId, type ObjectId, partitionKey } from '../core/ids.ts';
import { isSure } from '../core/partition.ts';
import type { ClusterView } from '../core/view.ts';
import { FLAG, type Frame, OP, STATUS } from '../wire/frame.ts';
import {
  decodePartitionCfgs,
  decodeRows,
  encodeObjectNames,
  encodePartitionCfgs,
  type PartitionCfg,
  type RowImage,
} from '../wire/payloads.ts';
import { isUp, type Parts, requestFrame } from './context.ts';
import { copyObject, type PartialCopy } from './copy-object.ts';
import { openRegionsOf } from './dirty-maps.ts';
import { type Missed, MissedRegions } from './missed-regions.ts';
import { type CopyFence, type JoinMarks, type ObjectGates, objectKey } from './object-gate.ts';
import { versionOfRow } from './peer-answer.ts';

/** Partitions drained at once. */
export const CATCH_UP_WORKERS = 4;
/** Tries to copy one object that changes meanwhile or is sealed, before its partition is given up for this round. */
export const COPY_TRIES = 8;
/** Pause between these tries. */
export const COPY_RETRY_MS = 20;
export const LIST_DEADLINE_MS = 5000;

/** What `isrPromote` names (A8). */
export interface CaughtUp extends PartitionCfg {
  readonly source: NodeId;
  /** Applied index at which the source confirmed the cfg. */
  readonly sourceApplied: MapIndex;
}

/** Set by the caller to end a run early. */
export interface Cancel {
  isCancelled: boolean;
}

type CopyDone = (error: OperatingError | undefined) => void;

/** One partition on its way. */
interface Drain extends PartitionCfg {
  readonly key: number;
  readonly source: NodeId;
  sourceApplied: MapIndex;
  readonly cancel: Cancel;
}

export class CatchUp {
  readonly #parts: Parts;
  readonly #gates: ObjectGates;
  readonly #marks: JoinMarks;
  readonly #fence: CopyFence;
  /** Moves the choice of a source on after a failure. */
  #turn = 0;
  readonly #missed: MissedRegions;
  objectsCopied = 0;
  /** Bytes of data that came from others. */
  bytesCopied = 0;

  constructor(parts: Parts, shared: { gates: ObjectGates; marks: JoinMarks; fence: CopyFence }) {
    this.#parts = parts;
    this.#gates = shared.gates;
    this.#marks = shared.marks;
    this.#fence = shared.fence;
    this.#missed = new MissedRegions(parts);
  }

  /** What was missed is known for one cfg only. */
  forgetMissed(view: ClusterView): void {
    this.#missed.forgetPast(view);
  }

  /** `drainAll` for the actors, which wait by promise. Never rejects. */
  run(partitions: readonly PartitionCfg[], cancel: Cancel): Promise<readonly CaughtUp[]> {
    return new Promise((resolve) => this.drainAll(partitions, cancel, resolve));
  }

  /**
   * Copies what this node lacks in partitions that it joins at these cfgs.
   * @param done gets those that are caught up, durably; the others failed or changed: look at the view and run again
   */
  drainAll(
    partitions: readonly PartitionCfg[],
    cancel: Cancel,
    done: (results: readonly CaughtUp[]) => void,
  ): void {
    const results: CaughtUp[] = [];
    const queue = [...partitions];
    let left = Math.max(1, Math.min(CATCH_UP_WORKERS, queue.length));
    const work = (): void => {
      const where = cancel.isCancelled ? undefined : queue.shift();
      if (where === undefined) {
        left -= 1;
        if (left === 0) done(results);
        return;
      }
      this.#drain(where, cancel, (result) => {
        if (result === undefined) this.#turn += 1;
        else results.push(result);
        this.#parts.clock.soon(work);
      });
    };
    for (let workers = left; workers > 0; workers -= 1) work();
  }

  /** 4.6 step 4. The caller holds the object's gate. `done` without an error: the stack is synced for this cfg. */
  recoverStack(where: PartitionCfg, oid: ObjectId, done: CopyDone): void {
    const drain = this.#drainOf(where, { isCancelled: false });
    if (drain === undefined) {
      done(new OperatingError('unreachable', 'no source is up'));
      return;
    }
    this.#copyCurrent(drain, oid, 1, (error) => {
      if (error !== undefined) this.#turn += 1;
      done(error);
    });
  }

  // ------------------------------------------------------------------------------------------ one partition

  #drainOf(where: PartitionCfg, cancel: Cancel): Drain | undefined {
    const { self, views } = this.#parts;
    const view = views.current();
    const config = view.partition(where.policy, where.p);
    if (config.cfg !== where.cfg || !config.joining.includes(self)) return undefined;
    // A8: a doubtful member is no source.
    const sources = config.inSync.filter((node) => isUp(view, node) && isSure(config, node));
    const source = sources[(where.p + this.#turn) % Math.max(1, sources.length)];
    if (source === undefined) return undefined;
    const { policy, p, cfg } = where;
    const key = partitionKey(policy, p);
    return { policy, p, cfg, key, source, sourceApplied: 0 as MapIndex, cancel };
  }

  #drain(where: PartitionCfg, cancel: Cancel, done: (result: CaughtUp | undefined) => void): void {
    const drain = this.#drainOf(where, cancel);
    if (drain === undefined) {
      done(undefined);
      return;
    }
    this.#confirm(drain, (isConfirmed) => {
      if (!isConfirmed) return done(undefined);
      this.#listAll(drain, undefined, [], (rows) => {
        if (rows === undefined) return done(undefined);
        this.#copyRows(drain, this.#workOf(drain, rows), 0, (error) => {
          if (error !== undefined || !this.#isCurrent(drain)) return done(undefined);
          this.#parts.store.settled((failed) => {
            if (failed !== undefined || !this.#isCurrent(drain)) return done(undefined);
            const { policy, p, cfg, source, sourceApplied } = drain;
            done({ policy, p, cfg, source, sourceApplied });
          });
        });
      });
    });
  }

  /** The source has applied the joining cfg before it hands anything over: older ones are refused there (A8). */
  #confirm(drain: Drain, done: (isConfirmed: boolean) => void): void {
    const frame = this.#frameOf(drain, OP.CONFIRM);
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
    const frame = this.#frameOf(drain, OP.LIST);
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
    if (this.#gates.isBusy(key) || this.#isDamaged(row)) return false;
    if (own?.verToken !== row.verToken || own.verCount !== row.verCount) return false;
    this.#marks.set(drain.key, drain.cfg, key);
    return true;
  }

  /** A copy whose file or sums are gone is copied, whatever its version: nobody counts as in sync with it (R4). */
  #isDamaged(oid: ObjectId): boolean {
    return this.#parts.store.suspects.find(oid)?.isWhole === true;
  }

  #copyRows(drain: Drain, rows: readonly RowImage[], at: number, done: CopyDone): void {
    const row = rows[at];
    if (row === undefined) {
      done(undefined);
      return;
    }
    if (!this.#isCurrent(drain)) {
      done(overtaken());
      return;
    }
    const key = objectKey(row.generation, row.index);
    const isSynced = (): boolean => this.#marks.isSynced(drain.key, drain.cfg, key);
    const next = (): void =>
      this.#parts.clock.soon(() => this.#copyRows(drain, rows, at + 1, done));
    if (isSynced()) {
      next();
      return;
    }
    const waits = this.#gates.wait(key, () => {
      if (isSynced()) return next();
      this.#gates.enter(key);
      this.#copyCurrent(drain, row, 1, (error) => {
        this.#gates.leave(key);
        if (error === undefined) next();
        else done(error);
      });
    });
    if (!waits) done(overtaken());
  }

  // ------------------------------------------------------------------------------------------ one object

  /** Copies what the source has of the object now; again when that changed meanwhile or a SEAL came in between. */
  #copyCurrent(drain: Drain, oid: ObjectId, tries: number, done: CopyDone): void {
    const seals = this.#fence.sealsOf(drain.key);
    const again = (error: OperatingError): void => {
      if (tries >= COPY_TRIES || !this.#isCurrent(drain)) {
        done(error);
        return;
      }
      this.#parts.clock.setTimer(COPY_RETRY_MS, () => {
        this.#copyCurrent(drain, oid, tries + 1, done);
      });
    };
    this.#askRow(drain, oid, (row) => {
      if (row === undefined) return again(new OperatingError('unreachable', 'no answer'));
      const isValid = (): boolean =>
        this.#isCurrent(drain) && this.#fence.sealsOf(drain.key) === seals;
      if (!isValid()) return again(overtaken());
      const finish: CopyDone = (error) => {
        if (error !== undefined) return again(error);
        this.#marks.set(drain.key, drain.cfg, objectKey(oid.generation, oid.index));
        done(undefined);
      };
      const own = this.#parts.store.row(oid.generation, oid.index);
      const isEqual = own?.verToken === row.verToken && own?.verCount === row.verCount;
      const isSame = isEqual && !this.#isDamaged(oid);
      if (isSame || (own === undefined && row.verCount === 0)) return finish(undefined);
      this.#missed.find(drain, drain.source, (missed) => {
        if (missed instanceof OperatingError) return again(missed);
        const partial = this.#partialOf(row, missed);
        const place = { source: drain.source, cfg: drain.cfg, row, isValid };
        const order = partial === undefined ? place : { ...place, partial };
        copyObject(this.#parts, this.#fence, order, (error, bytes) => {
          if (error === undefined) this.objectsCopied += 1;
          this.bytesCopied += bytes;
          finish(error);
        });
      });
    });
  }

  /**
   * 4.7: what changed at the source while this node was away, what is open there, and what is open here: a write that the
   * others may have dropped. Undefined: the whole object.
   */
  #partialOf(row: RowImage, missed: Missed): PartialCopy | undefined {
    const { store } = this.#parts;
    const own = store.row(row.generation, row.index);
    if (missed === 'unknown' || own?.kind !== 'data' || row.kind !== 'data') return undefined;
    if (store.suspects.find(row) !== undefined) return undefined;
    const noted = missed.get(objectKey(row.generation, row.index));
    const there = openRegionsOf(row);
    const here = openRegionsOf(own);
    const low = ((noted?.low ?? 0) | there.low | here.low) >>> 0;
    const high = ((noted?.high ?? 0) | there.high | here.high) >>> 0;
    return { regions: { low, high }, ownVersion: versionOfRow(own) };
  }

  /** The source's row now; verCount 0 = it has none; undefined = no good answer. */
  #askRow(drain: Drain, oid: ObjectId, done: (row: RowImage | undefined) => void): void {
    const volume = this.#parts.views.current().volumeOfGeneration(oid.generation);
    if (volume === undefined) {
      done(undefined);
      return;
    }
    const frame = this.#frameOf(drain, OP.VERSIONS);
    const { generation, index } = oid;
    frame.payload = encodeObjectNames([{ generation, index }]);
    this.#parts.ask(drain.source, frame, LIST_DEADLINE_MS, (reply) => {
      if (reply?.status === STATUS.STALE) this.#parts.pull(reply.mapIndex, drain.source);
      if (reply?.status !== STATUS.OK) return done(undefined);
      const [row] = decodeRows(reply.payload);
      const nothing = { verToken: 0, verCount: 0, kind: 'zero', closed: 0 } as const;
      const masks = { ownLow: 0, ownHigh: 0, openLow: 0, openHigh: 0 };
      const place = { generation, index, family: volume.family, partition: drain.key };
      done(row ?? { ...place, ...nothing, ...masks });
    });
  }

  // ------------------------------------------------------------------------------------------ helpers

  /** No token: judged by cfg alone. */
  #frameOf(drain: Drain, op: number): Frame {
    const frame = requestFrame(this.#parts.views.current(), op);
    frame.partition = drain.p;
    frame.cfg = drain.cfg;
    return frame;
  }

  /** What was fetched is void once cfg changed. */
  #isCurrent(drain: Drain): boolean {
    if (drain.cancel.isCancelled) return false;
    const config = this.#parts.views.current().partition(drain.policy, drain.p);
    return config.cfg === drain.cfg && config.joining.includes(this.#parts.self);
  }
}

function imageOf(row: RowImage): RowImage {
  const { generation, index, family, partition, kind } = row;
  const { verToken, verCount, ownLow, ownHigh, closed, openLow, openHigh } = row;
  const masks = { ownLow, ownHigh, openLow, openHigh };
  return { generation, index, family, partition, kind, verToken, verCount, closed, ...masks };
}

function overtaken(): OperatingError {
  return new OperatingError('stale-config', 'the config changed', { advice: 'retry' });
}
