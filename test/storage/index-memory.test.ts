// Method: rows as an index gives them, in the table of a store, and what the heap grew by once garbage is collected. A node
// with 1 TiB holds 262,144 of them (SHEEP_ROWS=262144). What that leaves to be done stands in docs/BENCHMARKS.md.

import v8 from 'node:v8';
import vm from 'node:vm';
import test from 'ava';
import type { FamilyId, FencingToken, GenerationId } from '../../src/core/ids.ts';
import { MIB, OBJECT_BYTES } from '../../src/core/units.ts';
import { advanceRow, ObjectState, type PendingRecord } from '../../src/storage/object-state.ts';
import { PartitionTable } from '../../src/storage/partition-table.ts';

const ROWS = Number(process.env['SHEEP_ROWS'] ?? 32_768);
const PARTITIONS = 4096;
const ALL_REGIONS = 0xffff_ffff;
const TOKEN = 1 as FencingToken;
const OTHER_FIELDS: Partial<PendingRecord> = { isZeroAfter: false };
/** As measured, and a tenth more: it must not grow unseen. */
const MAX_BYTES_PER_ROW = 315;

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
  const masks = { ownLow: ALL_REGIONS, ownHigh: ALL_REGIONS };
  Object.assign(state, { kind: 'data', verToken: 1, verCount: 1, ...masks, hasFile: true });
  state.noteDurable();
  return state;
}

/** As a row is after a write that is applied; it is open still. */
function rewrite(state: ObjectState): void {
  const { generation, index, family, partition, verCount } = state;
  const [prev, next] = [verCount, verCount + 1].map((count) => ({ token: TOKEN, count }));
  if (prev === undefined || next === undefined) return;
  const range = { offset: 0, count: OBJECT_BYTES, cfg: 1, closed: verCount };
  state.keepDurable();
  advanceRow(state, { generation, index, family, partition, prev, next, ...range }, 'data');
  const record = { ...OTHER_FIELDS, verToken: TOKEN, verCount: next.count } as PendingRecord;
  state.addPending(record);
  state.endPending(record);
}

test.serial('the heap of a row of the index is bounded', (t) => {
  const table = new PartitionTable();
  const before = heapBytes();
  const perRow = (): number => (heapBytes() - before) / ROWS;
  for (let index = 0; index < ROWS; index += 1) table.insert(rowOf(index));
  const fresh = perRow();
  for (const state of table.durableStates()) rewrite(state);
  const written = perRow();
  const told = `${fresh.toFixed(0)} bytes a row, ${written.toFixed(0)} once written to`;
  t.log(`${told}, ${((fresh * ROWS) / MIB).toFixed(1)} MiB for ${ROWS}`);
  t.is(table.objectCount, ROWS);
  t.true(Math.max(fresh, written) < MAX_BYTES_PER_ROW, told);
});
