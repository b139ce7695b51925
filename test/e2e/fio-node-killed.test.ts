// Method: a shorter form of the show in issue 2. fio writes and verifies through node 1 at a fixed rate while node 3 is
// killed with -9 and started again; fio must see no error, no request may take 3 s, and at the end every partition is in
// sync again. Each block is written once, so that verification is exact.

import fs from 'node:fs';
import path from 'node:path';
import { succeed, toolOrSkip } from '../nbd/tools.ts';
import { until } from './cluster.ts';
import { withCluster } from './with-cluster.ts';

const MAX_STALL_MS = 3000;
/** About 20 s of writing; fio's rate is by its smallest block. */
const LOAD = ['--rw=randwrite', '--bs=4k-64k', '--iodepth=16', '--size=160m', '--rate=5m'];
const VERIFY = ['--verify=crc32c', '--verify_fatal=1', '--do_verify=1'];
/** Node 3 is killed after, and started again after; both within the 20 s. */
const KILL_AFTER_MS = 4_000;
const DOWN_MS = 6_000;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

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
    await pause(KILL_AFTER_MS);
    await cluster.kill([3]);
    await until(
      'node 3 is seen as down',
      async () => (await cluster.info()).members.down === 1,
      10_000,
    );
    await pause(DOWN_MS);
    await cluster.start(3);
    await fio;

    const stallMs = longestMs(path.join(cluster.dir, 'stall_lat.1.log'));
    t.log(`longest request ${stallMs.toFixed(0)} ms`);
    t.true(stallMs > 0 && stallMs < MAX_STALL_MS);
    await cluster.settled(60_000);
  }),
);
