// Pieces over connections that are kept: answers that come in any parts, refusals, and what no sheep says.

import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { PieceReader } from '../../src/cli/piece-reader.ts';
import { MIB } from '../../src/core/units.ts';

/** A server that says what `answer` makes of each question; counts connections. */
async function saying(
  t: ExecutionContext,
  answer: (route: string, socket: net.Socket) => void,
  timeoutMs?: number,
) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-pieces-'));
  const socketPath = path.join(dir, 'sock');
  let connections = 0;
  const server = net.createServer((socket) => {
    connections += 1;
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => answer(bytes.toString().split(' ')[1] ?? '', socket));
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  const reader = new PieceReader({ socketPath }, timeoutMs);
  t.teardown(() => {
    reader.end();
    server.close();
    fs.rmSync(dir, { recursive: true });
  });
  return { reader, count: () => connections };
}

const headOf = (status: number, length: number, more = ''): string =>
  `HTTP/1.1 ${status} Some\r\ncontent-type: x/y\r\nContent-Length: ${length}\r\n${more}\r\n`;

test('answers come whole, in whatever parts they were sent, over one connection', async (t) => {
  const body = Buffer.alloc(MIB, 'no two bytes like the one before');
  const { reader, count } = await saying(t, (route, socket) => {
    const all = Buffer.concat([Buffer.from(headOf(200, body.length)), body]);
    const cut = Number(route);
    socket.write(all.subarray(0, cut), () => setImmediate(() => socket.write(all.subarray(cut))));
  });
  for (const cut of [1, 10, 60, 70, 80, 90, 5000, MIB]) {
    t.is(Buffer.compare(await reader.get(String(cut)), body), 0, `cut at ${cut}`);
  }
  t.is(count(), 1);
  await Promise.all(['7', '8', '9'].map((route) => reader.get(route)));
  t.is(count(), 3, 'one for each that is asked at once');
});

test('a refusal is told as the node says it; the connection that it closes is not used again', async (t) => {
  const words = JSON.stringify({
    error: { code: 'missing', message: 'gone', remedy: 'begin', affected: [] },
  });
  const { reader, count } = await saying(t, (_route, socket) => {
    socket.end(headOf(404, words.length, 'connection: close\r\n') + words);
  });
  for (const time of [1, 2]) {
    await t.throwsAsync(reader.get('/'), { message: 'gone' });
    t.is(count(), time);
  }
});

test('what no sheep says, an answer that is cut, silence: each is an error', async (t) => {
  const answers: Readonly<Record<string, string>> = {
    '/chunked': 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    '/large': headOf(200, 2 * MIB),
    '/more': `${headOf(200, 3)}abcd`,
    '/other': 'SSH-2.0-OpenSSH\r\n\r\n',
    '/endless': 'x'.repeat(32 * 1024),
  };
  const { reader } = await saying(
    t,
    (route, socket) => {
      if (route === '/cut') socket.end(`${headOf(200, 10)}abc`);
      else if (route !== '/silent') socket.write(answers[route] ?? '');
    },
    300,
  );
  for (const route of Object.keys(answers)) {
    await t.throwsAsync(reader.get(route), { message: 'the answer is not that of a sheep' }, route);
  }
  await t.throwsAsync(reader.get('/cut'), { message: /no node answers/ });
  await t.throwsAsync(reader.get('/silent'), { message: /did not answer in time/ });
});
