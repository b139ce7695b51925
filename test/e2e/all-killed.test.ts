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
  try {
    for (let round = 1; round <= ROUNDS; round += 1) {
      const socket = cluster.node(round).nbd.unix;
      const shape = { volume: 'disk', blocks: 4096, blockBytes: 8192, inFlight: 16 };
      const writer = new TaggedWriter({ socket, ...shape });
      await writer.start();
      await writer.acknowledgements(WRITES_BEFORE_THE_KILL);
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
