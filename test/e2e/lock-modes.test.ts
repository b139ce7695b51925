// Method: raw NBD clients of a real cluster, on two nodes, in each attach mode: who is let in, who reads, who writes,
// and what those hear who may not; and what `dog vdi lock list` says of it.

import test from 'ava';
import { dog } from '../cli/dog.ts';
import { type Cluster, until } from './cluster.ts';
import { NbdClient, NbdFailure } from './nbd-client.ts';
import { withCluster } from './with-cluster.ts';

const FREE_MS = 10_000;
/** Well below the five seconds after which a session without a client is over. */
const BACK_MS = 3000;
const EPERM = 1;
const BLOCK = Buffer.alloc(4096, 7);

const connect = (cluster: Cluster, n: number) =>
  NbdClient.connect(cluster.node(n).nbd.unix, cluster.volume);

interface Held {
  readonly node: string;
  readonly since: string;
  readonly from: string;
}

async function holder(cluster: Cluster): Promise<Held | undefined> {
  const { stdout } = await cluster.dog('vdi', 'lock', 'list', '--json');
  return (JSON.parse(stdout) as { data: Held[] }).data[0];
}

/** The mode, once nobody holds it; known to all nodes. */
async function alter(cluster: Cluster, mode: string): Promise<void> {
  await until('nobody holds it', async () => (await holder(cluster)) === undefined, FREE_MS);
  const { code, stderr } = await cluster.dog('vdi', 'alter', 'disk', '--attach-mode', mode);
  if (code !== 0) throw new Error(stderr);
  for (const { api } of cluster.nodes) {
    const show = async () => (await dog(['vdi', 'show', 'disk'], { SHEEPDOG_API: api })).out;
    await until(`${api} knows`, async () => (await show()).includes(`attach ${mode}`), FREE_MS);
  }
}

async function failureOf(work: Promise<unknown>): Promise<NbdFailure> {
  try {
    await work;
  } catch (error) {
    if (error instanceof NbdFailure) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

test.serial(
  'attach modes: exclusive lets one in and names it to others; shared-read lets all read and nobody write',
  withCluster({ nodes: 3, copies: 3, volume: 'disk:64MiB' }, async (t, cluster) => {
    await alter(cluster, 'exclusive');
    const first = await connect(cluster, 1);
    await first.write(0, BLOCK);
    const held = await holder(cluster);
    t.is(held?.node, cluster.node(1).name);
    t.true(Math.abs(Date.parse(held?.since ?? '') - Date.now()) < FREE_MS);
    t.is(held?.from, 'a unix socket');
    const knows = async () => /held by n1/.test((await failureOf(connect(cluster, 2))).message);
    await until('node 2 refuses, and says who has it', knows, FREE_MS);
    t.regex(
      (await failureOf(connect(cluster, 2))).message,
      /n1 since .* UTC, attached from a unix/,
    );
    t.regex((await failureOf(connect(cluster, 1))).message, /exclusive/);
    const refused = await cluster.dog('vdi', 'alter', 'disk', '--attach-mode', 'shared-read');
    t.not(refused.code, 0);
    await first.write(4096, BLOCK);
    await first.close();

    await alter(cluster, 'shared-read');
    const readers = await Promise.all([1, 2, 3].map((n) => connect(cluster, n)));
    for (const reader of readers) {
      t.true((await reader.read(0, 4096)).equals(BLOCK));
      t.is((await failureOf(reader.write(0, Buffer.alloc(4096)))).errno, EPERM);
    }
    t.true((await readers[2]?.read(0, 4096))?.equals(BLOCK));
    for (const reader of readers) await reader.close();

    await alter(cluster, 'handover');
    const last = await connect(cluster, 3);
    await last.write(0, Buffer.alloc(4096, 9));
    await last.close();
  }),
);

test.serial(
  'exclusive: a client whose socket was lost while a write hangs may come back, and bars nobody; its write is not undone',
  withCluster({ nodes: 2, copies: 2, volume: 'disk:64MiB' }, async (t, cluster) => {
    await alter(cluster, 'exclusive');
    const first = await connect(cluster, 1);
    await first.write(0, BLOCK);
    process.kill(cluster.node(2).pid, 'SIGSTOP');
    try {
      const hangs = t.throwsAsync(first.write(4096, BLOCK), { message: 'connection lost' });
      // Answered in order: the write has reached the node.
      t.true((await first.read(0, 4096)).equals(BLOCK));
      first.cut();
      await hangs;
      const isBack = async () => {
        const again = await connect(cluster, 1);
        again.cut();
        return true;
      };
      await until('it is let in, though its write hangs', isBack, BACK_MS);
    } finally {
      process.kill(cluster.node(2).pid, 'SIGCONT');
    }
    const last = await connect(cluster, 1);
    await last.write(4096, BLOCK);
    t.true((await last.read(0, 4096)).equals(BLOCK));
    await last.close();
  }),
);
