// Object files of a running node are overwritten with dd, cut off and removed behind its back. Method: random data in
// three copies; the guest's bytes are compared through every node, health is asked at another node than the damaged one,
// and in the end the data in the object files of all nodes is the same again. Then the same sectors of all copies.

import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { MIB } from '../../src/core/units.ts';
import { type Cluster, until } from './cluster.ts';
import { NbdClient, NbdFailure } from './nbd-client.ts';
import { withCluster } from './with-cluster.ts';

const DATA_OFFSET = 16384;
const OBJECTS = 3;
const REPAIR_TIMEOUT_MS = 60_000;

function objectFiles(cluster: Cluster, n: number): string[] {
  const folder = path.join(cluster.node(n).dir, 'objects');
  return fs
    .readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => fs.statSync(path.join(folder, name)).isFile())
    .sort();
}

function dataSum(cluster: Cluster, n: number, name: string): string {
  const bytes = fs.readFileSync(path.join(cluster.node(n).dir, 'objects', name));
  return crypto.createHash('sha256').update(bytes.subarray(DATA_OFFSET)).digest('hex');
}

async function readsRight(t: ExecutionContext, cluster: Cluster, data: Buffer): Promise<void> {
  for (const n of [1, 2, 3]) {
    const client = await NbdClient.connect(cluster.node(n).nbd.unix, cluster.volume);
    for (let at = 0; at < data.length; at += MIB) {
      const read = await client.read(at, MIB);
      t.true(read.equals(data.subarray(at, at + MIB)), `through node ${n} at ${at}`);
    }
    await client.close();
  }
}

/** A deep scrub of node 2, so that what nobody read is found, too. */
async function scrubNode(t: ExecutionContext, cluster: Cluster): Promise<void> {
  const env = { ...process.env, SHEEPDOG_API: cluster.node(2).api };
  const dog = (...args: string[]) =>
    execFileSync(path.resolve('bin/dog'), args, { env, encoding: 'utf8' });
  dog('node', 'scrub', 'start', 'deep');
  const isOver = async () => JSON.parse(dog('node', 'scrub', 'info', '--json')).data.run === null;
  await until('the scrub is over', isOver, REPAIR_TIMEOUT_MS, 300);
  t.pass();
}

async function isHealthy(cluster: Cluster): Promise<boolean> {
  const { stdout } = await cluster.dog('cluster', 'health', '--json');
  const warnings: { code: string; severity: string; message: string }[] =
    JSON.parse(stdout).warnings;
  const told = warnings.filter(({ code }) => code === 'CORRUPTION');
  return told.length > 0 && told.every(({ message }) => /^repaired: .* on n2 /.test(message));
}

test(
  'dd over, a cut through and the loss of object files of a running node: right bytes, told, healed',
  withCluster({ nodes: 3, copies: 3, volume: 'disk:64MiB' }, async (t, cluster) => {
    const data = crypto.randomBytes(OBJECTS * 4 * MIB);
    const writer = await NbdClient.connect(cluster.node(1).nbd.unix, cluster.volume);
    for (let at = 0; at < data.length; at += MIB)
      await writer.write(at, data.subarray(at, at + MIB));
    await writer.flush();
    await writer.close();
    const files = objectFiles(cluster, 2);
    t.is(files.length, OBJECTS);
    const [over, cut, gone] = files.map((name) => path.join(cluster.node(2).dir, 'objects', name));
    const place = [`of=${over}`, 'bs=4096', 'seek=14', 'count=20', 'conv=notrunc'];
    execFileSync('dd', ['if=/dev/urandom', ...place, 'status=none']);
    fs.truncateSync(cut as string, 0);
    fs.rmSync(gone as string);

    await readsRight(t, cluster, data);
    await scrubNode(t, cluster);
    await until('the repair is told, and done', () => isHealthy(cluster), REPAIR_TIMEOUT_MS, 300);
    const health = await cluster.dog('cluster', 'health');
    t.is(health.code, 1, health.stdout + health.stderr);
    t.regex(health.stdout, /CORRUPTION: repaired: \d+ sectors/);
    t.deepEqual(objectFiles(cluster, 2), files);
    for (const name of files) t.is(dataSum(cluster, 2, name), dataSum(cluster, 1, name), name);
    await readsRight(t, cluster, data);
  }),
);

const EIO = 5;
const SECTOR_BYTES = 4096;

/** What a read through node 1 is answered with: 0, or its error number. */
async function answerTo(cluster: Cluster, offset: number, bytes: number): Promise<number> {
  const client = await NbdClient.connect(cluster.node(1).nbd.unix, cluster.volume);
  try {
    await client.read(offset, bytes);
    return 0;
  } catch (error) {
    if (error instanceof NbdFailure) return error.errno;
    throw error;
  } finally {
    await client.close();
  }
}

async function corruption(cluster: Cluster): Promise<readonly string[]> {
  const { stdout } = await cluster.dog('cluster', 'health', '--json');
  const warnings: { code: string; severity: string; message: string }[] =
    JSON.parse(stdout).warnings;
  return warnings
    .filter(({ code, severity }) => code === 'CORRUPTION' && severity === 'error')
    .map(({ message }) => message);
}

test(
  'dd over the same sectors of all copies: EIO for those alone, an alarm that names them, healed by an overwrite',
  withCluster({ nodes: 3, copies: 3, volume: 'disk:64MiB' }, async (t, cluster) => {
    const data = crypto.randomBytes(MIB);
    const writer = await NbdClient.connect(cluster.node(1).nbd.unix, cluster.volume);
    await writer.write(0, data);
    await writer.flush();
    const [first, count] = [20, 3];
    for (const n of [1, 2, 3]) {
      const [name] = objectFiles(cluster, n);
      const file = path.join(cluster.node(n).dir, 'objects', name as string);
      const place = ['bs=4096', `seek=${DATA_OFFSET / SECTOR_BYTES + first}`, `count=${count}`];
      const how = ['if=/dev/urandom', `of=${file}`, ...place, 'conv=notrunc', 'status=none'];
      execFileSync('dd', how);
    }
    const [from, bytes] = [first * SECTOR_BYTES, count * SECTOR_BYTES];
    t.is(await answerTo(cluster, from, bytes), EIO);
    t.is(await answerTo(cluster, from + SECTOR_BYTES, 512), EIO, 'each of them');
    t.is(await answerTo(cluster, 0, MIB), EIO, 'a read that needs them');
    t.is(await answerTo(cluster, 0, from), 0, 'what lies before');
    t.is(await answerTo(cluster, from + bytes, MIB - from - bytes), 0, 'what lies behind');
    const isTold = async () =>
      (await corruption(cluster)).some((one) => /no copy|all copies/.test(one));
    await until('the alarm', isTold, REPAIR_TIMEOUT_MS, 300);
    t.log((await corruption(cluster)).join('; '));
    t.is((await cluster.dog('cluster', 'health')).code, 2, 'an error, not a warning');

    await writer.write(from, data.subarray(from, from + bytes));
    await writer.close();
    t.is(await answerTo(cluster, 0, MIB), 0);
    const isQuiet = async () => (await corruption(cluster)).length === 0;
    await until('the alarm is over', isQuiet, REPAIR_TIMEOUT_MS, 300);
    await readsRight(t, cluster, data);
  }),
);
