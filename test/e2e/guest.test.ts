// Method: a real Linux guest under QEMU makes a file system on the volume, checks it and reads it back (job `fs` of the
// guest scripts, which lie beside the project in our own checkouts). The guest is built in the cluster's directory. On a
// writeback volume all nodes are killed at once in between: what the guest had synced is there.

import fs from 'node:fs';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { declareUnless, succeed, toolOrSkip } from '../nbd/tools.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { withCluster } from './with-cluster.ts';

const SCRIPTS = path.join(import.meta.dirname, '..', '..', '..', 'shared', 'guest');
const BUILD_TIMEOUT_MS = 180_000;
const BOOT_TIMEOUT_MS = 240_000;
const TEST_TIMEOUT_MS = 8 * 60_000;
const IN_SYNC_MS = 60_000;
const OPTIONS = { nodes: 3, copies: 3, volume: 'disk:256MiB' };

const isThere = fs.existsSync(path.join(SCRIPTS, 'boot.sh'));
/** Absent scripts are no fault of the machine, so this skip is expected in CI, too. */
const declare = isThere
  ? toolOrSkip('qemu-system-x86_64', 'busybox', 'cpio')
  : declareUnless(`no guest scripts in ${SCRIPTS}`, 'expected');

/** Builds the guest; returns how to boot it on a volume of a node. */
async function guestOf(t: ExecutionContext, cluster: Cluster) {
  const guest = path.join(cluster.dir, 'guest');
  const build = [path.join(SCRIPTS, 'make-initramfs.sh'), '--out', guest];
  await succeed(t, 'bash', build, { timeoutMs: BUILD_TIMEOUT_MS });
  return async (node: number, volume: string, job: string): Promise<void> => {
    const disk = `unix:${cluster.node(node).nbd.unix}:${volume}`;
    const boot = [path.join(SCRIPTS, 'boot.sh'), '--guest', guest, '--disk', disk, '--job', job];
    await succeed(t, 'bash', boot, { timeoutMs: BOOT_TIMEOUT_MS });
  };
}

declare(
  'a guest makes a file system on the volume and finds its files again',
  withCluster(OPTIONS, async (t, cluster) => {
    const boot = await guestOf(t, cluster);
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
      await (await guestOf(t, cluster))(1, 'cache', 'fs');
      await cluster.kill([1, 2, 3]);
      await cluster.down();
      cluster = await startCluster({ ...OPTIONS, dir: cluster.dir });
      await cluster.settled(IN_SYNC_MS);
      await (await guestOf(t, cluster))(3, 'cache', 'verify');
    } finally {
      await cluster.stop();
    }
  },
);
