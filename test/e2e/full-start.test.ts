// Method: one node alone on a small tmpfs; a file of somebody else takes the last byte while the node is dead. It starts all
// same, serves what it has, refuses what needs room with ENOSPC, takes a discard, and goes on when the file is gone.

import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { MIB } from '../../src/core/units.ts';
import { RESERVE_BYTES, RESERVE_FILE } from '../../src/io/space-reserve.ts';
import { declareUnless } from '../nbd/tools.ts';
import { until } from './cluster.ts';
import { missingMounts, Tmpfs } from './disks.ts';
import { NbdClient, NbdFailure } from './nbd-client.ts';
import { Hosts, type Sheep } from './sheep-process.ts';

const TEST_TIMEOUT_MS = 5 * 60_000;
const SIZE = '128m';
const DATA_BYTES = 4 * MIB;
const ENOSPC = 28;
const LEVEL_MS = 30_000;

const declare = declareUnless(missingMounts(), 'expected');

function reserveOf(sheep: Sheep): number {
  const file = path.join(sheep.dir, RESERVE_FILE);
  return (fs.statSync(file, { throwIfNoEntry: false })?.blocks ?? 0) * 512;
}

async function errnoOf(work: Promise<unknown>): Promise<number> {
  try {
    await work;
    return 0;
  } catch (error) {
    if (error instanceof NbdFailure) return error.errno;
    throw error;
  }
}

async function fullAndBack(t: ExecutionContext, sheep: Sheep, disk: Tmpfs): Promise<void> {
  await sheep.must('vdi', 'create', 'disk', '64M');
  const data = crypto.randomBytes(DATA_BYTES);
  let client = await NbdClient.connect(sheep.nbd, 'disk');
  for (let at = 0; at < DATA_BYTES; at += MIB) await client.write(at, data.subarray(at, at + MIB));
  await client.close();
  await until('the reserve is made', async () => reserveOf(sheep) === RESERVE_BYTES, LEVEL_MS);
  await sheep.end('SIGKILL');
  disk.fillUp();
  t.is(disk.usedShare, 1, 'not a byte is free');

  await sheep.start();
  await sheep.up();
  t.is(reserveOf(sheep), 0);
  client = await NbdClient.connect(sheep.nbd, 'disk');
  t.true((await client.read(0, DATA_BYTES / 4)).equals(data.subarray(0, DATA_BYTES / 4)));
  t.is(await errnoOf(client.write(DATA_BYTES, data.subarray(0, MIB))), ENOSPC);
  await client.close();
  t.regex((await sheep.dog('cluster', 'health')).stdout, /DISK_FULL/);
  t.is(await sheep.end('SIGTERM'), 0, 'and it ends in order');

  disk.fillUp();
  sheep.log = '';
  await sheep.start().catch(() => undefined);
  t.false(sheep.isRunning, 'the reserve is given up once');
  t.regex(sheep.log, /ENOSPC|no space/);

  disk.empty();
  await sheep.start();
  await sheep.up();
  await until('the reserve is back', async () => reserveOf(sheep) === RESERVE_BYTES, LEVEL_MS);
  client = await NbdClient.connect(sheep.nbd, 'disk');
  for (let at = 0; at < DATA_BYTES; at += MIB) {
    t.true((await client.read(at, MIB)).equals(data.subarray(at, at + MIB)));
  }
  await client.write(DATA_BYTES, data.subarray(0, MIB));
  await client.close();
}

declare('as root: a node starts, serves and ends where not a byte is free', async (t) => {
  t.timeout(TEST_TIMEOUT_MS);
  const hosts = new Hosts();
  const disk = new Tmpfs(path.join(hosts.dir, 'h1'), SIZE);
  try {
    await fullAndBack(t, await hosts.first(1), disk);
  } catch (error) {
    t.log(hosts.logs);
    throw error;
  } finally {
    await Promise.all(hosts.all.map((sheep) => sheep.end('SIGKILL')));
    disk.remove();
    await hosts.stop();
  }
});
