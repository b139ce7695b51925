// `dog node recovery`, `dog cluster recover enable|disable` and what health says of both, against a behaving fake node
// through a real unix socket.

import test, { type ExecutionContext } from 'ava';
import type { NodeRecovery, RecoveryTask } from '../../src/core/recovery-progress.ts';
import { heldKey, RECOVERY_ENABLED_KEY } from '../../src/core/recovery-settings.ts';
import { decodeRecovery, encodeRecovery } from '../../src/wire/recovery.ts';
import { FakeNode } from '../api/fake-node.ts';
import { served } from '../api/served.ts';
import { clusterOf, nodeId, policyId } from '../fixtures.ts';
import { dog } from './dog.ts';

const TASK: RecoveryTask = {
  kind: 'repair',
  startedMs: 1_700_000_000_000,
  endedMs: 0,
  isHeld: false,
  partitions: 1024,
  partitionsDone: 412,
  partitionsGone: 0,
  isCounted: true,
  totalBytes: 4 * 2 ** 30,
  doneBytes: 4 * 2 ** 30 - 1,
  bytesPerSecond: 120 * 2 ** 20,
  leftMs: 20_000,
  failures: [],
  incomplete: 0,
};
const NODE: NodeRecovery = {
  node: nodeId(1),
  isHeld: false,
  rateLimit: 0,
  incoming: 2,
  outgoing: 4,
  objectsCopied: 7,
  bytesCopied: 1 << 20,
  tasks: [TASK],
};

async function withNode(t: ExecutionContext) {
  const node = new FakeNode(clusterOf({ nodes: 3 }), 1);
  const { socketPath } = await served(t, node);
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  return { node, dog: (...args: string[]) => dog(args, env) };
}

test('recovery: tasks, sums, rate and time left; never 100 % before the end, and who does not answer is named', async (t) => {
  const { node, dog } = await withNode(t);
  const second = {
    ...TASK,
    totalBytes: 1 << 20,
    doneBytes: 1 << 19,
    partitions: 2,
    partitionsDone: 1,
    leftMs: 5,
  };
  node.recoveriesNow = [NODE, { ...NODE, node: nodeId(2), tasks: [second] }].map((one) =>
    decodeRecovery(encodeRecovery(one)),
  );
  const { out, code } = await dog('node', 'recovery');
  t.is(code, 0);
  t.regex(out, /413 of 1026 partitions, 4\.0 GiB of 4\.0 GiB \(99 %\), 240 MiB\/s, 20 s left/);
  t.regex(out, /silent\s+n3/);
  t.regex(out, /n1\s+repair\s+running\s+412\/1024/);
  const raw = await dog('node', 'recovery', '-r');
  t.is(
    raw.out.split('\n')[1]?.split('\t').slice(0, 5).join(),
    'n2,repair,running,1/2,524288/1048576',
  );
  const json = JSON.parse((await dog('node', 'recovery', '--json')).out);
  t.like(json.data.sum, { tasks: 2, partitions: 1026, leftMs: 20_000, isCounted: true });
  t.regex((await dog('cluster', 'health')).out, /recovery: 413 of 1026 partitions/);
});

test('recovery: what failed is named, and an end with damaged objects is not called done', async (t) => {
  const { node, dog } = await withNode(t);
  const failure = {
    policy: policyId(0),
    p: 9,
    generation: 4 as never,
    index: 77,
    reason: 'no source answers',
  };
  const over = {
    ...TASK,
    endedMs: 5,
    partitionsDone: 1024,
    doneBytes: TASK.totalBytes,
    incomplete: 2,
  };
  node.recoveriesNow = [{ ...NODE, tasks: [{ ...TASK, failures: [failure] }, over] }];
  const { out } = await dog('node', 'recovery');
  t.regex(out, /n1: object 77 of partition 9 failed: no source answers/);
  t.regex(out, /1 objects FAILED so far/);
  t.regex(out, /n1\s+repair\s+incomplete\s+1024\/1024/);
});

test('recovery: a task whose partitions were all taken away is not called done', async (t) => {
  const { node, dog } = await withNode(t);
  const calledOff = { ...TASK, endedMs: 5, partitionsDone: 0, partitionsGone: 1024 };
  node.recoveriesNow = [{ ...NODE, tasks: [calledOff] }];
  t.regex((await dog('node', 'recovery')).out, /n1\s+repair\s+called off\s+1024\/1024/);
});

test('recover: disable and enable are settings of the log; health tells of the pause, and of nodes that hold', async (t) => {
  const { node, dog } = await withNode(t);
  const settings = () => node.cell.state.settings;
  t.regex((await dog('cluster', 'recover', 'disable')).out, /paused/);
  t.is(settings().get(RECOVERY_ENABLED_KEY), 'no');
  node.cell.apply({ type: 'setting', key: heldKey(nodeId(2)), value: '1' });
  const health = await dog('cluster', 'health');
  t.regex(health.out, /RECOVERY_PAUSED.*whole cluster/);
  t.regex(health.out, /dog cluster recover enable/);
  t.is(health.code, 1);
  t.regex((await dog('node', 'recovery')).out, /paused.*held on n2/);
  t.is((await dog('cluster', 'recover', 'enable')).code, 0);
  t.false(settings().has(RECOVERY_ENABLED_KEY));
  t.false(settings().has(heldKey(nodeId(2))), 'also of nodes that hold it by themselves');
});

test('recovery: a throttle is set, shown and taken back; nonsense is refused', async (t) => {
  const { node, dog } = await withNode(t);
  node.recoveriesNow = [{ ...NODE, rateLimit: 16 * 2 ** 20 }];
  t.regex((await dog('node', 'recovery', 'set-throttle', '50MiB')).out, /at most 50MiB per second/);
  t.is(node.cell.state.settings.get('recovery/rate'), String(50 * 2 ** 20));
  t.regex(
    (await dog('node', 'recovery', 'get-throttle')).out,
    /limit\s+at most 50 MiB\/s\nn1\s+16 MiB\/s now/,
  );
  t.is((await dog('node', 'recovery', 'set-throttle', '--auto')).code, 0);
  t.is((await dog('node', 'recovery', 'get-throttle', '-r')).out, 'auto\n');
  t.is((await dog('node', 'recovery', 'set-throttle')).code, 64);
  t.is((await dog('node', 'recovery', 'set-throttle', '3')).code, 64);
  t.is((await dog('cluster', 'set', 'recovery-incoming', '4')).code, 0);
  t.is((await dog('cluster', 'set', 'recovery-outgoing', '99')).code, 64);
});
