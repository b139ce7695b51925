// Method: the memory of real nodes by /proc, after their start and after a load, once things are quiet.

import fs from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { succeed, toolOrSkip } from '../nbd/tools.ts';
import { type Cluster, until } from './cluster.ts';
import { withCluster } from './with-cluster.ts';

const MAX_IDLE_RSS_KIB = 150 * 1024;
const MAX_BUSY_RSS_KIB = 300 * 1024;
const QUIET_MS = 5000;
/** Garbage of a load goes within this time. */
const SETTLE_MS = 60_000;

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

toolOrSkip('fio')(
  'a node at rest needs less than 150 MiB, before and after a load, and less than 300 MiB under it',
  withCluster({ nodes: 3, copies: 3, volume: 'disk:128MiB' }, async (t, cluster) => {
    await pause(QUIET_MS);
    await isSmall(t, cluster, 'after the start');
    const common = ['--name=load', '--ioengine=nbd', `--uri=${cluster.uri(1)}`, '--size=128m'];
    await succeed(t, 'fio', [...common, '--rw=write', '--bs=1m', '--iodepth=4']);
    const random = ['--rw=randrw', '--bs=4k', '--iodepth=64', '--time_based=1', '--runtime=8'];
    await succeed(t, 'fio', [...common, ...random]);
    for (const { name, pid } of cluster.nodes) {
      t.true(kibOf(pid, 'VmHWM') < MAX_BUSY_RSS_KIB, `${name}: ${kibOf(pid, 'VmHWM')} KiB`);
    }
    await isSmall(t, cluster, 'after a load');
  }),
);
