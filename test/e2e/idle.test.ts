// Method: the memory of real nodes by /proc, after their start and after a load, once things are quiet; and what an
// operation costs them in CPU (cpu-gate.ts), at rest before and warm after the load.

import fs from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { succeed, toolOrSkip } from '../nbd/tools.ts';
import { type Cluster, until } from './cluster.ts';
import { type Cost, cpuNs, type Kind, MAX_GROWTH, passGate, type Verdict } from './cpu-gate.ts';
import { NbdClient } from './nbd-client.ts';
import { withCluster } from './with-cluster.ts';

const MAX_IDLE_RSS_KIB = 150 * 1024;
const MAX_BUSY_RSS_KIB = 300 * 1024;
const QUIET_MS = 5000;
/** Garbage of a load goes within this time. */
const SETTLE_MS = 120_000;

/**
 * Units of the gate for one operation of 4 KiB, 64 in flight; a write is durable and has three copies. Between the cheapest
 * window of a host to itself (4, 26 and 12) and the first one beside a whole `npm test` (7, 35 and 14). The test tells what
 * it found.
 */
const RECORDED: Readonly<Record<Kind, Cost>> = {
  read: { gateway: 6, replica: 0.5 },
  write: { gateway: 30, replica: 14 },
};

function kibOf(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const match = new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(
    fs.readFileSync(`/proc/${pid}/status`, 'utf8'),
  );
  return Number(match?.[1]);
}

async function isSmall(t: ExecutionContext, cluster: Cluster, when: string): Promise<void> {
  const sizes = () => cluster.nodes.map(({ pid }) => kibOf(pid, 'VmRSS'));
  const fits = () => Promise.resolve(sizes().every((kib) => kib < MAX_IDLE_RSS_KIB));
  await t.notThrowsAsync(() => until(`under 150 MiB ${when}`, fits, SETTLE_MS), `${sizes()} KiB`);
  t.log(
    when,
    sizes()
      .map((kib) => `${Math.round(kib / 1024)} MiB`)
      .join(', '),
  );
}

/** CPU ns per ms of each node. */
async function idleCost(cluster: Cluster): Promise<number[]> {
  const before = cluster.nodes.map(({ pid }) => cpuNs(pid));
  const since = performance.now();
  await pause(QUIET_MS);
  const ms = performance.now() - since;
  return cluster.nodes.map(({ pid }, i) => (cpuNs(pid) - (before[i] ?? 0)) / ms);
}

async function isCheap(
  t: ExecutionContext,
  cluster: Cluster,
  idle: readonly number[],
): Promise<void> {
  const pids = cluster.nodes.map(({ pid }) => pid);
  const client = await NbdClient.connect(cluster.node(1).nbd.unix, cluster.volume);
  const text = ({ cost, unitNs, windows }: Verdict): string =>
    `${cost.gateway.toFixed(1)} units at the gateway, ${cost.replica.toFixed(1)} at a replica, ` +
    `of ${unitNs.toFixed(0)} ns, ${windows} windows`;
  for (const kind of ['read', 'write'] as const) {
    const verdict = await passGate(kind, { client, pids, idle, recorded: RECORDED });
    t.log(kind, text(verdict));
    const most = JSON.stringify(RECORDED[kind]);
    t.true(verdict.isPassed, `a ${kind}: ${text(verdict)}; at most ${MAX_GROWTH} times ${most}`);
  }
  await client.close();
}

toolOrSkip('fio')(
  'a node at rest needs less than 150 MiB, before and after a load, and less than 300 MiB under it; 4 KiB cost no more CPU than recorded',
  withCluster({ nodes: 3, copies: 3, volume: 'disk:128MiB' }, async (t, cluster) => {
    const idle = await idleCost(cluster);
    await isSmall(t, cluster, 'after the start');
    const common = ['--name=load', '--ioengine=nbd', `--uri=${cluster.uri(1)}`, '--size=128m'];
    await succeed(t, 'fio', [...common, '--rw=write', '--bs=1m', '--iodepth=4']);
    const random = ['--rw=randrw', '--bs=4k', '--iodepth=64', '--time_based=1', '--runtime=8'];
    await succeed(t, 'fio', [...common, ...random]);
    for (const { name, pid } of cluster.nodes) {
      t.true(kibOf(pid, 'VmHWM') < MAX_BUSY_RSS_KIB, `${name}: ${kibOf(pid, 'VmHWM')} KiB`);
    }
    await isSmall(t, cluster, 'after a load');
    await isCheap(t, cluster, idle);
  }),
);
