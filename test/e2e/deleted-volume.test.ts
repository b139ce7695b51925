// A node that was away while a volume was deleted comes back with its copies, and they go, to the last file; a volume that
// was made under the same name meanwhile reads only what was written to it. Once with the others going on, once with all
// nodes killed and started at once before anything of the absent one was purged.

import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { MIB } from '../../src/core/units.ts';
import { type Cluster, until } from './cluster.ts';
import { NbdClient } from './nbd-client.ts';
import { withCluster } from './with-cluster.ts';

const OBJECT = 4 * MIB;
const PIECES = 16;
const OPTIONS = { nodes: 3, copies: 3, volume: 'disk:64MiB' };
/** Which object of the new volume has bytes, and which. */
const NEW = { object: 1, fill: 99 };
const GENERATION_DIGITS = 8;
const IN_SYNC_MS = 120_000;
const GONE_MS = 60_000;

async function fill(cluster: Cluster): Promise<void> {
  const client = await NbdClient.connect(cluster.node(1).nbd.unix, cluster.volume);
  for (let i = 0; i < PIECES; i += 1) await client.write(i * OBJECT, Buffer.alloc(MIB, i + 1));
  await client.flush();
  await client.close();
}

/** Of all files of objects on a node's disk. */
function generationsOf(cluster: Cluster, n: number): readonly string[] {
  const objects = path.join(cluster.node(n).dir, 'objects');
  const files = fs.readdirSync(objects, { recursive: true, withFileTypes: true });
  const names = files.filter((one) => one.isFile()).map(({ name }) => name);
  return [...new Set(names.map((name) => name.slice(0, GENERATION_DIGITS)))];
}

/** Node 3 is killed; then the volume is deleted, and made again under its name. Returns what must never be seen again. */
async function deletedMeanwhile(t: ExecutionContext, cluster: Cluster): Promise<string> {
  await fill(cluster);
  const old = generationsOf(cluster, 3);
  t.is(old.length, 1);
  await cluster.kill([3]);
  const isDown = async () => (await cluster.info()).members.down === 1;
  await until('the map calls it down', isDown, GONE_MS);
  const isFree = async () => (await cluster.dog('vdi', 'delete', 'disk')).code === 0;
  await until('it is deleted', isFree, GONE_MS);
  t.is((await cluster.dog('vdi', 'create', 'disk', '64M')).code, 0);
  const client = await NbdClient.connect(cluster.node(1).nbd.unix, cluster.volume);
  await client.write(NEW.object * OBJECT, Buffer.alloc(MIB, NEW.fill));
  await client.close();
  t.deepEqual(generationsOf(cluster, 3), old, 'it is still there');
  return old[0] as string;
}

async function staysDeleted(t: ExecutionContext, cluster: Cluster, old: string): Promise<void> {
  const nodes = [1, 2, 3];
  const isGone = () => {
    return Promise.resolve(nodes.every((n) => !generationsOf(cluster, n).includes(old)));
  };
  await until('no disk has a file of it', isGone, GONE_MS);
  for (const n of [3, 1]) {
    const reader = await NbdClient.connect(cluster.node(n).nbd.unix, cluster.volume);
    for (let i = 0; i < PIECES; i += 1) {
      const bytes = await reader.read(i * OBJECT, MIB);
      const wanted = i === NEW.object ? NEW.fill : 0;
      t.true(
        bytes.every((byte) => byte === wanted),
        `object ${i} by node ${n}`,
      );
    }
    await reader.close();
  }
  for (const n of nodes) t.is(generationsOf(cluster, n).length, 1, `node ${n} has the new one`);
}

test.serial(
  'a volume that is deleted while a node is away does not come back with it',
  withCluster(OPTIONS, async (t, cluster) => {
    const old = await deletedMeanwhile(t, cluster);
    await cluster.start(3);
    await cluster.settled(IN_SYNC_MS);
    await staysDeleted(t, cluster, old);
  }),
);

test.serial(
  'a volume that was deleted while a node was away does not come back when all restart',
  withCluster(OPTIONS, async (t, cluster) => {
    const old = await deletedMeanwhile(t, cluster);
    await cluster.kill([1, 2]);
    // The one that knows nothing of it is not the last one to start.
    await Promise.all([3, 1, 2].map((n) => cluster.start(n)));
    await cluster.settled(IN_SYNC_MS);
    await staysDeleted(t, cluster, old);
    await cluster.kill([1, 2, 3]);
    await Promise.all([1, 2, 3].map((n) => cluster.start(n)));
    await cluster.settled(IN_SYNC_MS);
    await staysDeleted(t, cluster, old);
  }),
);
