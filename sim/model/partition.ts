// What the model is about: one partition with one object, the map log as a list of records that is never in doubt (Raft is
// judged elsewhere), and replicas, each of which has applied some prefix of it. A history is the list of its writes'
// names; two versions are equal when their histories are (V1).

import type { SimRandom } from '../sim-random.ts';
import type { RuleName } from './rules.ts';

export const NODES = 5;
export const COPIES = 3;
export const MIN_COPIES = 2;

/** What one entry of the log leaves behind. */
export interface MapRecord {
  readonly inSync: readonly number[];
  readonly joining: readonly number[];
  /** Members of I that were not asked before others were read alone (4.5). */
  readonly doubtful: readonly number[];
  readonly cfg: number;
  readonly token: number;
  /** Index of the entry that the present joiner joined by; -1 without one. */
  readonly joinedAt: number;
}

export type Chain = readonly string[];

/** A node's replica. */
export interface Replica {
  applied: number;
  token: number;
  chain: Chain;
  /** So many writes are known to be on all of W; what follows is listed as open (R6). */
  closed: number;
  /** `joinedAt` of the join that this replica is synced for. */
  syncedFor: number;
  /** Its disk is gone: this identity never answers again. */
  isLost: boolean;
}

export interface Tally {
  acknowledged: number;
  promoted: number;
  touched: number;
}

/** What a holder read from one member alone. */
export interface ReadAlone {
  readonly chain: Chain;
  readonly token: number;
}

/** Where a drain got its copy from, and how far that node had applied the log. */
interface Drained {
  readonly source: number;
  readonly applied: number;
}

export interface PartitionOptions {
  readonly tally: Tally;
  readonly broken: RuleName | undefined;
  /** See `forbid`. */
  readonly isPatient: boolean;
}

export class Partition {
  readonly random: SimRandom;
  readonly tally: Tally;
  readonly log: MapRecord[];
  readonly replicas: Replica[] = Array.from({ length: NODES }, freshReplica);
  readonly acknowledged: string[] = [];
  violation: string | undefined;
  drained: Drained | undefined;
  /** The last one that counts. */
  read: ReadAlone | undefined;
  readonly #options: PartitionOptions;

  constructor(random: SimRandom, options: PartitionOptions) {
    this.random = random;
    this.tally = options.tally;
    this.#options = options;
    const inSync = Array.from({ length: COPIES }, (_, node) => node);
    this.log = [{ inSync, joining: [], doubtful: [], cfg: 0, token: 1, joinedAt: -1 }];
  }

  isBroken(rule: RuleName): boolean {
    return this.#options.broken === rule;
  }

  fail(invariant: string): void {
    this.violation ??= invariant;
  }

  /** A step that no rule allows, whatever comes of it. */
  forbid(invariant: string): void {
    if (!this.#options.isPatient) this.fail(invariant);
  }

  get now(): MapRecord {
    return this.recordAt(this.last);
  }

  get last(): number {
    return this.log.length - 1;
  }

  recordAt(index: number): MapRecord {
    return this.log[index] as MapRecord;
  }

  replica(node: number): Replica {
    return this.replicas[node] as Replica;
  }

  configOf(node: number): number {
    return this.recordAt(this.replica(node).applied).cfg;
  }

  apply(node: number, index: number): void {
    const replica = this.replica(node);
    replica.applied = Math.max(replica.applied, index);
  }

  /** F1: an older token is refused. By the log, and by what was accepted before. */
  fenceOf(node: number): number {
    const { token, applied } = this.replica(node);
    if (this.isBroken('fenceBesideLog')) return token;
    return Math.max(token, this.recordAt(applied).token);
  }

  writeSet(record: MapRecord): readonly number[] {
    return this.isBroken('joinersLeftOut') ? record.inSync : [...record.inSync, ...record.joining];
  }

  isOpen(node: number): boolean {
    const { chain, closed } = this.replica(node);
    return chain.length > closed;
  }

  /** The whole history of another replica, with what is open in it. */
  copyFrom(target: number, chain: Chain, closed: number): void {
    const replica = this.replica(target);
    replica.chain = chain;
    replica.closed = this.isBroken('closedOnArrival') ? chain.length : closed;
  }

  /** An entry that changes (I, J): a new cfg. */
  reconfigure(
    change: Pick<MapRecord, 'inSync' | 'joining'> &
      Partial<Pick<MapRecord, 'joinedAt' | 'doubtful'>>,
  ): void {
    const { now } = this;
    const kept = change.inSync.filter((node) => now.inSync.includes(node));
    if (kept.length === 0) this.fail('A7');
    const shrank = change.inSync.length < now.inSync.length;
    const wasLost = now.inSync.some((node) => this.replica(node).isLost);
    if (shrank && change.inSync.length < MIN_COPIES && !wasLost) this.forbid('I6');
    const doubtful = (change.doubtful ?? now.doubtful).filter((one) => change.inSync.includes(one));
    const isNobodySure = doubtful.length === change.inSync.length;
    // Those that were sure are lost: the others go on with what they have (R8), and no promise about reads.
    if (isNobodySure) this.read = undefined;
    this.log.push({ ...now, ...change, doubtful: isNobodySure ? [] : doubtful, cfg: now.cfg + 1 });
  }

  /** Members of I that are not doubtful. */
  sureOf({ inSync, doubtful }: MapRecord): readonly number[] {
    return inSync.filter((node) => !doubtful.includes(node));
  }
}

/** The token that a write was sent under. */
export function tokenOf(write: string): number {
  return Number(write.split('.')[0]);
}

export function freshReplica(): Replica {
  return { applied: 0, token: 0, chain: [], closed: 0, syncedFor: -1, isLost: false };
}

export function isPrefix(part: Chain, whole: Chain): boolean {
  return part.length <= whole.length && part.every((write, at) => whole[at] === write);
}
