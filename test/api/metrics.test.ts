// GET /metrics over a real socket: what a collector reads of the node, of its cluster and of its recovery.

import test, { type ExecutionContext } from 'ava';
import type { NodeRecovery, RecoveryTask } from '../../src/core/recovery-progress.ts';
import { clusterOf, nodeId } from '../fixtures.ts';
import { FakeNode } from './fake-node.ts';
import { metricsOf } from './metrics-of.ts';
import { served } from './served.ts';

const TASK: RecoveryTask = {
  ...{ kind: 'repair', startedMs: 1000, endedMs: 0, isHeld: false, isCounted: true },
  ...{ partitions: 10, partitionsDone: 3, partitionsGone: 1, totalBytes: 4096, doneBytes: 1024 },
  ...{ bytesPerSecond: 512, leftMs: 6000, failures: [], incomplete: 2 },
};
const OWN: NodeRecovery = {
  ...{ node: nodeId(1), isHeld: false, rateLimit: 1 << 20, incoming: 2, outgoing: 4 },
  ...{ objectsCopied: 7, bytesCopied: 99 },
  tasks: [TASK, { ...TASK, kind: 'move', endedMs: 2000 }],
};

async function withNode(t: ExecutionContext, node: FakeNode) {
  node.recoveriesNow = [OWN];
  const { socketPath } = await served(t, node);
  return () => metricsOf({ socketPath });
}

test('metrics: how late the event loop was at worst since it was asked last, and what the process holds', async (t) => {
  const metrics = await withNode(t, new FakeNode(clusterOf({ nodes: 3 }), 1));
  const STALL_MS = 200;
  await metrics();
  const until = performance.now() + STALL_MS;
  while (performance.now() < until);
  const { values } = await metrics();
  t.true((values.get('nodejs_eventloop_lag_max_seconds') ?? 0) >= (STALL_MS - 40) / 1000);
  t.true((values.get('process_resident_memory_bytes') ?? 0) > 1 << 20);
  t.true((values.get('process_open_fds') ?? 0) > 0);
});

test('metrics: of the cluster, the disk, the counters, in the format that collectors read', async (t) => {
  const node = new FakeNode(clusterOf({ nodes: 3 }), 1);
  await node.createVolume({ name: 'a"b', sizeBytes: 4096 });
  const metrics = await withNode(t, node);
  const { type, values } = await metrics();
  t.regex(type, /^text\/plain; version=0\.0\.4/);
  t.is(values.get('sheep_up'), 1);
  t.is(values.get('sheep_nodes{state="up"}'), 3);
  t.is(values.get('sheep_leader'), 1);
  t.is(values.get('sheep_partitions{state="total"}'), 8);
  t.is(values.get('sheep_volumes{state="free"}'), 1);
  t.is(values.get('sheep_volume_size_bytes{volume="a\\"b"}'), 4096);
  t.is(values.get('sheep_events_total{event="flush.asked"}'), 12);
  t.is(values.get('sheep_epoch'), node.view()?.epoch);
});

test('metrics: of recovery, what is under way, in sum of its kind', async (t) => {
  const metrics = await withNode(t, new FakeNode(clusterOf({ nodes: 3 }), 1));
  const { values } = await metrics();
  const of = (kind: string, state: string) =>
    values.get(`sheep_task_bytes{kind="${kind}",state="${state}"}`);
  t.deepEqual([of('repair', 'total'), of('repair', 'done')], [4096, 1024]);
  t.deepEqual([of('move', 'total'), of('move', 'done')], [0, 0], 'it ended');
  t.is(values.get('sheep_task_partitions{kind="repair",state="done"}'), 4);
  t.is(values.get('sheep_task_bytes_per_second{kind="repair"}'), 512);
  t.is(values.get('sheep_task_left_seconds{kind="repair"}'), 6);
  t.is(values.get('sheep_task_incomplete_objects{kind="repair"}'), 2);
  t.is(values.get('sheep_recovery_bytes_total'), 99);
  t.is(values.get('sheep_recovery_rate_limit_bytes'), 1 << 20);
  t.is(values.get('sheep_recovery_held'), 0);
});

test('metrics: health names the check that is on', async (t) => {
  const node = new FakeNode(clusterOf({ nodes: 3 }), 1);
  node.slowNodes = [nodeId(2)];
  const metrics = await withNode(t, node);
  const { values } = await metrics();
  const on = [...values.keys()].filter((name) => name.startsWith('sheep_health{'));
  t.true(
    on.some((name) => name.includes('code="NODE_SLOW"')),
    on.join(),
  );
});

test('metrics: a blank node has some, too', async (t) => {
  const metrics = await withNode(t, new FakeNode());
  const { values } = await metrics();
  t.is(values.get('sheep_up'), 0);
  t.false(values.has('sheep_epoch'));
});
