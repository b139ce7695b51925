// What this node drops: copies of partitions that the log purged (I5), and rows of deleted volumes (S5). Both are judged
// by the view once more, object by object, and run in small bites.

import type { OperatingError } from '../core/errors.ts';
import { type GenerationId, partitionKey } from '../core/ids.ts';
import { isLostIn } from '../core/lost.ts';
import { isSure, partitionOf } from '../core/partition.ts';
import { mayReclaim } from '../core/reclaim.ts';
import type { ClusterView } from '../core/view.ts';
import type { Row } from '../storage/store-types.ts';
import type { PartitionCfg } from '../wire/payloads.ts';
import type { Parts } from './context.ts';
import { isMember } from './judge.ts';
import { type ObjectGates, objectKey } from './object-gate.ts';

/** Objects dropped by one call. */
export const DROPS_PER_CALL = 64;
/** Partitions looked at by one call of `dropDeleted`. */
export const PARTITIONS_PER_CALL = 256;

type DropDone = (error: OperatingError | undefined, dropped: number) => void;

export class Surplus {
  readonly #parts: Parts;
  readonly #gates: ObjectGates;
  /** Where the next look for rows of deleted volumes starts. */
  #cursor = 0;

  constructor(parts: Parts, gates: ObjectGates) {
    this.#parts = parts;
    this.#gates = gates;
  }

  /**
   * Drops rows of partitions whose purge entry is applied, at most DROPS_PER_CALL.
   * @returns by `done`: how many; call again until 0
   */
  purge(partitions: readonly PartitionCfg[], done: DropDone): void {
    const { store, views, self } = this.#parts;
    const rows: Row[] = [];
    for (const { policy, p } of partitions) {
      // I5, at the node that deletes: no member, and not wanted by the ring, by its own view.
      const config = views.current().partition(policy, p);
      if (isMember(config, self) || config.targets.includes(self)) continue;
      rows.push(...store.rowsOf(partitionKey(policy, p)));
      if (rows.length >= DROPS_PER_CALL) break;
    }
    this.#drop(rows.slice(0, DROPS_PER_CALL), done);
  }

  /**
   * Drops rows of lost partitions (section 6), at most DROPS_PER_CALL: stale ones, for this node was not in sync. Who
   * accepts the loss starts with nothing.
   * @returns by `done`: how many; call again until 0
   */
  dropLost(partitions: readonly PartitionCfg[], done: DropDone): void {
    const { store, views, self } = this.#parts;
    const view = views.current();
    const rows: Row[] = [];
    for (const { policy, p } of partitions) {
      const config = view.partition(policy, p);
      if (!isLostIn(view, config) || isMember(config, self)) continue;
      rows.push(...store.rowsOf(partitionKey(policy, p)));
      if (rows.length >= DROPS_PER_CALL) break;
    }
    this.#drop(rows.slice(0, DROPS_PER_CALL), done);
  }

  /**
   * Drops rows of deleted volumes in the next few partitions, round and round, and those of deleted layers of others that
   * show nowhere any more (S6): here only, others see to theirs.
   */
  dropDeleted(done: DropDone): void {
    const { store, views } = this.#parts;
    const view = views.current();
    const held = store.partitionsHeld();
    if (this.#cursor >= held.length) this.#cursor = 0;
    const rows: Row[] = [];
    for (let i = 0; i < PARTITIONS_PER_CALL && this.#cursor < held.length; i += 1) {
      const found = store.rowsOf(held[this.#cursor] as number).filter(({ generation, index }) => {
        const isGone =
          generation <= view.lastGeneration && view.volumeOfGeneration(generation) === undefined;
        return isGone || this.#isHidden(view, generation, index);
      });
      rows.push(...found);
      if (rows.length >= DROPS_PER_CALL) break;
      this.#cursor += 1;
    }
    this.#drop(rows.slice(0, DROPS_PER_CALL), done);
  }

  /** S6: only a member of I judges by its own table; others may lack what hides the row, or have what does not count. */
  #isHidden(view: ClusterView, generation: GenerationId, index: number): boolean {
    const { store, self } = this.#parts;
    const layer = view.generations.get(generation);
    if (layer?.state !== 'deleted') return false;
    const p = partitionOf(layer.family, index, view.partitions);
    if (!isSure(view.partition(layer.policy, p), self)) return false;
    return mayReclaim(view, generation, index, (one) => store.row(one, index));
  }

  #drop(rows: readonly Row[], done: DropDone): void {
    const free = rows.filter((row) => !this.#gates.isBusy(objectKey(row.generation, row.index)));
    let left = free.length;
    let failed: OperatingError | undefined;
    if (left === 0) {
      done(undefined, 0);
      return;
    }
    for (const { generation, index } of free) {
      const key = objectKey(generation, index);
      this.#gates.enter(key);
      this.#parts.store.drop({ generation, index }, (error) => {
        this.#gates.leave(key);
        failed ??= error;
        left -= 1;
        if (left === 0) done(failed, free.length);
      });
    }
  }
}
