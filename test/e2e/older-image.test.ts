// Method: a node of three is killed, its data directory is copied, it goes on, everything is written anew; then its disk is
// put back as it was, while the others ran, or were restarted in between; and put back once more. Each time the node must
// refuse with the cure, never count as in sync, and cost the log no entry for it (C1.9, section 6). The second test copies
// the directory within one life, so that only what others noted of its journal tells.

import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { MIB } from '../../src/core/units.ts';
import { type Cluster, until } from './cluster.ts';
import { NbdClient } from './nbd-client.ts';
import { withCluster } from './with-cluster.ts';

const SIZE = { nodes: 3, copies: 3, volume: 'disk:64MiB' };
const HEALED_MS = 60_000;
const OBJECTS = 6;
const PIECE_BYTES = 65_536;
/** Entries that the end of a node may cost: it is called down, and what follows from it. */
const MAX_ENTRIES = 12;
/** Longer than a supervisor waits: one that proposes in a loop would have filled the log. */
const LOOK_MS = 5000;
/** A pong, and a save of what it said. */
const NOTED_MS = 4000;

const waited = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function write(cluster: Cluster): Promise<Buffer[]> {
  const client = await NbdClient.connect(cluster.node(1).nbd.unix, cluster.volume);
  const pieces = Array.from({ length: OBJECTS }, () => crypto.randomBytes(PIECE_BYTES));
  for (const [i, piece] of pieces.entries()) await client.write(i * 4 * MIB, piece);
  await client.close();
  return pieces;
}

async function readsRight(t: ExecutionContext, cluster: Cluster, n: number, pieces: Buffer[]) {
  const client = await NbdClient.connect(cluster.node(n).nbd.unix, cluster.volume);
  for (const [i, piece] of pieces.entries()) {
    t.true((await client.read(i * 4 * MIB, PIECE_BYTES)).equals(piece), `object ${i}`);
  }
  await client.close();
}

/** Sockets and lock are made anew by a start; the log is not the disk's. */
function copied(from: string, to: string): void {
  fs.rmSync(to, { recursive: true, force: true });
  const filter = (file: string) => !/\.sock$|^lock|^log/.test(path.basename(file));
  fs.cpSync(from, to, { recursive: true, filter });
}

/** The start of the older image of node 3: it ends by itself, says why and what to do. */
async function isRefused(t: ExecutionContext, cluster: Cluster, other: number): Promise<void> {
  const before = (await cluster.info(other)).appliedIndex;
  const log = path.join(cluster.node(3).dir, 'log');
  const started = await cluster.dog('dev', 'start', '3');
  t.log(`dog dev start 3: ${started.code} ${started.stderr.slice(-300)}`);
  const said = () => (fs.existsSync(log) ? fs.readFileSync(log, 'utf8') : '');
  await until('it says why it ends', async () => /^sheep: /m.test(said()), HEALED_MS);
  t.regex(said(), /the disk of n3 is an older image: .*put back the disk that this node had last/);
  await waited(LOOK_MS);
  const { appliedIndex } = await cluster.info(other);
  t.true(appliedIndex - before <= MAX_ENTRIES, `${appliedIndex - before} entries`);
  const { stdout } = await cluster.dog('cluster', 'health');
  t.notRegex(stdout, /all is well|^fine/);
}

async function restarted(cluster: Cluster, which: readonly number[]): Promise<void> {
  for (const n of which) {
    await cluster.kill([n]);
    await cluster.start(n);
  }
}

test.serial(
  'an image of a disk from before its last start is refused, again and again, whoever was restarted',
  withCluster(SIZE, async (t, cluster) => {
    const { dir } = cluster.node(3);
    await write(cluster);
    await cluster.kill([3]);
    copied(dir, `${dir}.image`);
    await cluster.start(3);
    await cluster.settled(HEALED_MS);
    const pieces = await write(cluster);
    await cluster.kill([3]);
    copied(`${dir}.image`, dir);
    await isRefused(t, cluster, 1);
    await restarted(cluster, [1, 2]);
    copied(`${dir}.image`, dir);
    await isRefused(t, cluster, 2);
    await readsRight(t, cluster, 1, pieces);
  }),
);

test.serial(
  'an image from within the same life is refused by what others noted, also when they were restarted',
  withCluster(SIZE, async (t, cluster) => {
    const { dir, pid } = cluster.node(3);
    await write(cluster);
    process.kill(pid, 'SIGSTOP');
    copied(dir, `${dir}.image`);
    process.kill(pid, 'SIGCONT');
    const pieces = await write(cluster);
    await cluster.settled(HEALED_MS);
    await waited(NOTED_MS);
    await cluster.kill([3]);
    await restarted(cluster, [1, 2]);
    copied(`${dir}.image`, dir);
    await isRefused(t, cluster, 1);
    await readsRight(t, cluster, 1, pieces);
  }),
);
