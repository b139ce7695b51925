// The second half of first touch (4.5): all of I+J are sealed, so what they list stands still. Asks for the versions of
// what anybody lists as open, and has each member extended or cut back to the longest prefix among I (Trap 2). What
// nobody lists is closed, hence equal (I9). Any failure goes back to the reconciler, which begins a new round.

import { messageOf, OperatingError } from '../core/errors.ts';
import type { NodeId, ObjectId } from '../core/ids.ts';
import { OP, STATUS } from '../wire/frame.ts';
import { type EqualiseItem, encodeEqualise, encodeObjectNames } from '../wire/payloads.ts';
import type { Parts } from './context.ts';
import { type EqualisePlan, planEqualise, type Table } from './equalise-plan.ts';
import type { PathCell } from './path-cell.ts';
import { objectOfKey, type StackKey, stackKey } from './stack.ts';
import {
  rowsOfReply,
  SEAL_DEADLINE_MS,
  type Touch,
  touchFrame,
  touchRefused,
} from './touch-frames.ts';

/** Objects in one EQUALISE: each may be a whole copy. */
export const EQUALISE_BATCH = 8;
export const EQUALISE_DEADLINE_MS = 30_000;

export interface TouchHooks {
  /** An object was made equal on all of I+J, durably: its close may go out. */
  readonly onEqual: (oid: ObjectId, p: number, count: number) => void;
  /** Acknowledged and perhaps not durable, in p: count by object index. */
  readonly acknowledgedIn: (p: number) => ReadonlyMap<number, number>;
}

interface EqualiserHooks extends TouchHooks {
  /** False once the round is overtaken: by a new cfg, a failure, or the loss of the lock. */
  readonly isCurrent: (touch: Touch, round: number) => boolean;
  readonly onFailed: (touch: Touch) => void;
  readonly onDone: (touch: Touch) => void;
}

export class Equaliser {
  readonly #parts: Parts;
  readonly #open: PathCell;
  readonly #hooks: EqualiserHooks;

  constructor(parts: Parts, open: PathCell, hooks: EqualiserHooks) {
    this.#parts = parts;
    this.#open = open;
    this.#hooks = hooks;
  }

  /** All are sealed. What nobody lists as open is closed, hence equal (I9). */
  compare(touch: Touch): void {
    const open = new Set<StackKey>();
    for (const table of touch.tables.values()) for (const key of table.keys()) open.add(key);
    // What was lost everywhere is listed as open by nobody.
    const { head } = this.#open.volume;
    for (const index of this.#hooks.acknowledgedIn(touch.p).keys()) open.add(stackKey(head, index));
    if (open.size === 0) {
      this.#hooks.onDone(touch);
      return;
    }
    touch.phase = 'comparing';
    const { round } = touch;
    let left = touch.tables.size;
    const one = (): void => {
      left -= 1;
      if (left === 0 && this.#hooks.isCurrent(touch, round)) this.#equalise(touch, [...open]);
    };
    for (const [node, table] of touch.tables) {
      const missing = [...open].filter((key) => !table.has(key));
      if (missing.length === 0) one();
      else this.#askVersions(touch, node, missing, one);
    }
  }

  #askVersions(touch: Touch, node: NodeId, missing: readonly StackKey[], done: () => void): void {
    const { round } = touch;
    const frame = touchFrame(this.#parts, this.#open, OP.VERSIONS, touch);
    frame.payload = encodeObjectNames(missing.map(objectOfKey));
    this.#parts.ask(node, frame, SEAL_DEADLINE_MS, (reply) => {
      if (!this.#hooks.isCurrent(touch, round)) return;
      const rows = rowsOfReply(this.#parts, this.#open, node, reply);
      if (rows === undefined) return this.#hooks.onFailed(touch);
      const table = touch.tables.get(node) as Table;
      for (const key of missing) table.set(key, undefined);
      for (const row of rows) {
        const key = stackKey(row.generation, row.index);
        if (table.has(key)) table.set(key, row);
      }
      done();
    });
  }

  #equalise(touch: Touch, open: readonly StackKey[]): void {
    let plan: EqualisePlan;
    try {
      plan = planEqualise({ ...touch, volume: this.#open.volume }, open);
    } catch (error) {
      this.#parts.trace.warn('touch.diverged', { p: touch.p, error: messageOf(error) });
      this.#hooks.onFailed(touch);
      return;
    }
    const { lists, winners } = plan;
    if (this.#hasLost(touch, winners)) return;
    const { round } = touch;
    let left = lists.size;
    const finish = (): void => {
      for (const [key, count] of winners) this.#hooks.onEqual(objectOfKey(key), touch.p, count);
      this.#hooks.onDone(touch);
    };
    if (left === 0) {
      finish();
      return;
    }
    for (const [node, items] of lists) {
      this.#equaliseOn(touch, node, items, () => {
        left -= 1;
        if (left === 0 && this.#hooks.isCurrent(touch, round)) finish();
      });
    }
  }

  /** R8: the members lost what the guest was told is written. It must hear of it: its next session starts clean (V1). */
  #hasLost(touch: Touch, winners: ReadonlyMap<StackKey, number>): boolean {
    for (const [index, count] of this.#hooks.acknowledgedIn(touch.p)) {
      const { name, id, head } = this.#open.volume;
      const found = winners.get(stackKey(head, index)) ?? 0;
      if (found >= count) continue;
      this.#parts.trace.warn('cache-lost', { volume: id, index, found, acknowledged: count });
      const text = `writes of ${name} that were not flushed were lost with the memory of its replicas`;
      const remedy = 'check its file systems, then attach it again';
      this.#open.giveUp(new OperatingError('cache-lost', text, { remedy }));
      return true;
    }
    return false;
  }

  #equaliseOn(touch: Touch, node: NodeId, items: readonly EqualiseItem[], done: () => void): void {
    const { round } = touch;
    const frame = touchFrame(this.#parts, this.#open, OP.EQUALISE, touch);
    frame.payload = encodeEqualise(items.slice(0, EQUALISE_BATCH));
    this.#parts.ask(node, frame, EQUALISE_DEADLINE_MS, (reply) => {
      if (!this.#hooks.isCurrent(touch, round)) return;
      if (reply?.status !== STATUS.OK) {
        touchRefused(this.#parts, this.#open, node, reply);
        return this.#hooks.onFailed(touch);
      }
      const rest = items.slice(EQUALISE_BATCH);
      if (rest.length === 0) done();
      else this.#equaliseOn(touch, node, rest, done);
    });
  }
}
