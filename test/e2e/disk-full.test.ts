// Method: data directories on a small tmpfs fill up under a writer with a memory. One full disk of three: the guest sees
// no error, the node restarts while it is full, and after the file system grew it is in sync again. All three full: the
// guest gets ENOSPC and nothing else, nothing acknowledged is lost, and with more space writing goes on.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { declareUnless } from '../nbd/tools.ts';
import { type Cluster, startCluster, until } from './cluster.ts';
import { missingMounts, Tmpfs } from './disks.ts';
import { TaggedWriter } from './tagged-writer.ts';

const TEST_TIMEOUT_MS = 6 * 60_000;
/** A journal of 64 MiB, the reserve of a full node, and about 70 MiB of data: half of the volume. */
const SMALL = '160m';
const LARGE = '512m';
const VOLUME = 'disk:128MiB';
const SHAPE = { volume: 'disk', blocks: 16_384, blockBytes: 8192, inFlight: 16 };
const WRITES_WHILE_FULL = 2000;
const ENOSPC = 28;
const FULL_MS = 60_000;
const IN_SYNC_MS = 120_000;

async function healthText(cluster: Cluster): Promise<string> {
  const { stdout, stderr } = await cluster.dog('cluster', 'health');
  return stdout + stderr;
}

/** A cluster whose nodes of these numbers lie on a small tmpfs each; all of it is removed in the end. */
function withSmallDisks(
  which: readonly number[],
  body: (t: ExecutionContext, cluster: Cluster, disks: readonly Tmpfs[]) => Promise<void>,
): (t: ExecutionContext) => Promise<void> {
  return async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-e2e-'));
    const disks: Tmpfs[] = [];
    let cluster: Cluster | undefined;
    try {
      for (const n of which) disks.push(new Tmpfs(path.join(dir, `n${n}`), SMALL));
      cluster = await startCluster({ nodes: 3, copies: 3, volume: VOLUME, dir });
      await body(t, cluster, disks);
    } catch (error) {
      t.log(cluster?.logs());
      throw error;
    } finally {
      await cluster?.down();
      for (const disk of disks) disk.remove();
      fs.rmSync(dir, { recursive: true, force: true });
    }
  };
}

const declare = declareUnless(missingMounts(), 'expected');

declare(
  'as root: one full disk of three: the guest goes on, the node restarts while full, space brings it back in sync',
  withSmallDisks([3], async (t, cluster, [disk]) => {
    const writer = new TaggedWriter({ socket: cluster.node(1).nbd.unix, ...SHAPE });
    await writer.start();
    const isFull = async () => /DISK_FULL.*n3/.test(await healthText(cluster));
    await until('node 3 is called full', isFull, FULL_MS);
    t.log(`full at ${(100 * (disk?.usedShare ?? 0)).toFixed(0)} % of its file system`);
    await writer.acknowledgements(writer.acknowledgedCount + WRITES_WHILE_FULL);
    t.true((disk?.usedShare ?? 1) < 0.95, 'what the node needs for itself is left');
    await until(
      'partitions wait for room',
      async () => /RECOVERY_NO_SPACE.*n3/.test(await healthText(cluster)),
      FULL_MS,
    );

    await cluster.kill([3]);
    await cluster.start(3);
    await writer.acknowledgements(writer.acknowledgedCount + WRITES_WHILE_FULL);
    await writer.stop();
    t.deepEqual(writer.errors, [], 'the guest saw nothing of it');
    await writer.verify(t, cluster.node(3).nbd.unix);

    disk?.resize(LARGE);
    await cluster.settled(IN_SYNC_MS);
    t.notRegex(await healthText(cluster), /DISK_|NO_SPACE/);
    await writer.verify(t, cluster.node(3).nbd.unix);
  }),
);

declare(
  'as root: all disks full: the guest gets ENOSPC, nothing acknowledged is lost, with space it goes on',
  withSmallDisks([1, 2, 3], async (t, cluster, disks) => {
    const writer = new TaggedWriter({ socket: cluster.node(1).nbd.unix, ...SHAPE });
    await writer.start();
    // Each lane of the writer ends with its first error.
    await writer.acknowledgements(Number.MAX_SAFE_INTEGER);
    t.true(writer.errors.length > 0);
    t.deepEqual([...new Set(writer.errors)], [ENOSPC]);
    t.log(`${writer.acknowledgedCount} writes before the disks were full`);
    await cluster.kill([2]);
    await cluster.start(2);

    for (const disk of disks) disk.resize(LARGE);
    await cluster.settled(IN_SYNC_MS);
    await writer.verify(t, cluster.node(1).nbd.unix);
    const refused = writer.errors.length;
    await writer.start();
    await writer.acknowledgements(writer.acknowledgedCount + WRITES_WHILE_FULL);
    await writer.stop();
    t.is(writer.errors.length, refused, 'space is back, and no error is left');
    for (const n of [2, 3]) await writer.verify(t, cluster.node(n).nbd.unix);
  }),
);
