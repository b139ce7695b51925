// Method: the same promises with one node and one copy: bytes come back, nothing acknowledged is lost by kill -9.

import test from 'ava';
import { succeed, toolOrSkip } from '../nbd/tools.ts';
import { TaggedWriter } from './tagged-writer.ts';
import { withCluster } from './with-cluster.ts';

const ONE = { nodes: 1, copies: 1, volume: 'disk:64MiB' };

test.serial(
  'one node, one copy: no acknowledged write is lost by kill -9 and a restart',
  withCluster(ONE, async (t, cluster) => {
    const socket = cluster.node(1).nbd.unix;
    const shape = { volume: 'disk', blocks: 4096, blockBytes: 8192, inFlight: 16 };
    const writer = new TaggedWriter({ socket, ...shape });
    await writer.start();
    await writer.acknowledgements(2000);
    await cluster.kill([1]);
    await writer.stop();
    t.deepEqual(writer.errors, []);
    await cluster.start(1);
    await writer.verify(t, socket);
  }),
);

toolOrSkip('qemu-io')(
  'one node, one copy: qemu-io reads what it wrote',
  withCluster(ONE, async (t, cluster) => {
    const steps = ['write -P 0x5a 3M 2M', 'flush', 'read -P 0x5a 3M 2M', 'read -P 0 0 64k'];
    const commands = steps.flatMap((one) => ['-c', one]);
    await succeed(t, 'qemu-io', ['-f', 'raw', ...commands, cluster.uri(1)]);
  }),
);
