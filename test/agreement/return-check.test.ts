// A life that was called down comes back when those who would observe it reach it (C4.2).

import test from 'ava';
import { wouldStay } from '../../src/agreement/return-check.ts';
import { viewOf } from '../../src/core/cluster-state.ts';
import type { NodeId } from '../../src/core/ids.ts';
import { clusterOf, entryBodies } from '../fixtures.ts';

function viewWith(nodes: number, down: readonly number[]) {
  const cell = clusterOf({ nodes, partitions: 1, settled: false });
  const named = down.map((node) => [node, 1] as const);
  cell.apply(entryBodies.nodesDown({ nodes: named, baseEpoch: cell.state.epoch }));
  return viewOf(cell.state);
}

const reaching = (nodes: readonly number[]) => {
  const asked: number[] = [];
  const ping = async (node: NodeId): Promise<boolean> => {
    asked.push(node);
    return nodes.includes(node);
  };
  return { asked, ping };
};

test('return: in a small cluster everybody who is up must be reached', async (t) => {
  const view = viewWith(4, [4, 3]);
  const self = 4 as NodeId;
  t.true(await wouldStay(view, self, reaching([1, 2]).ping));
  t.false(await wouldStay(view, self, reaching([1]).ping));
  const { asked, ping } = reaching([1, 2]);
  await wouldStay(view, self, ping);
  t.deepEqual(asked.sort(), [1, 2], 'who is down is not asked');
});

test('return: nobody else up misses nobody', async (t) => {
  t.true(await wouldStay(viewWith(2, [1, 2]), 2 as NodeId, reaching([]).ping));
});

test('return: of ten observers four must not miss it', async (t) => {
  const view = viewWith(30, [30]);
  const { asked, ping } = reaching([]);
  t.false(await wouldStay(view, 30 as NodeId, ping));
  t.is(new Set(asked).size, 10);
  t.true(await wouldStay(view, 30 as NodeId, reaching(asked.slice(0, 7)).ping));
  t.false(await wouldStay(view, 30 as NodeId, reaching(asked.slice(0, 6)).ping));
});
