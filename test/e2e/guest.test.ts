// Method: a real Linux guest under QEMU makes a file system on the volume, checks it and reads it back (job `fs` of the
// guest scripts, which lie beside the project in our own checkouts). The guest is built in the cluster's directory. On a
// writeback volume all nodes are killed at once in between: what the guest had synced is there.

import type { ExecutionContext } from 'ava';
import { type Cluster, startCluster } from './cluster.ts';
import { declareWithGuest as declare, guestOf } from './guest.ts';
import { withCluster } from './with-cluster.ts';

const BOOT_TIMEOUT_MS = 240_000;
const TEST_TIMEOUT_MS = 8 * 60_000;
const IN_SYNC_MS = 60_000;
const OPTIONS = { nodes: 3, copies: 3, volume: 'disk:256MiB' };

/** Builds the guest; returns how to boot it on a volume of a node. */
async function bootOf(t: ExecutionContext, cluster: Cluster) {
  const guest = await guestOf(cluster);
  return async (node: number, volume: string, job: string): Promise<void> => {
    const how = { node, volume, timeoutMs: BOOT_TIMEOUT_MS, words: ['--job', job] };
    const { code, stdout, stderr } = await guest.boot(how);
    t.is(code, 0, `${job}: ${stdout}\n${stderr}`);
  };
}

declare(
  'a guest makes a file system on the volume and finds its files again',
  withCluster(OPTIONS, async (t, cluster) => {
    const boot = await bootOf(t, cluster);
    await boot(1, 'disk', 'fs');
    await boot(2, 'disk', 'verify');
  }),
);

declare(
  'a guest makes a file system on a writeback volume, all nodes are killed at once, its files are there',
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    let cluster = await startCluster(OPTIONS);
    try {
      const made = await cluster.dog('vdi', 'create', 'cache', '256M', '--mode', 'writeback');
      t.is(made.code, 0, made.stderr);
      await (await bootOf(t, cluster))(1, 'cache', 'fs');
      await cluster.kill([1, 2, 3]);
      await cluster.down();
      cluster = await startCluster({ ...OPTIONS, dir: cluster.dir });
      await cluster.settled(IN_SYNC_MS);
      await (await bootOf(t, cluster))(3, 'cache', 'verify');
    } finally {
      await cluster.stop();
    }
  },
);
