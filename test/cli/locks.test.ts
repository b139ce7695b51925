// `dog vdi create|alter --attach-mode`, and what it says of who holds a volume: through the real API, on a node of lists.

import test, { type ExecutionContext } from 'ava';
import { FakeNode } from '../api/fake-node.ts';
import { served } from '../api/served.ts';
import { clusterOf, entryBodies } from '../fixtures.ts';
import { dog } from './dog.ts';

async function sheep(t: ExecutionContext) {
  const node = new FakeNode(clusterOf({ nodes: 2 }), 1);
  const { socketPath } = await served(t, node);
  return { node, env: { SHEEPDOG_API: `unix:${socketPath}` } };
}

const NOON = Date.UTC(2026, 10, 23, 12, 0, 0);

test('vdi create, alter: --attach-mode is said, kept, changed and checked', async (t) => {
  const { node, env } = await sheep(t);
  const made = await dog(['vdi', 'create', 'db', '1G', '--attach-mode', 'exclusive'], env);
  t.is(made.code, 0);
  t.regex(made.out, /exclusive/);
  t.is(node.view()?.volumeByName('db')?.attachMode, 'exclusive');
  const altered = await dog(['vdi', 'alter', 'db', '--attach-mode', 'shared-read'], env);
  t.is(altered.out, 'Volume db is attached in mode shared-read.\n');
  t.is(node.view()?.volumeByName('db')?.attachMode, 'shared-read');
  t.is((await dog(['vdi', 'alter', 'db', '--attach-mode', 'all'], env)).code, 64);
  t.is((await dog(['vdi', 'alter', 'db'], env)).code, 64, 'nothing to alter');
  t.is((await dog(['vdi', 'alter', 'none', '--attach-mode', 'exclusive'], env)).code, 5);
});

test('vdi alter --attach-mode: refused while somebody holds it, who is named; nothing has changed', async (t) => {
  const { node, env } = await sheep(t);
  await dog(['vdi', 'create', 'db', '1G'], env);
  const claim = entryBodies.lockAcquire({ token: 0, node: 1 });
  node.cell.apply({ ...claim, dateMs: NOON, from: '10.0.0.7:999' });
  const alter = ['vdi', 'alter', 'db', '--attach-mode', 'exclusive', '--io-timeout', '9s'];
  const refused = await dog(alter, env);
  t.not(refused.code, 0);
  t.regex(refused.err, /n1 since 2026-11-23 12:00:00 UTC, attached from 10\.0\.0\.7:999/);
  t.like(node.view()?.volumeByName('db'), { attachMode: 'handover', ioTimeoutMs: 0 });
  const shown = await dog(['vdi', 'show', 'db'], env);
  t.regex(shown.out, /n1 \(up\) since 2026-11-23T12:00:00.000Z, attached from 10\.0\.0\.7:999/);
});
