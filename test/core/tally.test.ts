import test from 'ava';
import { viewOf } from '../../src/core/cluster-state.ts';
import type { Incarnation } from '../../src/core/ids.ts';
import { observersOf } from '../../src/core/membership.ts';
import {
  CLAIM_LIFE_MS,
  FRESH_MS,
  GATHER_MS,
  LONELY_ALERT_MS,
  LONELY_PROBE_AFTER_MS,
  marksOf,
  Tally,
  UNSETTLED_MS,
} from '../../src/core/tally.ts';
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

function repeat(
  tally: Tally,
  claims: readonly (readonly [observer: number, subject: number])[],
  now: number,
): void {
  for (const [observer, subject] of claims) {
    const claim = { incarnation, down: true, refused: false };
    tally.note({ ...claim, observer: nodeId(observer), subject: nodeId(subject) }, now);
  }
}

test('tally: the marks are those of C1.5', (t) => {
  t.deepEqual(marksOf(1), { low: 1, high: 1 });
  t.deepEqual(marksOf(2), { low: 1, high: 2 });
  t.deepEqual(marksOf(4), { low: 1, high: 3 });
  t.deepEqual(marksOf(5), { low: 2, high: 4 });
  t.deepEqual(marksOf(10), { low: 4, high: 9 });
});

test('tally: distinct observers count, once each', (t) => {
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

test('tally: two refused dials are enough, or the one there is (C1.8)', (t) => {
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

test('tally: all victims go in one entry; what hangs between the marks is waited for (C1.5)', (t) => {
  const view = viewWith(5);
  const tally = tallyOf([
    [1, 5],
    [2, 5],
    [3, 5],
    [1, 4],
  ]);
  t.deepEqual(tally.verdict(view, 0), []);
  t.deepEqual(tally.verdict(view, UNSETTLED_MS - 1), []);
  repeat(
    tally,
    [
      [1, 5],
      [2, 5],
      [3, 5],
      [1, 4],
    ],
    UNSETTLED_MS - 1,
  );
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

test('tally: below the low mark time alone decides nothing, the leader must miss it, too', (t) => {
  const view = viewWith(6);
  const tally = tallyOf([[1, 5]]);
  const judge = { isOutOfReach: () => true };
  for (let now = 0; now < LONELY_ALERT_MS; now += 1000) {
    repeat(tally, [[1, 5]], now);
    t.deepEqual(tally.verdict(view, now, judge), []);
    t.deepEqual(tally.lonely(view, now), now < LONELY_PROBE_AFTER_MS ? [] : [nodeId(5)]);
  }
  t.deepEqual(tally.verdict(view, LONELY_ALERT_MS), []);
  t.is(tally.verdict(view, LONELY_ALERT_MS, judge).length, 1);
});

test('tally: what only the leader misses is one broken link, however often it looks', (t) => {
  const view = viewWith(6);
  const tally = tallyOf([[1, 5]]);
  const judge = { self: nodeId(1), isOutOfReach: () => true };
  for (let now = 0; now <= 2 * LONELY_ALERT_MS; now += 1000) {
    repeat(tally, [[1, 5]], now);
    t.deepEqual(tally.verdict(view, now, judge), []);
  }
});

test('tally: a word that is not repeated is forgotten, and time starts anew', (t) => {
  const view = viewWith(6);
  const tally = tallyOf([[1, 5]]);
  const judge = { isOutOfReach: () => true };
  t.deepEqual(tally.verdict(view, CLAIM_LIFE_MS, judge), []);
  t.is(tally.size, 0);
  repeat(tally, [[1, 5]], LONELY_ALERT_MS);
  t.deepEqual(tally.verdict(view, LONELY_ALERT_MS, judge), []);
});

test('tally: of two that accuse each other one goes, and it is not the leader', (t) => {
  for (const [leader, victim] of [
    [1, 3],
    [3, 2],
    [2, 3],
  ] as const) {
    const view = viewWith(3);
    const mutual = [
      [2, 3],
      [3, 2],
    ] as const;
    const tally = tallyOf(mutual);
    const judge = { self: nodeId(leader) };
    t.deepEqual(tally.verdict(view, 0, judge), []);
    repeat(tally, mutual, UNSETTLED_MS - 1);
    const victims = tally.verdict(view, UNSETTLED_MS, judge).map(({ node }) => Number(node));
    t.deepEqual(victims, [victim], `n${leader} leads`);
  }
});

test('tally: a node whose own links are cut takes nobody with it', (t) => {
  const view = viewWith(4);
  const claims = [
    [1, 4],
    [2, 4],
    [3, 4],
    [4, 1],
    [4, 2],
    [4, 3],
  ] as const;
  const victims = tallyOf(claims).verdict(view, 0, { self: nodeId(1) });
  t.deepEqual(
    victims.map(({ node }) => Number(node)),
    [4],
  );
});

test("tally: last words are told once, of the life that said them, and count as nobody else's", (t) => {
  const view = viewWith(5);
  const tally = new Tally();
  const claim = { incarnation, down: true, refused: true, reason: 'io: disk' };
  tally.note({ ...claim, observer: nodeId(5), subject: nodeId(5) }, 0);
  tally.note({ ...claim, observer: nodeId(4), subject: nodeId(3) }, 0);
  t.deepEqual(tally.failures(view), [{ node: nodeId(5), incarnation, reason: 'io: disk' }]);
  tally.settle(view);
  t.is(tally.failures(view).length, 1);
  const told = new Map(view.members);
  const member = view.members.get(nodeId(5));
  if (member !== undefined) told.set(nodeId(5), { ...member, failure: 'io: disk' });
  tally.settle({ ...view, members: told });
  t.is(tally.failures(view).length, 0);
});

test('tally: a word on another life does not count, and settle forgets it', (t) => {
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

test('tally: what dies in one moment goes in one entry, also when words come one by one', (t) => {
  const view = viewWith(8);
  const refused = (observer: number, subject: number, tally: Tally, now: number) => {
    const claim = { incarnation, down: true, refused: true };
    tally.note({ ...claim, observer: nodeId(observer), subject: nodeId(subject) }, now);
  };
  const tally = new Tally();
  refused(1, 7, tally, 0);
  refused(2, 7, tally, 0);
  t.deepEqual(tally.verdict(view, 0), [], 'others may follow');
  refused(1, 8, tally, 50);
  t.deepEqual(tally.verdict(view, GATHER_MS), [], 'a second word on it may follow');
  refused(2, 8, tally, 60 + GATHER_MS);
  t.deepEqual(tally.verdict(view, 60 + GATHER_MS), []);
  const victims = tally.verdict(view, 60 + 2 * GATHER_MS).map(({ node }) => Number(node));
  t.deepEqual(victims, [7, 8]);
});

test('tally: one word alone holds the others up for a moment only', (t) => {
  const view = viewWith(8);
  const tally = tallyOf([
    ...[1, 2, 3, 4, 5, 6, 8].map((observer) => [observer, 7] as const),
    [1, 8],
  ]);
  for (const now of [0, FRESH_MS - 1]) t.deepEqual(tally.verdict(view, now), []);
  const victims = tally.verdict(view, FRESH_MS).map(({ node }) => Number(node));
  t.deepEqual(victims, [7]);
});

test('tally: who died with its observers is not waited for: a doubted observer is silent for a reason', (t) => {
  const view = viewWith(12);
  const dead = [9, 10, 11, 12];
  const claims = dead.flatMap((subject) =>
    observersOf(view, nodeId(subject))
      .filter((observer) => !dead.includes(observer))
      .map((observer) => [observer, subject] as const),
  );
  const tally = tallyOf(claims);
  t.deepEqual(tally.verdict(view, 0), []);
  const victims = tally.verdict(view, GATHER_MS).map(({ node }) => Number(node));
  t.deepEqual(victims, dead);
});

test('tally: who was deaf and accuses everybody takes nobody with him; a leader that misses them, too, is believed', (t) => {
  const view = viewWith(4);
  const claims = [
    [1, 2],
    [1, 3],
    [1, 4],
  ] as const;
  const self = nodeId(3);
  t.deepEqual(tallyOf(claims).verdict(view, 0, { self, isOutOfReach: () => false }), []);
  const seenByLeader = tallyOf(claims).verdict(view, 0, {
    self: nodeId(1),
    isOutOfReach: (node) => node !== nodeId(1),
  });
  t.deepEqual(
    seenByLeader.map(({ node }) => node),
    [2, 3, 4].map(nodeId),
  );
});
