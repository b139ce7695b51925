// Section 6: a partition whose every copy is retired is lost, and only an operator's entry starts it anew.

import test from 'ava';
import type { EntryBody } from '../../src/core/log-entry.ts';
import { isLost } from '../../src/core/partition.ts';
import {
  casOf,
  clusterOf,
  configAt,
  entryBodies as make,
  nodeId,
  nodeIds,
  type StateCell,
} from '../fixtures.ts';

const P = 5;

function retireAllOf(cell: StateCell): number {
  const { inSync } = configAt(cell, P);
  for (const node of inSync) {
    const incarnation = cell.state.members.get(node)?.incarnation ?? 0;
    cell.apply(make.nodesDown({ nodes: [[node, incarnation]], baseEpoch: cell.state.epoch }));
  }
  for (const node of inSync) cell.apply({ type: 'nodeLost', node, by: 'test' } as EntryBody);
  const [left] = cell.state.members.keys();
  return left ?? 0;
}

function isLostAt(cell: StateCell): boolean {
  return isLost(configAt(cell, P), (node) => cell.state.members.has(node));
}

function twoGone(): { cell: StateCell; left: number } {
  const cell = clusterOf({ nodes: 4, copies: 2 });
  return { cell, left: retireAllOf(cell) };
}

test('down is not lost: a copy that may return keeps the operator from going on without', (t) => {
  const cell = clusterOf({ nodes: 4, copies: 2 });
  const { inSync } = configAt(cell, P);
  for (const node of inSync) {
    cell.apply(make.nodesDown({ nodes: [[node, 1]], baseEpoch: cell.state.epoch }));
  }
  const [left] = [...cell.state.members.values()].filter(({ state }) => state === 'up');
  t.false(isLostAt(cell));
  const node = left?.node ?? 0;
  t.is(cell.apply(make.acceptLoss({ partitions: [casOf(cell, P)], node })).code, 'stale');
  cell.apply({ type: 'nodeLost', node: inSync[0] ?? nodeId(0), by: 'test' });
  t.false(isLostAt(cell), 'one of two is left');
  t.is(cell.apply(make.acceptLoss({ partitions: [casOf(cell, P)], node })).code, 'stale');
});

test('lost: it starts anew with one member that lives and holds data, at the cfg that was judged', (t) => {
  const { cell, left } = twoGone();
  t.true(isLostAt(cell));
  const [cas, before] = [casOf(cell, P), configAt(cell, P)];
  t.is(cell.apply(make.acceptLoss({ partitions: [cas], node: 77 })).code, 'stale', 'no member');
  const other = { partitions: [cas], node: left, incarnation: 9 };
  t.is(cell.apply(make.acceptLoss(other)).code, 'stale', 'another life');
  t.is(cell.apply(make.acceptLoss({ partitions: [cas], node: left })).value, 1);
  const after = configAt(cell, P);
  t.deepEqual([after.inSync, after.joining, after.doubtful], [nodeIds(left), [], []]);
  t.is(Number(after.cfg), before.cfg + 1);
  t.false(isLostAt(cell));
  t.is(cell.apply(make.acceptLoss({ partitions: [cas], node: left })).code, 'stale', 'once');
});

test('lost: who joins it can not say that it holds nothing: it gives the join up first', (t) => {
  const cell = clusterOf({ nodes: 4, copies: 2 });
  const { inSync } = configAt(cell, P);
  const [joiner] = [...cell.state.members.keys()].filter((node) => !inSync.includes(node));
  const node = joiner ?? 0;
  cell.apply(make.isrJoin({ partitions: [casOf(cell, P)], node }));
  t.deepEqual(configAt(cell, P).joining, nodeIds(node));
  retireAllOf(cell);
  t.is(cell.apply(make.acceptLoss({ partitions: [casOf(cell, P)], node })).code, 'stale');
  t.is(cell.apply(make.isrAbort({ partitions: [casOf(cell, P)], node })).code, 'ok');
  t.is(cell.apply(make.acceptLoss({ partitions: [casOf(cell, P)], node })).code, 'ok');
});

test('lost: a holder of a volume with a part in it is fenced, its successor owes the barrier', (t) => {
  const { cell, left } = twoGone();
  const volume = cell.apply(make.volumeCreate({ name: 'big' })).value;
  const tiny = cell.apply(make.volumeCreate({ name: 'tiny' })).value;
  const lockOf = (id: number) => cell.state.volumes.get(id as never)?.lock;
  for (const id of [volume, tiny]) {
    cell.apply(make.lockAcquire({ volume: id, token: 0, node: left, session: 1 }));
  }
  const part = cell.state.volumes.get(volume as never);
  t.truthy(part);
  const partitions = cell.state.partitions;
  const all = Array.from({ length: partitions }, (_, p) => casOf(cell, p));
  const lost = all.filter(({ p }) => isLost(configAt(cell, p), (n) => cell.state.members.has(n)));
  cell.apply(make.acceptLoss({ partitions: lost, node: left }));
  const fenced = [volume, tiny].filter((id) => lockOf(id)?.incarnation === 0);
  t.true(fenced.length > 0);
  for (const id of fenced) {
    t.is(Number(lockOf(id)?.token), 2);
    const again = make.takeover({ volume: id, token: 2, node: left, session: 2 });
    t.is(cell.apply(again).code, 'ok');
    t.true(lockOf(id)?.tookOver);
  }
});
