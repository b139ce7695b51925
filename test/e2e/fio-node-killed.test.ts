// Method: a shorter form of the show in issue 2. fio writes and verifies through node 1 at a fixed rate while node 3 is
// killed with -9 and started again; fio must see no error, no request may take 3 s, and at the end every partition is in
// sync again. Each block is written once, so that verification is exact.

import fs from 'node:fs';
import path from 'node:path';
import { MIB } from '../../src/core/units.ts';
import { succeed, toolOrSkip } from '../nbd/tools.ts';
import { until } from './cluster.ts';
import { withCluster } from './with-cluster.ts';

const MAX_STALL_MS = 3000;
/** About 20 s of writing; fio's rate is by its smallest block. */
const LOAD = ['--rw=randwrite', '--bs=4k-64k', '--iodepth=16', '--size=160m', '--rate=5m'];
const VERIFY = ['--verify=crc32c', '--verify_fatal=1', '--do_verify=1'];
/** Bytes stored when node 3 is killed, and when it is started again: each block is written once, so they only grow. */
const KILL_AT_BYTES = 30 * MIB;
const START_AT_BYTES = 80 * MIB;
const LOAD_TIMEOUT_MS = 60_000;

/** Longest time that one request took, from fio's latency log: `time, latency in ns, direction, bytes, offset`. */
function longestMs(file: string): number {
  let longest = 0;
  for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
    longest = Math.max(longest, Number(line.split(',')[1] ?? 0) / 1e6);
  }
  return longest;
}

toolOrSkip('fio')(
  'a replica killed and restarted under fio: no error, verify passes, no stall of 3 s',
  withCluster({ nodes: 3, copies: 3, volume: 'disk:256MiB' }, async (t, cluster) => {
    const job = ['--name=load', '--ioengine=nbd', `--uri=${cluster.uri(1)}`];
    const log = ['--write_lat_log=stall', '--log_offset=0'];
    const fio = succeed(t, 'fio', [...job, ...LOAD, ...VERIFY, ...log], { cwd: cluster.dir });
    const stored = (bytes: number) =>
      until(
        `${bytes} bytes are stored`,
        async () => (await cluster.info()).space.usedBytes >= bytes,
        LOAD_TIMEOUT_MS,
      );
    await stored(KILL_AT_BYTES);
    await cluster.kill([3]);
    await until(
      'node 3 is seen as down',
      async () => (await cluster.info()).members.down === 1,
      10_000,
    );
    await stored(START_AT_BYTES);
    await cluster.start(3);
    await fio;

    const stallMs = longestMs(path.join(cluster.dir, 'stall_lat.1.log'));
    t.log(`longest request ${stallMs.toFixed(0)} ms`);
    t.true(stallMs > 0 && stallMs < MAX_STALL_MS);
    await cluster.settled(60_000);
  }),
);
