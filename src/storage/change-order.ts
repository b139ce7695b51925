// The order of accepted changes of one store. Each gets a ticket and goes to the journal as a record; records are done in
// the order of their tickets, after they are durable and applied, or when they are written where they may lag (R5). It
// refuses what the journal has no room for, and everything once the store stops. It does not know what a change does.

import { OperatingError } from '../core/errors.ts';
import { type ObjectId, objectName } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { Clock } from '../ports/ports.ts';
import type { Journal } from './journal.ts';
import { NO_BYTES, RECORD_COPY, RECORD_DROP, recordBytes } from './journal-codec.ts';
import type { Extent, ObjectState, PendingRecord } from './object-state.ts';
import type { StoreDone, StoreWrite } from './store-types.ts';

/** What is recorded of a change beside the row after it. */
export interface RecordedChange {
  readonly write?: StoreWrite;
  readonly isFresh?: boolean;
  readonly sums?: Uint8Array;
  readonly data?: Uint8Array;
  readonly extent?: Extent;
  readonly sources?: readonly ObjectState[];
  readonly replaced?: ObjectState | undefined;
  readonly stagedId?: Uint8Array;
  /** So many records of the same change follow: all of them stand in one batch. */
  readonly groupLeft?: number;
  readonly done: StoreDone;
}

export class ChangeOrder {
  readonly #clock: Clock;
  #journal: Journal<PendingRecord> | undefined;
  #accepted = 0;
  #applied = 0;
  #waiters: { readonly ticket: number; readonly done: StoreDone }[] = [];
  #isStopping = false;
  /** Drops by object that are accepted and not applied: they will remove its file. */
  readonly #drops = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  start(journal: Journal<PendingRecord>): void {
    this.#journal = journal;
  }

  get journal(): Journal<PendingRecord> {
    invariant(this.#journal !== undefined, 'the store was started');
    return this.#journal;
  }

  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** From now on nothing is accepted. */
  stopAccepting(): void {
    invariant(!this.#isStopping, 'a store is stopped once');
    this.#isStopping = true;
  }

  /** Why nothing of this size can be accepted now, or undefined. */
  refusal(bytes: number): OperatingError | undefined {
    if (this.#isStopping) return new OperatingError('shutting-down', 'the store is stopping');
    const size = recordBytes({ sums: NO_BYTES, data: NO_BYTES }) + bytes + bytes / 1024;
    if (this.journal.canAppend(size)) return undefined;
    return new OperatingError('busy', 'too many writes wait for the journal', { advice: 'retry' });
  }

  /** True when there is a refusal: it is answered. */
  answerRefusal(refusal: OperatingError | undefined, done: StoreDone): boolean {
    if (refusal !== undefined) this.refuse(refusal, done);
    return refusal !== undefined;
  }

  /** Answers at the end of the tick: never before the call that is refused returns. */
  refuse(error: OperatingError, done: StoreDone): void {
    this.#clock.soon(() => done(error));
  }

  /** Queues the record of a change that the row shows already. */
  append(kind: number, state: ObjectState, change: RecordedChange): void {
    this.#accepted += 1;
    const record: PendingRecord = {
      kind,
      isZeroAfter: state.kind === 'zero',
      isFresh: change.isFresh ?? false,
      generation: state.generation,
      index: state.index,
      family: state.family,
      partition: state.partition,
      prevToken: change.write?.prev.token ?? 0,
      prevCount: change.write?.prev.count ?? 0,
      verToken: state.verToken,
      verCount: state.verCount,
      cfg: change.write?.cfg ?? 0,
      closed: state.closed,
      openLow: state.openLow,
      openHigh: state.openHigh,
      ownLow: state.ownLow,
      ownHigh: state.ownHigh,
      offset: change.write?.offset ?? 0,
      count: change.write?.count ?? 0,
      stagedId: change.stagedId ?? NO_BYTES,
      sums: change.sums ?? NO_BYTES,
      data: change.data ?? NO_BYTES,
      state,
      replaced: change.replaced,
      ticket: this.#accepted,
      mayLag: change.write?.mayLag ?? false,
      extent: change.extent,
      sources: change.sources,
      groupLeft: change.groupLeft ?? 0,
      done: change.done,
    };
    if (kind === RECORD_COPY) this.#noteCopy(record);
    if (kind !== RECORD_DROP) state.addPending(record);
    else this.#drops.set(objectName(state), (this.#drops.get(objectName(state)) ?? 0) + 1);
    this.journal.append(record);
  }

  /** Until a checkpoint covers it, a replay would copy again. */
  #noteCopy({ state, sources = [], ticket }: PendingRecord): void {
    state.pendingCopies += 1;
    for (const source of sources) source.copiedAt = ticket;
  }

  /** Changes that are applied. */
  get appliedCount(): number {
    return this.#applied;
  }

  /** True while a drop of this object will still remove whatever file has its name. */
  isDropping(oid: ObjectId): boolean {
    return this.#drops.has(objectName(oid));
  }

  /** The journal wrote them and did not sync them: enough for those that may lag (R5). */
  written(records: readonly PendingRecord[]): void {
    for (const record of records) if (record.mayLag) record.done(undefined);
  }

  /** A record is durable and applied. */
  applied(record: PendingRecord): void {
    invariant(record.ticket === this.#applied + 1, 'records are done in the order of acceptance');
    this.#applied = record.ticket;
    if (record.kind === RECORD_DROP) this.#dropped(record.state);
    if (!record.mayLag) record.done(undefined);
    while ((this.#waiters[0]?.ticket ?? Infinity) <= this.#applied) {
      this.#waiters.shift()?.done(undefined);
    }
  }

  #dropped(oid: ObjectId): void {
    const left = (this.#drops.get(objectName(oid)) ?? 1) - 1;
    if (left > 0) this.#drops.set(objectName(oid), left);
    else this.#drops.delete(objectName(oid));
  }

  /** Calls `done` once everything that is accepted now is durable and applied. */
  whenSettled(done: StoreDone): void {
    if (this.#applied === this.#accepted) {
      this.#clock.soon(() => done(undefined));
      return;
    }
    this.#waiters.push({ ticket: this.#accepted, done });
    this.journal.syncSoon();
  }
}
