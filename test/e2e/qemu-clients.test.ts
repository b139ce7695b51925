// Method: QEMU's tools and libnbd against the real thing, after test/nbd/clients.test.ts has judged the front alone.

import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { MIB } from '../../src/core/units.ts';
import { run, succeed, toolOrSkip } from '../nbd/tools.ts';
import { withCluster } from './with-cluster.ts';

toolOrSkip(
  'qemu-img',
  'qemu-io',
  'nbdinfo',
)(
  'QEMU and libnbd tools work against the export of any node',
  withCluster({ nodes: 3, copies: 3, volume: 'disk:64MiB' }, async (t, cluster) => {
    const [first, second, third] = [cluster.uri(1), cluster.uri(2), cluster.tcpUri(3)];
    const info = await succeed(t, 'qemu-img', ['info', '--output=json', first]);
    t.is(JSON.parse(info.stdout)['virtual-size'], 64 * MIB);
    const size = await succeed(t, 'nbdinfo', ['--size', third]);
    t.is(Number(size.stdout), 64 * MIB);

    const source = path.join(cluster.dir, 'source.img');
    fs.writeFileSync(source, crypto.randomBytes(64 * MIB));
    const convert = ['convert', '-W', '-m', '16', '-n', '-f', 'raw', '-O', 'raw', source];
    await succeed(t, 'qemu-img', [...convert, first]);
    const compare = ['compare', '-f', 'raw', '-F', 'raw', source];
    for (const uri of [second, third]) await succeed(t, 'qemu-img', [...compare, uri]);

    const bench = [
      'bench',
      '-f',
      'raw',
      '-w',
      '-c',
      '2000',
      '-d',
      '32',
      '-s',
      '4096',
      '-t',
      'none',
    ];
    await succeed(t, 'qemu-img', [...bench, '--flush-interval=32', second]);

    const steps = [
      'write -P 0xab 3M 2M',
      'read -P 0xab 3M 2M',
      'write -z -u 4000k 200k',
      'read -P 0 4000k 200k',
      'read -P 0xab 4200k 64k',
      'discard 3M 512k',
      'read -P 0 3M 512k',
      'write -f -P 0x11 4095k 3k',
      'read -P 0x11 4095k 3k',
      'flush',
    ];
    const commands = steps.flatMap((one) => ['-c', one]);
    await succeed(t, 'qemu-io', ['-f', 'raw', ...commands, third]);
    await succeed(t, 'qemu-io', ['-f', 'raw', '-c', 'read -P 0x11 4095k 3k', first]);

    await succeed(t, 'qemu-img', ['create', '-f', 'qcow2', first, '256M']);
    const mibs = [0, 5, 90, 200].flatMap((mib) => [
      '-c',
      `write -P ${(mib % 250) + 1} ${mib}M 256k`,
    ]);
    await succeed(t, 'qemu-io', ['-f', 'qcow2', ...mibs, first]);
    await succeed(t, 'qemu-img', ['check', '-f', 'qcow2', second]);

    const unknown = await run('qemu-img', ['info', first.replace('/disk?', '/nobody?')]);
    t.regex(unknown.stderr, /no volume "nobody"; see dog vdi list/);
  }),
);
