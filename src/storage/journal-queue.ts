// Records of one store that wait for a batch of the journal, in order and within bounds. A batch takes them from the
// front: as many as fit, up to the first whose bytes in place are not durable yet.

import { MIB } from '../core/units.ts';
import { type JournalRecord, MAX_BATCH_BYTES, recordBytes } from './journal-codec.ts';

/** Records and bytes that wait for a batch; beyond, `canTake` says no. */
export const MAX_QUEUED_RECORDS = 65536;
export const MAX_QUEUED_BYTES = 256 * MIB;

/** A record on its way into the journal. */
export interface QueuedRecord extends JournalRecord {
  /** Confirmed when it is written (R5): it asks for no sync of its own. */
  readonly mayLag: boolean;
  /** What must be durable before the record may be written; the store calls `kick` when it is. */
  readonly extent: { readonly isDurable: boolean } | undefined;
  /** So many of the records that follow belong into the same batch: after a crash all of them count or none. */
  readonly groupLeft: number;
}

export class JournalQueue<R extends QueuedRecord> {
  #records: R[] = [];
  #start = 0;
  #bytes = 0;
  #lagging = 0;
  #isUrgent = false;

  get isEmpty(): boolean {
    return this.#start === this.#records.length;
  }

  /** Somebody waits for the writing alone. */
  get hasLagging(): boolean {
    return this.#lagging > 0;
  }

  /** True when another record of this size is taken. */
  canTake(bytes: number): boolean {
    const count = this.#records.length - this.#start;
    return count < MAX_QUEUED_RECORDS && this.#bytes + bytes <= MAX_QUEUED_BYTES;
  }

  push(record: R): void {
    this.#records.push(record);
    this.#bytes += recordBytes(record);
    if (record.mayLag) this.#lagging += 1;
    else this.#isUrgent = true;
  }

  /** A sync is wanted of what waits here, too. */
  hurry(): void {
    if (!this.isEmpty) this.#isUrgent = true;
  }

  /** What fits into one batch, of at most so many records and the rest of their group; stays here until it is consumed. */
  nextBatch(most = MAX_QUEUED_RECORDS): { readonly records: R[]; readonly contentBytes: number } {
    const records: R[] = [];
    let contentBytes = 0;
    for (let i = this.#start; i < this.#records.length; i += 1) {
      const record = this.#records[i] as R;
      if (records.length >= most && records.at(-1)?.groupLeft === 0) break;
      if (record.extent?.isDurable === false) break;
      const bytes = recordBytes(record);
      if (contentBytes + bytes > MAX_BATCH_BYTES) break;
      records.push(record);
      contentBytes += bytes;
    }
    // A group that does not end here waits for the next batch.
    for (
      let last = records.at(-1);
      last !== undefined && last.groupLeft > 0;
      last = records.at(-1)
    ) {
      records.pop();
      contentBytes -= recordBytes(last);
    }
    return { records, contentBytes };
  }

  /** These have left, from the front. Returns whether a sync of them is wanted. */
  consume(records: readonly R[], bytes: number): boolean {
    const isUrgent = this.#isUrgent;
    this.#start += records.length;
    for (const { mayLag } of records) if (mayLag) this.#lagging -= 1;
    this.#bytes -= bytes;
    if (this.isEmpty) {
      this.#records = [];
      this.#start = 0;
      this.#isUrgent = false;
    }
    return isUrgent;
  }
}
