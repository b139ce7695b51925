// What actors ask of a node, answered from its view: whom it reports, and which voters a leader proposes.

import test from 'ava';
import type { Agreement } from '../src/agreement/agreement.ts';
import type { Prober } from '../src/agreement/prober.ts';
import { type ClusterState, viewOf } from '../src/core/cluster-state.ts';
import type { Incarnation, NodeId } from '../src/core/ids.ts';
import { DownTimes } from '../src/core/life-plan.ts';
import type { EntryBody } from '../src/core/log-entry.ts';
import { CANDIDATE_LAG_ENTRIES, replicatorDuties, voterDuties } from '../src/duties.ts';
import { ADOPT_EVERY_MS, membershipDuties, ringDuties, Watch } from '../src/watch-duties.ts';
import type { Alert } from '../src/wire/messages.ts';
import { FakeClock } from './datapath/fake-clock.ts';
import { clusterOf, entryBodies, type StateCell } from './fixtures.ts';

function world(cell: StateCell | undefined, self = 1) {
  const alerts: Alert[] = [];
  const proposed: EntryBody[] = [];
  const probed: NodeId[][] = [];
  const rumours: boolean[] = [];
  const state = {
    isDistrustful: false,
    isLost: false,
    isAnnounced: true,
    lives: new Map<number, number>(),
    commit: 100,
    match: new Map<number, number>(),
    code: 'ok',
  };
  const learners: number[][] = [];
  const agreement = {
    alert: async (alert: Alert, isRumour: boolean) => {
      alerts.push(alert);
      rumours.push(isRumour);
    },
    propose: async (body: EntryBody) => {
      proposed.push(body);
      return { code: state.code, value: 1, detail: '' };
    },
    driver: {
      get commit() {
        return state.commit;
      },
      matchOf: (node: number) => state.match.get(node) ?? 0,
      setLearners: (nodes: number[]) => learners.push(nodes),
    },
  } as unknown as Agreement;
  const downTimes = new DownTimes();
  const context = {
    self: self as NodeId,
    clock: new FakeClock(),
    trace: { event: () => {}, warn: () => {}, count: () => {} },
    agreement,
    prober: {
      isDistrustful: () => state.isDistrustful,
      probe: (nodes: readonly NodeId[]) => probed.push([...nodes]),
      isLost: () => state.isLost,
    } as unknown as Prober,
    downTimes,
    loads: { stepOf: () => 0 },
    slowNodes: () => [],
    isAnnounced: () => state.isAnnounced,
    lifeOf: (node: NodeId) => state.lives.get(node) as Incarnation | undefined,
    view: () => (cell === undefined ? undefined : viewOf(cell.state as ClusterState)),
  };
  return { context, alerts, rumours, probed, proposed, state, learners };
}

const watchOf = (context: ReturnType<typeof world>['context'], onLater = () => {}) => {
  const prober = { observe: () => {} } as unknown as Prober;
  return new Watch({
    self: context.self,
    clock: context.clock,
    view: context.view,
    prober,
    onLater,
  });
};

const cluster = (nodes: number) => clusterOf({ nodes, partitions: 8, copies: Math.min(3, nodes) });
const word = (down: boolean, refused: boolean) => ({
  subject: 2 as NodeId,
  incarnation: 1 as Incarnation,
  down,
  refused,
  repeats: 0,
});

test('duties: an observer that was late itself accuses nobody (C1.3), but takes its word back', (t) => {
  const { context, alerts, state } = world(cluster(3));
  const { report } = membershipDuties(context, watchOf(context));
  report(word(true, false));
  t.is(alerts.length, 1);
  state.isDistrustful = true;
  report(word(true, false));
  t.is(alerts.length, 1);
  report(word(false, false));
  report(word(true, true));
  t.deepEqual(
    alerts.slice(1).map(({ down, refused }) => [down, refused]),
    [
      [false, false],
      [true, true],
    ],
  );
});

test('duties: without a view nobody is observed, judged or proposed', (t) => {
  const { context } = world(undefined);
  const watch = watchOf(context);
  watch.noteMembers();
  t.deepEqual(membershipDuties(context, watch).subjects(), []);
  t.false(ringDuties(context).verdictReady());
  t.false(replicatorDuties(context).changeDue());
  t.false(voterDuties(context).votersDue());
});

test('duties: two words make one verdict on one life, at the epoch that was judged (C1.5, C1.6)', async (t) => {
  const cell = cluster(3);
  const { context, proposed } = world(cell);
  const ring = ringDuties(context);
  ring.tally(1 as NodeId, { ...word(true, false), subject: 3 as NodeId });
  t.false(ring.verdictReady());
  ring.tally(2 as NodeId, { ...word(true, false), subject: 3 as NodeId });
  t.true(ring.verdictReady());
  await ring.proposeDown();
  t.deepEqual(proposed, [
    { ...entryBodies.nodesDown({ nodes: [[3, 1]], baseEpoch: cell.state.epoch }) },
  ]);
  cell.apply(proposed[0] as EntryBody);
  ring.settle();
  t.false(ring.verdictReady());
});

test('duties: who answered in a life that the map does not know goes with the victims, and a leader that is not announced waits (R8)', async (t) => {
  const { context, proposed, state } = world(cluster(4));
  const ring = ringDuties(context);
  for (const observer of [1, 2, 4]) {
    ring.tally(observer as NodeId, { ...word(true, false), subject: 3 as NodeId });
  }
  state.lives.set(2, 1).set(4, 2);
  state.isAnnounced = false;
  t.false(ring.verdictReady());
  state.isAnnounced = true;
  t.true(ring.verdictReady());
  await ring.proposeDown();
  t.like(proposed[0], {
    nodes: [
      { node: 3, incarnation: 1 },
      { node: 4, incarnation: 1 },
    ],
  });
});

test('duties: one voter becomes three once two members are up and have caught up (C2.4)', async (t) => {
  const two = world(cluster(2));
  two.state.match.set(2, two.state.commit);
  const pair = voterDuties(two.context);
  t.true(pair.votersDue(), 'two nodes have two voters');
  await pair.changeVoters();
  t.deepEqual(two.proposed, [{ type: 'votersJoint', old: [1], next: [1, 2] }] as never);
  const { context, state, learners, proposed } = world(cluster(4));
  const voter = voterDuties(context);
  t.false(voter.votersDue());
  t.deepEqual(learners.at(-1), [2, 3], 'they are fed from now on');
  state.match.set(2, state.commit).set(3, state.commit - CANDIDATE_LAG_ENTRIES - 1);
  t.false(voter.votersDue());
  state.match.set(3, state.commit - CANDIDATE_LAG_ENTRIES);
  t.true(voter.votersDue());
  await voter.changeVoters();
  t.deepEqual(proposed, [{ type: 'votersJoint', old: [1], next: [1, 2, 3] }] as never);
});

test('duties: voters are spread over zones first, and a node that is down is no candidate', (t) => {
  const cell = clusterOf({ nodes: 1, partitions: 1, copies: 1 });
  for (const [peer, zone] of [
    [2, 'z1'],
    [3, 'z1'],
    [4, 'z2'],
    [5, 'z3'],
  ] as const) {
    cell.apply(entryBodies.nodeJoin({ peer, zone }));
    cell.apply(entryBodies.nodeUp({ node: peer, incarnation: 1 }));
  }
  const { context, learners } = world(cell);
  voterDuties(context).votersDue();
  t.deepEqual(learners.at(-1), [2, 3, 4, 5]);
  cell.apply(entryBodies.nodesDown({ nodes: [[5, 1]], baseEpoch: cell.state.epoch }));
  voterDuties(context).votersDue();
  t.deepEqual(learners.at(-1), [2, 4], 'one of each zone');
});

test('duties: a plan of which nothing was applied is a failure, so that the leader pauses', async (t) => {
  const cell = clusterOf({ nodes: 3, partitions: 8, settled: false });
  const { context, state, proposed } = world(cell);
  const replicator = replicatorDuties(context);
  t.true(replicator.changeDue());
  await replicator.proposeChanges();
  t.true(proposed.length > 0);
  state.code = 'stale';
  await t.throwsAsync(replicator.proposeChanges());
});

test('duties: a cluster at rest asks for nothing', (t) => {
  const { context } = world(cluster(3));
  t.false(replicatorDuties(context).changeDue());
});

test('duties: a leader that one node accuses does not ask itself whether it is there (C1.5)', (t) => {
  const { context, probed, state } = world(cluster(6), 1);
  const ring = ringDuties(context);
  state.isLost = true;
  for (let seconds = 0; seconds < 20; seconds += 1) {
    ring.tally(3 as NodeId, { ...word(true, false), subject: 1 as NodeId });
    context.clock.run(1000);
    t.false(ring.verdictReady());
  }
  t.deepEqual(probed.at(-1), []);
});

test('duties: a suspicion is a rumour only when the map does not answer it, and seldom then (C1.4)', (t) => {
  const { context, rumours } = world(cluster(3));
  const { report } = membershipDuties(context, watchOf(context));
  for (let repeats = 0; repeats < 70; repeats += 1) report({ ...word(true, false), repeats });
  const told = rumours.flatMap((isRumour, at) => (isRumour ? [at] : []));
  t.deepEqual(told, [2, 4, 8, 16, 32, 64]);
});

test('duties: the leader tries to reach whom few accuse, and gives up who does not answer it (C1.5)', async (t) => {
  const cell = cluster(6);
  const { context, proposed, probed, state } = world(cell);
  const ring = ringDuties(context);
  const seconds = (count: number) => {
    for (let i = 0; i < count; i += 1) {
      ring.tally(2 as NodeId, { ...word(true, false), subject: 6 as NodeId });
      context.clock.run(1000);
      ring.verdictReady();
    }
  };
  seconds(3);
  t.deepEqual(probed.at(-1), []);
  seconds(4);
  t.deepEqual(probed.at(-1), [6 as NodeId]);
  seconds(20);
  t.false(ring.verdictReady(), 'it answers the leader');
  state.isLost = true;
  t.true(ring.verdictReady());
  await ring.proposeDown();
  t.is(proposed.length, 1);
  ring.rest();
  t.deepEqual(probed.at(-1), []);
});

test('duties: in a large cluster new rings are adopted once a second, in a small one at once', (t) => {
  for (const [nodes, isSmall] of [
    [6, true],
    [40, false],
  ] as const) {
    const cell = cluster(nodes);
    const { context } = world(cell);
    let later = 0;
    const watch = watchOf(context, () => {
      later += 1;
    });
    watch.noteMembers();
    const first = watch.subjects.map(({ node }) => Number(node));
    t.true(first.length >= 5);
    const victim = first[0] as number;
    cell.apply(entryBodies.nodesDown({ nodes: [[victim, 1]], baseEpoch: cell.state.epoch }));
    watch.noteMembers();
    const now = watch.subjects.map(({ node }) => Number(node));
    t.false(now.includes(victim), 'who is down is no subject, whatever was adopted');
    t.is(later, 0);
    context.clock.run(ADOPT_EVERY_MS);
    t.is(later, isSmall ? 0 : 1);
    const then = watch.subjects.map(({ node }) => Number(node));
    if (isSmall) t.deepEqual(then, now);
    else t.notDeepEqual(then, now);
  }
});
