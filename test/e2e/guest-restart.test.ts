// Method: QEMU's block layer (guest-disk.ts) writes on a node that is ended in order and started again, as an upgrade does
// it, that is replaced by a process which was loaded before (`--replace`), and that is killed. Its listening socket is held
// by this process, as systemd holds it (decision 50): QEMU finds somebody to connect to at once, instead of trying again
// after 1, 3, 7 and 15 seconds. The host may be slow, so the verdict compares what a write waited with how long the
// node was away.

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
/** Five starts and four outages. */
const TEST_TIMEOUT_MS = 6 * 60_000;
/** QEMU that was refused after seven seconds would try again after fifteen. */
const LONG_AWAY_MS = 7500;
/** Until QEMU has said hello again, and the volume's lock is taken: so long, and more where all takes longer. */
const HELLO_MS = 2500;
const HELLO_SHARE = 0.25;

/** How the node goes away; `replace`: its successor is loaded, and ends it. */
type Way = 'SIGTERM' | 'SIGKILL' | 'replace';

interface Stall {
  /** The longest that a write took. */
  readonly ms: number;
  /** From the signal until the node was up again. */
  readonly awayMs: number;
}

async function stallOf(
  t: ExecutionContext,
  sheep: Sheep,
  way: Way,
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
  const awayMs =
    way === 'replace' ? await replaced(t, sheep, flags) : await ended(sheep, way, restMs, flags);
  await more(ANSWERS);
  const ms = disk.longestMs;
  await disk.stop();
  t.deepEqual(disk.errors, []);
  t.log(`${way}: away ${awayMs.toFixed(0)} ms, the longest write ${ms.toFixed(0)} ms`);
  return { ms, awayMs };
}

/** @returns how long the node was away */
async function ended(
  sheep: Sheep,
  signal: NodeJS.Signals,
  restMs: number,
  flags: readonly string[],
): Promise<number> {
  const since = performance.now();
  await sheep.end(signal);
  await new Promise((resolve) => setTimeout(resolve, restMs));
  await sheep.start(...flags);
  await sheep.up();
  return performance.now() - since;
}

/** From the word of the former process that it ends; the load of its successor comes before. */
async function replaced(
  t: ExecutionContext,
  sheep: Sheep,
  flags: readonly string[],
): Promise<number> {
  t.is(await sheep.replace(...flags), 0, 'the former process ended in order');
  await sheep.up();
  const now = Date.now();
  const times = sheep.log.split('\n').flatMap((line) => {
    const [, time = ''] = /"time":"([^"]+)".*"sheep\.stopping"/.exec(line) ?? [];
    return time === '' ? [] : [Date.parse(time)];
  });
  t.regex(sheep.log, /"sheep\.replaces"/);
  return now - (times.at(-1) ?? 0);
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
  'a restart, a replacement and a crash under a guest: QEMU waits as long as the process is away, and nothing fails',
  withHosts(async (t, hosts) => {
    t.timeout(TEST_TIMEOUT_MS);
    const { sheep, flags, sockets } = await heldNode(hosts);
    try {
      for (const [way, restMs] of [
        ['SIGTERM', 0],
        ['replace', 0],
        ['SIGKILL', 0],
        ['SIGKILL', LONG_AWAY_MS],
      ] as const) {
        const { ms, awayMs } = await stallOf(t, sheep, way, restMs, flags);
        t.true(ms < awayMs * (1 + HELLO_SHARE) + HELLO_MS, `${ms} ms of ${awayMs}`);
      }
    } finally {
      for (const socket of sockets) socket.close();
    }
  }),
);
