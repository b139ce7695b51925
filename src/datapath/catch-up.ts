// Brings this node's copies of partitions that it joins to where a member of I has them (4.6), in runs (drain-run.ts). A
// guest's write to a stack that is not synced yet has its stack recovered first: it waits for one object, never for the
// partition. In which order partitions are drained, and whether at all, is its caller's.

import { OperatingError } from '../core/errors.ts';
import type { GenerationId, ObjectId } from '../core/ids.ts';
import type { PartitionCfg } from '../wire/payloads.ts';
import type { Parts } from './context.ts';
import { AT_ONCE } from './copy-streams.ts';
import type { Differences } from './differences.ts';
import { type Drain, drainOf } from './drain.ts';
import { type DrainOrders, DrainRun } from './drain-run.ts';
import { ObjectCopier } from './object-copier.ts';
import { type CopyFence, type JoinMarks, type ObjectGates, objectKey } from './object-gate.ts';
import { stackOf } from './stack.ts';

export type { CaughtUp, DrainOrders, DrainWanted } from './drain-run.ts';

const GUEST_WAITS = { rank: AT_ONCE, isWanted: () => true };

type CopyDone = (error: OperatingError | undefined) => void;

export class CatchUp {
  readonly #parts: Parts;
  readonly #gates: ObjectGates;
  readonly #marks: JoinMarks;
  readonly #copier: ObjectCopier;
  /** Moves the choice of a source on after a failure. */
  readonly #turn = { count: 0 };

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

  /** Drains what the orders name until they name nothing more. */
  drainAll(orders: DrainOrders, done: () => void): void {
    const shared = { parts: this.#parts, gates: this.#gates, marks: this.#marks };
    const run = new DrainRun({
      ...shared,
      orders,
      copy: (drain, row, copied) => this.#copier.copy(drain, row, copied),
      isDamaged: (row) => this.#copier.isDamaged(row),
      turn: this.#turn,
      done,
    });
    run.start();
  }

  /** All rows of its stack are known to be those of a member of I for this cfg: this node may judge by its own table. */
  isStackSynced(partition: number, cfg: number, { generation, index }: ObjectId): boolean {
    return this.#layersAbove(generation).every((layer) => {
      return this.#marks.isSynced(partition, cfg, objectKey(layer, index));
    });
  }

  #layersAbove(generation: GenerationId): readonly GenerationId[] {
    return [...stackOf(this.#parts.views.current(), generation)].slice(1);
  }

  /** 4.6 step 4. The caller holds the object's gate. `done` without an error: the stack is synced for this cfg. */
  recoverStack(where: PartitionCfg, oid: ObjectId, done: CopyDone): void {
    const drain = drainOf(this.#parts, where, this.#turn.count, GUEST_WAITS);
    if (drain === undefined) {
      done(new OperatingError('unreachable', 'no source is up'));
      return;
    }
    this.#recoverAbove(drain, oid, (error) => {
      if (error === undefined) return this.#recoverOne(drain, oid, done);
      this.#turn.count += 1;
      done(error);
    });
  }

  /** What shows through the object: rows that neither side has need no copy. */
  #recoverAbove(drain: Drain, { generation, index }: ObjectId, done: CopyDone): void {
    const { key, cfg } = drain;
    const lacking = this.#layersAbove(generation)
      .map((layer) => ({ generation: layer, index }))
      .filter((oid) => !this.#marks.isSynced(key, cfg, objectKey(oid.generation, index)));
    if (lacking.length === 0) {
      done(undefined);
      return;
    }
    this.#copier.listStack(drain, lacking, (found) => {
      if (found === undefined) return done(new OperatingError('unreachable', 'no answer'));
      const rows = lacking.filter((oid) => {
        const isThere =
          found.has(oid.generation) || this.#parts.store.row(oid.generation, index) !== undefined;
        if (!isThere) this.#marks.set(key, cfg, objectKey(oid.generation, index));
        return isThere;
      });
      this.#recoverEach(drain, rows, done);
    });
  }

  #recoverEach(drain: Drain, rows: readonly ObjectId[], done: CopyDone): void {
    const [oid, ...rest] = rows;
    if (oid === undefined) {
      done(undefined);
      return;
    }
    const gate = objectKey(oid.generation, oid.index);
    const waits = this.#gates.wait(gate, () => {
      if (this.#marks.isSynced(drain.key, drain.cfg, gate)) {
        return this.#recoverEach(drain, rest, done);
      }
      this.#gates.enter(gate);
      this.#recoverOne(drain, oid, (error) => {
        this.#gates.leave(gate);
        if (error === undefined) this.#recoverEach(drain, rest, done);
        else done(error);
      });
    });
    if (!waits) done(new OperatingError('busy', 'too many wait for an object'));
  }

  #recoverOne(drain: Drain, oid: ObjectId, done: CopyDone): void {
    this.#copier.copy(drain, oid, (error, _lost, bytes) => {
      // It waited for nothing; others wait for it.
      this.#parts.streams.settleUp(0, bytes);
      if (error !== undefined) this.#turn.count += 1;
      done(error);
    });
  }
}
