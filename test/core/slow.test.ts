// C1.7: who is slow by a writer's measure, how long the leader keeps it away, and what the plan does with it.

import test from 'ava';
import { viewOf } from '../../src/core/cluster-state.ts';
import type { NodeId } from '../../src/core/ids.ts';
import { ChangePlanner } from '../../src/core/recovery-plan.ts';
import { SLOW_HOLD_MS, SLOW_LOOKS, SlowNodes, SlowWatch } from '../../src/core/slow.ts';
import { clusterOf, configAt, entryBodies, nodeId, nodeIds } from '../fixtures.ts';

function looks(watch: SlowWatch, times: number, ms: Readonly<Record<number, number>>) {
  let slow: readonly NodeId[] = [];
  for (let look = 0; look < times; look += 1) {
    for (let i = 0; i < 20; i += 1) {
      for (const [node, time] of Object.entries(ms)) watch.note(nodeId(Number(node)), time);
    }
    slow = watch.look();
  }
  return slow;
}

test('slow: far above the others for ten looks, and not before', (t) => {
  const watch = new SlowWatch();
  t.deepEqual(looks(watch, SLOW_LOOKS - 1, { 2: 400, 3: 2 }), []);
  t.deepEqual(looks(watch, 1, { 2: 400, 3: 2 }), nodeIds(2));
});

test('slow: one look that is well begins anew; a look without writes does not', (t) => {
  const watch = new SlowWatch();
  looks(watch, SLOW_LOOKS - 1, { 2: 400, 3: 2 });
  t.deepEqual(looks(watch, 1, { 2: 3, 3: 2 }), []);
  t.deepEqual(looks(watch, SLOW_LOOKS - 1, { 2: 400, 3: 2 }), []);
  t.deepEqual(watch.look(), []);
  t.deepEqual(looks(watch, 1, { 2: 400, 3: 2 }), nodeIds(2));
});

test('slow: all slow is nobody; below the floor is nobody; alone is nobody', (t) => {
  t.deepEqual(looks(new SlowWatch(), 2 * SLOW_LOOKS, { 2: 400, 3: 300 }), []);
  t.deepEqual(looks(new SlowWatch(), 2 * SLOW_LOOKS, { 2: 90, 3: 1 }), []);
  t.deepEqual(looks(new SlowWatch(), 2 * SLOW_LOOKS, { 2: 4000 }), []);
});

test('slow: what was told is told again after as long', (t) => {
  const watch = new SlowWatch();
  looks(watch, SLOW_LOOKS, { 2: 400, 3: 2 });
  watch.told(nodeId(2));
  t.deepEqual(looks(watch, SLOW_LOOKS - 1, { 2: 400, 3: 2 }), []);
  t.deepEqual(looks(watch, 1, { 2: 400, 3: 2 }), nodeIds(2));
});

test('slow nodes: kept away for a while, longer when it comes back slow, forgotten when it was well for as long', (t) => {
  const view = viewOf(clusterOf({ nodes: 3, partitions: 1 }).state);
  const nodes = new SlowNodes();
  const n3 = nodeId(3);
  nodes.note(n3, 1, 0);
  nodes.note(n3, 1, 10);
  t.deepEqual(nodes.slow(view, SLOW_HOLD_MS - 1), [n3]);
  t.deepEqual(nodes.slow(view, SLOW_HOLD_MS), []);
  nodes.note(n3, 1, SLOW_HOLD_MS + 5);
  t.deepEqual(nodes.slow(view, 3 * SLOW_HOLD_MS), [n3], 'twice as long');
  t.deepEqual(nodes.slow(view, 6 * SLOW_HOLD_MS), []);
  nodes.note(n3, 1, 6 * SLOW_HOLD_MS);
  t.deepEqual(nodes.slow(view, 7 * SLOW_HOLD_MS), [], 'that was long ago');
});

test('slow nodes: another life is not slow', (t) => {
  const cell = clusterOf({ nodes: 3, partitions: 1 });
  const nodes = new SlowNodes();
  nodes.note(nodeId(3), 1, 0);
  cell.apply(entryBodies.nodeUp({ node: 3, incarnation: 2 }));
  t.deepEqual(nodes.slow(viewOf(cell.state), 1), []);
});

test('plan: a slow member leaves where minCopies others stay, and comes back when it is slow no more (C1.7)', (t) => {
  const cell = clusterOf({ nodes: 3, partitions: 8 });
  const plan = (slow: readonly NodeId[]) => new ChangePlanner().plan(viewOf(cell.state), 0, slow);
  for (const body of plan(nodeIds(2))) cell.apply(body);
  for (let p = 0; p < 8; p += 1) t.deepEqual(configAt(cell, p).inSync, nodeIds(1, 3));
  t.deepEqual(plan(nodeIds(2)), [], 'and it does not join');
  t.deepEqual(
    plan([]).map(({ type }) => type),
    ['isrJoin'],
  );
});

test('plan: below minCopies a slow copy is better than none', (t) => {
  const cell = clusterOf({ nodes: 3, partitions: 8 });
  const plan = (slow: readonly NodeId[]) => new ChangePlanner().plan(viewOf(cell.state), 0, slow);
  for (const body of plan(nodeIds(2))) cell.apply(body);
  cell.apply(entryBodies.nodesDown({ nodes: [[3, 1]], baseEpoch: cell.state.epoch }));
  t.true(plan(nodeIds(2)).some(({ type }) => type === 'isrJoin'));
  const two = clusterOf({ nodes: 2, partitions: 8, copies: 2, minCopies: 2 });
  t.deepEqual(new ChangePlanner().plan(viewOf(two.state), 0, nodeIds(2)), []);
});
