// Method: a formatted node refuses a second format, keeps its data, and gives them up only with --force, at a word.

import { fileURLToPath } from 'node:url';
import { run, succeed, toolOrSkip } from '../nbd/tools.ts';
import { withCluster } from './with-cluster.ts';

const DOG = fileURLToPath(new URL('../../bin/dog', import.meta.url));
const EXISTS = 3;
const USAGE = 64;

toolOrSkip('qemu-io')(
  'format of a formatted cluster is refused with the cure; --force asks, with --yes it makes an empty one',
  withCluster({ nodes: 1, copies: 1, volume: 'disk:64MiB' }, async (t, cluster) => {
    const dog = (...args: string[]) => run(DOG, ['--dir', cluster.dir, ...args]);
    const io = (command: string) =>
      succeed(t, 'qemu-io', ['-f', 'raw', '-c', command, cluster.uri(1)]);
    await io('write -P 0x5a 0 1M');

    const refused = await dog('cluster', 'format', '-c', '1');
    t.is(refused.code, EXISTS);
    t.regex(refused.stderr, /belongs to cluster [\da-f]{32}/);
    t.regex(refused.stderr, /--force/);
    await io('read -P 0x5a 0 1M');

    const unasked = await dog('cluster', 'format', '-c', '1', '--force');
    t.is(unasked.code, USAGE);
    t.regex(unasked.stderr, /n1 belongs to cluster .*\n.*wiped[\s\S]*no terminal[\s\S]*--yes/);
    await io('read -P 0x5a 0 1M');

    t.is((await dog('cluster', 'format', '-c', '1', '--force', '--yes')).code, 0);
    t.deepEqual(JSON.parse((await dog('vdi', 'list', '--json')).stdout).data, []);
    t.is((await dog('vdi', 'create', 'disk', '64M')).code, 0);
    await io('read -P 0 0 1M');
  }),
);
