// The rest of a guest's jobs (guest-init.sh), on clusters of their own: raw data past the cache, a ledger to its end, space
// that comes back when the guest trims, the guest's own kernel client, and raw data over TLS. Only where SOAK_SECONDS asks
// for it (`npm run soak:guest`): each is a minute of emulation.

import fs from 'node:fs';
import path from 'node:path';
import { qemuArguments } from '../../src/cli/attach-text.ts';
import { addKey } from '../nbd/tls-files.ts';
import { declareUnless, missingTools } from '../nbd/tools.ts';
import { type Cluster, until } from './cluster.ts';
import { buildGuest, declareWithGuest, guestOf, ledgerProblems, NETWORK } from './guest.ts';
import { freePort } from './ports.ts';
import { withCluster } from './with-cluster.ts';
import { withHosts } from './with-hosts.ts';

const OPTIONS = { nodes: 3, copies: 3, volume: 'disk:256MiB' };
const LIFE_MS = 240_000;
/** With the build of the guest and the start of nodes. */
const JOB_MS = 2 * LIFE_MS;
const SPACE_MS = 60_000;
const BLOCK_BYTES = 512;
const WRITTEN_MIB = 64;

const isAsked = process.env['SOAK_SECONDS'] !== undefined;
const declare = isAsked ? declareWithGuest : declareUnless('SOAK_SECONDS is not given', 'expected');

/** A judge that is asked for, and that needs further programs. */
function declareWith(...tools: string[]): typeof declare {
  const missing = missingTools(...tools);
  return isAsked && missing !== '' ? declareUnless(missing) : declare;
}

declare(
  'raw data comes back, and a ledger is whole at its end and through another node',
  withCluster(OPTIONS, async (t, cluster) => {
    t.timeout(2 * JOB_MS);
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
    t.timeout(JOB_MS);
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

declareWith('nbd-client')(
  "the guest's own kernel client, by TCP: with one connection and with four, a file system lives through leaving and coming back",
  withCluster(OPTIONS, async (t, cluster) => {
    t.timeout(2 * JOB_MS);
    const start = await buildGuest(cluster.dir);
    const port = Number(cluster.node(2).nbd.tcp.split(':').at(-1));
    for (const connections of [1, 4]) {
      const job = { job: 'kernel', count: 4, port, export: 'disk', connections } as const;
      t.is(await start(NETWORK, job).verdict(LIFE_MS), 'good', `${connections} connections`);
    }
  }),
);

declareWith('psktool')(
  'raw data over TLS with a key, with the words that dog vdi attach prints',
  withHosts(async (t, hosts) => {
    t.timeout(JOB_MS);
    const files = path.join(hosts.dir, 'tls');
    fs.mkdirSync(files);
    addKey(files, 'guest');
    const port = await freePort();
    const first = await hosts.first(1);
    await first.must('vdi', 'create', 'disk', '128MiB');
    const keys = ['--nbd-psk', path.join(files, 'keys.psk')];
    const second = await hosts.join(first, '--nbd', `tcp:127.0.0.1:${port}`, ...keys);
    const door = { kind: 'tcp', host: '127.0.0.1', port, proofs: ['keys'] } as const;
    const disk = qemuArguments({ name: 'disk', door, proof: { dir: files, user: 'guest' } });
    const start = await buildGuest(hosts.dir);
    t.is(await start(disk, { job: 'raw', count: 32 }).verdict(LIFE_MS), 'good');
    t.regex(second.log, /"nbd.attached","volume":"disk","client":"guest"/);
  }),
);
