// `dog vdi rename, protect, unprotect, setattr, getattr, listattr, alter`: through the real API, on a node of lists.

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

test('vdi rename: says the new name; a taken one is 3, a missing one 5, a held one 6, -f 0', async (t) => {
  const { node, run } = await sheep(t);
  await run('create', 'other', '1G');
  t.is((await run('rename', 'db', 'web')).out, 'Volume db is called web.\n');
  t.is((await run('rename', 'db', 'web')).code, 5);
  t.is((await run('rename', 'web', 'other')).code, 3);
  t.is((await run('rename', 'web', 'a/b')).code, 64);
  node.cell.apply(entryBodies.lockAcquire({ token: 0, node: 2 }));
  const held = await run('rename', 'web', 'blue');
  t.is(held.code, 6);
  t.regex(held.err, /web is in use through n2[\s\S]*cure: .*-f/);
  t.is((await run('rename', 'web', 'blue', '-f')).code, 0);
});

test('vdi protect: it can not be deleted, and show says so, until unprotect', async (t) => {
  const { run } = await sheep(t);
  t.is((await run('protect', 'db')).out, 'Volume db is protected.\n');
  t.regex((await run('show', 'db')).out, /mode +durable, attach handover, protected\n/);
  t.regex((await run('show', 'db', '-r')).out, /^protected\ttrue$/m);
  t.is((await run('unprotect', 'db')).out, 'Volume db is not protected.\n');
  t.is((await run('delete', 'db')).code, 0);
  t.is((await run('protect', 'db')).code, 5);
});

test('vdi setattr: -x is a mutex: the first has it, the next are told 3, until -d', async (t) => {
  const { run } = await sheep(t);
  const codes = await Promise.all(
    ['a', 'b', 'c', 'd'].map(async (who) => (await run('setattr', 'db', 'lock', who, '-x')).code),
  );
  t.deepEqual(codes.sort(), [0, 3, 3, 3]);
  t.is((await run('setattr', 'db', 'lock', '-d')).out, 'db has no lock any more.\n');
  t.is((await run('setattr', 'db', 'lock', '-d')).code, 5);
  t.is((await run('setattr', 'db', 'lock', 'x', '-d')).code, 64);
  t.is((await run('setattr', 'db', 'lock', 'e', '-x')).code, 0);
  t.is((await run('setattr', 'none', 'lock', 'e')).code, 5);
});

test('vdi setattr, getattr: any bytes, from stdin and back', async (t) => {
  const { env, run } = await sheep(t);
  const bytes = Uint8Array.from({ length: 65536 }, (_, at) => (at * 7) % 256);
  const args = ['vdi', 'setattr', 'db', 'a key/with signs', '-r'];
  t.like(await dog(args, env, undefined, undefined, bytes), { code: 0, out: '65536\n' });
  const back = await run('getattr', 'db', 'a key/with signs');
  t.is(back.code, 0);
  t.deepEqual(Buffer.from(back.out, 'latin1'), Buffer.from(bytes));
  const long = new Uint8Array(65537);
  t.is((await dog(args, env, undefined, undefined, long)).code, 64);
  t.is((await run('getattr', 'db', 'none')).code, 5);
  const json = JSON.parse((await dog(['--json', 'vdi', 'setattr', 'db', 'e', ''], env)).out);
  t.deepEqual(json.data, { key: 'e', bytes: 0 });
  t.is((await run('getattr', 'db', 'e')).out, '');
});

test('vdi listattr: keys in order with their sizes', async (t) => {
  const { run } = await sheep(t);
  t.is((await run('listattr', 'db')).out, 'db has no attributes.\n');
  await run('setattr', 'db', 'owner', 'anna');
  await run('setattr', 'db', 'note', '');
  t.is((await run('listattr', 'db')).out, 'key    size\nnote    0 B\nowner   4 B\n');
  t.is((await run('listattr', 'db', '-r')).out, 'note\t0\nowner\t4\n');
  t.is((await run('listattr', 'none')).code, 5);
});

test('vdi alter: the mode while nobody holds it; copies as alter-copy, on their own', async (t) => {
  const { node, run } = await sheep(t);
  t.is((await run('alter', 'db', '--mode', 'writeback')).out, 'The mode of db is writeback.\n');
  const both = await run('alter', 'db', '--mode', 'durable', '--io-timeout', '30s', '-r');
  t.is(both.out, 'durable\n30000\n');
  t.regex((await run('alter', 'db', '-c', '1', '-f')).out, /^db moves to 1 copy/);
  t.is((await run('alter', 'db', '-c', '1', '--mode', 'durable')).code, 64);
  node.cell.apply(entryBodies.lockAcquire({ token: 0, node: 2 }));
  const held = await run('alter', 'db', '--mode', 'writeback');
  t.is(held.code, 6);
  t.regex(held.err, /the mode of db stays: it is held through n2/);
  t.is(node.view()?.volumeByName('db')?.durability, 'durable');
});
