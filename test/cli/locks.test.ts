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
  t.is(refused.code, 6);
  t.regex(refused.err, /n1 since 2026-11-23 12:00:00 UTC, attached from 10\.0\.0\.7:999/);
  t.like(node.view()?.volumeByName('db'), { attachMode: 'handover', ioTimeoutMs: 0 });
  const shown = await dog(['vdi', 'show', 'db'], env);
  t.regex(shown.out, /n1 \(up\) since 2026-11-23T12:00:00.000Z, attached from 10\.0\.0\.7:999/);
});

test('vdi create, alter, show: --iops and --bandwidth are kept, changed, taken away and checked', async (t) => {
  const { node, env } = await sheep(t);
  const made = await dog(['vdi', 'create', 'db', '1G'], env);
  t.is(made.code, 0);
  t.regex((await dog(['vdi', 'show', 'db'], env)).out, /limits +none/);
  const altered = await dog(['vdi', 'alter', 'db', '--iops', '500', '--bandwidth', '50MiB/s'], env);
  t.is(altered.out, 'Limits of db: 500 requests and 50 MiB per second.\n');
  const rates = { iops: 500, bytesPerSecond: 50 * 1024 * 1024 };
  t.deepEqual(node.view()?.volumeByName('db')?.rates, rates);
  t.is((await dog(['vdi', 'alter', 'db', '--iops', 'none'], env)).code, 0);
  t.regex((await dog(['vdi', 'show', 'db'], env)).out, /limits +50 MiB per second/);
  const document = JSON.parse((await dog(['vdi', 'show', 'db', '--json'], env)).out);
  t.like(document.data, { iops: 0, bytesPerSecond: rates.bytesPerSecond });
  for (const bad of [
    ['--iops', '0'],
    ['--iops', 'x'],
    ['--bandwidth', '1'],
    ['--bandwidth', 'fast'],
  ]) {
    const refused = await dog(['vdi', 'alter', 'db', ...bad], env);
    t.is(refused.code, 64, bad.join(' '));
    t.regex(refused.err, /none|no size/);
  }
  t.is((await dog(['vdi', 'alter', 'none', '--iops', '5'], env)).code, 5);
  t.regex(
    (await dog(['vdi', 'create', '--help'], env)).out,
    /--iops <number>[\s\S]*--bandwidth <size>/,
  );
});

async function heldVolume(t: ExecutionContext) {
  const { node, env } = await sheep(t);
  await dog(['vdi', 'create', 'db', '1G'], env);
  await dog(['vdi', 'create', 'free', '1G'], env);
  const claim = entryBodies.lockAcquire({ token: 0, node: 2 });
  node.cell.apply({ ...claim, dateMs: NOON, from: '10.0.0.7:999' });
  return { node, env };
}

test('vdi lock list: who holds what since when from where, for people, scripts and programs', async (t) => {
  const { env } = await heldVolume(t);
  const listed = await dog(['vdi', 'lock', 'list'], env);
  t.is(listed.code, 0);
  t.regex(listed.out, /db +n2 +live +2026-11-23T12:00:00.000Z +10\.0\.0\.7:999 +handover +1/);
  t.notRegex(listed.out, /free/);
  t.is((await dog(['vdi', 'lock', 'list', 'free'], env)).out, 'Nobody holds free.\n');
  t.is((await dog(['vdi', 'lock', 'list', 'none'], env)).code, 5);
  const { data, schema } = JSON.parse((await dog(['--json', 'vdi', 'lock', 'list'], env)).out) as {
    data: object[];
    schema: string;
  };
  t.is(schema, 'dog/vdi.lock.list/1');
  t.like(data, [{ volume: 'db', node: 'n2', standing: 'live', from: '10.0.0.7:999', token: 1 }]);
});

test('vdi lock unlock: says what it means, and wants the name; then the holder is fenced', async (t) => {
  const { node, env } = await heldVolume(t);
  const lock = () => node.view()?.volumeByName('db')?.lock;
  t.is((await dog(['vdi', 'lock', 'unlock', 'db'], env)).code, 64, 'nobody to ask');
  const asked: string[] = [];
  const say = (word: string) => async (question: string) => {
    asked.push(question);
    return word;
  };
  t.not((await dog(['vdi', 'lock', 'unlock', 'db'], env, undefined, say('yes'))).code, 0);
  t.is(Number(lock()?.token), 1, 'a yes is no name');
  t.regex(asked.join(), /n2 \(up\) since .*, attached from 10\.0\.0\.7:999, token 1/);
  t.regex(asked.join(), /fenced for good.*EIO/);
  t.regex(asked.join(), /is there or is not/);
  const done = await dog(['vdi', 'lock', 'unlock', 'db'], env, undefined, say('db'));
  t.regex(done.out, /taken from n2/);
  t.like(lock(), { state: 'held', token: 2, incarnation: 0 });
  t.regex((await dog(['vdi', 'lock', 'list', 'db'], env)).out, /db +- +unlocked/);
  t.regex((await dog(['vdi', 'show', 'db'], env)).out, /holder +nobody; it was taken from n2/);
  t.is((await dog(['vdi', 'lock', 'unlock', 'db'], env)).out, 'Nobody holds db.\n');
});

test('vdi lock unlock --yes: takes what is held, from the holder that it looked at and no other', async (t) => {
  const { node, env } = await heldVolume(t);
  t.is((await dog(['--raw', 'vdi', 'lock', 'unlock', 'db', '--yes'], env)).out, 'unlocked\n');
  node.cell.apply(entryBodies.takeover({ token: 2, node: 1 }));
  const stale = node.unlockVolume('db', { by: 'test', expected: 1 });
  await t.throwsAsync(stale, { code: 'changed' });
  t.is(Number(node.view()?.volumeByName('db')?.lock.token), 3);
});

test('vdi migrate: announces a hand-over, says what happens then, and takes it back', async (t) => {
  const { node, env } = await heldVolume(t);
  const lock = () => node.view()?.volumeByName('db')?.lock;
  const done = await dog(['vdi', 'migrate', 'db', 'n1'], env);
  t.is(done.code, 0);
  t.regex(done.out, /db moves from n2 to n1 with the first write there/);
  t.like(lock(), { next: 1, node: 2, token: 1 });
  t.regex((await dog(['vdi', 'lock', 'list', 'db'], env)).out, /handover +1 +n1/);
  t.is((await dog(['vdi', 'migrate', 'db', 'n2'], env)).out, 'Volume db is on n2 already.\n');
  t.is((await dog(['vdi', 'migrate', 'db', '--cancel'], env)).out, 'Volume db stays on n2.\n');
  t.like(lock(), { next: 0, node: 2, token: 2 });
  t.regex((await dog(['vdi', 'migrate', 'db', '--cancel'], env)).out, /No hand-over of db/);
});

test('vdi migrate: to nobody, to somebody who is not there, of what nobody holds', async (t) => {
  const { env } = await heldVolume(t);
  t.is((await dog(['vdi', 'migrate', 'db'], env)).code, 64);
  t.is((await dog(['vdi', 'migrate', 'db', 'n1', '--cancel'], env)).code, 64);
  const refused = await dog(['vdi', 'migrate', 'db', 'n9'], env);
  t.is(refused.code, 5);
  t.regex(refused.err, /there is no node n9\n\s+cure: dog node list/);
  t.is((await dog(['vdi', 'migrate', 'none', 'n1'], env)).code, 5);
  const nobody = await dog(['vdi', 'migrate', 'free', 'n1'], env);
  t.is(nobody.out, 'Nobody holds free: who writes first has it.\n');
  const { data, schema } = JSON.parse(
    (await dog(['--json', 'vdi', 'migrate', 'db', 'n1'], env)).out,
  );
  t.is(schema, 'dog/vdi.migrate/1');
  t.deepEqual(data, { volume: 'db', did: 'prepared', holder: 'n2', next: 'n1', replaced: null });
});

test('vdi migrate: a second announcement for another node says whose place it takes', async (t) => {
  const node = new FakeNode(clusterOf({ nodes: 3 }), 1);
  const { socketPath } = await served(t, node);
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  await dog(['vdi', 'create', 'db', '1G'], env);
  node.cell.apply(entryBodies.lockAcquire({ token: 0, node: 2 }));
  t.notRegex((await dog(['vdi', 'migrate', 'db', 'n1'], env)).out, /before/);
  const second = await dog(['vdi', 'migrate', 'db', 'n3'], env);
  t.regex(second.out, /moves from n2 to n3 .*\nIt was announced for n1 before/);
  const again = JSON.parse((await dog(['vdi', 'migrate', 'db', 'n3', '--json'], env)).out);
  t.like(again.data, { did: 'prepared', next: 'n3', replaced: null }, 'the same once more');
  const back = JSON.parse((await dog(['vdi', 'migrate', 'db', 'n1', '--json'], env)).out);
  t.like(back.data, { did: 'prepared', next: 'n1', replaced: 'n3' });
});
