// One round of this node's catch-up: hands out the partitions that it joins, most urgent first, by the view of the moment
// in which a worker is free (4.8), and asks for the promotion of those that are done while others are copied. A round is
// bounded in time, so that what comes before copies gets its turn; a pause ends it after the objects under way.

import type { Agreement } from './agreement/agreement.ts';
import { OperatingError } from './core/errors.ts';
import { type Incarnation, type NodeId, partitionKey } from './core/ids.ts';
import { MAX_PARTITIONS_PER_ENTRY } from './core/log-entry.ts';
import { DueJoins, isJoinDue } from './core/recovery-work.ts';
import type { ClusterView } from './core/view.ts';
import type { CatchUp, CaughtUp, DrainOrders, DrainWanted } from './datapath/catch-up.ts';
import type { Clock, TimerHandle, Trace } from './ports/ports.ts';
import type { PartitionCfg } from './wire/payloads.ts';

/** No further partition is begun after this. */
export const ROUND_MS = 2000;
/** A promotion that is not applied in this time is asked for again by the next round. */
export const PROMOTE_MS = 5000;
/** What is caught up is promoted in lists: of a share of what this node joins, and after so long what there is. */
export const PROMOTE_WAIT_MS = 100;
export const PROMOTE_LEAST = 16;
export const PROMOTE_MOST = MAX_PARTITIONS_PER_ENTRY;
const PROMOTE_SHARE = 4;

export interface RoundParts {
  readonly self: NodeId;
  readonly incarnation: () => Incarnation;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly agreement: Agreement;
  readonly view: () => ClusterView | undefined;
}

/** Who follows how far it is. */
export type RoundWatch = Pick<DrainOrders, 'moved' | 'failed' | 'incomplete'>;

export class CatchUpRound {
  readonly #parts: RoundParts;
  readonly #untilMs: number;
  /** cfg by partition: begun in this round, whatever came of it. */
  readonly #begun = new Map<number, number>();
  readonly #due: DueJoins;
  #caughtUp: CaughtUp[] = [];
  #promoting: Promise<void> | undefined;
  #timer: TimerHandle | undefined;
  /** Partitions being drained. */
  #underWay = 0;
  #promoted = 0;
  #failed = 0;
  #isLookScheduled = false;

  constructor(parts: RoundParts) {
    this.#parts = parts;
    this.#due = new DueJoins(parts.self);
    const { clock } = parts;
    this.#untilMs = clock.now() + (clock.rarely?.('catch-up-short') === true ? 0 : ROUND_MS);
  }

  /** @throws OperatingError when nothing at all could be promoted */
  async run(catchUp: CatchUp, watch: RoundWatch): Promise<void> {
    await catchUp.run({
      ...watch,
      next: () => this.#next(),
      isWanted: (where) => this.#isWanted(where),
      isOver: () => this.#isOver,
      givenBack: (where) => this.#givenBack(where),
      ended: (where, result) => this.#ended(where, result),
    });
    while (this.#caughtUp.length > 0 || this.#promoting !== undefined) {
      this.#promote();
      await this.#promoting;
    }
    if (this.#timer !== undefined) this.#parts.clock.clearTimer(this.#timer);
    if (this.#promoted === 0 && this.#failed > 0) {
      throw new OperatingError('unreachable', 'no partition caught up', { advice: 'retry' });
    }
  }

  get #isOver(): boolean {
    return this.#parts.clock.now() >= this.#untilMs;
  }

  #next(): DrainWanted | undefined {
    const view = this.#parts.view();
    if (this.#isOver || view === undefined) return undefined;
    for (;;) {
      const work = this.#due.next(view);
      if (work === undefined) return undefined;
      const { policy, p, config, urgency } = work;
      const key = partitionKey(policy, p);
      if (this.#begun.get(key) === config.cfg) continue;
      this.#begun.set(key, config.cfg);
      this.#underWay += 1;
      return { policy, p, cfg: config.cfg, urgency };
    }
  }

  #givenBack({ policy, p }: PartitionCfg): void {
    this.#underWay -= 1;
    this.#begun.delete(partitionKey(policy, p));
  }

  #isWanted(where: PartitionCfg): boolean {
    const view = this.#parts.view();
    if (view?.partition(where.policy, where.p).cfg !== where.cfg) return false;
    return isJoinDue(view, this.#parts.self, where);
  }

  #ended(where: PartitionCfg, result: CaughtUp | undefined): void {
    this.#underWay -= 1;
    if (result === undefined) {
      if (this.#isWanted(where)) this.#failed += 1;
      return;
    }
    this.#caughtUp.push(result);
    if (this.#isLookScheduled) return;
    // Many that hold nothing end at once: they are one list.
    this.#isLookScheduled = true;
    this.#parts.clock.soon(() => {
      this.#isLookScheduled = false;
      if (this.#caughtUp.length > 0) this.#promoteIfDue();
    });
  }

  /** Few lists, for each is an entry of the log; but nobody's write waits long for the last ones. */
  #promoteIfDue(): void {
    const left = this.#due.count + this.#underWay + this.#caughtUp.length;
    const share = Math.ceil(left / PROMOTE_SHARE);
    const due = Math.max(PROMOTE_LEAST, Math.min(PROMOTE_MOST, share));
    if (this.#caughtUp.length >= due || this.#due.count + this.#underWay === 0) this.#promote();
    else this.#timer ??= this.#parts.clock.setTimer(PROMOTE_WAIT_MS, () => this.#promote());
  }

  /** One list on its way at a time; what is caught up meanwhile is the next one. */
  #promote(): void {
    if (this.#timer !== undefined) this.#parts.clock.clearTimer(this.#timer);
    this.#timer = undefined;
    if (this.#promoting !== undefined || this.#caughtUp.length === 0) return;
    const isOne = this.#parts.clock.rarely?.('promote-one') === true;
    const partitions = this.#caughtUp.splice(0, isOne ? 1 : MAX_PARTITIONS_PER_ENTRY);
    this.#promoting = this.#propose(partitions).then(() => {
      this.#promoting = undefined;
      if (this.#caughtUp.length > 0) this.#promoteIfDue();
    });
  }

  /** Never rejects: what was not promoted is drained again, and that costs a comparison. */
  async #propose(partitions: readonly CaughtUp[]): Promise<void> {
    const { self, incarnation, agreement, trace } = this.#parts;
    const body = {
      type: 'isrPromote',
      partitions,
      node: self,
      incarnation: incarnation(),
    } as const;
    try {
      const { value } = await agreement.propose(body, PROMOTE_MS);
      trace.event('recovery.promoted', { asked: partitions.length, applied: value });
      this.#promoted += value;
      if (value === 0) this.#failed += 1;
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      trace.warn('recovery.not-promoted', { asked: partitions.length, reason: error.message });
      this.#failed += 1;
    }
  }
}
