// Method: a real Linux guest under QEMU (guest.ts) makes a file system on the volume, checks it and reads it back in another
// life on another node; on a writeback volume all nodes are killed at once in between. A guest that writes numbered records
// loses its node, then a copy, then dies together with its node: what it was told is written is there, through another
// node. `npm run soak:guest` has the rest of the jobs and longer stories.

import type { ExecutionContext } from 'ava';
import { type Cluster, startCluster } from './cluster.ts';
import { declareWithGuest as declare, guestOf, ledgerProblems } from './guest.ts';
import { withCluster } from './with-cluster.ts';

const LIFE_MS = 240_000;
const TEST_TIMEOUT_MS = 8 * 60_000;
const IN_SYNC_MS = 60_000;
const OPTIONS = { nodes: 3, copies: 3, volume: 'disk:256MiB' };

/** Builds the guest; returns how to have a job done on a volume of a node. */
async function jobsOn(t: ExecutionContext, cluster: Cluster) {
  const start = await guestOf(cluster);
  return async (node: number, volume: string, job: 'fs' | 'verify'): Promise<void> => {
    t.is(await start({ node, volume }, { job }).verdict(LIFE_MS), 'good', job);
  };
}

declare(
  'a guest makes a file system on the volume and finds its files again',
  withCluster(OPTIONS, async (t, cluster) => {
    const done = await jobsOn(t, cluster);
    await done(1, 'disk', 'fs');
    await done(2, 'disk', 'verify');
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
      await (await jobsOn(t, cluster))(1, 'cache', 'fs');
      await cluster.kill([1, 2, 3]);
      await cluster.down();
      cluster = await startCluster({ ...OPTIONS, dir: cluster.dir });
      await cluster.settled(IN_SYNC_MS);
      await (await jobsOn(t, cluster))(3, 'cache', 'verify');
    } finally {
      await cluster.stop();
    }
  },
);

declare(
  'the node of a guest is killed and comes back, then a copy, then guest and node together: no record is lost, none failed',
  withCluster(OPTIONS, async (t, cluster) => {
    t.timeout(TEST_TIMEOUT_MS);
    const start = await guestOf(cluster);
    const guest = start({ node: 2, volume: 'disk' }, { job: 'ledger', count: 100_000, slots: 64 });
    await guest.records(5, LIFE_MS);
    await cluster.kill([2]);
    await cluster.start(2);
    await guest.records(guest.written + 5, LIFE_MS);
    await cluster.settled(IN_SYNC_MS);
    await cluster.kill([3]);
    await guest.records(guest.written + 5, LIFE_MS);
    await cluster.start(3);
    await cluster.settled(IN_SYNC_MS);
    await guest.records(guest.written + 5, LIFE_MS);
    await Promise.all([cluster.kill([2]), guest.kill()]);
    t.log(`${guest.written} records`);
    t.deepEqual(await ledgerProblems(guest, cluster.node(1).nbd.unix, 'disk'), []);
    t.notRegex(guest.console, /I\/O error|VERDICT/);
  }),
);
