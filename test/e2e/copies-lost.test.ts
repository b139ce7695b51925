// Copies that are lost, by real processes. One node after the other for good, with recovery between: nothing is missing.
// Two of three copies at once: a new holder reads all, its writes wait, and the return of one of the two heals.

import test, { type ExecutionContext } from 'ava';
import { ask, parseTarget } from '../../src/cli/client.ts';
import type { StatusData } from '../../src/core/admin-shapes.ts';
import { MIB } from '../../src/core/units.ts';
import { type Cluster, until } from './cluster.ts';
import { NbdClient } from './nbd-client.ts';
import { withCluster } from './with-cluster.ts';

const OBJECT = 4 * MIB;
const PIECES = 16;
/** A write that takes longer waits for copies. */
const WAITS_MS = 3000;
const CLOSED_AFTER_MS = 1000;
/** Reads do not wait for copies. */
const READ_MS = 20_000;
const DOWN_MS = 60_000;
const IN_SYNC_MS = 120_000;

async function write(client: NbdClient, salt: number): Promise<void> {
  const pieces = Array.from({ length: PIECES }, (_, i) =>
    client.write(i * OBJECT, Buffer.alloc(MIB, i + salt)),
  );
  await Promise.all(pieces);
}

async function isAllThere(t: ExecutionContext, client: NbdClient, salt: number): Promise<void> {
  for (let i = 0; i < PIECES; i += 1) {
    const bytes = await client.read(i * OBJECT, MIB);
    t.true(
      bytes.every((byte) => byte === i + salt),
      `object ${i}`,
    );
  }
}

async function areDown(cluster: Cluster, count: number): Promise<void> {
  const areCalled = async () => (await cluster.info()).members.down === count;
  await until('the map calls them down', areCalled, DOWN_MS);
}

async function isWhole(cluster: Cluster): Promise<void> {
  const check = async () => {
    const { partitions } = await cluster.info();
    return partitions.settled === partitions.total && partitions.clean === partitions.total;
  };
  await until('all copies are made', check, IN_SYNC_MS);
}

test.serial(
  'two nodes are lost one after the other, with recovery between: all data is there',
  withCluster({ nodes: 5, copies: 3, volume: 'disk:64MiB' }, async (t, cluster) => {
    const guest = await NbdClient.connect(cluster.node(1).nbd.unix, cluster.volume);
    await write(guest, 1);
    for (const [at, n] of [4, 5].entries()) {
      await cluster.kill([n]);
      await areDown(cluster, 1);
      const forgotten = await cluster.dog('node', 'forget', `n${n}`, '-f');
      t.is(forgotten.code, 0, forgotten.stderr);
      await isWhole(cluster);
      t.is((await cluster.info()).members.total, 4 - at);
    }
    await guest.close();
    for (const n of [1, 2, 3]) {
      const client = await NbdClient.connect(cluster.node(n).nbd.unix, cluster.volume);
      await isAllThere(t, client, 1);
      await client.close();
      const { data } = await ask<StatusData>(parseTarget(cluster.node(n).api), '/v1/status');
      t.is(data.objects, PIECES, `node ${n} holds a copy of each`);
    }
  }),
);

test.serial(
  'two of three copies at once: a new holder reads, its writes wait, the return of one heals',
  withCluster({ nodes: 5, copies: 3, volume: 'disk:64MiB' }, async (t, cluster) => {
    const first = await NbdClient.connect(cluster.node(4).nbd.unix, cluster.volume);
    await write(first, 1);
    // What is open on a survivor waits, also for reads (4.5); after 200 ms of silence nothing is (R6).
    await new Promise((resolve) => setTimeout(resolve, CLOSED_AFTER_MS));
    await cluster.kill([4, 5]);
    await areDown(cluster, 2);
    t.regex((await cluster.dog('cluster', 'health')).stdout, /HALTED: \d+ of \d+ partitions/);

    const client = await NbdClient.connect(cluster.node(2).nbd.unix, cluster.volume);
    const startedAt = performance.now();
    await isAllThere(t, client, 1);
    t.true(performance.now() - startedAt < READ_MS, 'reads work');
    const written = new Set<number>();
    const writes = Array.from({ length: PIECES }, async (_, i) => {
      await client.write(i * OBJECT, Buffer.alloc(MIB, i + 100));
      written.add(i);
    });
    await new Promise((resolve) => setTimeout(resolve, WAITS_MS));
    t.log(`${PIECES - written.size} of ${PIECES} writes wait`);
    t.true(written.size < PIECES, 'writes of partitions with one live copy wait');
    t.true(written.size > 0, 'the others go on');

    await cluster.start(4);
    await Promise.all(writes);
    await isAllThere(t, client, 100);
    await client.close();
    await cluster.start(5);
    await cluster.settled(IN_SYNC_MS);
    const again = await NbdClient.connect(cluster.node(5).nbd.unix, cluster.volume);
    await isAllThere(t, again, 100);
    await again.close();
    t.is((await cluster.dog('cluster', 'health')).code, 0);
  }),
);
