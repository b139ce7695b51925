// Brings this node's copies of partitions that it joins to where a member of I has them (4.6), in runs (drain-run.ts). A
// guest's write to a stack that is not synced yet has its stack recovered first: it waits for one object, never for the
// partition. In which order partitions are drained, and whether at all, is its caller's.

import { OperatingError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import type { PartitionCfg } from '../wire/payloads.ts';
import type { Parts } from './context.ts';
import { AT_ONCE } from './copy-streams.ts';
import type { Differences } from './differences.ts';
import { drainOf } from './drain.ts';
import { type DrainOrders, DrainRun } from './drain-run.ts';
import { ObjectCopier } from './object-copier.ts';
import type { CopyFence, JoinMarks, ObjectGates } from './object-gate.ts';

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

  /** 4.6 step 4. The caller holds the object's gate. `done` without an error: the stack is synced for this cfg. */
  recoverStack(where: PartitionCfg, oid: ObjectId, done: CopyDone): void {
    const drain = drainOf(this.#parts, where, this.#turn.count, GUEST_WAITS);
    if (drain === undefined) {
      done(new OperatingError('unreachable', 'no source is up'));
      return;
    }
    this.#copier.copy(drain, oid, (error, _lost, bytes) => {
      // It waited for nothing; others wait for it.
      this.#parts.streams.settleUp(0, bytes);
      if (error !== undefined) this.#turn.count += 1;
      done(error);
    });
  }
}
