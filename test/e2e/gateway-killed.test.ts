// Method: a writer notes what was acknowledged while its own gateway is killed with -9 in the middle; every acknowledged
// write must be there through another node, which has to take the lock over first (F1, F3), and soon. The gateway is the
// Raft leader in one round, so that nobody is there to call it down, and a follower in the other.

import test, { type ExecutionContext } from 'ava';
import { MIB } from '../../src/core/units.ts';
import type { Cluster } from './cluster.ts';
import { NbdClient } from './nbd-client.ts';
import { TaggedWriter } from './tagged-writer.ts';
import { withCluster } from './with-cluster.ts';

const WRITES_BEFORE_THE_KILL = 3000;
/** From the signal to an acknowledged write elsewhere: the verdict (1 s), the takeover and its barrier. */
const TAKEN_OVER_MS = 3000;
const IN_SYNC_MS = 60_000;
const SHAPE = { volume: 'disk', blocks: 4096, blockBytes: 8192, inFlight: 16 };
/** Behind the writer's blocks. */
const PROBE_OFFSET = 48 * MIB;

/** A client that comes at once, and writes: it must not be refused, and not wait for long. */
async function firstWriteMs(cluster: Cluster, n: number, since: number): Promise<number> {
  const client = await NbdClient.connect(cluster.node(n).nbd.unix, SHAPE.volume);
  await client.write(PROBE_OFFSET, Buffer.alloc(4096, 1));
  const ms = performance.now() - since;
  await client.close();
  return ms;
}

interface Round {
  readonly cluster: Cluster;
  /** One for all rounds: a write that a kill left unacknowledged may be what its block holds from then on. */
  readonly writer: TaggedWriter;
  readonly gateway: number;
}

async function round(t: ExecutionContext, { cluster, writer, gateway }: Round): Promise<void> {
  const [second, third] = [1, 2, 3].filter((n) => n !== gateway) as [number, number];
  const isLeader = (await cluster.info()).leader === cluster.node(gateway).name;
  const wanted = writer.acknowledgedCount + WRITES_BEFORE_THE_KILL;
  await writer.start(cluster.node(gateway).nbd.unix);
  await writer.acknowledgements(wanted);
  const since = performance.now();
  process.kill(cluster.node(gateway).pid, 'SIGKILL');
  const ms = await firstWriteMs(cluster, second, since);
  await writer.stop();
  t.log(`${isLeader ? 'leader' : 'follower'} killed: taken over after ${ms.toFixed(0)} ms`);
  t.deepEqual(writer.errors, [], 'until then no write was refused');
  t.true(writer.acknowledgedCount >= wanted);
  t.true(ms < TAKEN_OVER_MS);

  await writer.verify(t, cluster.node(second).nbd.unix);
  await cluster.start(gateway);
  await cluster.settled(IN_SYNC_MS);
  await writer.verify(t, cluster.node(gateway).nbd.unix);
  await writer.verify(t, cluster.node(third).nbd.unix);
}

test.serial(
  'no acknowledged write is lost when the gateway itself is killed, leader or not',
  withCluster({ nodes: 3, copies: 3, volume: 'disk:64MiB' }, async (t, cluster) => {
    const writer = new TaggedWriter({ socket: cluster.node(1).nbd.unix, ...SHAPE });
    for (const wantsLeader of [true, false]) {
      const { leader } = await cluster.info();
      const fits = (n: number) => (cluster.node(n).name === leader) === wantsLeader;
      await round(t, { cluster, writer, gateway: [1, 2, 3].find(fits) as number });
    }
  }),
);
