// How far a node's recovery is, honestly: tasks whose totals are fixed when they start and never change, partitions that
// count when they are in sync by the map, and objects that failed named for as long as their partition is not. What is
// found later is a further task. Pure bookkeeping; time is given.
//
// A task is over when each of its partitions is in sync here, or is not wanted here any more. So it can not be done while
// an object of it failed: then its partition was not promoted. Nor can it pass its total: a partition counts at most as
// much as it was found to hold at the start.

import { changedPartitions } from './cluster-state.ts';
import {
  type NodeId,
  type ObjectId,
  type PartitionId,
  partitionKey,
  partitionOfKey,
} from './ids.ts';
import { URGENCY, urgencyOf } from './recovery-order.ts';
import { isRecoveryHeld } from './recovery-settings.ts';
import { isLacking, type PartitionWork } from './recovery-work.ts';
import type { ClusterView } from './view.ts';

/** Tasks under way at once; what is found beyond becomes a task when one of them ends. */
export const MAX_TASKS = 8;
/** Tasks that ended and are still told. */
export const MAX_ENDED_TASKS = 4;
/** Failed objects that a task names; all are counted by their partitions. */
export const MAX_TOLD_FAILURES = 8;
/** The rate is that of so long. */
export const RATE_OVER_MS = 10_000;
const MAX_SAMPLES = 64;
const SAMPLE_MS = RATE_OVER_MS / MAX_SAMPLES;

/** `catch-up`: it held the partition before; `repair`: copies are missing; `move`: the ring wants them here. */
export type RecoveryKind = 'catch-up' | 'repair' | 'move';

export interface FailedObject extends PartitionId, ObjectId {
  readonly reason: string;
}

/** How one task is. */
export interface RecoveryTask {
  readonly kind: RecoveryKind;
  /** Dates, ms since 1970; `endedMs` 0 = under way. */
  readonly startedMs: number;
  readonly endedMs: number;
  readonly isHeld: boolean;
  readonly partitions: number;
  /** In sync here. */
  readonly partitionsDone: number;
  /** Not wanted here any more. */
  readonly partitionsGone: number;
  /** False while sources still say what there is: the total is not known yet, and none is told. */
  readonly isCounted: boolean;
  /** Of what the sources hold; of an outage, of what changed meanwhile. Fixed once `isCounted`. */
  readonly totalBytes: number;
  readonly doneBytes: number;
  readonly bytesPerSecond: number;
  /** 0 = over, or not known. */
  readonly leftMs: number;
  readonly failures: readonly FailedObject[];
  /** Objects that were copied without sectors that no member has right. */
  readonly incomplete: number;
}

/** How the recovery of one node is. */
export interface NodeRecovery {
  readonly node: NodeId;
  /** Paused, everywhere or on this node. */
  readonly isHeld: boolean;
  /** Bytes per second that bulk copies may take now; 0 = no limit. */
  readonly rateLimit: number;
  /** Objects being fetched, and pieces being handed out. */
  readonly incoming: number;
  readonly outgoing: number;
  /** Since the node's start. */
  readonly objectsCopied: number;
  readonly bytesCopied: number;
  readonly tasks: readonly RecoveryTask[];
}

interface Part {
  /** undefined: no source has said yet. */
  bytes: number | undefined;
  /** Share of it that is copied, 0 to 1. */
  share: number;
  failure: FailedObject | undefined;
}

interface Sample {
  readonly ms: number;
  readonly doneBytes: number;
}

class Task {
  readonly kind: RecoveryKind;
  readonly startedMs: number;
  readonly parts = new Map<number, Part>();
  readonly partitions: number;
  endedMs = 0;
  partitionsDone = 0;
  partitionsGone = 0;
  incomplete = 0;
  /** Of partitions that are over. */
  #overBytes = 0;
  #total = 0;
  readonly #samples: Sample[] = [];

  constructor(kind: RecoveryKind, keys: readonly number[], dateMs: number) {
    this.kind = kind;
    this.startedMs = dateMs;
    this.partitions = keys.length;
    for (const key of keys) this.parts.set(key, { bytes: undefined, share: 0, failure: undefined });
  }

  get isCounted(): boolean {
    for (const { bytes } of this.parts.values()) if (bytes === undefined) return false;
    return true;
  }

  count(key: number, bytes: number): void {
    const part = this.parts.get(key);
    if (part === undefined || part.bytes !== undefined) return;
    part.bytes = bytes;
    this.#total += bytes;
  }

  end(key: number, isInSync: boolean): void {
    const part = this.parts.get(key);
    if (part === undefined) return;
    this.parts.delete(key);
    // One that nobody counted in time held, for this task, nothing.
    this.#overBytes += part.bytes ?? 0;
    if (isInSync) this.partitionsDone += 1;
    else this.partitionsGone += 1;
  }

  get doneBytes(): number {
    let bytes = this.#overBytes;
    for (const part of this.parts.values()) {
      // The last byte counts with the promotion.
      bytes += Math.max(
        0,
        Math.min(Math.floor((part.bytes ?? 0) * part.share), (part.bytes ?? 0) - 1),
      );
    }
    return bytes;
  }

  tell(isHeld: boolean, now: number): RecoveryTask {
    const { kind, startedMs, endedMs, partitions, partitionsDone, partitionsGone } = this;
    const { isCounted, doneBytes, incomplete } = this;
    const rate = this.#rate(now, doneBytes);
    const left = this.#total - doneBytes;
    const leftMs = endedMs > 0 || rate === 0 ? 0 : Math.ceil((left * 1000) / rate);
    const failures = [...this.parts.values()]
      .map(({ failure }) => failure)
      .filter((failure) => failure !== undefined)
      .slice(0, MAX_TOLD_FAILURES);
    return {
      ...{ kind, startedMs, endedMs, isHeld, partitions, partitionsDone, partitionsGone },
      ...{ isCounted, totalBytes: this.#total, doneBytes, incomplete, failures },
      bytesPerSecond: endedMs > 0 ? 0 : rate,
      // Nobody knows how long a pause lasts.
      leftMs: isCounted && !isHeld ? leftMs : 0,
    };
  }

  sample(now: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && now - last.ms < SAMPLE_MS) return;
    this.#samples.push({ ms: now, doneBytes: this.doneBytes });
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
  }

  #rate(now: number, doneBytes: number): number {
    const since = this.#samples.find(({ ms }) => now - ms <= RATE_OVER_MS);
    if (since === undefined || now <= since.ms) return 0;
    return Math.round(((doneBytes - since.doneBytes) * 1000) / (now - since.ms));
  }
}

export class RecoveryProgress {
  readonly #self: NodeId;
  /** True where this node has rows of the partition already. */
  readonly #holds: (key: number) => boolean;
  #tasks: Task[] = [];
  #ended: Task[] = [];
  #isHeld = false;
  /** The view followed last. */
  #view: ClusterView | undefined;
  /** Something is lacking that no task has: there were too many. */
  #isLeftOut = false;
  /** Tasks under way, by their partitions. */
  readonly #taskOf = new Map<number, Task>();
  readonly #uncounted = new Set<number>();

  constructor(self: NodeId, holds: (key: number) => boolean) {
    this.#self = self;
    this.#holds = holds;
  }

  /** True while nothing is under way. */
  get isAtRest(): boolean {
    return this.#tasks.length === 0;
  }

  /** Partitions whose bytes nobody has told yet. */
  get uncounted(): ReadonlySet<number> {
    return this.#uncounted;
  }

  /** A new view: what is in sync now, what is not wanted any more, and what is lacking anew. */
  follow(view: ClusterView, at: { readonly now: number; readonly dateMs: number }): void {
    this.#isHeld = isRecoveryHeld(view, this.#self);
    const lacking: PartitionWork[] = [];
    for (const key of this.#keysToSee(view)) {
      const { policy, p } = partitionOfKey(key);
      const config = view.partition(policy, p);
      const task = this.#taskOf.get(key);
      if (isLacking(config, this.#self)) {
        if (task === undefined) lacking.push({ policy, p, config });
      } else if (task !== undefined) {
        task.end(key, config.inSync.includes(this.#self));
        this.#taskOf.delete(key);
        this.#uncounted.delete(key);
      }
    }
    this.#view = view;
    for (const task of this.#tasks) {
      task.sample(at.now);
      if (task.parts.size === 0) task.endedMs = at.dateMs;
    }
    this.#retire();
    this.#begin(view, lacking, at);
  }

  /** What may lack, or lack no more, since the view followed last. */
  #keysToSee(view: ClusterView): ReadonlySet<number> {
    const before = this.#view;
    const isAll = before === undefined || this.#isLeftOut;
    const keys = new Set<number>();
    for (const policy of new Set([...(before?.policies.keys() ?? []), ...view.policies.keys()])) {
      const found = isAll
        ? view.explicitPartitions(policy)
        : changedPartitions(before, view, policy);
      for (const p of found) keys.add(partitionKey(policy, p));
    }
    if (isAll) for (const key of this.#taskOf.keys()) keys.add(key);
    return keys;
  }

  /** A source says how much there is. */
  counted(key: number, bytes: number): void {
    this.#uncounted.delete(key);
    this.#taskOf.get(key)?.count(key, bytes);
  }

  /** So many of the objects that differ are equal now. */
  moved(where: PartitionId, done: number, total: number, now: number): void {
    const found = this.#partOf(where);
    if (found === undefined || total === 0) return;
    found.part.share = Math.max(found.part.share, Math.min(1, done / total));
    found.task.sample(now);
  }

  failed(where: PartitionId, oid: ObjectId, reason: string): void {
    const { policy, p } = where;
    const { generation, index } = oid;
    const found = this.#partOf(where);
    if (found !== undefined) found.part.failure = { policy, p, generation, index, reason };
  }

  /** An object was copied that is whole nowhere. */
  incomplete(where: PartitionId): void {
    const found = this.#partOf(where);
    if (found !== undefined) found.task.incomplete += 1;
  }

  /** Tasks under way, oldest first, then the last ones that ended. */
  tell(now: number): readonly RecoveryTask[] {
    return [...this.#tasks, ...this.#ended].map((task) => task.tell(this.#isHeld, now));
  }

  #partOf(where: PartitionId): { task: Task; part: Part } | undefined {
    const key = partitionKey(where.policy, where.p);
    const task = this.#taskOf.get(key);
    const part = task?.parts.get(key);
    return task === undefined || part === undefined ? undefined : { task, part };
  }

  #retire(): void {
    const over = this.#tasks.filter(({ endedMs }) => endedMs > 0);
    if (over.length === 0) return;
    this.#tasks = this.#tasks.filter(({ endedMs }) => endedMs === 0);
    this.#ended = [...over, ...this.#ended].slice(0, MAX_ENDED_TASKS);
  }

  #begin(
    view: ClusterView,
    lacking: readonly PartitionWork[],
    { now, dateMs }: { readonly now: number; readonly dateMs: number },
  ): void {
    const found = new Map<RecoveryKind, number[]>();
    for (const work of lacking) {
      const key = keyOf(work);
      const kind = this.#kindOf(view, work);
      const keys = found.get(kind) ?? [];
      keys.push(key);
      found.set(kind, keys);
    }
    this.#isLeftOut = false;
    for (const [kind, keys] of found) {
      if (this.#tasks.length >= MAX_TASKS) {
        this.#isLeftOut = true;
        return;
      }
      const task = new Task(kind, keys, dateMs);
      task.sample(now);
      this.#tasks.push(task);
      for (const key of keys) {
        this.#taskOf.set(key, task);
        this.#uncounted.add(key);
      }
    }
  }

  #kindOf(view: ClusterView, { policy, p, config }: PartitionWork): RecoveryKind {
    if (this.#holds(partitionKey(policy, p))) return 'catch-up';
    const rule = view.policies.get(policy);
    const isLive = (node: NodeId): boolean => view.members.get(node)?.state === 'up';
    const isMove = rule !== undefined && urgencyOf(config, rule, isLive) === URGENCY.move;
    return isMove ? 'move' : 'repair';
  }
}

function keyOf({ policy, p }: PartitionId): number {
  return partitionKey(policy, p);
}
