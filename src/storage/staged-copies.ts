// The copies in the making of one store: no more than a bounded number, none that the disk has no room for; and how one
// that is durable under its staged name becomes the object, by a `replace` record in the order of changes.

import { OperatingError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import { OBJECT_BYTES } from '../core/units.ts';
import type { Disk, Random } from '../ports/ports.ts';
import type { ChangeOrder } from './change-order.ts';
import { NO_BYTES, RECORD_REPLACE } from './journal-codec.ts';
import { STAGED_ID_BYTES } from './layout.ts';
import type { ObjectCache } from './object-cache.ts';
import { countSums, type ObjectState } from './object-state.ts';
import type { PartitionTable } from './partition-table.ts';
import type { SpaceGuard } from './space-guard.ts';
import { STAGED_SLOT, Staging, stagedState } from './staging.ts';
import type { ObjectImage, StagedObject, StoreDone } from './store-types.ts';

/** Copies in the making. */
export const MAX_STAGED_OBJECTS = 256;
/** Copies that are synced at once: each holds two threads of the pool, which has twelve (bin/sheep). */
export const MAX_STAGED_SYNCS = 3;

interface StagedCopiesParts {
  readonly disk: Disk;
  readonly random: Random;
  readonly table: PartitionTable;
  readonly cache: ObjectCache;
  readonly space: SpaceGuard;
  readonly order: ChangeOrder;
  /** Calls `then` once no replay needs this object any more: then it may be replaced. */
  readonly whenFree: (state: ObjectState, then: () => void) => void;
}

export class StagedCopies {
  readonly #parts: StagedCopiesParts;
  #count = 0;
  #syncing = 0;
  /** At most the copies in the making. */
  readonly #waiting: ((release: () => void) => void)[] = [];

  constructor(parts: StagedCopiesParts) {
    this.#parts = parts;
  }

  /** @throws OperatingError 'busy' or 'no-space' */
  begin(image: ObjectImage): StagedObject {
    const { disk, random, table, space } = this.#parts;
    if (this.#count >= MAX_STAGED_OBJECTS) {
      throw new OperatingError('busy', `${this.#count} copies are in the making already`);
    }
    const isNew = table.find(image.generation, image.index) === undefined;
    const bytes = image.kind === 'data' ? OBJECT_BYTES : 0;
    const refusal = space.refusal(bytes, isNew ? 'new space' : 'owned space');
    if (refusal !== undefined) throw refusal;
    this.#count += 1;
    return new Staging({
      disk,
      state: stagedState(image),
      stagedId: random.bytes(STAGED_ID_BYTES),
      isNameFree: () => this.#isNameFree(image),
      accept: (staging, done) => this.#accept(staging, done),
      onEnd: () => {
        this.#count -= 1;
      },
      whenSync: (start) => {
        this.#waiting.push(start);
        this.#startSyncs();
      },
    });
  }

  #startSyncs(): void {
    while (this.#syncing < MAX_STAGED_SYNCS) {
      const start = this.#waiting.shift();
      if (start === undefined) return;
      this.#syncing += 1;
      start(() => {
        this.#syncing -= 1;
        this.#startSyncs();
      });
    }
  }

  /** Nobody has the object, or is about to remove a file of its name. */
  #isNameFree({ generation, index }: ObjectId): boolean {
    const { table, order } = this.#parts;
    return table.find(generation, index) === undefined && !order.isDropping({ generation, index });
  }

  #accept(staging: Staging, done: StoreDone): void {
    const { table, whenFree } = this.#parts;
    const former = table.find(staging.state.generation, staging.state.index);
    if (former === undefined) this.#replace(staging, done);
    else whenFree(former, () => this.#replace(staging, done));
  }

  #replace(staging: Staging, done: StoreDone): void {
    const { table, cache, order } = this.#parts;
    const { state } = staging;
    if (staging.hasName && !this.#isNameFree(state)) {
      // Somebody made the object meanwhile: the name is theirs, and what lies there is void to them.
      staging.takeFile().close();
      order.refuse(
        new OperatingError('busy', 'the object was made anew', { advice: 'retry' }),
        done,
      );
      return;
    }
    const refusal = order.refusal(0);
    if (order.answerRefusal(refusal, done)) {
      staging.discard();
      return;
    }
    const replaced = table.find(state.generation, state.index);
    state.heldSectors = countSums(staging.page);
    table.insert(state);
    if (state.kind === 'data') {
      state.hasFile = true;
      state.slotSequence = STAGED_SLOT;
      cache.adopt(state, staging.takeFile());
      cache.setPage(state, staging.page);
    }
    const stagedId = state.kind === 'data' ? staging.stagedId : NO_BYTES;
    order.append(RECORD_REPLACE, state, { replaced, stagedId, done });
  }
}
