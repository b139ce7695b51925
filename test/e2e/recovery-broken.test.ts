// A member that missed everything returns and copies, slowly by order; in the middle of that a source dies, the target
// dies, both die, the leader dies, or the target's disk fills up, one after the other on one cluster. Each time the guest
// goes on without an error, all is in sync again, and every byte is there. Environment: BROKEN_RECOVERIES, a list of the
// troubles or `all`; two that hold the most unless given.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { ask, parseTarget } from '../../src/cli/client.ts';
import type { StatusData } from '../../src/core/admin-shapes.ts';
import { declareUnless } from '../nbd/tools.ts';
import { type Cluster, startCluster, until } from './cluster.ts';
import { missingMounts, Tmpfs } from './disks.ts';
import { TaggedWriter } from './tagged-writer.ts';

const TEST_TIMEOUT_MS = 8 * 60_000;
const TARGET = 5;
const OTHERS = [1, 2, 3, 4];
const SHAPE = { volume: 'disk', blocks: 1024, blockBytes: 65_536, inFlight: 8 };
const SLOW = '3MiB';
const DOWN_MS = 30_000;
const MIDWAY_MS = 60_000;
const MIDWAY_POLL_MS = 20;
const IN_SYNC_MS = 120_000;

const TROUBLES = ['source dies', 'target dies', 'both die', 'leader dies', 'disk fills'] as const;
type Trouble = (typeof TROUBLES)[number];
const asked = process.env['BROKEN_RECOVERIES'] ?? 'both die,disk fills';
const chosen = TROUBLES.filter((one) => asked === 'all' || asked.split(',').includes(one));

interface Run {
  readonly t: ExecutionContext;
  readonly cluster: Cluster;
  readonly disk: Tmpfs;
}

declareUnless(missingMounts(), 'expected')(
  `as root: a recovery is disturbed in its middle: ${chosen.join(', ')}`,
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-e2e-'));
    const disk = new Tmpfs(path.join(dir, `n${TARGET}`), '512m');
    let cluster: Cluster | undefined;
    try {
      cluster = await startCluster({ nodes: 5, copies: 3, volume: 'disk:64MiB', dir });
      for (const trouble of chosen) {
        const startedAt = performance.now();
        await disturbed({ t, cluster, disk }, trouble);
        t.log(`${trouble}: ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
      }
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

async function disturbed({ t, cluster, disk }: Run, trouble: Trouble): Promise<void> {
  await cluster.kill([TARGET]);
  await until('it is down', async () => (await cluster.info()).members.up === 4, DOWN_MS);
  const leader = (await cluster.members(1)).findIndex(({ isLeader }) => isLeader) + 1;
  const gateway = OTHERS.find((n) => n !== leader) ?? 0;
  const source = OTHERS.find((n) => n !== leader && n !== gateway) ?? 0;
  // All of it is written anew: it misses all that it holds.
  const socket = cluster.node(gateway).nbd.unix;
  const writer = new TaggedWriter({ socket, ...SHAPE });
  await writer.start();
  await writer.acknowledgements(SHAPE.blocks);
  await writer.stop();

  await throttled(cluster, SLOW);
  await cluster.start(TARGET);
  await until('it is midway', () => isMidway(cluster), MIDWAY_MS, MIDWAY_POLL_MS);
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
  const goesOn = writer.acknowledgements(before + SHAPE.blocks / 8);
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

async function throttled(cluster: Cluster, rate: string): Promise<void> {
  const { code, stderr } = await cluster.dog('node', 'recovery', 'set-throttle', rate);
  if (code !== 0) throw new Error(`set-throttle ${rate}: ${stderr}`);
}
