// Method: `dog vdi write` from a pipe and `dog vdi read` to a checksum, as processes, through different nodes, at odd
// offsets; refused while a guest has the volume, whose limits of rates limit; copies compared and repaired. 045, 062, 071.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { MIB } from '../../src/core/units.ts';
import { DATA_OFFSET } from '../../src/storage/layout.ts';
import type { Cluster } from './cluster.ts';
import { NbdClient } from './nbd-client.ts';
import { withCluster } from './with-cluster.ts';

const DOG = path.join(import.meta.dirname, '..', '..', 'bin', 'dog');
const SIZE_MIB = 64;
const ODD = 12_345;

/** Data with runs of zeroes in it. */
function* chunks(mib: number): Generator<Uint8Array> {
  for (let at = 0; at < mib; at += 1) {
    const chunk = Buffer.alloc(MIB, at % 4 === 3 ? 0 : at + 1);
    chunk.writeUInt32LE(at, 100);
    yield chunk;
  }
}

function dog(cluster: Cluster, n: number, args: readonly string[], input?: Iterable<Uint8Array>) {
  const env = { ...process.env, SHEEPDOG_API: cluster.node(n).api };
  const child = spawn(DOG, ['vdi', ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] });
  const hash = createHash('sha256');
  let bytes = 0;
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => {
    hash.update(chunk);
    bytes += chunk.length;
  });
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk.toString();
  });
  child.stdin.on('error', () => undefined);
  if (input === undefined) child.stdin.end();
  else Readable.from(input).pipe(child.stdin);
  return new Promise<{ code: number | null; err: string; sum: string; bytes: number }>(
    (resolve) => {
      child.on('close', (code) => resolve({ code, err, sum: hash.digest('hex'), bytes }));
    },
  );
}

const LIMITED_MS = 4000;

/** Requests of a guest, 16 at once, reads and writes in turn, that end in this time. */
async function rateOf(guest: NbdClient, ms: number): Promise<number> {
  const until = performance.now() + ms;
  let done = 0;
  const worker = async (n: number) => {
    for (let at = n; performance.now() < until; at += 1) {
      const offset = (at % 1024) * 4096;
      if (at % 2 === 0) await guest.read(offset, 4096);
      else await guest.write(offset, Buffer.alloc(4096, at % 251));
      if (performance.now() < until) done += 1;
    }
  };
  await Promise.all(Array.from({ length: 16 }, (_, n) => worker(n)));
  return done / (ms / 1000);
}

/** Limits under a guest that goes on: as fast as they say, by either measure, and free again. */
async function limitsLimit(t: ExecutionContext, cluster: Cluster, guest: NbdClient): Promise<void> {
  t.is((await dog(cluster, 3, ['alter', 'disk', '--iops', '100'])).code, 0);
  await rateOf(guest, 500);
  const iops = await rateOf(guest, LIMITED_MS);
  t.true(Math.abs(iops - 100) <= 10, `${iops} requests per second of 100`);
  const bandwidth = ['alter', 'disk', '--iops', 'none', '--bandwidth', '512K'];
  t.is((await dog(cluster, 3, bandwidth)).code, 0);
  await rateOf(guest, 500);
  const mibs = (await rateOf(guest, LIMITED_MS)) / 256;
  t.true(Math.abs(mibs - 0.5) <= 0.05, `${mibs} MiB/s of 0.5`);
  t.is((await dog(cluster, 3, ['alter', 'disk', '--bandwidth', 'none'])).code, 0);
  const free = await rateOf(guest, 1000);
  t.true(free > 140, `${free} requests per second without limits`);
  t.log(`limits: ${iops} of 100 requests/s, ${mibs.toFixed(2)} of 0.5 MiB/s, free ${free}`);
}

/** Flips a byte of an object's file on a node's disk, under everything. Gives its index. */
function flipOnDisk({ dir }: { readonly dir: string }): number {
  const objects = path.join(dir, 'objects');
  const [file = ''] = fs
    .readdirSync(objects, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\/[0-9a-f]{16}$/.test(name))
    .sort();
  const handle = fs.openSync(path.join(objects, file), 'r+');
  const at = DATA_OFFSET + 5 * 4096 + 99;
  const byte = Buffer.alloc(1);
  fs.readSync(handle, byte, 0, 1, at);
  byte[0] = (byte[0] as number) ^ 0x55;
  fs.writeSync(handle, byte, 0, 1, at);
  fs.closeSync(handle);
  return Number.parseInt(file.slice(-8), 16);
}

/** What people ask of copies: equal by every byte, one that rotted on a disk is found, and repaired only when asked for. */
async function copiesAreLookedAt(t: ExecutionContext, cluster: Cluster): Promise<void> {
  const said = async (...args: string[]) => {
    const { code, stdout } = await cluster.dog('vdi', ...args);
    return { code, out: stdout };
  };
  await said('snapshot', 'disk', '-s', 'one');
  t.is((await dog(cluster, 1, ['write', 'disk', '4M'], chunks(1))).code, 0);
  t.regex((await said('du', 'disk')).out, /own +1 MiB, with 3 copies 3 MiB/);
  const changes = await said('diff', 'disk@one', 'disk', '-r');
  t.is(changes.out, `${4 * MIB}\t${MIB}\tdata\n`);
  const place = JSON.parse((await said('object', 'location', 'disk', '4M', '--json')).out).data;
  const versions = place.copies.map((one: { rows: { version: string }[] }) => one.rows[0]?.version);
  t.is(new Set(versions).size, 1);
  t.is(versions.length, 3);
  t.regex((await said('track', 'disk', '1')).out, /n1, n2, n3/);

  t.is((await said('check', 'disk', '-n')).code, 0);
  const index = flipOnDisk(cluster.node(2));
  for (let times = 0; times < 2; times += 1) {
    const found = await said('check', 'disk', '-n', '-r');
    t.is(found.code, 1);
    t.regex(found.out, new RegExp(`^${index}\tdisk@one\tn2\tdamaged\t5\t\n$`));
  }
  const repaired = await said('check', 'disk');
  t.is(repaired.code, 0, repaired.out);
  t.regex(repaired.out, /1 are bad, 1 of them repaired/);
  t.is((await said('check', 'disk', '-n')).code, 0);
}

/** Bytes that the files of objects really take on a node's disk. */
function takenBytes({ dir }: { readonly dir: string }): number {
  const objects = path.join(dir, 'objects');
  return fs
    .readdirSync(objects, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\/[0-9a-f]{16}$/.test(name))
    .reduce((sum, name) => sum + fs.statSync(path.join(objects, name)).blocks * 512, 0);
}

/** A volume made with all of its space: blocks of the disk on every node, and zeroes to its reader. */
async function thickIsThick(t: ExecutionContext, cluster: Cluster): Promise<void> {
  const before = [1, 2, 3].map((n) => takenBytes(cluster.node(n)));
  const made = await cluster.dog('vdi', 'create', 'thick', '16M', '--preallocate');
  t.is(made.code, 0, made.stderr);
  for (const n of [1, 2, 3]) {
    const taken = takenBytes(cluster.node(n)) - (before[n - 1] ?? 0);
    t.true(taken >= 16 * MIB, `n${n}: ${taken}`);
  }
  t.regex((await cluster.dog('vdi', 'du', 'thick')).stdout, /own +16 MiB/);
  const read = await dog(cluster, 2, ['read', 'thick']);
  t.is(
    read.sum,
    createHash('sha256')
      .update(Buffer.alloc(16 * MIB))
      .digest('hex'),
  );
  t.is((await cluster.dog('vdi', 'preallocate', 'thick')).code, 0);
}

test.serial(
  'read and write by dog: the same bytes through another node, odd offsets, refused beside a guest',
  withCluster({ nodes: 3, copies: 3, volume: `disk:${SIZE_MIB}MiB` }, async (t, cluster) => {
    const wanted = createHash('sha256');
    for (const chunk of chunks(SIZE_MIB - 1)) wanted.update(chunk);
    const began = performance.now();
    const wrote = await dog(cluster, 1, ['write', 'disk', String(ODD)], chunks(SIZE_MIB - 1));
    t.is(wrote.code, 0, wrote.err);
    t.log(`${(SIZE_MIB / ((performance.now() - began) / 1000)).toFixed(0)} MiB/s written`);
    const range = [String(ODD), `${SIZE_MIB - 1}M`];
    const read = await dog(cluster, 2, ['read', 'disk', ...range]);
    t.is(read.code, 0, read.err);
    t.is(read.sum, wanted.digest('hex'));
    const before = await dog(cluster, 3, ['read', 'disk', '0', String(ODD)]);
    t.is(before.sum, createHash('sha256').update(Buffer.alloc(ODD)).digest('hex'), 'untouched');

    const guest = await NbdClient.connect(cluster.node(1).nbd.unix, 'disk');
    await guest.write(0, Buffer.alloc(4096, 9));
    const refused = await dog(cluster, 2, ['write', 'disk'], chunks(1));
    t.is(refused.code, 6);
    t.regex(refused.err, /disk is in use through n1/);
    t.is((await dog(cluster, 1, ['read', 'disk'])).code, 6, 'on the very node of the guest, too');
    t.deepEqual(Buffer.from(await guest.read(0, 4096)), Buffer.alloc(4096, 9));
    await limitsLimit(t, cluster, guest);
    await guest.close();
    await copiesAreLookedAt(t, cluster);
    await thickIsThick(t, cluster);
  }),
);
