// Method: a half-full volume under a guest is backed up from one cluster and restored in another, in full and by what
// differs, with commands that are killed in the middle; compared by checksums.

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { KIB, MIB } from '../../src/core/units.ts';
import { type Cluster, startCluster, until } from './cluster.ts';
import { NbdClient } from './nbd-client.ts';
import { withCluster } from './with-cluster.ts';

const DOG = path.join(import.meta.dirname, '..', '..', 'bin', 'dog');
const SIZE_MIB = 64;
const FREE_MS = 30_000;

function begin(cluster: Cluster, args: readonly string[]): ChildProcess {
  return spawn(DOG, ['--dir', cluster.dir, ...args], { stdio: ['ignore', 'ignore', 'ignore'] });
}

async function killed(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

async function dog(t: ExecutionContext, cluster: Cluster, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster.dog(...args);
  t.is(code, 0, `dog ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** Of all bytes, by `dog vdi read`. */
function sumOf(cluster: Cluster, name: string): Promise<string> {
  const child = spawn(DOG, ['--dir', cluster.dir, 'vdi', 'read', name]);
  const hash = createHash('sha256');
  child.stdout.on('data', (chunk: Buffer) => hash.update(chunk));
  return new Promise((resolve) => child.once('close', () => resolve(hash.digest('hex'))));
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Every second MiB, half of each without any pattern. */
async function halfFull(guest: NbdClient, model: Buffer): Promise<void> {
  for (let at = 0; at < SIZE_MIB; at += 2) {
    const data = Buffer.alloc(MIB, `volume ${at} `);
    randomBytes(MIB / 2).copy(data);
    await guest.write(at * MIB, data);
    data.copy(model, at * MIB);
  }
}

/** 1 % of what is there, in blocks of 4 KiB all over it, and zeroes. */
async function changeSome(guest: NbdClient, model: Buffer): Promise<void> {
  const blocks = (SIZE_MIB * MIB) / 2 / 4096 / 100;
  for (let n = 0; n < blocks; n += 1) {
    const block = n * 100;
    const at = Math.floor(block / 256) * 2 * MIB + (block % 256) * 4096;
    const data = randomBytes(4096);
    await guest.write(at, data);
    data.copy(model, at);
  }
  await guest.write(4 * MIB, Buffer.alloc(256 * KIB));
  model.fill(0, 4 * MIB, 4 * MIB + 256 * KIB);
}

/** A backup whose process is killed goes on in its file, which is what one that was not killed makes. */
async function fullBackup(t: ExecutionContext, from: Cluster, file: string): Promise<void> {
  const child = begin(from, ['vdi', 'backup', 'disk@a', '-o', file]);
  const isBegun = async () => fs.existsSync(file) && fs.statSync(file).size > MIB;
  await until('the backup has begun', isBegun, FREE_MS, 2);
  await killed(child);
  const cut = fs.statSync(file).size;
  await dog(t, from, 'vdi', 'backup', 'disk@a', '--resume', file);
  const whole = fs.statSync(file).size;
  t.log(`killed at ${cut} of ${whole} bytes`);
  t.true(whole < (SIZE_MIB * MIB) / 2, 'holes and patterns take no space');
}

async function restoreKilled(t: ExecutionContext, to: Cluster, file: string): Promise<void> {
  const child = begin(to, ['vdi', 'restore', 'disk', '-i', file]);
  const isThere = async () => (await to.dog('vdi', 'list', 'disk.restoring')).code === 0;
  await until('the restore has begun', isThere, FREE_MS, 2);
  await killed(child);
  t.is((await to.dog('vdi', 'list', 'disk')).code, 5, 'no half of it has the name');
  // Its hold on the volume ends by itself.
  const isDone = async () => (await to.dog('vdi', 'restore', 'disk', '-i', file)).code === 0;
  await until('it is restored', isDone, FREE_MS);
}

test.serial(
  'backup of a half-full volume, killed and resumed; restored in another cluster; differences of 1 %; a flipped byte',
  withCluster({ nodes: 2, copies: 2, volume: `disk:${SIZE_MIB}MiB` }, async (t, from) => {
    const to = await startCluster({ nodes: 1, copies: 1, volume: 'other:4MiB' });
    try {
      const [full, next] = [path.join(from.dir, 'disk.a'), path.join(from.dir, 'disk.b')];
      const model = Buffer.alloc(SIZE_MIB * MIB);
      const guest = await NbdClient.connect(from.node(1).nbd.unix, 'disk');
      await halfFull(guest, model);
      await dog(t, from, 'vdi', 'snapshot', 'disk', '-s', 'a');
      await fullBackup(t, from, full);
      await restoreKilled(t, to, full);
      t.is(await sumOf(to, 'disk'), hashOf(model));

      await changeSome(guest, model);
      await dog(t, from, 'vdi', 'snapshot', 'disk', '-s', 'b');
      await guest.close();
      await dog(t, from, 'vdi', 'backup', 'disk@b', '--from', 'a', '-o', next);
      const share = fs.statSync(next).size / ((SIZE_MIB * MIB) / 2);
      t.true(share > 0.008 && share < 0.013, `${(share * 100).toFixed(2)} % of the data`);
      const flipped = fs.readFileSync(next);
      flipped[200_000] = (flipped[200_000] ?? 0) ^ 1;
      fs.writeFileSync(`${next}.flipped`, flipped);
      const refused = await to.dog('vdi', 'restore', 'disk', '--onto', '-i', `${next}.flipped`);
      t.regex(refused.stderr, /the stream is damaged between bytes \d+ and \d+/);
      await dog(t, to, 'vdi', 'restore', 'disk', '--onto', '-i', next);
      t.is(await sumOf(to, 'disk'), hashOf(model));
      const unknown = await to.dog('vdi', 'restore', 'other', '--onto', '-i', next);
      t.is(unknown.code, 5);
      t.regex(unknown.stderr, /cure: restore the backup of disk@a first/);
      t.is((await dog(t, to, 'vdi', 'list', '-r')).split('\n').filter(Boolean).length, 2);
    } finally {
      await to.stop();
    }
  }),
);
