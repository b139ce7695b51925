// Method: a writer's gateway is stopped (SIGSTOP) in the middle for 20 s. An operator unlocks the volume at once, another
// client takes it over through another node, overwrites half of what the writer had and reads all of it. Then the gateway
// wakes up (SIGCONT) with writes in flight: its guest gets errors, and the volume is what it was, byte for byte. The same
// under QEMU's block layer where nobody unlocks: the node that stands still is called down, and the next guest takes over.

import test from 'ava';
import { MIB } from '../../src/core/units.ts';
import { dog } from '../cli/dog.ts';
import { toolOrSkip } from '../nbd/tools.ts';
import { until } from './cluster.ts';
import { GuestDisk } from './guest-disk.ts';
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
/** What GuestDisk writes to, and how often it is answered before the stop and after it. */
const GUEST_BYTES = MIB;
const GUEST_ANSWERS = 30;
const GUEST_BLOCK_BYTES = 4096;
/** Without an operator: until the node that stands still is called down. */
const CALLED_DOWN_MS = 30_000;

async function imageOf(
  client: NbdClient,
  bytes = SHAPE.blocks * SHAPE.blockBytes,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes; at += READ_BYTES) {
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

toolOrSkip('qemu-io')(
  'the same under QEMU where nobody unlocks: the next guest takes over, the first one gets I/O errors and nothing else',
  withCluster({ nodes: 3, copies: 3, volume: 'disk:64MiB' }, async (t, cluster) => {
    const door = { kind: 'unix', path: cluster.node(1).nbd.unix } as const;
    const guest = new GuestDisk({ name: 'disk', door, proof: { dir: '', user: '' } });
    const answers = async (count: number) => {
      const wanted = guest.answered.length + count;
      await until(`${count} answers`, async () => guest.answered.length >= wanted, ENDS_MS);
    };
    await answers(GUEST_ANSWERS);
    const stopped = performance.now();
    process.kill(cluster.node(1).pid, 'SIGSTOP');
    try {
      const next = await takenOver(cluster.node(2).nbd.unix);
      for (let at = 0; at < GUEST_BYTES; at += 2 * GUEST_BLOCK_BYTES) {
        await next.write(at, Buffer.alloc(GUEST_BLOCK_BYTES, 0xbe));
      }
      const before = await imageOf(next, GUEST_BYTES);
      t.deepEqual(guest.errors, [], 'it waits');
      const left = STOPPED_MS - (performance.now() - stopped);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, left)));

      process.kill(cluster.node(1).pid, 'SIGCONT');
      await answers(GUEST_ANSWERS);
      await guest.stop();
      t.true(guest.errors.length >= GUEST_ANSWERS - 1, 'all from then on');
      t.true(guest.errors.every((line) => line.endsWith('Input/output error')));
      await cluster.settled(IN_SYNC_MS);
      t.true((await imageOf(next, GUEST_BYTES)).equals(before), 'read through the new holder');
      await next.close();
    } finally {
      process.kill(cluster.node(1).pid, 'SIGCONT');
    }
  }),
);

/** A client whose write went through; each try is refused after a while beside a holder that is not called down yet. */
async function takenOver(socket: string): Promise<NbdClient> {
  const next = await NbdClient.connect(socket, 'disk');
  const isOurs = () => next.write(0, Buffer.alloc(GUEST_BLOCK_BYTES, 0xbe)).then(() => true);
  await until('the next guest has the volume', isOurs, CALLED_DOWN_MS);
  return next;
}
