// Method: random bytes go in through one gateway and come out through the others, compared byte by byte. The lock goes
// round: the last disconnect releases it, the next client's first read acquires it.

import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { MIB } from '../../src/core/units.ts';
import { succeed, toolOrSkip } from '../nbd/tools.ts';
import { withCluster } from './with-cluster.ts';

const COPY_MIB = 256;

toolOrSkip('nbdcopy')(
  'what nbdcopy writes through node 1 comes back identical through nodes 2 and 3',
  withCluster({ nodes: 3, copies: 3, volume: `disk:${COPY_MIB}MiB` }, async (t, cluster) => {
    const source = path.join(cluster.dir, 'source.img');
    const chunks = Array.from({ length: COPY_MIB }, () => crypto.randomBytes(MIB));
    fs.writeFileSync(source, Buffer.concat(chunks));
    await succeed(t, 'nbdcopy', ['--flush', source, cluster.uri(1)]);
    for (const n of [2, 3]) {
      const back = path.join(cluster.dir, `back-${n}.img`);
      await succeed(t, 'nbdcopy', [n === 2 ? cluster.uri(n) : cluster.tcpUri(n), back]);
      t.true(fs.readFileSync(back).equals(fs.readFileSync(source)), `through node ${n}`);
    }
  }),
);
