// What members say of their load orders candidates, whatever rumours do (C8.2).

import test from 'ava';
import { viewOf } from '../../src/core/cluster-state.ts';
import type { Incarnation } from '../../src/core/ids.ts';
import { Loads, loadOfLag, statsPauseMs } from '../../src/core/loads.ts';
import { clusterOf, entryBodies, nodeId } from '../fixtures.ts';

const cell = clusterOf({ nodes: 3, partitions: 1 });
const view = viewOf(cell.state);
const word = (node: number, counter: number, load: number, incarnation = 1) => ({
  ...{ node: nodeId(node), counter, load },
  incarnation: incarnation as Incarnation,
});

test('loads: the last word counts, by steps of a tenth', (t) => {
  const loads = new Loads();
  loads.note(word(2, 5, 399), view);
  t.is(loads.stepOf(nodeId(2)), 3);
  loads.note(word(2, 4, 900), view);
  t.is(loads.stepOf(nodeId(2)), 3, 'an earlier word came late');
  loads.note(word(2, 6, 20), view);
  t.is(loads.stepOf(nodeId(2)), 0);
  t.is(loads.stepOf(nodeId(3)), 0, 'nothing is known of it');
});

test('loads: a later life begins anew; strangers and former lives are not heard', (t) => {
  const loads = new Loads();
  loads.note(word(2, 50, 800), view);
  loads.note(word(2, 1, 100, 2), view);
  t.is(loads.stepOf(nodeId(2)), 1);
  loads.note(word(9, 1, 800), view);
  t.is(loads.stepOf(nodeId(9)), 0);
  const again = clusterOf({ nodes: 3, partitions: 1 });
  again.apply(entryBodies.nodeUp({ node: 2, incarnation: 3 }));
  loads.note(word(2, 60, 900, 2), viewOf(again.state));
  t.is(loads.stepOf(nodeId(2)), 1);
});

test('loads: a cluster of any size says it about once in three seconds, a member once in ten at most', (t) => {
  t.is(statsPauseMs(3), 10_000);
  t.is(statsPauseMs(1000), 3_000_000);
  t.is(loadOfLag(70_000), 1000);
});
