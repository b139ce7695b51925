// `dog vdi snapshot, clone, rollback, tree, resize, delete NAME@TAG`: through the real API, on a node of lists.

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
  await run('create', 'log', '1G');
  return { node, run };
}

test('vdi snapshot: of one volume, of a group; a tag that is there is 3, several without -g are 64', async (t) => {
  const { run } = await sheep(t);
  t.is((await run('snapshot', 'db', '-s', 'monday')).out, 'Snapshot db@monday is made.\n');
  t.is((await run('snapshot', 'db', '-s', 'monday')).code, 3);
  t.is((await run('snapshot', 'db', 'log', '-s', 'x')).code, 64);
  const group = await run('snapshot', '-g', 'db', 'log', '-s', 'x', '-r');
  t.is(group.out, 'db@x\t3\nlog@x\t2\n');
  t.is((await run('snapshot', 'db')).code, 64, 'a tag is needed');
  t.is((await run('snapshot', 'db', '-s', 'a@b')).code, 64);
  t.is((await run('snapshot', 'none', '-s', 'x')).code, 5);
});

test('vdi clone, tree: who was made from what', async (t) => {
  const { run } = await sheep(t);
  await run('snapshot', 'db', '-s', 'gold');
  t.is((await run('clone', 'db@gold', 'web')).out, 'Volume web shows what db@gold is.\n');
  t.is((await run('clone', 'db@gold', 'web')).code, 3);
  const deep = (await run('clone', 'db@gold', 'own', '--deep')).out;
  t.regex(deep, /^Volume own shows what db@gold is.\nIt is copied meanwhile.*alter-copy own\n$/);
  t.is((await run('delete', 'own', '-f')).code, 0);
  t.is((await run('clone', 'db@none', 'new')).code, 5);
  t.is((await run('clone', 'web', 'web2', '--mode', 'writeback')).code, 0);
  t.regex((await run('show', 'web2')).out, /mode +writeback/);
  const raw = (await run('tree', 'db', '-r')).out;
  t.deepEqual(
    raw
      .trim()
      .split('\n')
      .map((line) => line.split('\t').slice(0, 2).join(' ')),
    ['db@gold snapshot', 'db volume', '(deleted) deleted', 'web volume', 'web2 volume'],
  );
  t.regex(
    (await run('tree')).out,
    /^db@gold +snapshot[\s\S]*\n {2}db +volume[\s\S]*\nlog +volume/m,
  );
  t.is((await run('tree', 'none')).code, 5);
});

test('vdi rollback: asks first, and names what is lost; not while a guest has it', async (t) => {
  const { node, run } = await sheep(t);
  await run('snapshot', 'db', '-s', 'a');
  const asked = await run('rollback', 'db@a');
  t.is(asked.code, 64);
  t.regex(asked.err, /Lose what was written to db since db@a/);
  t.is((await run('rollback', 'db@a', '-f')).out, 'Volume db is what db@a was.\n');
  t.is((await run('rollback', 'db', '-f')).code, 64);
  t.is((await run('rollback', 'db@b', '-f')).code, 5);
  node.cell.apply(entryBodies.lockAcquire({ token: 0, node: 2 }));
  t.is((await run('rollback', 'db@a', '-f')).code, 6);
});

test('vdi delete, protect: of snapshots too, in any order; twice is 5', async (t) => {
  const { run } = await sheep(t);
  await run('snapshot', 'db', '-s', 'a');
  t.is((await run('protect', 'db@a')).out, 'Snapshot db@a is protected.\n');
  t.is((await run('delete', 'db@a')).code, 77);
  t.is((await run('unprotect', 'db@a')).code, 0);
  t.is((await run('delete', 'db')).code, 0, 'the working state first');
  t.is((await run('create', 'db', '1G')).code, 3, 'its snapshot is there');
  t.is((await run('clone', 'db@a', 'db')).code, 0);
  t.is((await run('delete', 'db@a')).out, 'Snapshot db@a is deleted; its space follows.\n');
  t.is((await run('delete', 'db@a')).code, 5);
});

test('vdi resize: larger at once, smaller with --force and the truth about it', async (t) => {
  const { node, run } = await sheep(t);
  t.is((await run('resize', 'db', '2G')).out, 'Volume db has 2 GiB.\n');
  const refused = await run('resize', 'db', '1G');
  t.is(refused.code, 77);
  t.regex(
    refused.err,
    /db has 2147483648 bytes: what lies beyond 1073741824 would be gone for good/,
  );
  t.is((await run('resize', 'db', '1G', '--force', '-r')).out, '1073741824\n');
  node.cell.apply(entryBodies.lockAcquire({ token: 0, node: 2 }));
  t.regex((await run('resize', 'db', '3G')).out, /sees that after its next connection/);
  t.is((await run('resize', 'db', '1G', '--force')).code, 6);
  t.is((await run('resize', 'db', '9T')).code, 64);
});
