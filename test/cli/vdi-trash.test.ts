// `dog vdi delete --trash`, `dog vdi trash list|restore|purge`: through the real API, on a node of lists.

import test, { type ExecutionContext } from 'ava';
import { FakeNode } from '../api/fake-node.ts';
import { served } from '../api/served.ts';
import { clusterOf, entryBodies } from '../fixtures.ts';
import { dog } from './dog.ts';

async function sheep(t: ExecutionContext) {
  const node = new FakeNode(clusterOf({ nodes: 2 }), 1);
  const { socketPath } = await served(t, node);
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  const run = (...args: string[]) => dog(['vdi', ...args], env);
  await run('create', 'db', '1G');
  return { node, env, run };
}

test('vdi delete --trash: says how to have it back; list shows it; restore brings it back', async (t) => {
  const { run } = await sheep(t);
  const deleted = await run('delete', 'db', '--trash', '7d');
  t.is(deleted.out, 'Volume db is in the trash for 7 d: dog vdi trash restore db\n');
  t.is((await run('show', 'db')).code, 5);
  t.notRegex((await run('list')).out, /db/);
  t.regex(
    (await run('trash', 'list')).out,
    /^name +id +size +deleted +kept for\ndb +1 +1 GiB .* 7 d\n$/,
  );
  t.is((await run('trash', 'restore', 'db')).out, 'Volume db is back.\n');
  t.is((await run('trash', 'list')).out, 'The trash is empty.\n');
  t.is((await run('trash', 'restore', 'db')).code, 5);
});

test('vdi delete: by the setting of the cluster, unless --now; snapshots never', async (t) => {
  const { env, run } = await sheep(t);
  await run('create', 'log', '1G');
  t.is((await dog(['cluster', 'set', 'trash', '2h'], env)).code, 0);
  t.regex((await run('delete', 'db')).out, /in the trash for 2 h/);
  t.is((await run('delete', 'log', '--now')).out, 'Volume log is deleted; its space follows.\n');
  t.is((await run('delete', 'log', '--now', '--trash', '1h')).code, 64);
  t.is((await run('delete', 'db@x', '--trash', '1h')).code, 64);
  t.is((await dog(['cluster', 'set', 'trash', 'x'], env)).code, 64);
  t.is((await run('trash', 'list', '-r')).out.split('\n').length, 2);
});

test('vdi trash: two of one name are told apart by id, under another name if need be', async (t) => {
  const { run } = await sheep(t);
  await run('delete', 'db', '--trash', '1h');
  await run('create', 'db', '2G');
  await run('delete', 'db', '--trash', '1h');
  const which = await run('trash', 'restore', 'db');
  t.is(which.code, 64);
  t.regex(which.err, /2 volumes in the trash were called db[\s\S]*--id, one of 1, 2/);
  t.is((await run('trash', 'restore', 'db', '--id', '2')).code, 0);
  t.is((await run('trash', 'restore', 'db')).code, 3, 'there is one of that name');
  t.is((await run('trash', 'restore', 'db', '--as', 'old')).code, 0);
});

test('vdi trash purge: asks first; a held volume goes nowhere', async (t) => {
  const { node, run } = await sheep(t);
  node.cell.apply(entryBodies.lockAcquire({ token: 0, node: 2 }));
  t.is((await run('delete', 'db', '--trash', '1h')).code, 6);
  node.cell.apply(entryBodies.lockRelease({ token: 1 }));
  await run('delete', 'db', '--trash', '1h');
  t.is((await run('trash', 'purge', 'db')).code, 64, 'nobody to ask');
  t.is((await run('trash', 'purge', 'db', '-f')).code, 0);
  t.is((await run('trash', 'purge', 'db', '-f')).code, 5);
});
