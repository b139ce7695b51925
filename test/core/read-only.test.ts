// The read-only first touch in the state machine (4.5): who becomes doubtful before a read, whose history counts in the
// full touch, and what keeps the one that was read in the in-sync set.

import test from 'ava';
import type { NodeId } from '../../src/core/ids.ts';
import { doubtAbsent, settle, shrink } from '../../src/core/partition.ts';
import { isNeverAcknowledged, readOnlyStep, votersOf } from '../../src/core/read-only.ts';
import type { PartitionConfig } from '../../src/core/view.ts';
import {
  casOf,
  clusterOf,
  configAt,
  entryBodies as make,
  nodeId,
  nodeIds,
  partitionConfig,
  type StateCell,
} from '../fixtures.ts';

const alive =
  (...nodes: number[]) =>
  (node: NodeId): boolean =>
    nodes.includes(node);
const three = partitionConfig({ inSync: [1, 2, 3] });

function doubted(config: PartitionConfig, ...live: number[]): PartitionConfig {
  const minCopies = live.length + 1;
  const after = doubtAbsent(config, { minCopies, isLive: alive(...live) });
  if (typeof after === 'string') throw new TypeError(after);
  return after;
}

function down(cell: StateCell, ...nodes: number[]): void {
  const lives = nodes.map((node) => {
    return [node, cell.state.members.get(nodeId(node))?.incarnation ?? 0] as const;
  });
  cell.apply(make.nodesDown({ nodes: lives, baseEpoch: cell.state.epoch }));
}

test('enough live members: the full touch is possible, nobody is doubted', (t) => {
  t.is(readOnlyStep(three, 2, alive(1, 2)).kind, 'none');
  t.is(readOnlyStep(three, 2, alive(1, 2, 3)).kind, 'none');
  t.regex(String(doubtAbsent(three, { minCopies: 2, isLive: alive(1, 2) })), /minCopies/);
});

test('nobody lives: nothing is read', (t) => {
  t.is(readOnlyStep(three, 2, alive()).kind, 'none');
  t.regex(String(doubtAbsent(three, { minCopies: 2, isLive: alive() })), /no sure member/);
});

test('too few live: the dead are doubted first, then the live are sealed', (t) => {
  t.is(readOnlyStep(three, 2, alive(2)).kind, 'doubt');
  const config = doubted(three, 2);
  t.deepEqual(config.doubtful, nodeIds(1, 3));
  t.is(Number(config.cfg), three.cfg + 1);
  t.deepEqual(config.inSync, three.inSync, 'a doubtful member stays in sync: its copy counts');
  t.deepEqual(readOnlyStep(config, 2, alive(2)), { kind: 'seal', members: nodeIds(2) });
});

test('one that was read and dies later is doubted, too, before the next one is read', (t) => {
  const five = partitionConfig({ inSync: [1, 2, 3, 4, 5] });
  const config = doubted(five, 1, 2);
  t.is(readOnlyStep(config, 3, alive(1)).kind, 'doubt');
});

test('I12: the one that was read does not leave while the others are doubtful', (t) => {
  const config = doubted(three, 2);
  const all = { minCopies: 2, isLive: alive(1, 3) };
  t.regex(String(shrink(config, nodeId(2), all)), /fewer than minCopies/);
  const settled = settle(settleOf(config, 1), nodeId(3));
  if (typeof settled === 'string') return t.fail(settled);
  t.not(typeof shrink(settled, nodeId(2), all), 'string');
});

function settleOf(config: PartitionConfig, node: number): PartitionConfig {
  const after = settle(config, nodeId(node));
  if (typeof after === 'string') throw new TypeError(after);
  return after;
}

test('a doubtful member has no voice in a touch while a sure one is there', (t) => {
  t.deepEqual(votersOf(three), nodeIds(1, 2, 3));
  t.deepEqual(votersOf(doubted(three, 2)), nodeIds(2));
  const nobodySure = partitionConfig({ inSync: [1, 2], doubtful: [1, 2] });
  t.deepEqual(votersOf(nobodySure), nodeIds(1, 2));
});

test('isrDoubt in the log: by cfg, for those who are down there', (t) => {
  const cell = clusterOf({ nodes: 3 });
  const p = 0;
  const before = configAt(cell, p);
  t.is(cell.apply(make.isrDoubt({ partitions: [casOf(cell, p)] })).code, 'stale', 'all live');
  down(cell, 1, 3);
  t.deepEqual(configAt(cell, p).inSync, before.inSync, 'I6');
  const stale = [{ ...casOf(cell, p), cfg: 77 }] as never;
  t.is(cell.apply(make.isrDoubt({ partitions: stale })).code, 'stale');
  t.is(cell.apply(make.isrDoubt({ partitions: [casOf(cell, p)] })).value, 1);
  t.deepEqual(configAt(cell, p).doubtful, nodeIds(1, 3));
  t.is(cell.apply(make.isrDoubt({ partitions: [casOf(cell, p)] })).code, 'stale', 'once');
});

test('only what a fenced holder left beyond a sure member is cut: the last token may still be acknowledged', (t) => {
  const at = (token: number, count: number) => ({ token, count }) as never;
  t.true(isNeverAcknowledged(at(1, 5), at(1, 4), 2));
  t.false(isNeverAcknowledged(at(2, 5), at(1, 4), 2), 'its holder lives');
  t.false(isNeverAcknowledged(at(1, 4), at(1, 4), 2), 'not beyond');
  t.false(isNeverAcknowledged(at(1, 3), at(1, 4), 2), 'shorter');
});
