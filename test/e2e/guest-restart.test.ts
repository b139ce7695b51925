// Method: QEMU's block layer (guest-disk.ts) writes on a node that is ended in order and started again, as an upgrade does
// it, and that is killed. Its listening socket is held by this process, as systemd holds it (decision 50): QEMU finds
// somebody to connect to at once, instead of trying again after one, three and seven seconds. The host may be slow, so the
// verdict compares what a write waited with how long the node was away.

import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { preparePlan } from '../../src/cli/dev-plan.ts';
import { toolOrSkip } from '../nbd/tools.ts';
import { until } from './cluster.ts';
import { GuestDisk } from './guest-disk.ts';
import type { Hosts, Sheep } from './sheep-process.ts';
import { withHosts } from './with-hosts.ts';

const ANSWERS = 20;
const WAIT_MS = 60_000;
/** QEMU that was refused after three seconds would try again after seven. */
const LONG_AWAY_MS = 3500;
/** Until QEMU has said hello again, and the volume's lock is taken. */
const HELLO_MS = 700;

interface Stall {
  /** The longest that a write took. */
  readonly ms: number;
  /** From the signal until the node was up again. */
  readonly awayMs: number;
}

async function stallOf(
  t: ExecutionContext,
  sheep: Sheep,
  signal: NodeJS.Signals,
  restMs: number,
  flags: readonly string[],
): Promise<Stall> {
  const door = { kind: 'unix', path: sheep.nbd } as const;
  const disk = new GuestDisk({ name: 'disk', door, proof: { dir: '', user: '' } });
  const more = async (count: number) => {
    const wanted = disk.answered.length + count;
    await until(`${count} writes`, async () => disk.answered.length >= wanted, WAIT_MS);
  };
  await more(ANSWERS);
  const since = performance.now();
  await sheep.end(signal);
  await new Promise((resolve) => setTimeout(resolve, restMs));
  await sheep.start(...flags);
  await sheep.up();
  const awayMs = performance.now() - since;
  await more(ANSWERS);
  const ms = disk.longestMs;
  await disk.stop();
  t.deepEqual(disk.errors, []);
  t.log(`${signal}: away ${awayMs.toFixed(0)} ms, the longest write ${ms.toFixed(0)} ms`);
  return { ms, awayMs };
}

/** A third node of a cluster whose sockets outlive it. */
async function heldNode(
  hosts: Hosts,
): Promise<{ sheep: Sheep; flags: string[]; sockets: net.BoundSocket[] }> {
  const first = await hosts.first(3);
  await hosts.join(first);
  // As in earnest: the others find it where it was.
  const plan = await preparePlan({ dir: path.join(hosts.dir, 'p'), nodes: 1, copies: undefined });
  const flags = ['--listen', `/ip4/127.0.0.1/tcp/${plan.nodes[0]?.controlPort}`];
  const sheep = hosts.make();
  fs.mkdirSync(sheep.dir, { recursive: true });
  const socket = new net.BoundSocket({ path: sheep.nbd } as net.BoundSocketOptions);
  sheep.held = [socket.fd()];
  await first.must('vdi', 'create', 'disk', '64M');
  const token = (await first.must('cluster', 'invite', '--ttl', '10m', '--single-use')).trim();
  await sheep.start('--join', token, ...flags);
  await sheep.up();
  return { sheep, flags, sockets: [socket] };
}

toolOrSkip('qemu-io')(
  'a restart, and a crash, under a guest: QEMU waits as long as the process is away, and nothing fails',
  withHosts(async (t, hosts) => {
    const { sheep, flags, sockets } = await heldNode(hosts);
    try {
      for (const [signal, restMs] of [
        ['SIGTERM', 0],
        ['SIGKILL', 0],
        ['SIGKILL', LONG_AWAY_MS],
      ] as const) {
        const { ms, awayMs } = await stallOf(t, sheep, signal, restMs, flags);
        t.true(ms < awayMs + HELLO_MS, `${ms} ms of ${awayMs}`);
      }
    } finally {
      for (const socket of sockets) socket.close();
    }
  }),
);
