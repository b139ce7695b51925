// Where the copies of one partition were, by epoch (dog vdi track): the entries of the map log played again from a known
// state, and each config of the partition that came of them. Pure; how far back it reaches is the log's business.

import { applyEntry, viewOf } from './cluster-state.ts';
import type { NodeId, PartitionId } from './ids.ts';
import type { LogEntry } from './log-entry.ts';
import type { ClusterState } from './state.ts';
import type { PartitionConfig } from './view.ts';

/** Configs that are kept: the newest. */
export const MAX_HISTORY = 4096;

/** From this index on the copies were here. */
export interface CopyEpoch {
  readonly index: number;
  readonly epoch: number;
  readonly cfg: number;
  readonly inSync: readonly NodeId[];
  readonly joining: readonly NodeId[];
  /** The entry that made it so; '' = it was so before what is known. */
  readonly by: string;
}

export class CopyHistory {
  readonly #where: PartitionId;
  #state: ClusterState;
  #found: CopyEpoch[] = [];

  /** @param from what is known from the beginning: empty, or that of a snapshot */
  constructor(where: PartitionId, from: ClusterState) {
    this.#where = where;
    this.#state = from;
    this.#note('');
  }

  /** Entries that do not follow are passed over. */
  apply(entry: LogEntry): void {
    if (entry.index !== this.#state.index + 1) return;
    this.#state = applyEntry(this.#state, entry).state;
    this.#note(entry.body.type);
  }

  get all(): readonly CopyEpoch[] {
    return this.#found;
  }

  #note(by: string): void {
    const config = this.#config();
    if (config === undefined) return;
    const { index, epoch } = this.#state;
    const { cfg, inSync, joining } = config;
    const last = this.#found.at(-1);
    if (last?.cfg === cfg && last.epoch === epoch && isSame(last, config)) return;
    this.#found.push({ index, epoch, cfg, inSync, joining, by });
    if (this.#found.length > MAX_HISTORY) this.#found = this.#found.slice(-MAX_HISTORY);
  }

  /** Undefined before there is such a policy. */
  #config(): PartitionConfig | undefined {
    const { policy, p } = this.#where;
    const isThere = this.#state.policies.has(policy) && p < this.#state.partitions;
    return isThere ? viewOf(this.#state).partition(policy, p) : undefined;
  }
}

function isSame(a: Pick<CopyEpoch, 'inSync' | 'joining'>, b: PartitionConfig): boolean {
  return a.inSync.join() === b.inSync.join() && a.joining.join() === b.joining.join();
}
