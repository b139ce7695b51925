// A member that missed everything returns and copies, slowly by order; in the middle of that a source dies, the target
// dies, both die, the leader dies, the target's disk fills up, one after the other on one cluster. Each time the guest goes
// on without an error, all is in sync again, and every byte is there. At last a volume is deleted while a node is away: when
// that returns nothing of it comes back, not on any disk, and not under the same name.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { ask, parseTarget } from '../../src/cli/client.ts';
import type { StatusData } from '../../src/core/admin-shapes.ts';
import { MIB } from '../../src/core/units.ts';
import { declareUnless } from '../nbd/tools.ts';
import { type Cluster, startCluster, until } from './cluster.ts';
import { missingMounts, Tmpfs } from './disks.ts';
import { NbdClient } from './nbd-client.ts';
import { TaggedWriter } from './tagged-writer.ts';

const TEST_TIMEOUT_MS = 8 * 60_000;
const TARGET = 5;
const OTHERS = [1, 2, 3, 4];
const SHAPE = { volume: 'disk', blocks: 512, blockBytes: 65_536, inFlight: 8 };
const SLOW = '3MiB';
const DOWN_MS = 30_000;
const MIDWAY_MS = 60_000;
const IN_SYNC_MS = 120_000;

const TROUBLES = ['source dies', 'target dies', 'both die', 'leader dies', 'disk fills'] as const;

interface Run {
  readonly t: ExecutionContext;
  readonly cluster: Cluster;
  readonly disk: Tmpfs;
}

declareUnless(missingMounts(), 'expected')(
  'as root: a recovery is disturbed in its middle; what was deleted meanwhile stays deleted',
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-e2e-'));
    const disk = new Tmpfs(path.join(dir, `n${TARGET}`), '512m');
    let cluster: Cluster | undefined;
    try {
      cluster = await startCluster({ nodes: 5, copies: 3, volume: 'disk:32MiB', dir });
      const run = { t, cluster, disk };
      const startedAt = performance.now();
      for (const trouble of TROUBLES) await disturbed(run, trouble);
      await deletedStaysDeleted(run);
      t.log(`${((performance.now() - startedAt) / 1000).toFixed(0)} s`);
    } catch (error) {
      t.log(cluster?.logs());
      throw error;
    } finally {
      await cluster?.down();
      disk.remove();
      fs.rmSync(dir, { recursive: true, force: true });
    }
  },
);

async function disturbed(
  { t, cluster, disk }: Run,
  trouble: (typeof TROUBLES)[number],
): Promise<void> {
  await cluster.kill([TARGET]);
  await until('it is down', async () => (await cluster.info()).members.up === 4, DOWN_MS);
  const leader = (await cluster.members(1)).findIndex(({ isLeader }) => isLeader) + 1;
  const gateway = OTHERS.find((n) => n !== leader) ?? 0;
  const source = OTHERS.find((n) => n !== leader && n !== gateway) ?? 0;
  const socket = cluster.node(gateway).nbd.unix;
  // All of it is written anew, and a bit more: it misses all that it holds.
  const writer = new TaggedWriter({ socket, ...SHAPE });
  await writer.start();
  await writer.acknowledgements(SHAPE.blocks);
  await writer.stop();

  await throttled(cluster, SLOW);
  await cluster.start(TARGET);
  await until('it is midway', () => isMidway(cluster), MIDWAY_MS, 20);
  const dead = {
    'source dies': [source],
    'target dies': [TARGET],
    'both die': [source, TARGET],
    'leader dies': [leader],
    'disk fills': [],
  }[trouble];
  if (trouble === 'disk fills') disk.fillUp();
  else await cluster.kill(dead);
  await writer.start();
  const before = writer.acknowledgedCount;
  const goesOn = writer.acknowledgements(before + SHAPE.blocks / 4);
  // Where two of three are gone, writes wait until one of them is back; else they go on without it.
  if (trouble !== 'both die') await goesOn;
  for (const n of dead) await cluster.start(n);
  await goesOn;
  await writer.stop();
  t.true(writer.acknowledgedCount > before, trouble);
  t.deepEqual(writer.errors, [], `${trouble}: the guest sees no error`);
  disk.empty();
  await throttled(cluster, '--auto');
  await cluster.settled(IN_SYNC_MS);
  await writer.verify(t, cluster.node(TARGET).nbd.unix);
}

async function isMidway(cluster: Cluster): Promise<boolean> {
  const api = parseTarget(cluster.node(TARGET).api);
  const { phase, catchUp } = (await ask<StatusData>(api, '/v1/status')).data;
  return phase === 'up' && catchUp.bytesCopied > 0 && catchUp.partitionsLeft > 0;
}

function throttled(cluster: Cluster, rate: string): Promise<void> {
  return done(cluster, 'node', 'recovery', 'set-throttle', rate);
}

// ------------------------------------------------------------------------------------------- a deleted volume

const GONE = 'gone';
const GONE_BYTES = 32 * MIB;

async function deletedStaysDeleted({ t, cluster }: Run): Promise<void> {
  const old = generationsOn(cluster);
  await done(cluster, 'vdi', 'create', GONE, '32MiB');
  await written(cluster, 1);
  const made = generationsOn(cluster).filter((generation) => !old.includes(generation));
  t.is(made.length, 1);
  await cluster.kill([TARGET]);
  await until('it is down', async () => (await cluster.info()).members.up === 4, DOWN_MS);
  await done(cluster, 'vdi', 'delete', GONE);
  await done(cluster, 'vdi', 'create', GONE, '32MiB');
  await cluster.start(TARGET);
  await cluster.settled(IN_SYNC_MS);
  const isDropped = () => Promise.resolve(!generationsOn(cluster).includes(made[0] as string));
  await until('no disk has any of it', isDropped, IN_SYNC_MS);
  const reader = await NbdClient.connect(cluster.node(TARGET).nbd.unix, GONE);
  for (let at = 0; at < GONE_BYTES; at += MIB) {
    const bytes = await reader.read(at, MIB);
    t.true(
      bytes.every((byte) => byte === 0),
      `the new volume at ${at}`,
    );
  }
  await reader.close();
  t.false(generationsOn(cluster).includes(made[0] as string));
}

async function done(cluster: Cluster, ...args: string[]): Promise<void> {
  const { code, stderr } = await cluster.dog(...args);
  if (code !== 0) throw new Error(`dog ${args.join(' ')}: ${stderr}`);
}

async function written(cluster: Cluster, fill: number): Promise<void> {
  const client = await NbdClient.connect(cluster.node(1).nbd.unix, GONE);
  for (let at = 0; at < GONE_BYTES; at += MIB) await client.write(at, Buffer.alloc(MIB, fill));
  await client.flush();
  await client.close();
}

/** Of all objects on all disks. */
function generationsOn(cluster: Cluster): readonly string[] {
  const found = new Set<string>();
  for (const { dir } of cluster.nodes) {
    const objects = path.join(dir, 'objects');
    for (const folder of fs.readdirSync(objects)) {
      for (const name of fs.readdirSync(path.join(objects, folder))) found.add(name.slice(0, 8));
    }
  }
  return [...found];
}
