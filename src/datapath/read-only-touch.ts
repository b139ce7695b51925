// The read-only first touch (4.5) of a session: partitions that too few live members hold for writes, and that this session
// has not touched yet. The dead members are made doubtful by the log, the live sure ones are sealed; what none of them
// lists as open reads then, from them alone, until the full touch is possible. What is open waits for that.
//
//   wanted ──too few live──▶ dead ones doubtful (log) ──▶ seal the live sure ones ──▶ granted ──full touch──▶ forgotten
//      ▲                                                        │
//      └─────────────────── new cfg, or any failure ────────────┘

import { backoffMs } from '../core/backoff.ts';
import { type ConfigVersion, type NodeId, partitionKey } from '../core/ids.ts';
import { MAX_PARTITIONS_PER_ENTRY, type PartitionCas } from '../core/log-entry.ts';
import { isSure } from '../core/partition.ts';
import { readOnlyStep } from '../core/read-only.ts';
import type { ClusterView, PartitionConfig } from '../core/view.ts';
import { FLAG, type Frame, OP } from '../wire/frame.ts';
import { encodePartitionCfgs } from '../wire/payloads.ts';
import { configOf, isUp, type Parts } from './context.ts';
import type { PathCell } from './path-cell.ts';
import { stackOf } from './stack.ts';
import { rowsOfReply, SEAL_DEADLINE_MS, touchFrame } from './touch-frames.ts';

/** Pause before partitions are looked at again, after a refusal or a proposal; doubles up to the maximum. */
export const READ_ONLY_RETRY_MIN_MS = 50;
export const READ_ONLY_RETRY_MAX_MS = 1000;
/** Partitions in one read-only SEAL. */
export const READ_ONLY_BATCH = 256;

/** What the sealed members said of one partition. */
interface Grant {
  /** Of the config in which it was given: some member was sure then. */
  readonly cfg: ConfigVersion;
  readonly members: readonly NodeId[];
  /** Objects that were open on one of them. */
  readonly open: ReadonlySet<number>;
}

/** A partition on its way to a grant. */
interface Wanted {
  readonly p: number;
  config: PartitionConfig;
  members: readonly NodeId[];
  /** Answers of an older round are void. */
  round: number;
  readonly answers: Map<NodeId, readonly number[]>;
}

export class ReadOnlyTouches {
  readonly #parts: Parts;
  readonly #open: PathCell;
  readonly #onGranted: (p: number) => void;
  readonly #wanted = new Map<number, Wanted>();
  readonly #grants = new Map<number, Grant>();
  /** Members with a read-only SEAL of this session in flight. */
  readonly #sealing = new Set<NodeId>();
  #failures = 0;
  #isScheduled = false;

  constructor(parts: Parts, open: PathCell, onGranted: (p: number) => void) {
    this.#parts = parts;
    this.#open = open;
    this.#onGranted = onGranted;
  }

  /** A read waits for p. */
  want(p: number): void {
    if (this.#wanted.has(p) || this.#grants.has(p)) return;
    const config = configOf(this.#parts.views.current(), this.#open.volume, p);
    this.#wanted.set(p, { p, config, members: [], round: 0, answers: new Map() });
    this.#schedule();
  }

  /** True when this object may be read though p is not touched. */
  isReadable(p: number, index: number): boolean {
    const grant = this.#grants.get(p);
    return grant !== undefined && !grant.open.has(index);
  }

  /** Whom to read from; undefined where p was not touched read-only. */
  readersOf(p: number): readonly NodeId[] | undefined {
    const grant = this.#grants.get(p);
    if (grant === undefined) return undefined;
    const config = configOf(this.#parts.views.current(), this.#open.volume, p);
    return grant.members.filter((node) => isSure(config, node));
  }

  /** I12 can not be kept: nobody was sure some time after p was read, by the log: this node may have missed that view. */
  isBroken(p: number, config: PartitionConfig): boolean {
    const grant = this.#grants.get(p);
    return grant !== undefined && (config.unsureAt ?? 0) > grant.cfg;
  }

  viewChanged(): void {
    if (this.#wanted.size > 0) this.#schedule();
  }

  /** p is touched: nothing of this is needed any more. */
  touched(p: number): void {
    this.#wanted.delete(p);
    this.#grants.delete(p);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#parts.clock.soon(() => {
      this.#isScheduled = false;
      if (this.#open.isHeld) this.#look();
    });
  }

  #retryLater(): void {
    const pauseMs = backoffMs(this.#failures, READ_ONLY_RETRY_MIN_MS, READ_ONLY_RETRY_MAX_MS);
    this.#failures += 1;
    this.#parts.clock.setTimer(pauseMs, () => this.#schedule());
  }

  #look(): void {
    const view = this.#parts.views.current();
    const doubts: PartitionCas[] = [];
    const batches = new Map<NodeId, Wanted[]>();
    for (const wanted of this.#wanted.values()) {
      const step = this.#stepOf(view, wanted);
      if (step.kind === 'doubt' && doubts.length < MAX_PARTITIONS_PER_ENTRY) {
        doubts.push({ policy: this.#open.volume.policy, p: wanted.p, cfg: wanted.config.cfg });
      }
      if (step.kind !== 'seal') continue;
      wanted.members = step.members;
      for (const node of step.members) {
        if (wanted.answers.has(node) || this.#sealing.has(node)) continue;
        const batch = batches.get(node) ?? [];
        if (batch.length < READ_ONLY_BATCH) batch.push(wanted);
        batches.set(node, batch);
      }
    }
    if (doubts.length > 0) {
      this.#parts.doubt?.(doubts);
      this.#retryLater();
    }
    for (const [node, batch] of batches) this.#seal(node, batch);
  }

  #stepOf(view: ClusterView, wanted: Wanted): ReturnType<typeof readOnlyStep> {
    const { volume } = this.#open;
    const config = configOf(view, volume, wanted.p);
    if (config.cfg !== wanted.config.cfg) {
      wanted.config = config;
      wanted.round += 1;
      wanted.answers.clear();
    }
    const minCopies = view.policies.get(volume.policy)?.minCopies ?? 1;
    return readOnlyStep(config, minCopies, (node) => isUp(view, node));
  }

  #seal(node: NodeId, batch: readonly Wanted[]): void {
    const { volume, tookOver } = this.#open;
    const asked = batch.map((wanted) => ({ wanted, round: wanted.round }));
    const frame = touchFrame(this.#parts, this.#open, tookOver ? OP.ENSURE : OP.SEAL);
    frame.flags |= FLAG.READ_ONLY;
    frame.payload = encodePartitionCfgs(
      batch.map(({ p, config }) => ({ policy: volume.policy, p, cfg: config.cfg })),
    );
    this.#sealing.add(node);
    this.#parts.ask(node, frame, SEAL_DEADLINE_MS, (reply) => {
      this.#sealing.delete(node);
      if (!this.#open.isHeld) return;
      const open = this.#openOf(node, reply);
      if (open === undefined || reply === undefined) return this.#retryLater();
      for (const { wanted, round } of asked.slice(0, reply.count)) {
        if (this.#wanted.get(wanted.p) !== wanted || wanted.round !== round) continue;
        wanted.answers.set(node, open.get(wanted.p) ?? []);
        this.#grantIfComplete(wanted);
      }
      // The next page, and what came to be wanted meanwhile.
      if (this.#wanted.size > 0) this.#schedule();
    });
  }

  /** Numbers of open objects by partition; undefined after a refusal. */
  #openOf(node: NodeId, reply: Frame | undefined): ReadonlyMap<number, number[]> | undefined {
    const rows = rowsOfReply(this.#parts, this.#open, node, reply);
    if (rows === undefined) return undefined;
    const { policy, head } = this.#open.volume;
    const stack = stackOf(this.#parts.views.current(), head);
    const open = new Map<number, number[]>();
    for (const row of rows) {
      const p = row.partition - partitionKey(policy, 0);
      if (!stack.has(row.generation)) continue;
      const list = open.get(p) ?? [];
      list.push(row.index);
      open.set(p, list);
    }
    return open;
  }

  #grantIfComplete(wanted: Wanted): void {
    const { p, members, answers, config } = wanted;
    const now = configOf(this.#parts.views.current(), this.#open.volume, p);
    if (now.cfg !== config.cfg || !members.every((node) => answers.has(node))) return;
    this.#failures = 0;
    this.#wanted.delete(p);
    this.#grants.set(p, { cfg: config.cfg, members, open: new Set([...answers.values()].flat()) });
    this.#parts.trace.count('touch.read.only');
    this.#onGranted(p);
  }
}
