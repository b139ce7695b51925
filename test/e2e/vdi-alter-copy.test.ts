// One volume moves to other numbers of copies on real processes, under a writer that remembers what was acknowledged: three
// copies to one, with the gateway killed in the middle, to two, and back to three while nobody uses it. Every acknowledged
// write is there afterwards, no write was refused, and the space of the former copies comes back.

import test, { type ExecutionContext } from 'ava';
import { ask, parseTarget } from '../../src/cli/client.ts';
import type { AlterCopyData, StatusData, VolumeDetail } from '../../src/core/admin-shapes.ts';
import { MIB } from '../../src/core/units.ts';
import { type Cluster, until } from './cluster.ts';
import { TaggedWriter } from './tagged-writer.ts';
import { withCluster } from './with-cluster.ts';

const SHAPE = { volume: 'disk', blocks: 4096, blockBytes: 16384, inFlight: 16 };
const DATA_BYTES = SHAPE.blocks * SHAPE.blockBytes;
/** Slow enough that a gateway can be killed in the middle of the copy. */
const SLOW_RATE = '8MiB';
const MOVED_MS = 120_000;
const REST_MS = 60_000;
/** Tables, sums and journals beside the data, and what regions round up to. */
const SLACK_BYTES = 48 * MIB;

async function used(cluster: Cluster): Promise<number> {
  const all = await Promise.all(
    cluster.nodes.map((_, at) => {
      return ask<StatusData>(parseTarget(cluster.node(at + 1).api), '/v1/status');
    }),
  );
  return all.reduce((sum, { data }) => sum + data.space.usedBytes, 0);
}

async function show(cluster: Cluster, n: number): Promise<VolumeDetail> {
  return (await ask<VolumeDetail>(parseTarget(cluster.node(n).api), '/v1/volumes/disk')).data;
}

async function alter(cluster: Cluster, ...args: string[]): Promise<AlterCopyData> {
  const { code, stdout, stderr } = await cluster.dog(
    'vdi',
    'alter-copy',
    'disk',
    ...args,
    '--json',
  );
  if (code !== 0) throw new Error(`dog vdi alter-copy ${args.join(' ')}: ${stderr}`);
  return JSON.parse(stdout).data;
}

async function moved(cluster: Cluster, n: number, copies: number): Promise<void> {
  const isThere = async (): Promise<boolean> => {
    const { copies: now, move } = await show(cluster, n);
    return now === copies && move === null;
  };
  await until(`${copies} copies`, isThere, MOVED_MS);
}

async function spaceIsThatOf(t: ExecutionContext, cluster: Cluster, copies: number): Promise<void> {
  const most = copies * DATA_BYTES + SLACK_BYTES;
  let bytes = 0;
  const isBack = async (): Promise<boolean> => {
    bytes = await used(cluster);
    return bytes <= most;
  };
  await until(`the space of ${copies} copies`, isBack, REST_MS);
  t.true(bytes >= copies * DATA_BYTES, `${bytes} bytes for ${copies} copies`);
  t.log(`${copies} copies: ${(bytes / MIB).toFixed(0)} MiB used`);
}

function writerAt(cluster: Cluster, n: number): TaggedWriter {
  return new TaggedWriter({ socket: cluster.node(n).nbd.unix, ...SHAPE });
}

async function ended(t: ExecutionContext, writer: TaggedWriter): Promise<void> {
  await writer.stop();
  t.deepEqual(writer.errors, [], 'no write was refused');
}

/** Three to one: the gateway is killed while it copies, and another one begins anew. */
async function gatewayKilled(t: ExecutionContext, cluster: Cluster): Promise<void> {
  const first = writerAt(cluster, 1);
  await first.start();
  await first.acknowledgements(SHAPE.blocks + 100);
  await spaceIsThatOf(t, cluster, 3);
  await cluster.dog('cluster', 'set', 'recovery-rate', SLOW_RATE);
  t.is((await alter(cluster, '-c', '1', '-f')).answer, 'begun');
  t.is((await alter(cluster, '-c', '1', '-f')).answer, 'moving');
  const isCopying = async (): Promise<boolean> => {
    return ((await show(cluster, 2)).move?.doneBytes ?? 0) > 4 * MIB;
  };
  await until('it copies', isCopying, REST_MS);
  const { move } = await show(cluster, 3);
  t.is(move?.stage, 'copying');
  t.true((move?.totalBytes ?? 0) >= DATA_BYTES && (move?.doneBytes ?? 0) < DATA_BYTES);
  await cluster.kill([1]);
  await ended(t, first);
  await first.verify(t, cluster.node(2).nbd.unix);

  const second = writerAt(cluster, 2);
  await second.start();
  await cluster.start(1);
  await cluster.dog('cluster', 'set', 'recovery-rate', 'auto');
  await moved(cluster, 2, 1);
  const before = second.acknowledgedCount;
  await second.acknowledgements(before + 500);
  await ended(t, second);
  await second.verify(t, cluster.node(3).nbd.unix);
  await spaceIsThatOf(t, cluster, 1);
}

async function oneToTwo(t: ExecutionContext, cluster: Cluster): Promise<void> {
  const writer = writerAt(cluster, 3);
  await writer.start();
  await writer.acknowledgements(500);
  t.is((await alter(cluster, '-c', '2')).answer, 'begun');
  await moved(cluster, 1, 2);
  const before = writer.acknowledgedCount;
  await writer.acknowledgements(before + 500);
  await ended(t, writer);
  await writer.verify(t, cluster.node(4).nbd.unix);
  await spaceIsThatOf(t, cluster, 2);
}

/** Nobody uses it: a member takes it, and a guest that comes in the middle is not refused. */
async function withoutGuest(t: ExecutionContext, cluster: Cluster): Promise<void> {
  await cluster.dog('cluster', 'set', 'recovery-rate', SLOW_RATE);
  t.is((await alter(cluster, '-c', '3')).answer, 'begun');
  const isCopied = async (): Promise<boolean> => (await show(cluster, 1)).move?.stage === 'copying';
  await until('a member copies it', isCopied, REST_MS);
  for (const n of [1, 2, 3, 4]) {
    const writer = writerAt(cluster, n);
    await writer.start();
    await writer.acknowledgements(50);
    await ended(t, writer);
  }
  t.is((await alter(cluster, '--cancel')).answer, 'cancelled');
  t.is((await alter(cluster, '-c', '2')).answer, 'same');
  await spaceIsThatOf(t, cluster, 2);
  await cluster.dog('cluster', 'set', 'recovery-rate', 'auto');
  t.is((await alter(cluster, '-c', '3')).answer, 'begun');
  await moved(cluster, 1, 3);
  await spaceIsThatOf(t, cluster, 3);
}

/** Whoever copies it for nobody makes room for a delete, which takes both the volume and its copy. */
async function deletedInTheMiddle(t: ExecutionContext, cluster: Cluster): Promise<void> {
  await cluster.dog('cluster', 'set', 'recovery-rate', SLOW_RATE);
  t.is((await alter(cluster, '-c', '4')).answer, 'begun');
  const isCopied = async (): Promise<boolean> => {
    return ((await show(cluster, 1)).move?.doneBytes ?? 0) > 0;
  };
  await until('a member copies it', isCopied, REST_MS);
  const deleted = await cluster.dog('vdi', 'delete', 'disk');
  t.is(deleted.code, 0, deleted.stderr);
  await spaceIsThatOf(t, cluster, 0);
}

test.serial(
  'a volume moves to one, two and three copies while it is used, and nothing that was acknowledged is lost',
  withCluster({ nodes: 4, copies: 3, volume: 'disk:64MiB' }, async (t, cluster) => {
    await gatewayKilled(t, cluster);
    await oneToTwo(t, cluster);
    await withoutGuest(t, cluster);
    await deletedInTheMiddle(t, cluster);
  }),
);
