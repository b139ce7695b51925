// Method: a writeback volume of real processes. kill -9 of every node at once takes processes, not page caches, so nothing
// that was acknowledged may be lost, flushed or not; QEMU's flush and FUA and fio's fsync go through. (Power cuts are the
// simulator's business.)

import test, { type ExecutionContext } from 'ava';
import { ask, parseTarget } from '../../src/cli/client.ts';
import type { CountersData } from '../../src/core/admin-shapes.ts';
import { succeed, toolOrSkip } from '../nbd/tools.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { TaggedWriter } from './tagged-writer.ts';
import { withCluster } from './with-cluster.ts';

const OPTIONS = { nodes: 3, copies: 3, volume: 'disk:64MiB' };
const WRITES_BEFORE_THE_KILL = 5000;

async function makeCache(t: ExecutionContext, cluster: Cluster): Promise<void> {
  const made = await cluster.dog('vdi', 'create', 'cache', '64M', '--mode', 'writeback');
  t.is(made.code, 0, made.stderr);
  const shown = await cluster.dog('vdi', 'show', 'cache', '--json');
  t.is(JSON.parse(shown.stdout).data.mode, 'writeback');
}

/** Flushes that guests of a node asked for, as it counts them. */
async function flushesOf(cluster: Cluster, n: number): Promise<number> {
  const { data } = await ask<CountersData>(parseTarget(cluster.node(n).api), '/v1/counters');
  return data.find(({ name }) => name === 'flush.asked')?.value ?? 0;
}

test.serial(
  'writeback: no acknowledged write is lost when all nodes are killed at once',
  async (t) => {
    t.timeout(5 * 60_000);
    let cluster = await startCluster(OPTIONS);
    try {
      await makeCache(t, cluster);
      const socket = cluster.node(1).nbd.unix;
      const shape = { volume: 'cache', blocks: 4096, blockBytes: 8192, inFlight: 16 };
      const writer = new TaggedWriter({ socket, ...shape });
      await writer.start();
      await writer.acknowledgements(WRITES_BEFORE_THE_KILL);
      await cluster.kill([1, 2, 3]);
      await writer.stop();
      t.deepEqual(writer.errors, []);

      await cluster.down();
      cluster = await startCluster({ ...OPTIONS, dir: cluster.dir });
      await writer.verify(t, cluster.node(3).nbd.unix);
      await cluster.settled(60_000);
      await writer.verify(t, cluster.node(1).nbd.unix);
    } finally {
      await cluster.stop();
    }
  },
);

toolOrSkip('qemu-io', 'fio')(
  'writeback: flush, FUA and fsync of QEMU and fio go through, and what they wrote is there on every node',
  withCluster(OPTIONS, async (t, cluster) => {
    await makeCache(t, cluster);
    const uri = (n: number): string => cluster.uri(n).replace('///disk', '///cache');
    const steps = [
      'write -P 0xab 3M 2M',
      'flush',
      'write -f -P 0x11 4095k 3k',
      'write -z -u 4400k 200k',
      'flush',
      'read -P 0xab 3M 512k',
    ];
    await succeed(t, 'qemu-io', ['-f', 'raw', ...steps.flatMap((one) => ['-c', one]), uri(1)]);
    for (const n of [2, 3]) {
      const reads = ['read -P 0x11 4095k 3k', 'read -P 0 4400k 200k', 'read -P 0xab 4700k 64k'];
      await succeed(t, 'qemu-io', ['-f', 'raw', ...reads.flatMap((one) => ['-c', one]), uri(n)]);
    }
    const job = ['--name=load', '--ioengine=nbd', `--uri=${uri(2)}`, '--rw=randwrite'];
    const load = ['--bs=4k', '--iodepth=16', '--size=16m', '--fsync=16'];
    const verify = ['--verify=crc32c', '--verify_fatal=1', '--do_verify=1'];
    await succeed(t, 'fio', [...job, ...load, ...verify], { cwd: cluster.dir });
    const counted = (await flushesOf(cluster, 1)) + (await flushesOf(cluster, 2));
    t.true(counted >= 2 + (16 * 256) / 16, `${counted} flushes are counted`);
    await cluster.settled(60_000);
  }),
);
