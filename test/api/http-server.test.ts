// The HTTP front over a behaving fake, through real sockets.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { connect } from 'node:net';
import test from 'ava';
import { parseApiAddress, serveApi } from '../../src/api/http-server.ts';
import { ask, type Target } from '../../src/cli/client.ts';
import type { ClusterData, StatusData, VolumeDetail } from '../../src/core/admin-shapes.ts';
import { OperatingError } from '../../src/core/errors.ts';
import { GIB } from '../../src/core/units.ts';
import { clusterOf, entryBodies } from '../fixtures.ts';
import { FakeNode } from './fake-node.ts';
import { served } from './served.ts';

const post = (body: unknown) => ({ method: 'POST', body }) as const;

test('a blank node answers its status and asks for a format', async (t) => {
  const { socketPath } = await served(t);
  const { data } = await ask<StatusData>({ socketPath }, '/v1/status');
  t.like(data, { phase: 'blank', node: null, pid: process.pid });
  const error = await t.throwsAsync(ask({ socketPath }, '/v1/volumes'));
  t.like(error, { code: 'not-formatted' });
});

test('format, create, show, delete: each answer has its schema and epoch', async (t) => {
  const { socketPath } = await served(t);
  const target: Target = { socketPath };
  const formatted = await ask<StatusData>(target, '/v1/cluster/format', post({ copies: 1 }));
  t.is(formatted.schema, 'sheep/status/1');
  t.true(formatted.epoch >= 1);
  const made = await ask<VolumeDetail>(target, '/v1/volumes', post({ name: 'a', sizeBytes: GIB }));
  t.like(made.data, {
    name: 'a',
    sizeBytes: GIB,
    copies: 1,
    holder: null,
    state: 'ok',
    objects: 256,
  });
  const cluster = await ask<ClusterData>(target, '/v1/cluster');
  t.like(cluster.data.partitions, { total: 8, clean: 8, settled: 8, halted: 0 });
  await ask(target, '/v1/volumes/a', { method: 'DELETE' });
  t.like(await t.throwsAsync(ask(target, '/v1/volumes/a')), { code: 'missing' });
});

test('cluster info of what is current asks a majority, and fails without one (C2.3)', async (t) => {
  const node = new FakeNode(clusterOf({ nodes: 1, copies: 1 }), 1);
  const { socketPath } = await served(t, node);
  await ask({ socketPath }, '/v1/cluster');
  t.is(node.catchUps, 0);
  await ask({ socketPath }, '/v1/cluster?current=yes');
  t.is(node.catchUps, 1);
  node.leader = undefined;
  t.like(await t.throwsAsync(ask({ socketPath }, '/v1/cluster?current=yes')), {
    code: 'no-quorum',
  });
});

test('a second format is refused with the cure', async (t) => {
  const { socketPath } = await served(t, new FakeNode(clusterOf({ nodes: 1, copies: 1 }), 1));
  const error = await t.throwsAsync(ask({ socketPath }, '/v1/cluster/format', post({ copies: 1 })));
  t.like(error, { code: 'already-formatted', remedy: 'use --force to lose its data' });
});

test('more copies than nodes are allowed and said: degraded, or halted below minCopies', async (t) => {
  const { socketPath } = await served(t, new FakeNode(clusterOf({ nodes: 2, copies: 2 }), 1));
  const create = (name: string, copies: number) =>
    ask<VolumeDetail>({ socketPath }, '/v1/volumes', post({ name, sizeBytes: GIB, copies }));
  t.is((await create('three', 3)).warnings[0]?.code, 'DEGRADED');
  const five = await create('five', 5);
  t.is(five.warnings[0]?.code, 'HALTED');
  t.regex(five.warnings[0]?.remedy ?? '', /add 3 more nodes/);
  t.is(five.data.state, 'halted');
  const { next } = (await ask<ClusterData>({ socketPath }, '/v1/cluster')).data;
  t.true(next[0]?.startsWith('Add 3 more'), next.join());
});

test('a lost node shows as degraded partitions, a warning and a next step', async (t) => {
  const cell = clusterOf({ nodes: 3, copies: 3 });
  cell.apply(entryBodies.nodesDown({ nodes: [[3, 1]], baseEpoch: cell.state.epoch }));
  const { socketPath } = await served(t, new FakeNode(cell, 1));
  const { data, warnings } = await ask<ClusterData>({ socketPath }, '/v1/cluster');
  t.like(data.partitions, { total: 8, degraded: 8, clean: 0, settled: 0 });
  t.true(
    warnings.some((warning) => warning.code === 'NODE_DOWN' && warning.affected.includes('n3')),
  );
  t.true(data.next.some((step) => step.includes('n3')));
});

test('the holder is named, and a held volume is not deleted', async (t) => {
  const cell = clusterOf({ nodes: 3 });
  const { socketPath } = await served(t, new FakeNode(cell, 1));
  await ask({ socketPath }, '/v1/volumes', post({ name: 'a', sizeBytes: GIB }));
  cell.apply(entryBodies.lockAcquire({ node: 2, incarnation: 1, session: 5, token: 0 }));
  const { data } = await ask<VolumeDetail>({ socketPath }, '/v1/volumes/a');
  t.like(data.holder, { node: 'n2', state: 'up', session: 5 });
  const error = await t.throwsAsync(ask({ socketPath }, '/v1/volumes/a', { method: 'DELETE' }));
  t.like(error, { code: 'held' });
});

const REFUSED: readonly (readonly [string, unknown])[] = [
  ['no object', []],
  ['no name', { sizeBytes: GIB }],
  ['no size', { name: 'a' }],
  ['an unknown field', { name: 'a', sizeBytes: GIB, colour: 'red' }],
  ['a prototype field', JSON.parse('{"name":"a","sizeBytes":512,"constructor":1}')],
  ['size 0', { name: 'a', sizeBytes: 0 }],
  ['a negative size', { name: 'a', sizeBytes: -512 }],
  ['an odd size', { name: 'a', sizeBytes: 1000 }],
  ['a size beyond the limit', { name: 'a', sizeBytes: 2 ** 50 }],
  ['a size that is text', { name: 'a', sizeBytes: '1G' }],
  ['copies 0', { name: 'a', sizeBytes: GIB, copies: 0 }],
  ['half a copy', { name: 'a', sizeBytes: GIB, copies: 1.5 }],
  ['more minCopies than copies', { name: 'a', sizeBytes: GIB, copies: 2, minCopies: 3 }],
  ['a mode that is none', { name: 'a', sizeBytes: GIB, mode: 'fast' }],
  ['a bad name', { name: 'a/b', sizeBytes: GIB }],
  ['a long name', { name: 'x'.repeat(300), sizeBytes: GIB }],
];

for (const [what, body] of REFUSED) {
  test(`create is refused with a sentence: ${what}`, async (t) => {
    const node = new FakeNode(clusterOf({ nodes: 1, copies: 1 }), 1);
    const { socketPath } = await served(t, node);
    const error = await t.throwsAsync(ask({ socketPath }, '/v1/volumes', post(body)));
    t.like(error, { code: 'usage' });
    t.is(node.view()?.volumes.size, 0);
  });
}

test('a broken call is an answer, and the next one works', async (t) => {
  const { node, socketPath } = await served(t, new FakeNode(clusterOf({ nodes: 1, copies: 1 }), 1));
  node.failure = new TypeError('oops');
  const create = () => ask({ socketPath }, '/v1/volumes', post({ name: 'a', sizeBytes: GIB }));
  t.like(await t.throwsAsync(create()), { code: 'internal', message: 'oops' });
  node.failure = new OperatingError('no-quorum', 'no leader', { remedy: 'bring voters back' });
  t.like(await t.throwsAsync(create()), { code: 'no-quorum', remedy: 'bring voters back' });
  node.failure = undefined;
  await t.notThrowsAsync(create());
});

test('garbage and huge requests are refused and leave the front standing', async (t) => {
  const { socketPath } = await served(t, new FakeNode(clusterOf({ nodes: 1, copies: 1 }), 1));
  for (const bytes of [
    '\0\0\0\0',
    'GET',
    'x'.repeat(100_000),
    '{"a":1}\n',
    'POST /v1/volumes HTTP/1.1\r\n\r\n',
  ]) {
    await sendRaw(socketPath, bytes);
  }
  const big = { name: 'x'.repeat(100_000), sizeBytes: 1 };
  t.like(await t.throwsAsync(ask({ socketPath }, '/v1/volumes', post(big))), { code: 'too-large' });
  t.like(await t.throwsAsync(ask({ socketPath }, '/v2/other')), { code: 'missing' });
  t.is((await ask<StatusData>({ socketPath }, '/v1/status')).data.phase, 'up');
});

test('the socket belongs to its owner; another file is not replaced', async (t) => {
  const { socketPath, dir } = await served(t);
  t.is(fs.statSync(socketPath).mode & 0o777, 0o600);
  const file = `${dir}/plain`;
  fs.writeFileSync(file, 'precious');
  const error = await t.throwsAsync(serveApi(new FakeNode(), parseApiAddress(`unix:${file}`)));
  t.like(error, { code: 'usage' });
  t.is(fs.readFileSync(file, 'utf8'), 'precious');
});

test('the socket of a living node is not taken from it; one that nobody serves is replaced', async (t) => {
  const { socketPath, dir } = await served(t);
  const second = await t.throwsAsync(
    serveApi(new FakeNode(), parseApiAddress(`unix:${socketPath}`)),
  );
  t.like(second, { code: 'io', remedy: 'stop that process, or give another --api' });
  t.is((await ask<StatusData>({ socketPath }, '/v1/status')).data.phase, 'blank');
  const stale = `${dir}/stale`;
  const script = `require('net').createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  t.true(fs.statSync(stale).isSocket());
  const server = await serveApi(new FakeNode(), parseApiAddress(`unix:${stale}`));
  t.teardown(() => server.stop());
  t.is((await ask<StatusData>({ socketPath: stale }, '/v1/status')).data.phase, 'blank');
});

test('TCP is for this host: others are refused, and a port in use is named', async (t) => {
  const abroad = await t.throwsAsync(serveApi(new FakeNode(), parseApiAddress('0.0.0.0:0')));
  t.like(abroad, { code: 'usage' });
  const server = await serveApi(new FakeNode(), parseApiAddress('127.0.0.1:0'));
  t.teardown(() => server.stop());
  const port = Number(server.address.split(':').at(-1));
  t.is((await ask<StatusData>({ host: '127.0.0.1', port }, '/v1/status')).data.phase, 'blank');
  const taken = await t.throwsAsync(serveApi(new FakeNode(), parseApiAddress(`127.0.0.1:${port}`)));
  t.regex(taken?.message ?? '', new RegExp(String(port)));
});

test('a page of another site can not ask: its Host is not this host', async (t) => {
  const server = await serveApi(new FakeNode(), parseApiAddress('127.0.0.1:0'));
  t.teardown(() => server.stop());
  const port = Number(server.address.split(':').at(-1));
  const reply = await sendRaw(
    port,
    'GET /v1/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n',
  );
  t.regex(reply, /^HTTP\/1.1 403/);
});

for (const text of [
  'unix:',
  `unix:/${'x'.repeat(107)}`,
  'localhost',
  '127.0.0.1:70000',
  'ftp://x:1',
  '',
]) {
  test(`no address of the API: ${text.slice(0, 20)}`, (t) => {
    t.throws(() => parseApiAddress(text), { instanceOf: OperatingError });
  });
}

/** Writes bytes, reads until the other side closes. */
async function sendRaw(where: string | number, bytes: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = typeof where === 'string' ? connect(where) : connect(where, '127.0.0.1');
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  socket.on('error', () => resolve(text));
  socket.on('close', () => resolve(text));
  socket.end(bytes);
  return promise;
}
