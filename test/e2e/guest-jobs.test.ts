// The rest of a guest's jobs (guest-init.sh), on clusters of their own: raw data past the cache, a ledger to its end, and
// space that comes back when the guest trims. Only where SOAK_SECONDS asks for it (`npm run soak:guest`): each is a minute
// of emulation.

import fs from 'node:fs';
import path from 'node:path';
import { declareUnless } from '../nbd/tools.ts';
import { type Cluster, until } from './cluster.ts';
import { declareWithGuest, guestOf, ledgerProblems } from './guest.ts';
import { withCluster } from './with-cluster.ts';

const OPTIONS = { nodes: 3, copies: 3, volume: 'disk:256MiB' };
const LIFE_MS = 240_000;
const SPACE_MS = 60_000;
const BLOCK_BYTES = 512;
const WRITTEN_MIB = 64;

const isAsked = process.env['SOAK_SECONDS'] !== undefined;
const declare = isAsked ? declareWithGuest : declareUnless('SOAK_SECONDS is not given', 'expected');

declare(
  'raw data comes back, and a ledger is whole at its end and through another node',
  withCluster(OPTIONS, async (t, cluster) => {
    const start = await guestOf(cluster);
    const place = { node: 1, volume: 'disk' };
    t.is(await start(place, { job: 'raw', count: 64 }).verdict(LIFE_MS), 'good');
    const ledger = start(place, { job: 'ledger', count: 100, slots: 64 });
    t.is(await ledger.verdict(LIFE_MS), 'good');
    t.is(ledger.written, 100);
    t.deepEqual(await ledgerProblems(ledger, cluster.node(3).nbd.unix, 'disk'), []);
  }),
);

/** MiB on the disks of all nodes that hold blocks. */
function heldMib(cluster: Cluster): number {
  const bytes = cluster.nodes.flatMap(({ dir }) => {
    const files = fs.readdirSync(path.join(dir, 'objects'), { recursive: true, encoding: 'utf8' });
    return files.map((file) => {
      const at = fs.statSync(path.join(dir, 'objects', file), { throwIfNoEntry: false });
      return at?.isFile() === true ? at.blocks * BLOCK_BYTES : 0;
    });
  });
  return bytes.reduce((sum, one) => sum + one, 0) / 2 ** 20;
}

declare(
  'what a guest trims is free on all nodes, and discarded blocks are zeroes',
  withCluster(OPTIONS, async (t, cluster) => {
    const guest = (await guestOf(cluster))(
      { node: 2, volume: 'disk' },
      { job: 'trim', count: WRITTEN_MIB },
    );
    let most = 0;
    const isTrimmed = async () => {
      most = Math.max(most, heldMib(cluster));
      return guest.console.includes('trimmed');
    };
    await until('the guest has trimmed', isTrimmed, LIFE_MS);
    t.is(await guest.verdict(LIFE_MS), 'good');
    const isFree = async () => heldMib(cluster) < most / 2;
    await until('space is free again', isFree, SPACE_MS);
    t.log(`${most.toFixed(0)} MiB at most, ${heldMib(cluster).toFixed(0)} in the end`);
    t.true(most > WRITTEN_MIB, 'it was there');
  }),
);
