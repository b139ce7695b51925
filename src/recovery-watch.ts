// How far recovery is, as a node tells it: follows its own (core/recovery-progress.ts), asks sources once how much there
// is, answers other nodes, and asks all of them when a person wants to know. Nothing is sent while there is nothing to
// recover and nobody asks.

import { messageOf, OperatingError } from './core/errors.ts';
import { type NodeId, type PartitionId, partitionKey, partitionOfKey } from './core/ids.ts';
import { type NodeRecovery, RecoveryProgress } from './core/recovery-progress.ts';
import { isRecoveryHeld } from './core/recovery-settings.ts';
import { sourceFor } from './core/recovery-work.ts';
import type { ClusterView } from './core/view.ts';
import { type PeerRequests, requestFrame } from './datapath/context.ts';
import type { Datapath } from './datapath/datapath.ts';
import { MoveDuties } from './move-duties.ts';
import type { Clock, TimerHandle, Trace } from './ports/ports.ts';
import type { ObjectStore } from './storage/store-types.ts';
import { type Frame, OP, replyTo, STATUS } from './wire/frame.ts';
import {
  decodeSurveyAnswer,
  encodeSurveyAsk,
  MAX_SURVEY_PER_FRAME,
  NOT_KNOWN,
  type PartitionCfg,
} from './wire/payloads.ts';
import { decodeRecovery, encodeRecovery } from './wire/recovery.ts';

export const SURVEY_DEADLINE_MS = 2000;
/** Between two surveys of what nobody could tell. */
export const SURVEY_PAUSE_MS = 500;
/** After so many surveys what is not known counts as nothing: a total must be fixed at last. */
export const SURVEY_TRIES = 10;
/** A member that does not say how its recovery is in this time is left out. */
export const RECOVERY_DEADLINE_MS = 1500;

export interface WatchParts {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly store: Pick<ObjectStore, 'rowsOf'>;
  readonly peers: PeerRequests;
  readonly view: () => ClusterView | undefined;
  readonly datapath: () => Datapath | undefined;
}

export class RecoveryWatch {
  readonly #parts: WatchParts;
  readonly #progress: RecoveryProgress;
  /** Volumes that move to another policy. */
  readonly moves: MoveDuties;
  #placement: object | undefined;
  #timer: TimerHandle | undefined;
  #isAsking = false;
  #tries = 0;
  #isStopped = false;

  constructor(parts: WatchParts) {
    this.#parts = parts;
    const holds = (key: number): boolean => parts.store.rowsOf(key).length > 0;
    this.#progress = new RecoveryProgress(parts.self, holds);
    this.moves = new MoveDuties(parts);
  }

  stop(): void {
    this.#isStopped = true;
    this.moves.stop();
    if (this.#timer !== undefined) this.#parts.clock.clearTimer(this.#timer);
  }

  /** A new view. */
  follow(view: ClusterView): void {
    const { clock } = this.#parts;
    if (this.#isStopped) return;
    this.moves.follow(view);
    const isSame = view.placement === this.#placement;
    this.#placement = view.placement;
    if (isSame && this.#progress.isAtRest) return;
    const before = this.#progress.uncounted.size;
    this.#progress.follow(view, { now: clock.now(), dateMs: clock.date() });
    if (this.#progress.uncounted.size > before) this.#tries = 0;
    this.#survey();
  }

  // ------------------------------------------------------------------------------------------ what catch-up tells

  moved(where: PartitionId, done: number, total: number): void {
    this.#progress.moved(where, done, total, this.#parts.clock.now());
  }

  failed(where: PartitionId, oid: Parameters<RecoveryProgress['failed']>[1], reason: string): void {
    this.#progress.failed(where, oid, reason.slice(0, 100));
  }

  incomplete(where: PartitionId): void {
    this.#progress.incomplete(where);
  }

  // ------------------------------------------------------------------------------------------ telling

  /** How this node's recovery is. */
  own(): NodeRecovery {
    const { self, clock, datapath, view } = this.#parts;
    const found = datapath();
    const now = view();
    const rate = found?.streams.rate ?? Number.POSITIVE_INFINITY;
    return {
      node: self,
      isHeld: now !== undefined && isRecoveryHeld(now, self),
      rateLimit: Number.isFinite(rate) ? Math.round(rate) : 0,
      incoming: found?.streams.underWay.incoming ?? 0,
      outgoing: found?.streams.underWay.outgoing ?? 0,
      objectsCopied: found?.stats.objectsCopied ?? 0,
      bytesCopied: found?.stats.bytesCopied ?? 0,
      tasks: this.#progress.tell(clock.now()),
    };
  }

  /** How that of all members is that are up and answer, by node. Never rejects. */
  async all(): Promise<readonly NodeRecovery[]> {
    const { self, view } = this.#parts;
    const now = view();
    const others = [...(now?.members.values() ?? [])]
      .filter(({ node, state }) => node !== self && state === 'up')
      .map(({ node }) => node);
    const answers = await Promise.all(others.map((node) => this.#ask(node, now)));
    return [this.own(), ...answers]
      .filter((answer) => answer !== undefined)
      .sort((a, b) => a.node - b.node);
  }

  /** Answers a RECOVERY. */
  answer(frame: Frame, reply: (frame: Frame) => void): void {
    const made = replyTo(frame, STATUS.OK);
    made.payload = encodeRecovery(this.own());
    reply(made);
  }

  #ask(node: NodeId, view: ClusterView | undefined): Promise<NodeRecovery | undefined> {
    const { peers, trace } = this.#parts;
    if (view === undefined) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const frame = requestFrame(view, OP.RECOVERY);
      peers.request(node, frame, RECOVERY_DEADLINE_MS, (reply) => {
        if (reply?.status !== STATUS.OK) return resolve(undefined);
        try {
          const said = decodeRecovery(reply.payload);
          resolve(said.node === node ? said : undefined);
        } catch (error) {
          if (!(error instanceof OperatingError)) throw error;
          trace.warn('recovery.refused', { node, error: messageOf(error) });
          resolve(undefined);
        }
      });
    });
  }

  // ------------------------------------------------------------------------------------------ survey

  /** Asks one source per partition that nobody has counted, all that one source has in one frame. */
  #survey(): void {
    const view = this.#parts.view();
    if (view === undefined || this.#isAsking || this.#timer !== undefined) return;
    const keys = this.#progress.uncounted;
    if (keys.size === 0) return;
    this.#tries += 1;
    if (this.#tries > SURVEY_TRIES) {
      for (const key of [...keys]) this.#progress.counted(key, 0);
      return;
    }
    const bySource = new Map<NodeId, PartitionCfg[]>();
    for (const key of keys) {
      const { policy, p } = partitionOfKey(key);
      const config = view.partition(policy, p);
      const source = sourceFor(view, config, this.#parts.self);
      if (source === undefined) continue;
      const list = bySource.get(source) ?? [];
      if (list.length < MAX_SURVEY_PER_FRAME) list.push({ policy, p, cfg: config.cfg });
      bySource.set(source, list);
    }
    let left = bySource.size;
    this.#isAsking = left > 0;
    for (const [source, list] of bySource) {
      this.#askSource(view, source, list, () => {
        left -= 1;
        if (left > 0) return;
        this.#isAsking = false;
        this.#again();
      });
    }
    if (left === 0) this.#again();
  }

  #askSource(
    view: ClusterView,
    source: NodeId,
    partitions: readonly PartitionCfg[],
    done: () => void,
  ): void {
    const { peers, self } = this.#parts;
    const frame = requestFrame(view, OP.SURVEY);
    frame.payload = encodeSurveyAsk({ node: self, partitions });
    peers.request(source, frame, SURVEY_DEADLINE_MS, (reply) => {
      if (reply?.status === STATUS.OK) this.#take(partitions, reply.payload);
      done();
    });
  }

  #take(partitions: readonly PartitionCfg[], payload: Uint8Array): void {
    let answer: readonly number[];
    try {
      answer = decodeSurveyAnswer(payload);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#parts.trace.warn('survey.refused', { error: messageOf(error) });
      return;
    }
    for (const [at, where] of partitions.entries()) {
      const bytes = answer[at] ?? NOT_KNOWN;
      if (bytes !== NOT_KNOWN) this.#progress.counted(partitionKey(where.policy, where.p), bytes);
    }
  }

  /** What is left is asked again, by the view of then. */
  #again(): void {
    const isDue = this.#timer === undefined && this.#progress.uncounted.size > 0;
    if (this.#isStopped || !isDue) return;
    this.#timer = this.#parts.clock.setTimer(SURVEY_PAUSE_MS, () => {
      this.#timer = undefined;
      this.#survey();
    });
  }
}
