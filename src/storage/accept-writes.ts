// Accepts writes and zeroes of one store: what they need first is copied from the layers that show there (S2), the row
// advances, and the records go to the journal in one batch. Refused changes touch nothing. Whether a change is allowed,
// and what follows when it is durable, is its callers' business.

import { NO_VERSION } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import { OBJECT_BYTES, REGION_BYTES, SECTOR_BYTES } from '../core/units.ts';
import type { Trace } from '../ports/ports.ts';
import type { ChangeOrder } from './change-order.ts';
import type { ExtentWriter } from './extents.ts';
import { RECORD_COPY, RECORD_EXTENT, RECORD_WRITE, RECORD_ZERO } from './journal-codec.ts';
import type { Lineage, RegionCopies } from './lineage.ts';
import { advanceRow, ObjectState } from './object-state.ts';
import type { PartitionTable } from './partition-table.ts';
import { encodeMask, encodeSources, hullOf } from './region-copy.ts';
import { needOf, type SpaceGuard } from './space-guard.ts';
import type { StoreDone, StoreWrite } from './store-types.ts';

export interface WriteParts {
  readonly table: PartitionTable;
  readonly trace: Trace;
  readonly space: SpaceGuard;
  readonly order: ChangeOrder;
  readonly lineage: Lineage;
}

export class WriteAcceptor {
  readonly #parts: WriteParts;
  #extents: ExtentWriter | undefined;

  constructor(parts: WriteParts) {
    this.#parts = parts;
  }

  start(extents: ExtentWriter): void {
    this.#extents = extents;
  }

  write(write: StoreWrite, data: Uint8Array, sums: Uint8Array, done: StoreDone): void {
    checkRange(write);
    invariant(data.length === write.count, 'data is as long as the write says');
    invariant(sums.length === (write.count / SECTOR_BYTES) * 4, 'there is one sum per sector');
    const { table, space, order, lineage } = this.#parts;
    const copies = lineage.copiesFor(write);
    const isCopied = copies.regions > 0;
    const bytes = write.count + copies.regions * REGION_BYTES;
    const refusal = order.refusal(write.count) ?? space.admit(bytes, needOf(table, write));
    if (order.answerRefusal(refusal, done)) return;
    const state = this.#stateFor(write);
    const isNew = state.kind === 'zero';
    // What is copied first would go over bytes that lie in place already.
    const isJournaled = write.mayLag === true || isCopied;
    const extent = isJournaled ? undefined : this.#extents?.take(state, write, data);
    this.#advance(state, write, 'data');
    if (isCopied) this.#appendCopy(state, write, copies, isNew);
    const isFresh = isNew && !isCopied;
    if (extent === undefined) {
      order.append(RECORD_WRITE, state, { write, isFresh, sums, data, done });
    } else order.append(RECORD_EXTENT, state, { write, isFresh, sums, extent, done });
  }

  zero(asked: StoreWrite, done: StoreDone): void {
    checkRange(asked);
    const { table, space, order, lineage } = this.#parts;
    // By the row alone, never by what lies above: replicas hear at different moments of a layer that is forgotten.
    const write = asked.keepsUnowned === true ? { ...asked, ...lineage.ownPart(asked) } : asked;
    const copies = lineage.copiesFor(write);
    const isCopied = copies.regions > 0;
    const bytes = copies.regions * REGION_BYTES;
    const refusal =
      order.refusal(0) ?? (isCopied ? space.admit(bytes, needOf(table, write)) : undefined);
    if (order.answerRefusal(refusal, done)) return;
    const state = this.#stateFor(write);
    const isWhole = write.offset === 0 && write.count === OBJECT_BYTES;
    const isNew = state.kind === 'zero';
    const kind = isCopied ? 'data' : state.kind;
    this.#advance(state, write, isWhole ? 'zero' : kind);
    if (isCopied) this.#appendCopy(state, write, copies, isNew);
    order.append(RECORD_ZERO, state, { write, done });
  }

  /** Regions that the change behind it covers in part, in the same batch (S2). */
  #appendCopy(state: ObjectState, write: StoreWrite, copies: RegionCopies, isFresh: boolean): void {
    const { trace, order } = this.#parts;
    trace.count('store.regions-copied', copies.regions);
    order.append(RECORD_COPY, state, {
      write: { ...write, ...hullOf(copies.mask) },
      isFresh,
      sources: copies.sources.map((source) => source.state),
      stagedId: encodeMask(copies.mask),
      data: encodeSources(
        copies.sources.map(({ state: { generation }, low, high, limit }) => {
          return { generation, low, high, limit };
        }),
      ),
      groupLeft: 1,
      done: () => undefined,
    });
  }

  /** The object that a write changes, made on its first write. */
  #stateFor(write: StoreWrite): ObjectState {
    const { table } = this.#parts;
    const found = table.find(write.generation, write.index);
    const own = found === undefined ? NO_VERSION : { token: found.verToken, count: found.verCount };
    invariant(
      own.token === write.prev.token && own.count === write.prev.count,
      'a write names the version that the row has (R1)',
    );
    if (found !== undefined) return found;
    const state = new ObjectState(write);
    table.insert(state);
    return state;
  }

  /** The row after the write. */
  #advance(state: ObjectState, write: StoreWrite, kind: 'data' | 'zero'): void {
    const { table } = this.#parts;
    table.addUsage(state, -1);
    state.keepDurable();
    advanceRow(state, write, kind);
    table.addUsage(state, 1);
  }
}

/** Whole sectors inside of an object. */
export function checkRange(range: { readonly offset: number; readonly count: number }): void {
  invariant(range.offset % SECTOR_BYTES === 0, 'the offset is sector aligned');
  invariant(range.count % SECTOR_BYTES === 0 && range.count > 0, 'the count is whole sectors');
  invariant(range.offset + range.count <= OBJECT_BYTES, 'the range lies in the object');
}
