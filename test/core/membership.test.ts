import test from 'ava';
import { viewOf } from '../../src/core/cluster-state.ts';
import type { Incarnation } from '../../src/core/ids.ts';
import {
  EdgeWindow,
  LONELY_ALERT_MS,
  marksOf,
  observersOf,
  subjectsOf,
  Tally,
  UNSETTLED_MS,
} from '../../src/core/membership.ts';
import type { ClusterView } from '../../src/core/view.ts';
import { clusterOf, entryBodies, nodeId } from '../fixtures.ts';

function viewWith(nodes: number): ClusterView {
  return viewOf(clusterOf({ nodes, partitions: 1, settled: false }).state);
}

function tallyOf(
  claims: readonly (readonly [observer: number, subject: number])[],
  refused = false,
): Tally {
  const tally = new Tally();
  for (const [observer, subject] of claims) {
    tally.note(
      { observer: nodeId(observer), subject: nodeId(subject), incarnation, down: true, refused },
      0,
    );
  }
  return tally;
}

const incarnation = 1 as Incarnation;

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

test('membership: rings are drawn over up nodes and anew at each epoch', (t) => {
  const cell = clusterOf({ nodes: 30, partitions: 1, settled: false });
  const before = viewOf(cell.state);
  cell.apply(entryBodies.nodesDown({ nodes: [[7, 1]], baseEpoch: cell.state.epoch }));
  const after = viewOf(cell.state);
  t.deepEqual(observersOf(after, nodeId(7)), []);
  t.deepEqual(subjectsOf(after, nodeId(7)), []);
  t.notDeepEqual(observersOf(after, nodeId(1)), observersOf(before, nodeId(1)));
});

test('membership: an edge is down when 40 % of its window was lost (C1.2, C1.8)', (t) => {
  for (const [nodes, needed, size] of [
    [3, 2, 5],
    [5, 2, 5],
    [6, 4, 10],
  ] as const) {
    const window = new EdgeWindow(nodes);
    for (let i = 0; i < size; i += 1) window.note(true);
    for (let i = 1; i < needed; i += 1) window.note(false);
    t.false(window.isDown(), `N=${nodes}`);
    window.note(false);
    t.true(window.isDown(), `N=${nodes}`);
    for (let i = 0; i < size; i += 1) window.note(true);
    t.false(window.isDown(), 'old losses leave the window');
  }
});

test('membership: the marks are those of C1.5', (t) => {
  t.deepEqual(marksOf(1), { low: 1, high: 1 });
  t.deepEqual(marksOf(2), { low: 1, high: 2 });
  t.deepEqual(marksOf(4), { low: 1, high: 3 });
  t.deepEqual(marksOf(5), { low: 2, high: 4 });
  t.deepEqual(marksOf(10), { low: 4, high: 9 });
});

test('membership: distinct observers count, once each', (t) => {
  const view = viewWith(5);
  t.deepEqual(
    tallyOf([
      [1, 5],
      [1, 5],
      [1, 5],
    ]).verdict(view, 0),
    [],
  );
  t.deepEqual(
    tallyOf([
      [1, 5],
      [2, 5],
      [3, 5],
    ]).verdict(view, 0),
    [{ node: nodeId(5), incarnation }],
  );
  t.deepEqual(
    tallyOf([
      [5, 5],
      [9, 5],
      [1, 5],
    ]).verdict(view, 0),
    [],
    'strangers do not',
  );
});

test('membership: two refused dials are enough, or the one there is (C1.8)', (t) => {
  t.is(tallyOf([[1, 5]], true).verdict(viewWith(5), 0).length, 0);
  t.is(
    tallyOf(
      [
        [1, 5],
        [2, 5],
      ],
      true,
    ).verdict(viewWith(5), 0).length,
    1,
  );
  t.is(tallyOf([[1, 2]], true).verdict(viewWith(2), 0).length, 1);
});

test('membership: all victims go in one entry; what hangs between the marks is waited for (C1.5)', (t) => {
  const view = viewWith(5);
  const tally = tallyOf([
    [1, 5],
    [2, 5],
    [3, 5],
    [1, 4],
  ]);
  t.deepEqual(tally.verdict(view, 0), []);
  t.deepEqual(tally.verdict(view, UNSETTLED_MS - 1), []);
  t.deepEqual(
    tally.verdict(view, UNSETTLED_MS).map((one) => Number(one.node)),
    [4, 5],
  );
  const taken = tallyOf([
    [1, 5],
    [2, 5],
    [3, 5],
    [1, 4],
  ]);
  const back = {
    observer: nodeId(1),
    subject: nodeId(4),
    incarnation,
    down: false,
    refused: false,
  };
  taken.note(back, 10);
  t.deepEqual(
    taken.verdict(view, 10).map((one) => Number(one.node)),
    [5],
  );
});

test('membership: below the low mark time alone decides nothing, the leader must miss it, too', (t) => {
  const view = viewWith(6);
  const tally = tallyOf([[1, 5]]);
  const isOutOfReach = () => true;
  t.deepEqual(tally.verdict(view, LONELY_ALERT_MS - 1, isOutOfReach), []);
  t.deepEqual(tally.verdict(view, LONELY_ALERT_MS), []);
  t.is(tally.verdict(view, LONELY_ALERT_MS, isOutOfReach).length, 1);
});

test('membership: a word on another life does not count, and settle forgets it', (t) => {
  const cell = clusterOf({ nodes: 3, partitions: 1, settled: false });
  const tally = tallyOf([
    [1, 3],
    [2, 3],
  ]);
  t.is(tally.verdict(viewOf(cell.state), 0).length, 1);
  cell.apply(entryBodies.nodeUp({ node: 3, incarnation: 2 }));
  t.deepEqual(tally.verdict(viewOf(cell.state), 0), []);
  tally.settle(viewOf(cell.state));
  t.is(tally.size, 0);
});

test("membership: a member's own last words are told once, and only of the life that said them", (t) => {
  const cell = clusterOf({ nodes: 3, partitions: 1, settled: false });
  const tally = new Tally();
  const node = nodeId(3);
  const words = { observer: node, subject: node, incarnation, down: true, refused: true };
  tally.note({ ...words, reason: 'io: EROFS' }, 0);
  const failure = { node, incarnation, reason: 'io: EROFS' };
  t.deepEqual(tally.failures(viewOf(cell.state)), [failure]);
  t.deepEqual(tally.verdict(viewOf(cell.state), 0), [], 'no verdict of others is needed');
  cell.apply({ type: 'nodeFailed', ...failure });
  t.deepEqual(tally.failures(viewOf(cell.state)), []);
  cell.apply(entryBodies.nodeUp({ node: 3, incarnation: 2 }));
  t.deepEqual(tally.failures(viewOf(cell.state)), [], 'the next life is not the one that failed');
  tally.settle(viewOf(cell.state));
  tally.note({ ...words, reason: 'io: EIO' }, 0);
  t.deepEqual(tally.failures(viewOf(cell.state)), [], 'words of a former life come too late');
});
