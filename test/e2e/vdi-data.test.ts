// Method: `dog vdi write` from a pipe and `dog vdi read` to a checksum, as processes, through different nodes, at odd
// offsets; refused while a guest has the volume; memory of the reader stays bounded. Scenarios 045, 062, 071.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { Readable } from 'node:stream';
import test from 'ava';
import { MIB } from '../../src/core/units.ts';
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
    await guest.close();
  }),
);
