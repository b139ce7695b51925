// What the leader decides as time passes, and the countdown that people see.

import test from 'ava';
import { maintenanceKey, OUT_AFTER_KEY, OUT_AFTER_MS } from '../../src/core/cluster-settings.ts';
import { viewOf } from '../../src/core/cluster-state.ts';
import { formatDuration, parseDuration } from '../../src/core/duration.ts';
import {
  DownTimes,
  outInMs,
  partitionsOf,
  planLives,
  whatKeeps,
} from '../../src/core/life-plan.ts';
import type { Member } from '../../src/core/view.ts';
import { clusterOf, entryBodies, nodeId, nodeIds, type StateCell, settle } from '../fixtures.ts';

function down(cell: StateCell, node: number): void {
  const incarnation = cell.state.members.get(nodeId(node))?.incarnation ?? 0;
  cell.apply(entryBodies.nodesDown({ nodes: [[node, incarnation]], baseEpoch: cell.state.epoch }));
}

const at = (now: number, dateMs = now) => ({ now, dateMs });
const memberOf = (cell: StateCell, node: number) => cell.state.members.get(nodeId(node)) as Member;

test('lives: down for ten minutes is out, and not a moment earlier; a return starts anew', (t) => {
  const cell = clusterOf({ nodes: 4, copies: 3 });
  const times = new DownTimes();
  down(cell, 4);
  times.note(viewOf(cell.state), 1000);
  const plan = (now: number) => planLives(viewOf(cell.state), times, at(now));
  t.deepEqual(plan(1000 + OUT_AFTER_MS - 1), []);
  t.is(outInMs(viewOf(cell.state), memberOf(cell, 4), times, at(1000 + OUT_AFTER_MS - 1)), 1);
  t.like(plan(1000 + OUT_AFTER_MS)[0], { type: 'nodeOut', node: 4, reason: 'auto' });
  cell.apply(entryBodies.nodeUp({ node: 4, incarnation: 2 }));
  times.note(viewOf(cell.state), 2000);
  t.is(times.downMs(nodeId(4), 3000), undefined);
  down(cell, 4);
  times.note(viewOf(cell.state), 5000);
  t.deepEqual(plan(1000 + OUT_AFTER_MS), [], 'another life, another wait');
});

test('lives: a setting shortens the wait, or ends it; maintenance puts it off and is cleared when over', (t) => {
  const cell = clusterOf({ nodes: 4, copies: 3 });
  const times = new DownTimes();
  down(cell, 4);
  times.note(viewOf(cell.state), 0);
  const set = (key: string, value: string) => cell.apply({ type: 'setting', key, value });
  const plan = (now: number) => planLives(viewOf(cell.state), times, at(now));
  set(OUT_AFTER_KEY, '5000');
  t.is(plan(5000).length, 1);
  set(OUT_AFTER_KEY, 'never');
  t.deepEqual(plan(1e12), []);
  t.is(outInMs(viewOf(cell.state), memberOf(cell, 4), times, at(0)), undefined);
  set(OUT_AFTER_KEY, '5000');
  set(maintenanceKey(nodeId(4)), '60000');
  t.deepEqual(plan(59_999), []);
  t.is(outInMs(viewOf(cell.state), memberOf(cell, 4), times, at(10_000)), 50_000);
  t.deepEqual(
    plan(60_000).map(({ type }) => type),
    ['nodeOut', 'setting'],
  );
});

test('lives: where nobody could take its copies a member stays down', (t) => {
  const cell = clusterOf({ nodes: 3, copies: 3 });
  const times = new DownTimes();
  down(cell, 3);
  times.note(viewOf(cell.state), 0);
  t.deepEqual(planLives(viewOf(cell.state), times, at(1e12)), []);
});

test('lives: a drained member is gone once it votes no more and is in no set', (t) => {
  const cell = clusterOf({ nodes: 4, copies: 2 });
  const times = new DownTimes();
  const plan = () => planLives(viewOf(cell.state), times, at(0));
  const waits = () => whatKeeps(viewOf(cell.state), memberOf(cell, 2));
  const voters = { old: nodeIds(1), next: nodeIds(1, 2, 3) };
  cell.apply({ type: 'votersJoint', ...voters });
  cell.apply({ type: 'votersFinal', ...voters });
  cell.apply({ type: 'nodeLeave', node: nodeId(2) });
  t.is(waits().length, 2);
  t.regex(waits()[0] ?? '', /another voter/);
  t.regex(waits()[1] ?? '', /the successors of \d+ partitions/);
  settle(cell);
  t.is(partitionsOf(viewOf(cell.state), nodeId(2)), 0);
  t.deepEqual(plan(), [], 'it votes still');
  const back = { old: nodeIds(1, 2, 3), next: nodeIds(1, 3, 4) };
  cell.apply({ type: 'votersJoint', ...back });
  cell.apply({ type: 'votersFinal', ...back });
  t.deepEqual(plan(), [{ type: 'nodeGone', node: nodeId(2) }]);
});

test('lives: times are written as people do', (t) => {
  t.deepEqual(
    ['250ms', '30s', '10m', '2h', '7d'].map(parseDuration),
    [250, 30_000, 600_000, 7_200_000, 604_800_000],
  );
  for (const bad of ['', '10', 'm', '1.5h', '-1s', '10 m', '9999999999d']) {
    t.throws(() => parseDuration(bad), { message: /is no time/ }, bad);
  }
  t.deepEqual([0, 999, 61_000, 3_600_000, 90_061_000].map(formatDuration), [
    '0 s',
    '1 s',
    '1 min 1 s',
    '1 h',
    '1 d 1 h',
  ]);
});
