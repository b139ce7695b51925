// Sockets that were passed to this process: who they are for, and what is refused. Method: real ones, bound by this process.

import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { boundPath, heldFor, heldSockets } from '../../src/io/held-sockets.ts';

test('they are taken by the process that they were passed to, and by no other', (t) => {
  const env = { LISTEN_PID: '42', LISTEN_FDS: '2' };
  t.deepEqual(heldSockets(env, 42), [3, 4]);
  t.deepEqual(heldSockets(env, 43), []);
  t.deepEqual(heldSockets({}, 42), []);
  t.deepEqual(heldSockets({ LISTEN_PID: '42' }, 42), []);
});

for (const count of ['', '-1', '1.5', '17', 'two']) {
  test(`a count of "${count}" is refused`, (t) => {
    const env = { LISTEN_PID: '42', LISTEN_FDS: count };
    t.throws(() => heldSockets(env, 42), { message: /LISTEN_FDS is a number up to 16/ });
  });
}

test('each is for the address of its place: another path, too few and too many are refused', (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-held-'));
  const at = path.join(dir, 'a b.sock');
  const unix = new net.BoundSocket({ path: at } as net.BoundSocketOptions);
  const tcp = new net.BoundSocket({ host: '127.0.0.1', port: 0 });
  t.teardown(() => {
    unix.close();
    tcp.close();
    fs.rmSync(dir, { recursive: true });
  });
  const here = { kind: 'unix', path: at } as const;
  const there = { kind: 'unix', path: `${at}x` } as const;
  const port = { kind: 'tcp' } as const;
  t.is(boundPath(unix.fd()), at);
  t.is(boundPath(tcp.fd()), undefined);
  t.deepEqual(heldFor([here, port], [unix.fd(), tcp.fd()]), [unix.fd(), tcp.fd()]);
  t.deepEqual(heldFor([here, port], []), [undefined, undefined]);
  const refused = (addresses: Parameters<typeof heldFor>[0], held: readonly number[]) =>
    t.throws(() => heldFor(addresses, held), { code: 'usage' }).message;
  t.regex(refused([there], [unix.fd()]), /is bound to .*a b\.sock, and --nbd says .*x$/);
  t.regex(refused([port, here], [unix.fd(), tcp.fd()]), /is bound to .*, and --nbd says TCP/);
  t.regex(refused([here], [tcp.fd()]), /is bound to no path/);
  t.regex(refused([here, port], [unix.fd()]), /1 sockets were passed for 2/);
  t.regex(refused([], [unix.fd()]), /1 sockets were passed for 0/);
});
