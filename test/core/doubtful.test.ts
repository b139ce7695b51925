// R8 in the state machine: who becomes doubtful when, what doubtful members count for, how they settle, and when they
// count after all.

import test from 'ava';
import { hashOf, viewOf } from '../../src/core/cluster-state.ts';
import {
  doubt,
  isAtRest,
  liveCount,
  promote,
  purgeBar,
  readersOf,
  release,
  settle,
  shrink,
  shrinkUnsure,
  upCount,
} from '../../src/core/partition.ts';
import { ChangePlanner, UNSURE_AFTER_MS } from '../../src/core/recovery-plan.ts';
import { doubtsOf, settlingSources } from '../../src/core/recovery-work.ts';
import { planWrite } from '../../src/core/write-plan.ts';
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

const rule = { minCopies: 2, isLive: () => true };
const without =
  (...dead: number[]) =>
  (node: number) =>
    !dead.includes(node);

function writebackCluster(): StateCell {
  const cell = clusterOf({ nodes: 3 });
  cell.apply(make.volumeCreate({ name: 'wb', durability: 'writeback' }));
  return cell;
}

function sourcesNow(cell: StateCell): readonly number[] | undefined {
  return settlingSources(viewOf(cell.state), configAt(cell, 1), nodeId(1));
}

function down(cell: StateCell, node: number): void {
  const incarnation = cell.state.members.get(nodeId(node))?.incarnation ?? 0;
  cell.apply(make.nodesDown({ nodes: [[node, incarnation]], baseEpoch: cell.state.epoch }));
}

test('doubt: an unclean start makes doubtful where a writeback volume ever was, for ever', (t) => {
  const cell = clusterOf({ nodes: 3 });
  cell.apply(make.nodeUp({ node: 1, incarnation: 2 }));
  t.deepEqual(configAt(cell, 0).doubtful, [], 'durable volumes lose nothing');
  const volume = cell.apply(make.volumeCreate({ name: 'wb', durability: 'writeback' })).value;
  cell.apply(make.volumeDelete({ volume, token: 0 }));
  const { cfg } = configAt(cell, 0);
  cell.apply(make.nodeUp({ node: 1, incarnation: 3 }));
  t.like(configAt(cell, 0), { cfg: cfg + 1, doubtful: [1], inSync: [1, 2, 3] });
  cell.apply(make.nodeUp({ node: 1, incarnation: 4 }));
  t.like(
    configAt(cell, 0),
    { cfg: cfg + 2, doubtful: [1] },
    'what its last life confirmed is void',
  );
});

test('doubt: neither a clean stop nor a life that goes on makes doubtful', (t) => {
  const cell = writebackCluster();
  const { cfg } = configAt(cell, 0);
  cell.apply(make.nodeUp({ node: 1, incarnation: 2, cleanStop: true }));
  cell.apply(make.nodeUp({ node: 2, incarnation: 2, continues: 1 }));
  t.like(configAt(cell, 0), { cfg, doubtful: [] });
});

test('doubt: it is part of the hash, and only where it is', (t) => {
  const durable = clusterOf({ nodes: 3 });
  const a = writebackCluster();
  const b = writebackCluster();
  t.is(hashOf(a.state), hashOf(b.state));
  t.not(hashOf(durable.state), hashOf(a.state));
  a.apply(make.nodeUp({ node: 1, incarnation: 2 }));
  b.apply(make.nodeUp({ node: 1, incarnation: 2 }));
  t.is(hashOf(a.state), hashOf(b.state));
  b.apply(make.isrSettle({ partitions: [casOf(b, 0)], node: 1, incarnation: 2 }));
  t.not(hashOf(a.state), hashOf(b.state));
});

test('settle: by the life that is up, once, at the present cfg', (t) => {
  const cell = writebackCluster();
  cell.apply(make.nodeUp({ node: 1, incarnation: 2 }));
  const early = casOf(cell, 0);
  t.is(cell.apply(make.isrSettle({ partitions: [early], node: 1, incarnation: 1 })).code, 'stale');
  t.is(cell.apply(make.isrSettle({ partitions: [early], node: 2, incarnation: 1 })).code, 'stale');
  t.is(cell.apply(make.isrSettle({ partitions: [early], node: 1, incarnation: 2 })).code, 'ok');
  t.like(configAt(cell, 0), { cfg: early.cfg + 1, doubtful: [] });
  t.is(cell.apply(make.isrSettle({ partitions: [early], node: 1, incarnation: 2 })).code, 'stale');
  const others = doubtsOf(viewOf(cell.state), nodeId(1)).map(({ p }) => p);
  t.deepEqual(others, [1, 2, 3, 4, 5, 6, 7]);
  t.deepEqual(sourcesNow(cell), [2]);
  cell.apply(make.nodeUp({ node: 2, incarnation: 2 }));
  cell.apply(make.nodeUp({ node: 3, incarnation: 2 }));
  t.deepEqual(sourcesNow(cell), [2, 3], 'nobody is sure: all of I');
  down(cell, 3);
  t.is(sourcesNow(cell), undefined);
  t.deepEqual(doubtsOf(viewOf(cell.state), nodeId(1)), []);
});

test('doubtful: in I and W and confirming, but not live for what may leave, and no source', (t) => {
  const config = partitionConfig({ inSync: [1, 2, 3], doubtful: [2], targets: [1, 2, 3] });
  t.is(upCount(config, rule.isLive), 3);
  t.is(liveCount(config, rule.isLive), 2);
  t.is(planWrite(config, rule, rule.isLive).members.length, 3);
  t.is(typeof shrink(config, nodeId(1), rule), 'string', 'one sure one would be left of two');
  t.like(shrink(config, nodeId(2), rule), { inSync: [1, 3], doubtful: [] });
  const joined = partitionConfig({ inSync: [1, 2], joining: [3], doubtful: [2] });
  t.is(typeof promote(joined, nodeId(3), nodeId(2)), 'string', 'A8');
  t.like(promote(joined, nodeId(3), nodeId(1)), { inSync: [1, 2, 3], doubtful: [2] });
  const wide = partitionConfig({ inSync: [1, 2, 4], targets: [1, 2], doubtful: [2] });
  t.is(typeof release(wide, nodeId(4), rule), 'string', 'a release keeps m sure ones');
  t.false(isAtRest(config));
  t.is(typeof purgeBar(config, nodeId(9)), 'string', 'I5');
});

test('doubtful: answers no read of a writeback volume, and those of a durable one', (t) => {
  const config = partitionConfig({ inSync: [1, 2, 3], doubtful: [2] });
  t.deepEqual(readersOf(config, 'writeback'), nodeIds(1, 3));
  t.deepEqual(readersOf(config, 'durable'), nodeIds(1, 2, 3));
  t.like(settle(config, nodeId(2)), { doubtful: [] });
  t.is(typeof settle(config, nodeId(1)), 'string');
  t.is(doubt(config, nodeId(9)), undefined);
});

test('doubtful: a down member stays in I while only doubtful ones are up', (t) => {
  const cell = writebackCluster();
  cell.apply(make.nodeUp({ node: 1, incarnation: 2 }));
  cell.apply(make.nodeUp({ node: 2, incarnation: 2 }));
  down(cell, 3);
  t.like(configAt(cell, 0), { inSync: [1, 2, 3], doubtful: [1, 2] });
});

test('doubtful: they count as live for a shrink where no sure member is up, and only there', (t) => {
  const config = partitionConfig({ inSync: [1, 2, 3], doubtful: [1, 2] });
  const unsure = { minCopies: 2, isLive: without(3) };
  t.like(shrinkUnsure(config, nodeId(3), unsure), { inSync: [1, 2], doubtful: [1, 2] });
  t.is(typeof shrinkUnsure(config, nodeId(3), rule), 'string', 'it is up');
  t.is(typeof shrinkUnsure(config, nodeId(3), { ...unsure, minCopies: 3 }), 'string', 'I6');
  const sure = partitionConfig({ inSync: [1, 2, 3], doubtful: [1] });
  t.is(typeof shrinkUnsure(sure, nodeId(3), unsure), 'string', 'a sure one is up');
});

test('plan: two come back from a power cut, the third stays dead: after a minute they go on alone', (t) => {
  const cell = writebackCluster();
  for (const node of [1, 2]) cell.apply(make.nodeUp({ node, incarnation: 2 }));
  down(cell, 3);
  const planner = new ChangePlanner();
  t.deepEqual(planner.plan(viewOf(cell.state), 1000), []);
  t.deepEqual(planner.plan(viewOf(cell.state), 999 + UNSURE_AFTER_MS), []);
  const [entry] = planner.plan(viewOf(cell.state), 1000 + UNSURE_AFTER_MS);
  t.like(entry, { type: 'isrShrinkUnsure', node: 3 });
  if (entry !== undefined) cell.apply(entry);
  t.like(configAt(cell, 0), { inSync: [1, 2], doubtful: [1, 2] });
});

test('plan: a sure member that comes back in time stops the count', (t) => {
  const cell = writebackCluster();
  for (const node of [1, 2]) cell.apply(make.nodeUp({ node, incarnation: 2 }));
  down(cell, 3);
  const planner = new ChangePlanner();
  planner.plan(viewOf(cell.state), 0);
  const settled = casOf(cell, 0);
  cell.apply(make.isrSettle({ partitions: [settled], node: 1, incarnation: 2 }));
  for (const body of planner.plan(viewOf(cell.state), UNSURE_AFTER_MS)) {
    if (body.type !== 'isrShrinkUnsure') continue;
    t.false(body.partitions.some(({ p }) => p === 0));
  }
});
