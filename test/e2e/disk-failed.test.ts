// Method: a writer with a memory works through node 1 while the disk of node 3 fails under it: its data directory is
// moved away, or its file system (ext4 on a loop device) turns read-only. The guest must see no error, every other node
// must know the cause, a start on the bad disk must be refused; when the disk is back and the node started, all is in
// sync and nothing is left over.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { ask, parseTarget } from '../../src/cli/client.ts';
import type { StatusData } from '../../src/core/admin-shapes.ts';
import { declareUnless } from '../nbd/tools.ts';
import { type Cluster, startCluster, until } from './cluster.ts';
import { LoopDisk, missingLoops } from './disks.ts';
import { TaggedWriter } from './tagged-writer.ts';

const TEST_TIMEOUT_MS = 5 * 60_000;
const WRITES_BEFORE = 1500;
const WRITES_BESIDE = 1500;
/** From the fault to the end of the process, and to the cause on the other nodes. */
const ENDED_MS = 15_000;
const TOLD_MS = 10_000;
const IN_SYNC_MS = 60_000;
const THREE = { nodes: 3, copies: 3, volume: 'disk:64MiB' };
const SHAPE = { volume: 'disk', blocks: 4096, blockBytes: 8192, inFlight: 16 };

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

interface Broken {
  /** Node 3 can not be started like this. */
  readonly refuses: (t: ExecutionContext, cluster: Cluster) => Promise<void>;
  readonly repair: () => void;
}

async function healthText(cluster: Cluster): Promise<string> {
  const { stdout, stderr } = await cluster.dog('cluster', 'health');
  return stdout + stderr;
}

async function objectsOf(cluster: Cluster, n: number): Promise<number> {
  const { data } = await ask<StatusData>(parseTarget(cluster.node(n).api), '/v1/status');
  return data.objects;
}

async function story(
  t: ExecutionContext,
  cluster: Cluster,
  fault: { readonly hurt: () => Broken; readonly cause: RegExp },
): Promise<void> {
  const writer = new TaggedWriter({ socket: cluster.node(1).nbd.unix, ...SHAPE });
  await writer.start();
  await writer.acknowledgements(WRITES_BEFORE);
  const { pid, dir } = cluster.node(3);
  const since = performance.now();
  const broken = fault.hurt();
  await until('node 3 has ended', () => Promise.resolve(!isAlive(pid)), ENDED_MS);
  t.log(`ended after ${(performance.now() - since).toFixed(0)} ms`);
  const isTold = async () => fault.cause.test(await healthText(cluster));
  await until('health names node and cause', isTold, TOLD_MS);
  t.log(
    (await healthText(cluster))
      .trim()
      .split('\n')
      .find((line) => /DISK_FAILED/.test(line)),
  );

  await writer.acknowledgements(writer.acknowledgedCount + WRITES_BESIDE);
  await broken.refuses(t, cluster);
  t.true(await isTold(), 'until it is up again');
  broken.repair();
  await cluster.start(3);
  await writer.stop();
  t.deepEqual(writer.errors, [], 'the guest went on');
  await cluster.settled(IN_SYNC_MS);
  t.notRegex(await healthText(cluster), /DISK_FAILED/);
  await writer.verify(t, cluster.node(3).nbd.unix);
  const counts = await Promise.all([1, 2, 3].map((n) => objectsOf(cluster, n)));
  t.deepEqual(counts, [counts[0], counts[0], counts[0]], 'three copies of everything, no more');
  t.deepEqual(fs.readdirSync(path.join(dir, 'incoming')), []);
}

async function withFault(
  t: ExecutionContext,
  dir: string,
  fault: Parameters<typeof story>[2],
): Promise<void> {
  const cluster = await startCluster({ ...THREE, dir });
  try {
    await story(t, cluster, fault);
  } catch (error) {
    t.log(cluster.logs());
    throw error;
  } finally {
    await cluster.down();
  }
}

test.serial(
  'a data directory moved away under load: cause told, guest goes on, back in sync',
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-e2e-'));
    const data = path.join(dir, 'n3');
    const hurt = (): Broken => {
      fs.renameSync(data, `${data}.away`);
      return {
        refuses: async () => {},
        repair: () => fs.renameSync(`${data}.away`, data),
      };
    };
    try {
      await withFault(t, dir, { hurt, cause: /n3.*moved or removed/ });
    } finally {
      fs.rmSync(dir, { recursive: true, force: true });
    }
  },
);

const missing = missingLoops();
const declare = declareUnless(missing, 'expected');

declare(
  'as root: a file system that turns read-only under load: cause told, guest goes on, back in sync',
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-e2e-'));
    const disk = new LoopDisk(path.join(dir, 'n3'), path.join(dir, 'n3.img'), '256M');
    const hurt = (): Broken => {
      disk.turnReadOnly();
      return {
        refuses: async (_t, cluster) => {
          const refused = await cluster.dog('dev', 'start', '3');
          t.not(refused.code, 0, 'a disk that is still bad');
          t.regex(refused.stderr, /EROFS/);
        },
        repair: () => disk.repair(),
      };
    };
    try {
      await withFault(t, dir, { hurt, cause: /n3.*EROFS/ });
    } finally {
      disk.remove();
      fs.rmSync(dir, { recursive: true, force: true });
    }
  },
);
