import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { OperatingError } from '../../src/core/errors.ts';
import { MIB } from '../../src/core/units.ts';
import { createRealClock } from '../../src/io/real-clock.ts';
import { MAX_CONNECTIONS, NbdServer, parseNbdAddress } from '../../src/nbd/nbd-server.ts';
import { encodeInfoRequest, encodeOption, OPTION } from '../../src/nbd/option-codec.ts';
import { quietTrace, request } from './duplex.ts';
import { MemoryVolume, memorySource } from './memory-volume.ts';
import { removeSocket, serve } from './served.ts';

function serverOf(volumes: MemoryVolume[]): NbdServer {
  const clock = createRealClock();
  return new NbdServer({ source: memorySource(volumes), clock, trace: quietTrace, removeSocket });
}

function freshDir(t: ExecutionContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-nbd-'));
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function refusal(work: () => unknown): Promise<OperatingError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof OperatingError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

async function connected(where: net.NetConnectOpts): Promise<net.Socket> {
  const socket = net.connect(where);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

const GO = Buffer.concat([
  Uint8Array.of(0, 0, 0, 3),
  encodeOption(OPTION.go, encodeInfoRequest('vol', [])),
]);
const GREETING_AND_GO_BYTES = 18 + 20 + 12 + 20;

test('addresses are read, wrong ones are refused with the cure', async (t) => {
  t.deepEqual(parseNbdAddress('unix:/run/nbd.sock'), { kind: 'unix', path: '/run/nbd.sock' });
  t.deepEqual(parseNbdAddress('tcp-plain:127.0.0.1:10809'), {
    kind: 'tcp-plain',
    host: '127.0.0.1',
    port: 10809,
  });
  t.deepEqual(parseNbdAddress('tcp-plain:localhost:0'), {
    kind: 'tcp-plain',
    host: '127.0.0.1',
    port: 0,
  });
  t.deepEqual(parseNbdAddress('tcp-plain:[::1]:1'), { kind: 'tcp-plain', host: '::1', port: 1 });
  for (const text of [
    '',
    '/run/nbd.sock',
    'unix:',
    'tcp:',
    'tcp:127.0.0.1',
    'tcp:127.0.0.1:99999',
  ]) {
    const error = await refusal(() => parseNbdAddress(text));
    t.is(error.code, 'usage', text);
    t.not(error.remedy, '');
  }
});

test('TCP in the clear listens on loopback only', async (t) => {
  for (const host of ['0.0.0.0', '10.0.0.1', '::', 'example.org', '127.evil.example']) {
    const server = serverOf([]);
    const error = await refusal(() => server.listen({ kind: 'tcp-plain', host, port: 0 }));
    t.is(error.code, 'usage');
    t.regex(error.message, /not a loopback address/);
    t.regex(error.remedy, /with TLS: tcp:/);
  }
});

test('a socket path above 107 bytes is refused, one of 107 works', async (t) => {
  const dir = freshDir(t);
  const server = serverOf([]);
  const longest = path.join(dir, 'x'.repeat(107 - dir.length - 1));
  await server.listen({ kind: 'unix', path: longest });
  const error = await refusal(() => server.listen({ kind: 'unix', path: `${longest}x` }));
  t.is(error.code, 'usage');
  t.regex(error.message, /108 bytes; at most 107/);
  await server.stop();
  t.false(fs.existsSync(longest), 'an orderly end removes the socket');
});

test('the socket of a dead process is replaced, that of a living one is not, a file never', async (t) => {
  const dir = freshDir(t);
  const socket = path.join(dir, 'nbd.sock');
  const script = `require('net').createServer().listen(${JSON.stringify(socket)}, () => console.log('up'))`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');

  const server = serverOf([]);
  const living = await refusal(() => server.listen({ kind: 'unix', path: socket }));
  t.is(living.code, 'locked');
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.true(fs.existsSync(socket), 'a killed process leaves its socket behind');
  await server.listen({ kind: 'unix', path: socket });
  (await connected({ path: socket })).destroy();
  await server.stop();

  fs.writeFileSync(socket, 'precious');
  await t.throwsAsync(serverOf([]).listen({ kind: 'unix', path: socket }));
  t.is(fs.readFileSync(socket, 'utf8'), 'precious');
});

test('a port in use is refused with a text that names it', async (t) => {
  const first = serverOf([]);
  const bound = await first.listen({ kind: 'tcp-plain', host: '127.0.0.1', port: 0 });
  const error = await refusal(() => serverOf([]).listen(bound));
  t.is(error.code, 'io');
  t.regex(error.message, /127\.0\.0\.1:\d+ is in use/);
  await first.stop();
});

test('connections are bounded: the one too many is closed, the others live on', async (t) => {
  const served = await serve([new MemoryVolume('vol', MIB)]);
  const where = { path: served.socket };
  const all = await Promise.all(Array.from({ length: MAX_CONNECTIONS }, () => connected(where)));
  await Promise.all(all.map((socket) => once(socket, 'readable')));
  t.is(served.server.connectionCount, MAX_CONNECTIONS);
  const extra = await connected(where);
  extra.resume();
  await once(extra, 'close');
  const first = all[0];
  first?.destroy();
  for (const socket of all) socket.destroy();
  await served.stop();
  t.is(served.server.connectionCount, 0);
});

// Method: random bytes with a printed seed, before and after attaching; then a well-behaved client must be served.
test('garbage from many clients neither stops the server nor grows its memory', async (t) => {
  const volume = new MemoryVolume('vol', MIB);
  const served = await serve([volume]);
  const seed = Date.now() % 2 ** 31;
  t.log(`seed ${seed}`);
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state >>> 8;
  };
  const before = process.memoryUsage().rss;
  for (let i = 0; i < 300; i += 1) {
    const socket = await connected({ path: served.socket });
    socket.resume();
    if (i % 2 === 0) socket.write(GO);
    socket.write(Uint8Array.from({ length: 1 + (next() % 3000) }, () => next()));
    if (i % 3 === 0) socket.write(request('write', { length: 32 * MIB })); // announced, never sent
    socket.end();
    await once(socket, 'close');
  }
  t.true(process.memoryUsage().rss - before < 100 * MIB);
  const socket = await connected({ path: served.socket });
  socket.write(GO);
  await once(socket, 'readable');
  socket.destroy();
  await served.stop();
  t.is(volume.connections, 0);
});

test('an orderly end answers what is in flight and closes every client', async (t) => {
  const volume = new MemoryVolume('vol', MIB);
  const served = await serve([volume]);
  const attached = await connected({ port: served.port, host: '127.0.0.1' });
  const idle = await connected({ path: served.socket });
  idle.resume();
  let received = 0;
  attached.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  volume.delayed = true;
  attached.write(Buffer.concat([GO, request('flush', { cookieLow: 1 })]));
  while (volume.waiting.length === 0) await once(attached, 'data');
  const stopped = served.server.stop();
  volume.waiting[0]?.finish();
  await Promise.all([once(attached, 'close'), once(idle, 'close')]);
  t.is(received, GREETING_AND_GO_BYTES + 16);
  await stopped;
  t.is(volume.connections, 0);
  await served.stop();
});
