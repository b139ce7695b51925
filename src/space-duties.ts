// What a node does about a disk that fills up (4.9): it tells the map how full it is, and takes itself out of the in-sync
// sets of partitions whose writes it had to refuse, where enough others hold them, so that guests go on. The way back is
// the leader's: a member whose level is better is joined again (core/recovery-plan.ts).

import type { Agreement } from './agreement/agreement.ts';
import type { Incarnation, NodeId, PartitionId } from './core/ids.ts';
import { partitionKey, partitionOfKey } from './core/ids.ts';
import { MAX_PARTITIONS_PER_ENTRY, type PartitionCas } from './core/log-entry.ts';
import { shrink } from './core/partition.ts';
import type { SpaceLevel } from './core/space.ts';
import { liveIn } from './core/state.ts';
import type { ClusterView } from './core/view.ts';
import type { Clock, TimerHandle, Trace } from './ports/ports.ts';

/** How often the level of the disk is looked at. */
export const SPACE_LOOK_MS = 1000;
/** A better level is told at most so often: with the hysteresis of the levels it bounds how often copies come and go. */
export const SPACE_HOLD_MS = 10_000;
/** Refusals of so long go out as one entry. */
export const SHRINK_GATHER_MS = 50;
/** A proposal that is not applied in this time is made again by the next look or refusal. */
export const SPACE_PROPOSE_MS = 3000;

export interface SpaceContext {
  readonly self: NodeId;
  /** The life of this process that the map knows. */
  readonly incarnation: () => Incarnation;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly agreement: Pick<Agreement, 'propose'>;
  readonly view: () => ClusterView | undefined;
  readonly level: () => SpaceLevel;
}

export class SpaceDuties {
  readonly #context: SpaceContext;
  /** partitionKey of writes that were refused; at most one list of an entry. */
  readonly #refused = new Set<number>();
  #lookTimer: TimerHandle | undefined;
  #gatherTimer: TimerHandle | undefined;
  #toldMs = Number.NEGATIVE_INFINITY;
  #isTelling = false;
  #isLeaving = false;

  constructor(context: SpaceContext) {
    this.#context = context;
  }

  start(): void {
    this.#lookTimer = this.#context.clock.setTimer(SPACE_LOOK_MS, () => {
      this.start();
      this.#look();
    });
  }

  stop(): void {
    const { clock } = this.#context;
    if (this.#lookTimer !== undefined) clock.clearTimer(this.#lookTimer);
    if (this.#gatherTimer !== undefined) clock.clearTimer(this.#gatherTimer);
  }

  /** The own replica refused a change of this partition for want of room. */
  noRoom({ policy, p }: PartitionId): void {
    if (this.#refused.size >= MAX_PARTITIONS_PER_ENTRY) return;
    this.#refused.add(partitionKey(policy, p));
    this.#gatherTimer ??= this.#context.clock.setTimer(SHRINK_GATHER_MS, () => {
      this.#gatherTimer = undefined;
      this.#leave().catch(() => this.#context.trace.count('space.failed'));
    });
  }

  #look(): void {
    const level = this.#context.level();
    const known = this.#known();
    if (known === undefined || known === level) return;
    const isWorse = level === 'full' || (level === 'nearfull' && known === 'ok');
    if (!isWorse && this.#context.clock.now() - this.#toldMs < SPACE_HOLD_MS) return;
    this.#tell(level).catch(() => this.#context.trace.count('space.failed'));
  }

  /** What the map has of this life; undefined while it is not up there. */
  #known(): SpaceLevel | undefined {
    const { view, self } = this.#context;
    const me = view()?.members.get(self);
    return me?.state === 'up' ? me.space : undefined;
  }

  async #tell(level: SpaceLevel): Promise<void> {
    if (this.#isTelling) return;
    this.#isTelling = true;
    const { self, incarnation, agreement, trace, clock } = this.#context;
    try {
      const life = incarnation();
      await agreement.propose(
        { type: 'nodeSpace', node: self, incarnation: life, level },
        SPACE_PROPOSE_MS,
      );
      this.#toldMs = clock.now();
      trace.warn('disk.level', { space: level });
    } finally {
      this.#isTelling = false;
    }
  }

  /** The level first: else the leader would join this node again at once. */
  async #leave(): Promise<void> {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    try {
      if (this.#known() !== 'full') await this.#tell('full');
      const partitions = this.#partitionsToLeave();
      this.#refused.clear();
      if (partitions.length === 0 || this.#known() !== 'full') return;
      const { self, agreement, trace } = this.#context;
      const body = { type: 'isrShrink', partitions, node: self, reason: 'no space' } as const;
      const { value } = await agreement.propose(body, SPACE_PROPOSE_MS);
      trace.event('disk.left', { asked: partitions.length, applied: value });
    } finally {
      this.#isLeaving = false;
    }
  }

  /** Where minCopies live others hold the partition (4.4), or this node only joins it. */
  #partitionsToLeave(): PartitionCas[] {
    const { self } = this.#context;
    const view = this.#context.view();
    if (view === undefined) return [];
    const isLive = liveIn(view.members);
    const list: PartitionCas[] = [];
    for (const key of this.#refused) {
      const { policy, p } = partitionOfKey(key);
      const config = view.partition(policy, p);
      const minCopies = view.policies.get(policy)?.minCopies ?? Number.POSITIVE_INFINITY;
      const mayLeave =
        config.joining.includes(self) ||
        typeof shrink(config, self, { minCopies, isLive }) !== 'string';
      if (mayLeave) list.push({ policy, p, cfg: config.cfg });
    }
    return list;
  }
}
