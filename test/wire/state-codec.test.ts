// Bytes of a whole state: bounded in time and size at full size, refused when they are not exactly a state.

import test from 'ava';
import { emptyState, hashOf } from '../../src/core/cluster-state.ts';
import { hasCode } from '../../src/core/errors.ts';
import type { Incarnation } from '../../src/core/ids.ts';
import { decodeState, encodeState } from '../../src/wire/state-codec.ts';
import { clusterOf, entryBodies, nodeId, StateCell } from '../fixtures.ts';

/** Far above what it takes on a busy machine: a guard against something quadratic. */
const MAX_MS = 5000;

test('state-codec: 65536 partitions, 1000 members, 1000 volumes: bounded in time and bytes', (t) => {
  const cell = new StateCell();
  cell.apply(entryBodies.format({ partitions: 65536, copies: 3 }));
  for (let node = 1; node <= 1000; node += 1) cell.apply(entryBodies.nodeJoin({ peer: node }));
  for (let node = 1; node <= 3; node += 1) {
    cell.apply(entryBodies.nodeUp({ node, incarnation: 1 }));
  }
  // Every partition explicit: the fourth node changes T nearly everywhere.
  cell.apply(entryBodies.nodeUp({ node: 4, incarnation: 1 }));
  for (let at = 1; at <= 1000; at += 1) {
    const origin = { node: nodeId(1), incarnation: 1 as Incarnation, counter: at };
    cell.apply(entryBodies.volumeCreate({ name: `volume-${at}` }), origin);
  }
  const start = process.hrtime.bigint();
  const bytes = encodeState(cell.state);
  const middle = process.hrtime.bigint();
  const again = decodeState(bytes);
  const end = process.hrtime.bigint();
  const [encodeMs, decodeMs] = [Number(middle - start) / 1e6, Number(end - middle) / 1e6];
  t.log(`${bytes.length} bytes, ${encodeMs.toFixed(0)} ms in, ${decodeMs.toFixed(0)} ms out`);
  t.is(hashOf(again), hashOf(cell.state));
  t.true(bytes.length < 4 * 1024 * 1024);
  t.true(encodeMs < MAX_MS && decodeMs < MAX_MS);
});

test('state-codec: the empty state has bytes, too', (t) => {
  const empty = emptyState();
  t.is(hashOf(decodeState(encodeState(empty))), hashOf(empty));
});

test('state-codec: cut, lengthened or of another version it is refused', (t) => {
  const bytes = encodeState(clusterOf({ nodes: 3, partitions: 4 }).state);
  for (let length = 0; length < bytes.length; length += 7) {
    const error = t.throws(() => decodeState(bytes.subarray(0, length)));
    t.true(hasCode(error, 'bad-frame'));
  }
  t.throws(() => decodeState(Uint8Array.from([...bytes, 0])), { code: 'bad-frame' });
  const newer = bytes.slice();
  newer[0] = 2;
  t.throws(() => decodeState(newer), { code: 'bad-frame' });
});

// Method: the number of fields of the outermost record is one more than this program has.
test('state-codec: a state with fields that nobody here knows is refused, not guessed', (t) => {
  const bytes = encodeState(clusterOf({ nodes: 1, partitions: 4 }).state).slice();
  bytes[1] = (bytes[1] as number) + 1;
  const error = t.throws(() => decodeState(bytes));
  t.regex(error?.message ?? '', /newer version/);
});
