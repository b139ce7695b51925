// Method: the data directory of a running member, and of a stopped one, is copied, and the copy is started beside it: real
// processes, one key. The copy ends by itself, says why and what to do; health tells of it at any node; the original serves
// on. Started at the same moment at most one of the two stays.

import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { until } from './cluster.ts';
import type { Hosts, Sheep } from './sheep-process.ts';
import { TaggedWriter } from './tagged-writer.ts';
import { endOf, withHosts } from './with-hosts.ts';

const STEP_MS = 60_000;
const WRITES = 300;

/** Sockets and locks are made anew by a start. */
function copyOf(hosts: Hosts, original: Sheep): Sheep {
  const copy = hosts.make();
  const filter = (file: string) => !/\.sock$|^lock/.test(path.basename(file));
  fs.cpSync(original.dir, copy.dir, { recursive: true, filter });
  return copy;
}

async function threeNodes(hosts: Hosts): Promise<readonly [Sheep, Sheep, Sheep]> {
  const first = await hosts.first(3);
  const others = [await hosts.join(first), await hosts.join(first)] as const;
  const isAtRest = async () => {
    const { partitions, voters } = await first.info();
    return partitions.settled === partitions.total && voters.length === 3;
  };
  await until('at rest', isAtRest, STEP_MS);
  return [first, ...others];
}

test.serial(
  'a copy of the data directory of a running node is refused with the cure, and health names the node',
  withHosts(async (t, hosts) => {
    const [first, second, third] = await threeNodes(hosts);
    await first.must('vdi', 'create', 'disk', '32M');
    const writer = new TaggedWriter({
      ...{ socket: first.nbd, volume: 'disk' },
      ...{ blocks: 512, blockBytes: 8192, inFlight: 4 },
    });
    await writer.start();
    await writer.acknowledgements(WRITES);
    const { pid } = await third.status();
    const copy = copyOf(hosts, third);
    t.is(await endOf(copy), 1);
    t.regex(copy.log, /another process has the identity of n3 at \/ip4\/127\.0\.0\.1\/tcp\/\d+/);
    t.regex(copy.log, /remove this one; a further host joins with an empty directory/);
    for (const sheep of [first, second, third]) {
      const { code, stdout } = await sheep.dog('cluster', 'health');
      t.is(code, 2, stdout);
      t.regex(stdout, /IDENTITY_TWICE: a second process has the identity of n3/);
    }
    t.regex(hosts.logs, /peer\.identity\.twice/);
    const now = await third.status();
    t.is(now.pid, pid);
    t.is(now.phase, 'up', 'the original goes on');
    await writer.acknowledgements(writer.acknowledgedCount + WRITES);
    await writer.stop();
    t.deepEqual(writer.errors, []);
    await writer.verify(t, second.nbd);
  }),
);

test.serial(
  'two copies of a stopped node: the later one is refused; started at once at most one stays',
  withHosts(async (t, hosts) => {
    const [first, , third] = await threeNodes(hosts);
    await third.end('SIGTERM');
    const copy = copyOf(hosts, third);
    await third.start();
    await third.up();
    t.is(await endOf(copy), 1);
    t.regex(copy.log, /another process has the identity of n3/);
    t.is((await third.status()).phase, 'up');

    await third.end('SIGKILL');
    const again = copyOf(hosts, third);
    await Promise.allSettled([third.start(), again.start()]);
    const oneIsLeft = async () => {
      const alive = [third, again].filter(({ isRunning }) => isRunning);
      if (alive.length === 2) return false;
      return alive.length === 0 || (await alive[0]?.status())?.phase === 'up';
    };
    await until('at most one is left, and it is up', oneIsLeft, STEP_MS);
    const { stdout } = await first.dog('cluster', 'health');
    t.regex(stdout, /IDENTITY_TWICE/);
  }),
);
