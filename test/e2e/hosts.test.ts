// Method: three hosts as network namespaces, set up by hand as on real ones: format, invite, join. Bytes go round through
// unix sockets while replicas talk over TLS; then one host's cable is pulled, writes go on, and it catches up.

import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import type { NodeData } from '../../src/core/admin-shapes.ts';
import { MIB } from '../../src/core/units.ts';
import { declareUnless, missingTools, succeed } from '../nbd/tools.ts';
import { isListening } from '../try-connect.ts';
import { isSettled, until } from './cluster.ts';
import { Hosts, missingNamespaces } from './hosts.ts';

const VOLUME_MIB = 64;
const ANSWERS_MS = 30_000;
const IN_SYNC_MS = 60_000;
const SILENT_IS_DOWN_MS = 5000;
/** A verdict that comes late is measured, too, up to this. */
const GIVE_UP_MS = 20_000;
const POLL_MS = 20;

async function formed(hosts: Hosts): Promise<void> {
  const answers = (n: number) => async () => (await hosts.dog(n, 'cluster', 'info')) !== '';
  hosts.startNode(1);
  const isThere = () => isListening(path.join(hosts.dataDir(1), 'sheep.sock'));
  await until('node 1 listens', isThere, ANSWERS_MS);
  await hosts.dog(1, 'cluster', 'format', '-c', '3');
  const token = await hosts.dog(1, 'cluster', 'invite');
  for (const n of [2, 3]) hosts.startNode(n, '--join', token);
  for (const n of [2, 3]) await until(`node ${n} has joined`, answers(n), ANSWERS_MS);
  await settled(hosts);
}

async function settled(hosts: Hosts): Promise<void> {
  for (const n of [1, 2, 3]) {
    const check = async () => isSettled(await hosts.cluster(n), 3);
    await until(`node ${n} sees all in sync`, check, IN_SYNC_MS);
  }
}

function randomFile(hosts: Hosts, name: string): string {
  const file = path.join(hosts.dir, name);
  fs.writeFileSync(file, crypto.randomBytes(VOLUME_MIB * MIB));
  return file;
}

async function isSameThrough(t: ExecutionContext, hosts: Hosts, n: number, source: string) {
  const back = path.join(hosts.dir, `back-${n}.img`);
  await succeed(t, 'nbdcopy', [hosts.uri(n, 'disk'), back]);
  t.true(fs.readFileSync(back).equals(fs.readFileSync(source)), `through node ${n}`);
}

/** Nodes are named in the order in which they joined; hosts 2 and 3 join at the same time. */
function isAt(node: NodeData, host: number): boolean {
  return node.addresses.some((address) => address.includes(`/10.77.0.${host}/`));
}

async function downAfterMs(hosts: Hosts, victim: number): Promise<number> {
  const others = [1, 2, 3].filter((n) => n !== victim);
  const since = performance.now();
  await hosts.cable(victim, 'down');
  for (const n of others) {
    const isDown = async () =>
      (await hosts.members(n)).some((one) => one.state === 'down' && isAt(one, victim));
    await until(`host ${n} has host ${victim} as down`, isDown, GIVE_UP_MS, POLL_MS);
  }
  return performance.now() - since;
}

async function story(t: ExecutionContext, hosts: Hosts): Promise<void> {
  await formed(hosts);
  await hosts.dog(1, 'vdi', 'create', 'disk', `${VOLUME_MIB}MiB`);
  const first = randomFile(hosts, 'first.img');
  await succeed(t, 'nbdcopy', ['--flush', first, hosts.uri(1, 'disk')]);
  for (const n of [2, 3]) await isSameThrough(t, hosts, n, first);

  const ms = await downAfterMs(hosts, 3);
  t.log(`cut off: down after ${ms.toFixed(0)} ms`);
  t.true(ms < SILENT_IS_DOWN_MS);
  const second = randomFile(hosts, 'second.img');
  await succeed(t, 'nbdcopy', ['--flush', second, hosts.uri(1, 'disk')]);
  await hosts.cable(3, 'up');
  await settled(hosts);
  await isSameThrough(t, hosts, 3, second);
}

const missing = missingTools('ip', 'nbdcopy');
const why = missing === '' ? missingNamespaces() : missing;
/** No root, or a container that forbids namespaces, is no fault of the machine. */
const declare = declareUnless(why, missing === '' ? 'expected' : 'unexpected');

declare('three hosts: bytes come back over TLS, a cable is pulled and healed', async (t) => {
  t.timeout(4 * 60_000);
  const hosts = new Hosts(3);
  try {
    await hosts.up();
    await story(t, hosts);
  } catch (error) {
    t.log(hosts.logs());
    throw error;
  } finally {
    await hosts.down();
  }
});
