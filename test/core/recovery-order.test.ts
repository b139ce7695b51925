import test from 'ava';
import fc from 'fast-check';
import { viewOf } from '../../src/core/cluster-state.ts';
import { type FamilyId, partitionKey } from '../../src/core/ids.ts';
import { partitionOf } from '../../src/core/partition.ts';
import {
  admitted,
  JOINS_BESIDE_GUESTS,
  JOINS_WHILE_HALTED,
  JOINS_WITHOUT_GUESTS,
  JoinLoad,
  joinWindows,
  ObjectPlaces,
  URGENCY,
  type Urgency,
  urgencyOf,
} from '../../src/core/recovery-order.ts';
import { ChangePlanner } from '../../src/core/recovery-plan.ts';
import {
  heldKey,
  isRecoveryHeld,
  manualRate,
  RECOVERY_ENABLED_KEY,
  recoveryValue,
  streamLimits,
} from '../../src/core/recovery-settings.ts';
import { DueJoins, joinsDue, joinsOf, surplusOf } from '../../src/core/recovery-work.ts';
import { OBJECT_BYTES } from '../../src/core/units.ts';
import { casOf, clusterOf, configAt, entryBodies, nodeId, policyId } from '../fixtures.ts';

const P = 64;

function kindsOf(cell: ReturnType<typeof clusterOf>): string[] {
  return new ChangePlanner().plan(viewOf(cell.state), 0).map((body) => {
    const list = 'partitions' in body && 'node' in body ? `x${body.partitions.length}` : '';
    return `${body.type} n${'node' in body ? body.node : ''}${list}`;
  });
}

test('order: urgency follows the live copies (4.8)', (t) => {
  const cell = clusterOf({ nodes: 5, copies: 5, minCopies: 3 });
  const policy = viewOf(cell.state).policies.get(policyId(0));
  if (policy === undefined) return t.fail();
  const config = configAt(cell, 0);
  const withLive = (live: number) =>
    urgencyOf(config, policy, (node) => config.inSync.indexOf(node) < live);
  t.deepEqual([1, 2, 3, 4, 5].map(withLive), [0, 0, 1, 2, 3]);
});

const wish = fc.record({
  node: fc.integer({ min: 1, max: 3 }).map(nodeId),
  policy: fc.constant(policyId(0)),
  urgency: fc.constantFrom<Urgency>(0, 1, 2, 3),
});

test('order: no move begins while a repair waits, nobody joins more than its window, the urgent first', (t) => {
  const property = fc.property(
    fc.array(wish, { maxLength: 60 }),
    fc.array(wish, { maxLength: 20 }),
    fc.integer({ min: 1, max: 12 }),
    (wishes, joining, window) => {
      const load = new JoinLoad();
      for (const { node, urgency } of joining) load.note(node, urgency);
      const before = new JoinLoad();
      for (const { node, urgency } of joining) before.note(node, urgency);
      const begun = admitted(wishes, load, () => window);
      const waiting = wishes.filter((one) => !begun.includes(one));
      const isRepair = ({ urgency }: { urgency: Urgency }) => urgency !== URGENCY.move;
      const moves = begun.filter((one) => !isRepair(one));
      if (waiting.some(isRepair)) t.is(moves.length, 0);
      for (const { node } of moves) t.is(load.repairs(node), 0);
      for (const { node } of begun) {
        const isHalted = begun.some((one) => one.node === node && one.urgency === URGENCY.below);
        const most = isHalted ? Math.max(window, JOINS_WHILE_HALTED) : window;
        t.true(load.repairs(node) <= Math.max(most, before.repairs(node)));
        t.true(load.moves(node) <= Math.max(window, before.moves(node)));
      }
      for (const late of waiting.filter(isRepair)) {
        const sooner = begun.filter(
          ({ node, urgency }) => node === late.node && urgency > late.urgency,
        );
        t.is(sooner.length, 0, 'nothing less urgent began on the same member');
      }
      const isIdle = joining.length === 0;
      if (isIdle && wishes.length > 0) t.true(begun.length > 0, 'something always begins');
    },
  );
  fc.assert(property, { numRuns: 500 });
});

test('order: a member takes new partitions when half of its window is free, what guests wait for at once', (t) => {
  const load = new JoinLoad();
  for (let i = 0; i < 6; i += 1) load.note(nodeId(1), URGENCY.bare);
  const one = { node: nodeId(1), policy: policyId(0) };
  const window = () => 8;
  t.deepEqual(admitted([{ ...one, urgency: URGENCY.bare }], load, window), []);
  t.is(admitted([{ ...one, urgency: URGENCY.below }], load, window).length, 1);
});

test('order: what guests wait for joins many at a time, beside guests, too', (t) => {
  const wishes = (urgency: Urgency) =>
    Array.from({ length: 40 }, () => ({ node: nodeId(1), policy: policyId(0), urgency }));
  const window = () => JOINS_BESIDE_GUESTS;
  t.is(admitted(wishes(URGENCY.below), new JoinLoad(), window).length, JOINS_WHILE_HALTED);
  t.is(admitted(wishes(URGENCY.bare), new JoinLoad(), window).length, JOINS_BESIDE_GUESTS);
});

test('order: few partitions are joined beside guests, many where nobody is attached, all where there is no volume', (t) => {
  const cell = clusterOf({ nodes: 3 });
  const windowNow = () => joinWindows(viewOf(cell.state))(policyId(0));
  t.is(windowNow(), Number.POSITIVE_INFINITY);
  cell.apply(entryBodies.volumeCreate({ name: 'a' }));
  t.is(windowNow(), JOINS_WITHOUT_GUESTS);
  cell.apply(entryBodies.lockAcquire({ token: 0, node: 1 }));
  t.is(windowNow(), JOINS_BESIDE_GUESTS);
});

test('order: beside a guest a node that returns joins window by window, what holds nothing at once', (t) => {
  const cell = clusterOf({ nodes: 3, partitions: P });
  const objects = 40;
  cell.apply(entryBodies.volumeCreate({ name: 'a', sizeBytes: objects * OBJECT_BYTES }));
  cell.apply(entryBodies.lockAcquire({ token: 0, node: 1 }));
  const { family } = [...cell.state.volumes.values()][0] as { family: FamilyId };
  const held = new Set(Array.from({ length: objects }, (_, i) => partitionOf(family, i, P)));
  const all = Array.from({ length: P }, (_, p) => casOf(cell, p));
  cell.apply(entryBodies.isrShrink({ partitions: all, node: 3 }));
  const [body] = new ChangePlanner().plan(viewOf(cell.state), 0);
  const joined = body?.type === 'isrJoin' ? body.partitions.map(({ p }) => p) : [];
  t.is(joined.filter((p) => held.has(p)).length, JOINS_BESIDE_GUESTS);
  t.is(joined.filter((p) => !held.has(p)).length, P - held.size);
  if (body !== undefined) cell.apply(body);
  t.deepEqual(kindsOf(cell), []);
  // The window is of partitions with objects: the others leave it as it is.
  const done = joined.filter((p) => !held.has(p)).map((p) => casOf(cell, p));
  cell.apply(entryBodies.isrPromote({ partitions: done, node: 3, source: 1, incarnation: 1 }));
  t.deepEqual(kindsOf(cell), []);
});

test('order: where a volume has many objects per partition none is taken for empty', (t) => {
  const cell = clusterOf({ nodes: 3, partitions: P });
  const places = new ObjectPlaces();
  const found = () =>
    Array.from({ length: P }, (_, p) => places.has(viewOf(cell.state), policyId(0), p));
  t.false(found().includes(true));
  cell.apply(entryBodies.volumeCreate({ name: 'a', sizeBytes: 8 * P * OBJECT_BYTES }));
  t.false(found().includes(false));
});

test('work: joins are handed out as the map moves on, the most urgent first, none that is outdated', (t) => {
  const property = fc.property(
    fc.array(fc.record({ p: fc.nat(15), what: fc.nat(3) }), { maxLength: 60 }),
    (steps) => {
      const cell = clusterOf({ nodes: 4, copies: 3, minCopies: 1, partitions: 16 });
      const due = new DueJoins(nodeId(3));
      for (const { p, what } of steps) {
        const partitions = [casOf(cell, p)];
        if (what === 0) cell.apply(entryBodies.isrShrink({ partitions, node: 3 }));
        if (what === 1) cell.apply(entryBodies.isrJoin({ partitions, node: 3, incarnation: 1 }));
        if (what === 2) cell.apply(entryBodies.isrShrink({ partitions, node: 1 + (p % 2) }));
        const view = viewOf(cell.state);
        const wanted = new Map(joinsDue(view, nodeId(3)).map((work) => [work.p, work]));
        if (what !== 3) continue;
        const most = Math.min(...[...wanted.values()].map(({ urgency }) => urgency));
        const work = due.next(view);
        if (wanted.size > 0 && work === undefined) continue;
        if (work === undefined) continue;
        t.is(view.partition(work.policy, work.p).cfg, work.config.cfg);
        t.true(wanted.has(work.p) && work.urgency >= most);
      }
      // By a view of which nothing was handed out, all are.
      const view = viewOf(cell.state);
      const rest = new DueJoins(nodeId(3));
      const got: number[] = [];
      for (let work = rest.next(view); work !== undefined; work = rest.next(view)) got.push(work.p);
      t.deepEqual(
        [...got].sort((a, b) => a - b),
        joinsDue(view, nodeId(3))
          .map(({ p }) => p)
          .sort((a, b) => a - b),
      );
      // Nothing is forgotten: what was not handed out by one view is by a later one.
      const follower = new DueJoins(nodeId(3));
      follower.next(viewOf(cell.state));
      const partitions = [casOf(cell, 0)];
      cell.apply(entryBodies.isrShrink({ partitions, node: 3 }));
      cell.apply(entryBodies.isrJoin({ partitions: [casOf(cell, 0)], node: 3, incarnation: 1 }));
      const later = viewOf(cell.state);
      const left: number[] = [];
      for (let work = follower.next(later); work !== undefined; work = follower.next(later)) {
        left.push(work.p);
      }
      if (later.partition(policyId(0), 0).joining.includes(nodeId(3))) t.true(left.includes(0));
    },
  );
  fc.assert(property, { numRuns: 200 });
});

test('order: a pause holds joins and releases, everywhere or on one member; shrinks and the halted go on', (t) => {
  const cell = clusterOf({ nodes: 3, copies: 3, minCopies: 2 });
  const key = partitionKey(policyId(0), 1);
  cell.apply(entryBodies.isrShrink({ partitions: [casOf(cell, 1)], node: 3 }));
  t.deepEqual(kindsOf(cell), ['isrJoin n3x1']);
  cell.apply({ type: 'setting', key: RECOVERY_ENABLED_KEY, value: 'no' });
  t.deepEqual(kindsOf(cell), []);
  t.true(isRecoveryHeld(viewOf(cell.state), nodeId(2)));
  cell.apply({ type: 'setting', key: RECOVERY_ENABLED_KEY, value: 'yes' });
  t.deepEqual(kindsOf(cell), ['isrJoin n3x1']);
  cell.apply({ type: 'setting', key: heldKey(nodeId(3)), value: '1' });
  t.deepEqual(kindsOf(cell), []);
  t.false(isRecoveryHeld(viewOf(cell.state), nodeId(2)));
  // Already joining: it stays in J, and copies nothing by itself.
  cell.apply(entryBodies.isrJoin({ partitions: [casOf(cell, 1)], node: 3, incarnation: 1 }));
  t.is(joinsOf(viewOf(cell.state), nodeId(3)).length, 1);
  t.deepEqual(joinsDue(viewOf(cell.state), nodeId(3)), []);
  // Now one live member is left of two that writes need: guests wait, and nothing is held any more.
  const life = [nodeId(2), cell.state.members.get(nodeId(2))?.incarnation ?? 0] as const;
  cell.apply(entryBodies.nodesDown({ nodes: [life], baseEpoch: cell.state.epoch }));
  t.is(joinsDue(viewOf(cell.state), nodeId(3)).length, 1);
  t.deepEqual(surplusOf(viewOf(cell.state), nodeId(3), [key]), []);
});

test('order: a pause keeps surplus copies where they are', (t) => {
  const cell = clusterOf({ nodes: 3, copies: 2 });
  const spare = [1, 2, 3].find((node) => !configAt(cell, 0).inSync.includes(nodeId(node))) ?? 0;
  const held = [partitionKey(policyId(0), 0)];
  t.is(surplusOf(viewOf(cell.state), nodeId(spare), held).length, 1);
  cell.apply({ type: 'setting', key: RECOVERY_ENABLED_KEY, value: 'no' });
  t.deepEqual(surplusOf(viewOf(cell.state), nodeId(spare), held), []);
});

test('settings: rates and streams are checked, and read back', (t) => {
  const cell = clusterOf({ nodes: 1 });
  t.is(manualRate(viewOf(cell.state)), undefined);
  t.deepEqual(streamLimits(viewOf(cell.state)), { incoming: 2, outgoing: 2 });
  cell.apply({
    type: 'setting',
    key: 'recovery/rate',
    value: recoveryValue('recovery-rate', '50MiB'),
  });
  cell.apply({
    type: 'setting',
    key: 'recovery/incoming',
    value: recoveryValue('recovery-incoming', '4'),
  });
  t.is(manualRate(viewOf(cell.state)), 50 * 2 ** 20);
  t.is(streamLimits(viewOf(cell.state)).incoming, 4);
  cell.apply({
    type: 'setting',
    key: 'recovery/rate',
    value: recoveryValue('recovery-rate', 'auto'),
  });
  t.is(manualRate(viewOf(cell.state)), undefined);
  for (const [name, text] of [
    ['recovery-rate', '1KiB'],
    ['recovery-rate', 'fast'],
    ['recovery-incoming', '0'],
    ['recovery-outgoing', '17'],
  ] as const) {
    t.throws(() => recoveryValue(name, text), { code: 'usage' }, `${name} ${text}`);
  }
});
