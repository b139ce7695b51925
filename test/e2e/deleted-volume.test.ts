// A node that was away while a volume was deleted comes back with its copies, and they go; a volume that was made under the
// same name meanwhile reads only what was written to it.

import test from 'ava';
import { ask, parseTarget } from '../../src/cli/client.ts';
import type { StatusData } from '../../src/core/admin-shapes.ts';
import { MIB } from '../../src/core/units.ts';
import { type Cluster, until } from './cluster.ts';
import { NbdClient } from './nbd-client.ts';
import { withCluster } from './with-cluster.ts';

const SIZE = 64 * MIB;
const OBJECT = 4 * MIB;
const PIECES = SIZE / OBJECT;

async function fill(cluster: Cluster, n: number): Promise<void> {
  const client = await NbdClient.connect(cluster.node(n).nbd.unix, cluster.volume);
  for (let i = 0; i < PIECES; i += 1) await client.write(i * OBJECT, Buffer.alloc(MIB, i + 1));
  await client.flush();
  await client.close();
}

async function areDown(cluster: Cluster, count: number): Promise<void> {
  const areCalled = async () => (await cluster.info()).members.down === count;
  await until('the map calls them down', areCalled, 60_000);
}

test(
  'a volume that is deleted while a node is away does not come back with it',
  withCluster({ nodes: 3, copies: 3, volume: 'disk:64MiB' }, async (t, cluster) => {
    await fill(cluster, 1);
    const objectsOf3 = async () => {
      const { data } = await ask<StatusData>(parseTarget(cluster.node(3).api), '/v1/status');
      return data.objects;
    };
    t.is(await objectsOf3(), PIECES);
    await cluster.kill([3]);
    await areDown(cluster, 1);
    const isFree = async () => (await cluster.dog('vdi', 'delete', 'disk')).code === 0;
    await until('it is deleted', isFree, 30_000);
    t.is((await cluster.dog('vdi', 'create', 'disk', '64M')).code, 0);
    const client = await NbdClient.connect(cluster.node(1).nbd.unix, cluster.volume);
    await client.write(OBJECT, Buffer.alloc(MIB, 99));

    await cluster.start(3);
    await cluster.settled(120_000);
    const isGone = async () => (await objectsOf3()) === 1;
    await until('what was deleted is gone from it', isGone, 60_000);
    await client.close();
    const reader = await NbdClient.connect(cluster.node(3).nbd.unix, cluster.volume);
    for (let i = 0; i < PIECES; i += 1) {
      const bytes = await reader.read(i * OBJECT, MIB);
      t.true(
        bytes.every((byte) => byte === (i === 1 ? 99 : 0)),
        `object ${i}`,
      );
    }
    await reader.close();
  }),
);
