// Method: a writer notes what was acknowledged while its own gateway is killed with -9 in the middle; every acknowledged
// write must be there through another node, which has to take the lock over first (F1, F3).

import test from 'ava';
import { TaggedWriter } from './tagged-writer.ts';
import { withCluster } from './with-cluster.ts';

const WRITES_BEFORE_THE_KILL = 3000;

test.serial(
  'no acknowledged write is lost when the gateway itself is killed',
  withCluster({ nodes: 3, copies: 3, volume: 'disk:64MiB' }, async (t, cluster) => {
    const socket = cluster.node(1).nbd.unix;
    const shape = { volume: 'disk', blocks: 4096, blockBytes: 8192, inFlight: 16 };
    const writer = new TaggedWriter({ socket, ...shape });
    await writer.start();
    await writer.acknowledgements(WRITES_BEFORE_THE_KILL);
    await cluster.kill([1]);
    await writer.stop();
    t.deepEqual(writer.errors, [], 'until then no write was refused');
    t.true(writer.acknowledgedCount >= WRITES_BEFORE_THE_KILL);

    await writer.verify(t, cluster.node(2).nbd.unix);
    await cluster.start(1);
    await cluster.settled(60_000);
    await writer.verify(t, cluster.node(1).nbd.unix);
    await writer.verify(t, cluster.node(3).nbd.unix);

    const next = new TaggedWriter({ socket: cluster.node(3).nbd.unix, ...shape });
    await next.start();
    await next.acknowledgements(200);
    await next.stop();
    t.deepEqual(next.errors, [], 'the volume is writable again');
  }),
);
