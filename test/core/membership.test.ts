import test from 'ava';
import { viewOf } from '../../src/core/cluster-state.ts';
import { EdgeWindow, observersOf, subjectsOf, upCount } from '../../src/core/membership.ts';
import type { ClusterView } from '../../src/core/view.ts';
import { clusterOf, entryBodies, nodeId } from '../fixtures.ts';

function viewWith(nodes: number): ClusterView {
  return viewOf(clusterOf({ nodes, partitions: 1, settled: false }).state);
}

test('membership: each up node has min(10, N-1) distinct observers, never itself (C1.1)', (t) => {
  for (const nodes of [1, 2, 3, 5, 11, 12, 40]) {
    const view = viewWith(nodes);
    for (let node = 1; node <= nodes; node += 1) {
      const observers = observersOf(view, nodeId(node));
      t.is(new Set(observers).size, Math.min(10, nodes - 1));
      t.false(observers.includes(nodeId(node)));
      for (const observer of observers) t.true(subjectsOf(view, observer).includes(nodeId(node)));
    }
  }
});

test('membership: rings are drawn over up nodes; who goes changes the edges beside it, not those of all', (t) => {
  const cell = clusterOf({ nodes: 60, partitions: 1, settled: false });
  const before = viewOf(cell.state);
  cell.apply(entryBodies.nodesDown({ nodes: [[7, 1]], baseEpoch: cell.state.epoch }));
  const after = viewOf(cell.state);
  t.deepEqual(observersOf(after, nodeId(7)), []);
  t.deepEqual(subjectsOf(after, nodeId(7)), []);
  t.true(changedEdges(before, after) >= 10, 'who observed it observes others');
  // Each of its ten subjects needs another observer; what that moves on later rings is little.
  t.true(changedEdges(before, after) <= 30, `${changedEdges(before, after)} of 590 edges`);
  cell.apply(entryBodies.nodeUp({ node: 7, incarnation: 2 }));
  t.is(changedEdges(before, viewOf(cell.state)), 0, 'back, all is as it was');
});

/** Edges of `after` that `before` did not have, among those who are in both. */
function changedEdges(before: ClusterView, after: ClusterView): number {
  let count = 0;
  for (const { node, state } of after.members.values()) {
    const old = observersOf(before, node);
    if (state === 'up')
      count += observersOf(after, node).filter((one) => !old.includes(one)).length;
  }
  return count;
}

test('membership: the edges of a thousand nodes are spread evenly, and their rings differ', (t) => {
  const members = new Map(
    Array.from({ length: 1000 }, (_, i) => [nodeId(i + 1), { node: nodeId(i + 1), state: 'up' }]),
  );
  const view = { clusterId: 'a'.repeat(32), members } as unknown as ClusterView;
  let most = 0;
  for (const node of members.keys()) {
    t.is(new Set(observersOf(view, node)).size, 10);
    most = Math.max(most, subjectsOf(view, node).length);
  }
  t.true(most <= 14, `one observes ${most}`);
  const other = { clusterId: 'b'.repeat(32), members: new Map(members) } as unknown as ClusterView;
  t.notDeepEqual(observersOf(other, nodeId(1)), observersOf(view, nodeId(1)));
});

test('membership: an edge is down when 40 % of its window was lost (C1.2, C1.8)', (t) => {
  for (const [nodes, needed, size] of [
    [3, 2, 5],
    [5, 2, 5],
    [6, 4, 10],
  ] as const) {
    const window = new EdgeWindow();
    for (let i = 0; i < size; i += 1) window.note(true);
    for (let i = 1; i < needed; i += 1) window.note(false);
    t.false(window.isDown(nodes), `N=${nodes}`);
    window.note(false);
    t.true(window.isDown(nodes), `N=${nodes}`);
    for (let i = 0; i < size; i += 1) window.note(true);
    t.false(window.isDown(nodes), 'old losses leave the window');
  }
});

test('membership: an edge that was judged by ten pings is judged by five once the cluster is small', (t) => {
  const window = new EdgeWindow();
  for (let i = 0; i < 8; i += 1) window.note(true);
  window.note(false);
  window.note(false);
  t.false(window.isDown(6));
  t.true(window.isDown(5));
});

test('membership: N counts the nodes that are up', (t) => {
  const cell = clusterOf({ nodes: 7, partitions: 1, settled: false });
  cell.apply(entryBodies.nodesDown({ nodes: [[7, 1]], baseEpoch: cell.state.epoch }));
  t.is(upCount(viewOf(cell.state)), 6);
});
