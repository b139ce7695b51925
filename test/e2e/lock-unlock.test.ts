// Method: a writer's gateway is stopped (SIGSTOP) in the middle for 20 s. An operator unlocks the volume at once, another
// client takes it over through another node, overwrites half of what the writer had and reads all of it. Then the gateway
// wakes up (SIGCONT) with writes in flight: its guest gets errors, and the volume is what it was, byte for byte.

import test from 'ava';
import { MIB } from '../../src/core/units.ts';
import { dog } from '../cli/dog.ts';
import { until } from './cluster.ts';
import { NbdClient } from './nbd-client.ts';
import { TaggedWriter } from './tagged-writer.ts';
import { withCluster } from './with-cluster.ts';

const SHAPE = { volume: 'disk', blocks: 2048, blockBytes: 8192, inFlight: 16 };
const WRITES_BEFORE_THE_STOP = 2000;
const STOPPED_MS = 20_000;
/** From unlocking to an acknowledged write elsewhere: the copy on the node that stands still has to be called down. */
const TAKEN_OVER_MS = 10_000;
const ENDS_MS = 30_000;
const IN_SYNC_MS = 60_000;
const READ_BYTES = MIB;
const EIO = 5;

async function imageOf(client: NbdClient): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let at = 0; at < SHAPE.blocks * SHAPE.blockBytes; at += READ_BYTES) {
    parts.push(Buffer.from(await client.read(at, READ_BYTES)));
  }
  return Buffer.concat(parts);
}

test.serial(
  'none of the late writes lands of a gateway that stood still while its volume was unlocked and taken over',
  withCluster({ nodes: 3, copies: 3, volume: 'disk:64MiB' }, async (t, cluster) => {
    const writer = new TaggedWriter({ socket: cluster.node(1).nbd.unix, ...SHAPE });
    await writer.start();
    await writer.acknowledgements(WRITES_BEFORE_THE_STOP);
    const stopped = performance.now();
    process.kill(cluster.node(1).pid, 'SIGSTOP');
    try {
      // Of a node that answers: the one that stands still does not.
      const env = { SHEEPDOG_API: cluster.node(2).api };
      const unlocked = await dog(['vdi', 'lock', 'unlock', 'disk', '--yes'], env);
      t.is(unlocked.code, 0, unlocked.err);
      const since = performance.now();
      const next = await NbdClient.connect(cluster.node(2).nbd.unix, 'disk');
      for (let block = 0; block < SHAPE.blocks; block += 2) {
        await next.write(block * SHAPE.blockBytes, Buffer.alloc(SHAPE.blockBytes, 0xbe));
        if (block === 0) t.true(performance.now() - since < TAKEN_OVER_MS, 'taken over in time');
      }
      const before = await imageOf(next);
      const left = STOPPED_MS - (performance.now() - stopped);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, left)));

      process.kill(cluster.node(1).pid, 'SIGCONT');
      let hasEnded = false;
      const end = writer.stop().then(() => {
        hasEnded = true;
      });
      await until('all its writes are answered', async () => hasEnded, ENDS_MS);
      await end;
      t.true(writer.errors.length > 0, 'its guest is told');
      t.true(writer.errors.every((errno) => errno === EIO));
      await cluster.settled(IN_SYNC_MS);
      t.true((await imageOf(next)).equals(before), 'read through the new holder');
      await next.close();
      const again = await NbdClient.connect(cluster.node(1).nbd.unix, 'disk');
      t.true((await imageOf(again)).equals(before), 'read through the node that stood still');
      await again.close();
    } finally {
      process.kill(cluster.node(1).pid, 'SIGCONT');
    }
  }),
);
