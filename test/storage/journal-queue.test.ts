// What one batch of the journal takes from its queue.

import test from 'ava';
import { KIB } from '../../src/core/units.ts';
import { MAX_BATCH_BYTES, recordBytes } from '../../src/storage/journal-codec.ts';
import { JournalQueue, type QueuedRecord } from '../../src/storage/journal-queue.ts';

function record(kib: number, groupLeft = 0): QueuedRecord {
  const data = new Uint8Array(kib * KIB);
  const [mayLag, extent] = [false, undefined];
  return { data, sums: new Uint8Array(0), mayLag, extent, groupLeft } as unknown as QueuedRecord;
}

/** Sizes in KiB of the records of each batch. */
function batches(records: readonly QueuedRecord[], most?: number): number[][] {
  const queue = new JournalQueue<QueuedRecord>();
  for (const one of records) queue.push(one);
  const found: number[][] = [];
  while (!queue.isEmpty) {
    const { records: batch, contentBytes } = queue.nextBatch(most);
    if (contentBytes !== batch.reduce((sum, one) => sum + recordBytes(one), 0))
      throw new RangeError();
    if (contentBytes > MAX_BATCH_BYTES || batch.length === 0) throw new RangeError();
    queue.consume(batch, contentBytes);
    found.push(batch.map(({ data }) => data.length / KIB));
  }
  return found;
}

test('queue: a batch of at most one record takes one, or one whole group', (t) => {
  const group = [record(300, 2), record(300, 1), record(300)];
  t.deepEqual(batches([record(4), record(8), ...group, record(12)], 1), [
    [4],
    [8],
    [300, 300, 300],
    [12],
  ]);
});

test('queue: records of one change stand in one batch, behind what came before them', (t) => {
  const group = [record(300, 2), record(300, 1), record(300)];
  t.deepEqual(batches([record(900), ...group]), [[900, 300, 300, 300]]);
  t.deepEqual(batches([record(1500), ...group, record(4)]), [[1500], [300, 300, 300, 4]]);
  t.deepEqual(batches([...group, ...group, ...group]), [
    [300, 300, 300, 300, 300, 300],
    [300, 300, 300],
  ]);
  t.deepEqual(batches([record(1500), record(300), record(300)]), [[1500, 300], [300]]);
});
