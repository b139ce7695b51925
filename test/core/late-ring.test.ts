// T is worked out when somebody asks (policy-state.ts): looked at after each entry or at the end only, a state is the same.

import test from 'ava';
import fc from 'fast-check';
import { applyEntry, type ClusterState, emptyState, hashOf } from '../../src/core/cluster-state.ts';
import type { EntryBody, LogEntry } from '../../src/core/log-entry.ts';
import { createPolicy, type PolicyState, withRing } from '../../src/core/policy-state.ts';
import { buildRing, type Ring } from '../../src/core/ring.ts';
import { clusterOf, entryBodies as make, nodeId, policyId, StateCell } from '../fixtures.ts';

const P = 16;

/** Reads what is worked out late. */
function look(state: ClusterState): unknown {
  return [...state.policies.values()].map(({ cfg, targets, explicit }) => [
    [...cfg],
    targets.map(({ walk }) => walk),
    [...explicit].sort(([a], [b]) => a - b),
  ]);
}

const draw = fc.record({
  kind: fc.integer({ min: 0, max: 9 }),
  node: fc.integer({ min: 1, max: 7 }),
  weight: fc.integer({ min: 0, max: 3 }),
});

function bodyOf(cell: StateCell, d: { kind: number; node: number; weight: number }): EntryBody {
  const node = nodeId(d.node);
  const incarnation = cell.state.members.get(node)?.incarnation ?? (0 as never);
  const reason = d.weight % 2 === 0 ? 'auto' : 'operator';
  if (d.kind < 2) return make.nodeJoin({ peer: d.node, zone: `z${d.weight}` });
  if (d.kind < 5) return make.nodeUp({ node: d.node, incarnation: incarnation + 1 });
  if (d.kind === 5) {
    return make.nodesDown({ nodes: [[d.node, incarnation]], baseEpoch: cell.state.epoch });
  }
  if (d.kind === 6) return { type: 'nodeOut', node, incarnation, reason };
  if (d.kind === 7) return { type: 'nodeIn', node, incarnation, reason };
  if (d.kind === 8) return { type: 'nodeWeight', node, weight: d.weight, zone: `z${d.weight}` };
  return { type: 'nodeLeave', node };
}

function replayed(entries: readonly LogEntry[], after: (state: ClusterState) => void) {
  return entries.reduce((before, entry) => {
    const { state } = applyEntry(before, entry);
    after(state);
    return state;
  }, emptyState());
}

test('late ring: asked after each entry, now and then, or at the end, T and the sets are the same (A4)', (t) => {
  fc.assert(
    fc.property(
      fc.array(draw, { maxLength: 60 }),
      fc.integer({ min: 2, max: 9 }),
      (draws, rare) => {
        const cell = clusterOf({ nodes: 3, partitions: P, copies: 3 });
        for (const d of draws) cell.apply(bodyOf(cell, d));
        const always = replayed(cell.entries, look);
        const sometimes = replayed(
          cell.entries,
          (state) => state.index % rare === 0 && look(state),
        );
        const never = replayed(cell.entries, () => undefined);
        t.deepEqual(look(never), look(always));
        t.deepEqual(look(sometimes), look(always));
        t.is(hashOf(never), hashOf(always));
      },
    ),
    { numRuns: 100 },
  );
});

test('late ring: a hundred rings in a row are built once, when somebody asks', (t) => {
  let built = 0;
  const ring = (count: number) => (): Ring => {
    built += 1;
    return buildRing(
      Array.from({ length: count }, (_, i) => ({ node: nodeId(i + 1), weight: 1, zone: '' })),
    );
  };
  const policy = { id: policyId(0), copies: 3, minCopies: 2, strict: false };
  const isLive = (): boolean => true;
  let state: PolicyState = createPolicy(policy, ring(1)(), { partitions: P, isLive });
  for (let count = 2; count <= 100; count += 1) state = withRing(state, ring(count), isLive);
  t.is(built, 1);
  t.is(state.cfg.length, P);
  t.is(built, 1, 'cfg does not depend on T');
  t.true(state.targets.every(({ walk }) => walk.length === 3));
  t.is(state.explicit.size, P, 'I has one member, T three');
  t.is(built, 2);
});

test('late ring: the first members fill empty sets at once, and cfg says so', (t) => {
  const cell = new StateCell();
  cell.apply(make.format({ partitions: P }));
  cell.apply(make.nodeJoin({ peer: 1 }));
  const before = cell.state.policies.get(policyId(0));
  cell.apply(make.nodeUp({ node: 1, incarnation: 1 }));
  const after = cell.state.policies.get(policyId(0));
  t.true(after?.cfg.every((cfg, p) => cfg === (before?.cfg[p] ?? 0) + 1));
});
