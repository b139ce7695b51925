// The rows of one store in memory: by object and by partition. `find` gives the row as accepted. A state that is being
// replaced or dropped stays in `leaving` until that is applied, because until then its row is the durable one.
// It also notes which rows changed since the last checkpoint wrote them into the index.

import type { ObjectId } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import { SECTOR_BYTES } from '../core/units.ts';
import { heldSectorsOf, type ObjectState } from './object-state.ts';

export class PartitionTable {
  readonly #byGeneration = new Map<number, Map<number, ObjectState>>();
  readonly #byPartition = new Map<number, Set<ObjectState>>();
  readonly #leaving = new Set<ObjectState>();
  /** How many of them, by generation. */
  readonly #leavingOf = new Map<number, number>();
  readonly #changed = new Set<ObjectState>();
  #dropped: ObjectId[] = [];
  #count = 0;
  #usedSectors = 0;

  get objectCount(): number {
    return this.#count;
  }

  /** Bytes of the sectors that have a sum: trimmed ones count no more. Whole regions for objects not counted yet. */
  get usedBytes(): number {
    return this.#usedSectors * SECTOR_BYTES;
  }

  /** The row as accepted; undefined = never written here. */
  find(generation: number, index: number): ObjectState | undefined {
    return this.#byGeneration.get(generation)?.get(index);
  }

  /** Puts a state in place of another one of the same object, which leaves, or in place of none. */
  insert(state: ObjectState): void {
    const old = this.find(state.generation, state.index);
    if (old !== undefined) this.leave(old);
    let rows = this.#byGeneration.get(state.generation);
    if (rows === undefined) {
      rows = new Map();
      this.#byGeneration.set(state.generation, rows);
    }
    rows.set(state.index, state);
    let held = this.#byPartition.get(state.partition);
    if (held === undefined) {
      held = new Set();
      this.#byPartition.set(state.partition, held);
    }
    held.add(state);
    this.#count += 1;
    this.addUsage(state, 1);
  }

  /** Takes a state out of sight; its durable row stays until `bury`. */
  leave(state: ObjectState): void {
    invariant(this.find(state.generation, state.index) === state, 'a row that leaves was there');
    const rows = this.#byGeneration.get(state.generation);
    rows?.delete(state.index);
    if (rows?.size === 0) this.#byGeneration.delete(state.generation);
    const held = this.#byPartition.get(state.partition);
    held?.delete(state);
    if (held?.size === 0) this.#byPartition.delete(state.partition);
    this.#count -= 1;
    this.addUsage(state, -1);
    this.#leaving.add(state);
    this.#countLeaving(state, 1);
  }

  /** The replacing or drop of a state that left is applied. */
  bury(state: ObjectState): void {
    if (this.#leaving.delete(state)) this.#countLeaving(state, -1);
    this.#changed.delete(state);
    state.isDead = true;
  }

  /** True while there is a row of this generation, or one that leaves. */
  hasRows(generation: number): boolean {
    return this.#byGeneration.has(generation) || this.isLeaving(generation);
  }

  /** Some object of this generation is being replaced or dropped, and that is not applied. */
  isLeaving(generation: number): boolean {
    return this.#leavingOf.has(generation);
  }

  #countLeaving({ generation }: ObjectState, step: 1 | -1): void {
    const count = (this.#leavingOf.get(generation) ?? 0) + step;
    if (count === 0) this.#leavingOf.delete(generation);
    else this.#leavingOf.set(generation, count);
  }

  /** Counts what an object holds, before and after a change of its row. */
  addUsage(state: ObjectState, sign: 1 | -1): void {
    if (state.kind === 'data') this.#usedSectors += sign * heldSectorsOf(state);
  }

  /** So many sectors of an object have a sum now; undefined: not known, what its row owns is taken for it. */
  noteHeld(state: ObjectState, sectors: number | undefined): void {
    const isCounted = this.find(state.generation, state.index) === state;
    if (isCounted) this.addUsage(state, -1);
    state.heldSectors = sectors;
    if (isCounted) this.addUsage(state, 1);
  }

  /** The durable row of a state changed. */
  noteChange(state: ObjectState): void {
    if (!state.isDead) this.#changed.add(state);
  }

  /** An object has no durable row any more. */
  noteDrop(id: ObjectId): void {
    this.#dropped.push({ generation: id.generation, index: id.index });
  }

  /** What the next index batch must say: drops first, then rows. Starts a new list. */
  takeChanges(): {
    readonly dropped: readonly ObjectId[];
    readonly changed: readonly ObjectState[];
  } {
    const dropped = this.#dropped;
    const changed = [...this.#changed];
    this.#dropped = [];
    this.#changed.clear();
    return { dropped, changed };
  }

  /** Every state with a durable row. Rows may change while it is walked, in steps. */
  *durableStates(): Generator<ObjectState> {
    for (const rows of this.#byGeneration.values()) {
      for (const state of rows.values()) if (state.durable !== undefined) yield state;
    }
    // Last, so that a row that began to leave during the walk is not missed.
    for (const state of this.#leaving) if (state.durable !== undefined) yield state;
  }

  /** Rows of one partition, by (generation, index). */
  rowsOf(partition: number): ObjectState[] {
    const held = this.#byPartition.get(partition);
    if (held === undefined) return [];
    return [...held].sort((a, b) => a.generation - b.generation || a.index - b.index);
  }

  /** Partitions with at least one row, sorted. */
  partitionsHeld(): number[] {
    return [...this.#byPartition.keys()].sort((a, b) => a - b);
  }
}
