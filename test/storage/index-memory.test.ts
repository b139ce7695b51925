// Method: rows as an index gives them, in the table of a store, and what the heap grew by once garbage is collected. A node
// with 1 TiB holds 262,144 of them (SHEEP_ROWS=262144). What that leaves to be done stands in docs/BENCHMARKS.md.

import v8 from 'node:v8';
import vm from 'node:vm';
import test from 'ava';
import type { FamilyId, GenerationId } from '../../src/core/ids.ts';
import { MIB } from '../../src/core/units.ts';
import { ObjectState, rowFieldsOf } from '../../src/storage/object-state.ts';
import { PartitionTable } from '../../src/storage/partition-table.ts';

const ROWS = Number(process.env['SHEEP_ROWS'] ?? 32_768);
const PARTITIONS = 4096;
/** As measured, and a little more: it must not grow unseen. */
const MAX_BYTES_PER_ROW = 620;

function heapBytes(): number {
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc') as () => void;
  collect();
  collect();
  return v8.getHeapStatistics().used_heap_size;
}

function rowOf(index: number): ObjectState {
  const id = { generation: 1 as GenerationId, family: 1 as FamilyId };
  const state = new ObjectState({ ...id, index, partition: index % PARTITIONS });
  Object.assign(state, { kind: 'data', verToken: 1, verCount: 1, ownLow: 1, hasFile: true });
  state.durable = rowFieldsOf(state);
  return state;
}

test.serial('the heap of a row of the index is bounded', (t) => {
  const table = new PartitionTable();
  const before = heapBytes();
  for (let index = 0; index < ROWS; index += 1) table.insert(rowOf(index));
  const grown = heapBytes() - before;
  const bytes = grown / ROWS;
  t.log(`${bytes.toFixed(0)} bytes a row, ${(grown / MIB).toFixed(1)} MiB for ${ROWS}`);
  t.is(table.objectCount, ROWS);
  t.true(bytes < MAX_BYTES_PER_ROW, `${bytes.toFixed(0)} bytes a row`);
});
