// What differs between two views is found without a look at every config, and nothing of it is missed.

import test from 'ava';
import fc from 'fast-check';
import { changedPartitions, viewOf } from '../../src/core/cluster-state.ts';
import { casOf, clusterOf, entryBodies, nodeId, policyId } from '../fixtures.ts';

const P = 32;
const POLICY = policyId(0);

const step = fc.record({
  what: fc.constantFrom('shrink', 'join', 'promote', 'weight', 'setting', 'look'),
  p: fc.nat(P - 1),
  node: fc.integer({ min: 1, max: 4 }),
});

test('views: every partition that changed is among those that are said to have', (t) => {
  let missed = 0;
  let few = 0;
  const property = fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
    const cell = clusterOf({ nodes: 4, copies: 3, minCopies: 1, partitions: P });
    let before = viewOf(cell.state);
    let hasMoved = false;
    for (const { what, p, node } of steps) {
      const partitions = [casOf(cell, p)];
      if (what === 'shrink') cell.apply(entryBodies.isrShrink({ partitions, node }));
      if (what === 'join') cell.apply(entryBodies.isrJoin({ partitions, node, incarnation: 1 }));
      if (what === 'promote') {
        const source = cell.state.members.has(nodeId(1)) ? 1 : 2;
        cell.apply(entryBodies.isrPromote({ partitions, node, source, incarnation: 1 }));
      }
      if (what === 'weight') {
        hasMoved = true;
        cell.apply({ type: 'nodeWeight', node: nodeId(node), weight: 100 + p, zone: '' });
      }
      if (what === 'setting') cell.apply({ type: 'setting', key: 'x', value: String(p) });
      if (what !== 'look') continue;
      const after = viewOf(cell.state);
      const said = new Set(changedPartitions(before, after, POLICY));
      for (let q = 0; q < P; q += 1) {
        const [was, is] = [before.partition(POLICY, q), after.partition(POLICY, q)];
        const isSame = JSON.stringify(was) === JSON.stringify(is);
        if (!isSame && !said.has(q)) missed += 1;
      }
      if (!hasMoved && said.size < P) few += 1;
      t.true(hasMoved || said.size <= steps.length);
      before = after;
      hasMoved = false;
    }
  });
  fc.assert(property, { numRuns: 300 });
  t.is(missed, 0);
  t.true(few > 0);
});

test('views: a policy that was not there has all its partitions changed; equal placements have none', (t) => {
  const cell = clusterOf({ nodes: 3, partitions: P });
  const before = viewOf(cell.state);
  cell.apply({ type: 'setting', key: 'x', value: 'y' });
  t.deepEqual([...changedPartitions(before, viewOf(cell.state), POLICY)], []);
  const other = { ...before, placement: {} };
  t.is([...changedPartitions(before, other, POLICY)].length, P);
});
