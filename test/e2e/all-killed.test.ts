// Method: kill -9 of every node at once under load, then the same directory again. Acknowledged = durable, so all of it
// must be there, through any node. (The page cache survives kill -9; lost sectors are the simulator's business.)

import test from 'ava';
import { startCluster } from './cluster.ts';
import { TaggedWriter } from './tagged-writer.ts';

const WRITES_BEFORE_THE_KILL = 3000;
const ROUNDS = 2;

test.serial('no acknowledged write is lost when all nodes are killed at once', async (t) => {
  t.timeout(5 * 60_000);
  const options = { nodes: 3, copies: 3, volume: 'disk:64MiB' };
  let cluster = await startCluster(options);
  // One writer for all rounds: a write that a kill left unacknowledged may be what its block holds from then on.
  const shape = { volume: 'disk', blocks: 4096, blockBytes: 8192, inFlight: 16 };
  const writer = new TaggedWriter({ socket: cluster.node(1).nbd.unix, ...shape });
  try {
    for (let round = 1; round <= ROUNDS; round += 1) {
      await writer.start(cluster.node(round).nbd.unix);
      await writer.acknowledgements(round * WRITES_BEFORE_THE_KILL);
      await cluster.kill([1, 2, 3]);
      await writer.stop();
      t.deepEqual(writer.errors, []);

      await cluster.down();
      cluster = await startCluster({ ...options, dir: cluster.dir });
      await writer.verify(t, cluster.node(3).nbd.unix);
      await cluster.settled(60_000);
      await writer.verify(t, cluster.node(1).nbd.unix);
    }
  } finally {
    await cluster.stop();
  }
});
