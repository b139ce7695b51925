import test from 'ava';
import { viewOf } from '../../src/core/cluster-state.ts';
import { partitionKey } from '../../src/core/ids.ts';
import type { EntryBody } from '../../src/core/log-entry.ts';
import { ChangePlanner, SPARE_AFTER_MS } from '../../src/core/recovery-plan.ts';
import { joinsOf, surplusOf } from '../../src/core/recovery-work.ts';
import {
  casOf,
  clusterOf,
  configAt,
  entryBodies,
  nodeId,
  policyId,
  type StateCell,
} from '../fixtures.ts';

const P = 8;
const ALL = Array.from({ length: P }, (_, p) => p);

function textOf(bodies: readonly EntryBody[]): string[] {
  return bodies.map((body) =>
    'partitions' in body && 'node' in body ? `${body.type} n${body.node}` : body.type,
  );
}

function down(cell: StateCell, ...nodes: number[]): void {
  const lives = nodes.map((node) => {
    return [node, cell.state.members.get(nodeId(node))?.incarnation ?? 0] as const;
  });
  cell.apply(entryBodies.nodesDown({ nodes: lives, baseEpoch: cell.state.epoch }));
}

/** Applies what the leader plans and promotes each joiner, until nothing is left; returns the rounds. */
function runPlans(cell: StateCell, now = 0): number {
  const planner = new ChangePlanner();
  for (let round = 0; round < 50; round += 1) {
    const bodies = planner.plan(viewOf(cell.state), now);
    if (bodies.length === 0 && ALL.every((p) => configAt(cell, p).joining.length === 0))
      return round;
    for (const body of bodies) cell.apply(body);
    for (const p of ALL) {
      const { joining, inSync } = configAt(cell, p);
      const source = inSync.find((node) => cell.state.members.get(node)?.state === 'up') ?? 0;
      for (const node of joining) {
        const incarnation = cell.state.members.get(node)?.incarnation ?? 0;
        cell.apply(
          entryBodies.isrPromote({ partitions: [casOf(cell, p)], node, source, incarnation }),
        );
      }
    }
  }
  return Number.POSITIVE_INFINITY;
}

test('plan: nothing to do at rest', (t) => {
  t.deepEqual(new ChangePlanner().plan(viewOf(clusterOf({ nodes: 3 }).state), 0), []);
});

test('plan: from any start it ends with I = T where all are up, and then rests', (t) => {
  for (const nodes of [1, 2, 3, 5]) {
    const cell = clusterOf({ nodes, settled: false });
    t.true(runPlans(cell) < 20, `N=${nodes}`);
    t.is(cell.state.policies.get(policyId(0))?.explicit.size, 0, `N=${nodes}`);
  }
});

test('plan: one that returns joins where the ring wants it', (t) => {
  const cell = clusterOf({ nodes: 3 });
  down(cell, 3);
  t.deepEqual(new ChangePlanner().plan(viewOf(cell.state), 0), []);
  cell.apply(entryBodies.nodeUp({ node: 3, incarnation: 2 }));
  const bodies = new ChangePlanner().plan(viewOf(cell.state), 0);
  t.deepEqual(textOf(bodies), ['isrJoin n3']);
  t.like(bodies[0], { incarnation: 2 });
});

// C4.1: both went down at once and stayed in I, for one alone was too few; now one is back and the other may go.
test('plan: a shrink that was barred is proposed when enough are live again (C4.1)', (t) => {
  const cell = clusterOf({ nodes: 3 });
  down(cell, 2, 3);
  t.deepEqual(new ChangePlanner().plan(viewOf(cell.state), 0), []);
  cell.apply(entryBodies.nodeUp({ node: 2, incarnation: 2 }));
  t.is(cell.state.policies.get(policyId(0))?.explicit.size, 0, 'the sets look at rest');
  const bodies = new ChangePlanner().plan(viewOf(cell.state), 0);
  t.deepEqual(textOf(bodies), ['isrShrink n3']);
  for (const body of bodies) t.like(cell.apply(body), { code: 'ok', value: P });
});

test('plan: the most endangered partitions come first (4.8)', (t) => {
  const cell = clusterOf({ nodes: 3, minCopies: 1 });
  cell.apply(entryBodies.isrShrink({ partitions: [casOf(cell, 2), casOf(cell, 6)], node: 3 }));
  cell.apply(entryBodies.isrShrink({ partitions: [casOf(cell, 6)], node: 2 }));
  const [first] = new ChangePlanner().plan(viewOf(cell.state), 0);
  t.like(first, { type: 'isrJoin' });
  t.is(first?.type === 'isrJoin' ? first.partitions[0]?.p : undefined, 6);
});

test('plan: after 60 s with one live member a spare joins, not before (4.4)', (t) => {
  const cell = clusterOf({ nodes: 4, copies: 2, minCopies: 2 });
  down(cell, 1);
  const planner = new ChangePlanner();
  const view = viewOf(cell.state);
  t.deepEqual(planner.plan(view, 0), []);
  t.deepEqual(planner.plan(view, SPARE_AFTER_MS - 1), []);
  const bodies = planner.plan(view, SPARE_AFTER_MS);
  t.true(bodies.length > 0);
  t.true(bodies.every((body) => body.type === 'isrJoin' && body.node !== 1));
  t.deepEqual(planner.plan(view, SPARE_AFTER_MS), bodies, 'asking twice changes nothing');
  for (const body of bodies) t.is(cell.apply(body).code, 'ok');
  runPlans(cell, SPARE_AFTER_MS);
  const live = ALL.filter((p) => configAt(cell, p).inSync.length === 2);
  t.is(live.length, P, 'minCopies are live again, and the dead one was shrunk away');
  t.false(ALL.some((p) => configAt(cell, p).inSync.includes(nodeId(1))));
});

test('plan: a joiner reads its work from the view, a former member what it may delete (I5)', (t) => {
  const cell = clusterOf({ nodes: 3 });
  const held = ALL.map((p) => partitionKey(policyId(0), p));
  cell.apply(entryBodies.nodeJoin({ peer: 4 }));
  cell.apply(entryBodies.nodeUp({ node: 4, incarnation: 1 }));
  for (const node of [1, 2, 3]) t.deepEqual(surplusOf(viewOf(cell.state), nodeId(node), held), []);
  for (const body of new ChangePlanner().plan(viewOf(cell.state), 0)) cell.apply(body);
  const wanted = ALL.filter((p) => configAt(cell, p).targets.includes(nodeId(4)));
  const work = joinsOf(viewOf(cell.state), nodeId(4));
  t.deepEqual(work.map((one) => one.p).sort(), wanted);
  runPlans(cell);
  const surplus = [1, 2, 3].flatMap((node) => surplusOf(viewOf(cell.state), nodeId(node), held));
  t.is(surplus.length, wanted.length);
  t.deepEqual(joinsOf(viewOf(cell.state), nodeId(4)), []);
});

function say(cell: StateCell, node: number, level: 'ok' | 'nearfull' | 'full'): void {
  const life = cell.state.members.get(nodeId(node))?.incarnation ?? (0 as never);
  cell.apply({ type: 'nodeSpace', node: nodeId(node), incarnation: life, level });
}

test('plan: a full member is not joined, a joiner that became full leaves; better again, it comes back (4.9)', (t) => {
  const cell = clusterOf({ nodes: 3 });
  say(cell, 3, 'full');
  const partitions = [casOf(cell, 0)];
  cell.apply(entryBodies.isrShrink({ partitions, node: 3 }));
  t.deepEqual(textOf(new ChangePlanner().plan(viewOf(cell.state), 0)), []);
  say(cell, 3, 'nearfull');
  t.deepEqual(
    textOf(new ChangePlanner().plan(viewOf(cell.state), 0)),
    ['isrJoin n3'],
    'nearfull takes what a partition lacks',
  );
  cell.apply(entryBodies.isrJoin({ partitions: [casOf(cell, 0)], node: 3, incarnation: 1 }));
  say(cell, 3, 'full');
  t.deepEqual(textOf(new ChangePlanner().plan(viewOf(cell.state), 0)), ['isrShrink n3']);
});

test('plan: a full member that was down joins once what it was in; what it leaves for want of room stays left (4.9)', (t) => {
  const cell = clusterOf({ nodes: 3 });
  const planner = new ChangePlanner();
  const plan = () => planner.plan(viewOf(cell.state), 0);
  say(cell, 3, 'full');
  plan();
  down(cell, 3);
  plan();
  cell.apply(entryBodies.nodeUp({ node: 3, incarnation: 2 }));
  const bodies = plan();
  t.deepEqual(textOf(bodies), ['isrJoin n3']);
  for (const body of bodies) cell.apply(body);
  t.true(ALL.every((p) => configAt(cell, p).joining.includes(nodeId(3))));
  t.deepEqual(textOf(plan()), [], 'a joiner under trial is not sent away');
  cell.apply(entryBodies.isrShrink({ partitions: [casOf(cell, 0)], node: 3 }));
  const rest = ALL.slice(1).map((p) => casOf(cell, p));
  const source = 1;
  cell.apply(entryBodies.isrPromote({ partitions: rest, node: 3, source, incarnation: 2 }));
  t.deepEqual(textOf(plan()), [], 'one that had no room is asked no second time');
  t.deepEqual(
    ALL.map((p) => configAt(cell, p).inSync.includes(nodeId(3))),
    ALL.map((p) => p !== 0),
  );
  down(cell, 3);
  plan();
  cell.apply(entryBodies.nodeUp({ node: 3, incarnation: 3 }));
  t.deepEqual(textOf(plan()), ['isrJoin n3'], 'but in its next life');
});

test('plan: a nearly full member takes no ring moves, and a full one is no spare (4.9)', (t) => {
  const cell = clusterOf({ nodes: 2, copies: 2 });
  cell.apply(entryBodies.nodeJoin({ peer: 3 }));
  cell.apply(entryBodies.nodeUp({ node: 3, incarnation: 1 }));
  const moves = () => textOf(new ChangePlanner().plan(viewOf(cell.state), 0));
  t.true(moves().includes('isrJoin n3'));
  say(cell, 3, 'nearfull');
  t.deepEqual(moves(), []);
  say(cell, 3, 'full');
  down(cell, 2);
  const planner = new ChangePlanner();
  planner.plan(viewOf(cell.state), 0);
  t.deepEqual(textOf(planner.plan(viewOf(cell.state), SPARE_AFTER_MS)), []);
});

function apply(cell: StateCell, bodies: readonly EntryBody[]): void {
  for (const body of bodies) cell.apply(body);
}

test('plan: copies that a drain began are not made to the end when it is taken back', (t) => {
  const cell = clusterOf({ nodes: 4 });
  const planner = new ChangePlanner();
  const plan = () => planner.plan(viewOf(cell.state), 0);
  const life = cell.state.members.get(nodeId(4))?.incarnation ?? (0 as never);
  cell.apply({ type: 'nodeLeave', node: nodeId(4) });
  apply(cell, plan());
  const began = ALL.filter((p) => configAt(cell, p).joining.length > 0);
  t.true(began.length > 0);
  cell.apply({ type: 'nodeIn', node: nodeId(4), incarnation: life, reason: 'operator' });
  t.true(plan().every(({ type }) => type === 'isrAbort'));
  apply(cell, plan());
  t.deepEqual(plan(), []);
  t.is(cell.state.policies.get(policyId(0))?.explicit.size, 0, 'as before the drain');
});

test('plan: such a copy is made all the same where the others are too few', (t) => {
  const cell = clusterOf({ nodes: 4 });
  const planner = new ChangePlanner();
  const plan = () => planner.plan(viewOf(cell.state), 0);
  const life = cell.state.members.get(nodeId(4))?.incarnation ?? (0 as never);
  cell.apply({ type: 'nodeLeave', node: nodeId(4) });
  apply(cell, plan());
  const p = ALL.find((one) => configAt(cell, one).joining.length > 0) ?? 0;
  const { joining } = configAt(cell, p);
  const other = configAt(cell, p).inSync.find((node) => node !== 4) ?? 0;
  down(cell, other);
  cell.apply({ type: 'nodeIn', node: nodeId(4), incarnation: life, reason: 'operator' });
  t.false(textOf(plan()).some((text) => text.startsWith('isrAbort')));
  t.deepEqual(configAt(cell, p).joining, joining);
});

test('plan: what did not change is not looked at again, and what did is', (t) => {
  const cell = clusterOf({ nodes: 4 });
  down(cell, 4);
  let looks = 0;
  const seen = () => {
    const view = viewOf(cell.state);
    return {
      ...view,
      partition: (...place: Parameters<typeof view.partition>) => {
        looks += 1;
        return view.partition(...place);
      },
    };
  };
  const planner = new ChangePlanner();
  const first = planner.plan(seen(), 0);
  const { index } = cell.state;
  t.true(looks >= P);
  looks = 0;
  cell.apply({ type: 'setting', key: 'a', value: 'b' });
  t.true(cell.state.index > index);
  t.deepEqual(planner.plan(seen(), 1), first);
  t.is(looks, 0);
  down(cell, 3);
  planner.plan(seen(), 2);
  t.true(looks >= P);
});
