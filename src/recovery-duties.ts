// What the recovery actor of this node does, one round at a time: drop what the log purged and what deleted volumes left
// (I5, S5), copy what it joins and ask for promotion (4.6), ask for the purge of surplus copies. Rounds are bounded, so
// that each starts from a fresh view.

import type { RoundsInput } from './actors/rounds.ts';
import type { Agreement } from './agreement/agreement.ts';
import { CatchUpRound } from './catch-up-round.ts';
import { messageOf, OperatingError } from './core/errors.ts';
import type { GenerationId, Incarnation, NodeId } from './core/ids.ts';
import type { ApplyResult, LogEntry, PartitionCas } from './core/log-entry.ts';
import { hasDeleted, layersToAsk, reclaimWitnesses } from './core/reclaim.ts';
import { doubtsOf, joinsDue, lacksOf, surplusOf } from './core/recovery-work.ts';
import type { ClusterView } from './core/view.ts';
import { endsGeneration } from './core/volume-move.ts';
import type { Datapath } from './datapath/datapath.ts';
import { PARTITIONS_PER_CALL } from './datapath/surplus.ts';
import type { Clock, Trace } from './ports/ports.ts';
import type { RecoveryWatch } from './recovery-watch.ts';
import type { ObjectStore } from './storage/store-types.ts';

/** Partitions of one round of settling, and of its isrSettle. */
export const DOUBTS_PER_ROUND = 512;
/** A promotion or purge that is not applied in this time is asked for again by the next round. */
export const RECOVERY_PROPOSE_MS = 5000;
/** While there are deleted layers that show through to others, it is looked so often for rows that are covered by now. */
export const RECLAIM_LOOK_MS = 30_000;

/** Members are asked for what is left of deleted layers as often; so soon again when something was forgotten. */
export const RECLAIM_SOON_MS = 1000;

export interface RecoveryContext {
  readonly self: NodeId;
  readonly incarnation: () => Incarnation;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly store: ObjectStore;
  readonly progress: RecoveryWatch;
  readonly agreement: Agreement;
  readonly view: () => ClusterView | undefined;
  readonly datapath: () => Datapath | undefined;
}

export class RecoveryDuties {
  readonly input: RoundsInput;
  readonly #context: RecoveryContext;
  /** Elements of purge entries of this node, not dropped yet; bounded by the partitions that it holds. */
  #purged: readonly PartitionCas[] = [];
  /** Looks for rows of deleted volumes that are still to be made; each sees PARTITIONS_PER_CALL partitions. */
  #looksLeft = 1;
  #reclaimAtMs = 0;
  /** When the members are asked what they have left of deleted layers, and the last that they were asked about. */
  #askAtMs = 0;
  #askedUpTo: GenerationId | 0 = 0;
  /** Volumes deleted, as far as this node saw, and jumps of the map, which may have deleted some. */
  #deletions = 0;

  constructor(context: RecoveryContext) {
    this.#context = context;
    this.input = {
      workDue: () => this.#nextRound() !== undefined,
      work: async () => this.#nextRound()?.(),
      warn: (what, reason) => context.trace.warn(what, { reason: messageOf(reason) }),
    };
  }

  /** Partitions that this node still has to bring in sync, whether or not it may at present. */
  get partitionsLeft(): number {
    const view = this.#context.view();
    return view === undefined ? 0 : lacksOf(view, this.#context.self).length;
  }

  /** False while this node has copies to make that are not held. */
  get isAtRest(): boolean {
    const view = this.#context.view();
    return view === undefined || joinsDue(view, this.#context.self).length === 0;
  }

  /**
   * The map jumped to a snapshot: which volumes were deleted meanwhile nobody tells, so everything held is looked at.
   * What was purged is still held, is surplus by the map, and is asked for again.
   */
  noteJump(): void {
    this.#deletions += 1;
    this.#lookForDeleted();
  }

  noteApplied(entry: LogEntry, result: ApplyResult): void {
    const { body } = entry;
    if (endsGeneration(body, this.#context.view()?.moves ?? new Map())) {
      this.#deletions += 1;
      this.#lookForDeleted();
    }
    if (body.type !== 'purge' || body.node !== this.#context.self || result.code !== 'ok') return;
    this.#purged = [...this.#purged, ...body.partitions];
  }

  /** The most urgent thing to do now; undefined when there is nothing. */
  #nextRound(): (() => Promise<void>) | undefined {
    const { self, store } = this.#context;
    const view = this.#context.view();
    const datapath = this.#context.datapath();
    if (view === undefined || datapath === undefined || !this.#isUp(view)) return undefined;
    if (this.#purged.length > 0) return () => this.#drop(datapath);
    if (this.#looksLeft > 0) return () => this.#dropDeleted(datapath);
    if (hasDeleted(view) && this.#context.clock.now() >= this.#reclaimAtMs) {
      return () => this.#reclaim(datapath);
    }
    const doubts = doubtsOf(view, self).slice(0, DOUBTS_PER_ROUND);
    if (doubts.length > 0) {
      const list = doubts.map(({ policy, p, config }) => ({ policy, p, cfg: config.cfg }));
      return () => this.#settle(datapath, list);
    }
    if (joinsDue(view, self).length > 0) return () => this.#catchUp(datapath);
    const surplus = surplusOf(view, self, store.partitionsHeld());
    if (surplus.length > 0) return () => this.#askForPurge(surplus);
    const { agreement, clock } = this.#context;
    const isAskDue = hasDeleted(view) && clock.now() >= this.#askAtMs;
    if (isAskDue && agreement.driver.role === 'leader')
      return () => this.#forgetLayers(datapath, view);
    return undefined;
  }

  /** S6, by the leader: layers that no member has anything of any more are forgotten. */
  async #forgetLayers(datapath: Datapath, view: ClusterView): Promise<void> {
    const { agreement, clock } = this.#context;
    this.#askAtMs = clock.now() + RECLAIM_LOOK_MS;
    const members = reclaimWitnesses(view);
    if (members === undefined) return;
    const asked = layersToAsk(view, this.#askedUpTo);
    this.#askedUpTo = asked.at(-1) ?? 0;
    const nowhere = (await datapath.layersLeft(asked, members)) ?? [];
    // The next ones soon: many may have been deleted together.
    if (nowhere.length > 0) this.#askAtMs = clock.now() + RECLAIM_SOON_MS;
    await Promise.all(
      nowhere.map((generation) => {
        return agreement.propose({ type: 'generationReclaimed', generation }, RECOVERY_PROPOSE_MS);
      }),
    );
  }

  #isUp(view: ClusterView): boolean {
    const me = view.members.get(this.#context.self);
    return me?.state === 'up' && me.incarnation === this.#context.incarnation();
  }

  async #catchUp(datapath: Datapath): Promise<void> {
    const { progress } = this.#context;
    const deletions = this.#deletions;
    await new CatchUpRound(this.#context).run(datapath.catchUp, {
      moved: (where, done, total) => progress.moved(where, done, total),
      failed: (where, oid, error) => progress.failed(where, oid, error.message),
      incomplete: (where) => progress.incomplete(where),
    });
    // What was being copied when its volume went was not dropped then.
    if (this.#deletions !== deletions) this.#lookForDeleted();
  }

  /** R8: extends what may be short, then says so. */
  async #settle(datapath: Datapath, list: readonly PartitionCas[]): Promise<void> {
    const partitions = await datapath.settler.run(list);
    if (partitions.length === 0) {
      throw new OperatingError('unreachable', 'no partition could be settled', { advice: 'retry' });
    }
    const { self, incarnation, agreement, trace } = this.#context;
    const body = {
      type: 'isrSettle',
      partitions,
      node: self,
      incarnation: incarnation(),
    } as const;
    const { value } = await agreement.propose(body, RECOVERY_PROPOSE_MS);
    trace.event('recovery.settled', { asked: partitions.length, applied: value });
    if (value === 0) throw outdated('settling');
  }

  async #askForPurge(partitions: readonly PartitionCas[]): Promise<void> {
    const { self, agreement } = this.#context;
    const body = { type: 'purge', partitions, node: self } as const;
    const { value } = await agreement.propose(body, RECOVERY_PROPOSE_MS);
    if (value === 0) throw outdated('purge');
  }

  #drop(datapath: Datapath): Promise<void> {
    const list = this.#purged;
    return settle(
      (done) => datapath.surplus.purge([...list], done),
      (dropped) => {
        if (dropped > 0) return;
        this.#purged = this.#purged.filter((element) => !list.includes(element));
        this.#context.trace.event('recovery.purged', { partitions: list.length });
      },
    );
  }

  /** Once more round all that is held: writes since may cover what a deleted layer showed (S6). */
  #reclaim(datapath: Datapath): Promise<void> {
    this.#reclaimAtMs = this.#context.clock.now() + RECLAIM_LOOK_MS;
    this.#lookForDeleted();
    return this.#dropDeleted(datapath);
  }

  #dropDeleted(datapath: Datapath): Promise<void> {
    return settle(
      (done) => datapath.surplus.dropDeleted(done),
      (dropped) => {
        if (dropped > 0) this.#lookForDeleted();
        else this.#looksLeft -= 1;
      },
    );
  }

  #lookForDeleted(): void {
    const held = this.#context.store.partitionsHeld().length;
    this.#looksLeft = Math.ceil(held / PARTITIONS_PER_CALL) + 1;
  }
}

/** Nothing of a list was applied: the actor pauses before it asks again. */
function outdated(what: string): OperatingError {
  return new OperatingError('stale-config', `no element of a ${what} fits the map any more`, {
    advice: 'retry',
  });
}

type DropDone = (error: OperatingError | undefined, dropped: number) => void;

function settle(start: (done: DropDone) => void, then: (dropped: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error, dropped) => {
      if (error !== undefined) return reject(error);
      then(dropped);
      resolve();
    });
  });
}
