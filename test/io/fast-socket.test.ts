import { type AddressInfo, BoundSocket, type Socket } from 'node:net';
import test from 'ava';
import { hasCode, type OperatingError } from '../../src/core/errors.ts';
import { connectFast, FastSocket, listenFast } from '../../src/io/fast-socket.ts';
import { createRealClock } from '../../src/io/real-clock.ts';

const clock = createRealClock();
const keptForEver: BoundSocket[] = [];
const MIB = 1024 * 1024;

function pattern(length: number, salt: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 31 + (at >>> 8) + salt) & 255);
}

/** Collects until `length` bytes came. */
function collector(length: number) {
  const bytes = new Uint8Array(length);
  let have = 0;
  const gate = Promise.withResolvers<Uint8Array>();
  return {
    done: gate.promise,
    onData: (chunk: Uint8Array) => {
      bytes.set(chunk, have);
      have += chunk.length;
      if (have === length) gate.resolve(bytes);
    },
  };
}

const host = '127.0.0.1';

/** An echo server on accepted sockets; `spoil` makes the hand-over of the handle impossible. */
async function echoServer(spoil: (socket: Socket) => void) {
  return listenFast(
    { host, port: 0 },
    {
      maxSockets: 10,
      onSocket: (socket) => {
        spoil(socket);
        const fast = new FastSocket(socket, {
          clock,
          onData: (chunk) => fast.write(chunk.slice()),
          onClose: () => undefined,
        });
      },
    },
  );
}

for (const [name, spoil] of [
  ['onread of the rebuilt socket', () => undefined],
  [
    "the fall-back on 'data'",
    (socket: Socket) => Object.defineProperty(socket, 'constructor', { value: Object }),
  ],
] as const) {
  test(`bytes come back whole and in order: ${name}`, async (t) => {
    const server = await echoServer(spoil);
    const sent = [pattern(4 * MIB, 1), pattern(17, 2), pattern(MIB + 3, 3)];
    const total = sent.reduce((sum, bytes) => sum + bytes.length, 0);
    const got = collector(total);
    const closed = Promise.withResolvers<Error | undefined>();
    const socket = await connectFast(
      { host, port: server.port },
      { clock, timeoutMs: 5000, onData: got.onData, onClose: (e) => closed.resolve(e) },
    );
    for (const bytes of sent) socket.write(bytes);
    t.true(Buffer.from(await got.done).equals(Buffer.concat(sent)));
    socket.end();
    t.is(await closed.promise, undefined);
    t.true(socket.isClosed);
    await server.close();
  });
}

test('the end of the peer is told once, and nothing is read after destroy', async (t) => {
  const accepted = Promise.withResolvers<FastSocket>();
  let closes = 0;
  const closed = Promise.withResolvers<void>();
  const server = await listenFast(
    { host, port: 0 },
    {
      maxSockets: 1,
      onSocket: (socket) => {
        accepted.resolve(
          new FastSocket(socket, {
            clock,
            onData: () => t.fail('nothing was sent'),
            onClose: () => {
              closes += 1;
              closed.resolve();
            },
          }),
        );
      },
    },
  );
  const socket = await connectFast(
    { host, port: server.port },
    { clock, timeoutMs: 5000, onData: () => undefined, onClose: () => undefined },
  );
  (await accepted.promise).pause();
  socket.destroy();
  (await accepted.promise).resume();
  await closed.promise;
  t.is(closes, 1);
  await server.close();
});

test('nobody listening is refused, a used port names itself', async (t) => {
  const server = await echoServer(() => undefined);
  const used = await t.throwsAsync(
    listenFast({ host, port: server.port }, { maxSockets: 1, onSocket: () => undefined }),
  );
  t.true(hasCode(used, 'io'));
  t.regex(used?.message ?? '', new RegExp(`127.0.0.1:${server.port} is in use`));
  await server.close();
  const options = { clock, timeoutMs: 5000, onData: () => undefined, onClose: () => undefined };
  const refused = await t.throwsAsync(connectFast({ host, port: server.port }, options));
  t.true(hasCode(refused, 'refused'));
});

test('soon: one batch, in order, and what the batch adds runs in it, too', async (t) => {
  const order: string[] = [];
  const last = Promise.withResolvers<void>();
  clock.soon(() => {
    order.push('a');
    clock.soon(() => {
      order.push('c');
      last.resolve();
    });
  });
  clock.soon(() => order.push('b'));
  await last.promise;
  t.deepEqual(order, ['a', 'b', 'c']);
});

// Method: a socket that this process binds and passes on, as systemd would. One that is bound to other than the address it
// is passed for is not served: it might be in the clear beyond loopback.
test('a TCP socket that was passed is served where it is bound, and refused for any other address', async (t) => {
  const options = { maxSockets: 1, onSocket: (socket: Socket) => socket.destroy() };
  const held = async (bound: string, at: (port: number) => { host: string; port: number }) => {
    const socket = new BoundSocket({ host: bound, port: 0 });
    const { port } = socket.address() as AddressInfo;
    // The listener closes the descriptor, which is somebody else's from then on.
    keptForEver.push(socket);
    try {
      const listener = await listenFast(at(port), { ...options, held: socket.fd() });
      t.is(listener.port, port);
      await listener.close();
      return 'served';
    } catch (error) {
      return `${(error as OperatingError).code} ${(error as Error).message}`;
    }
  };
  t.is(await held(host, (port) => ({ host, port })), 'served');
  t.is(await held(host, (port) => ({ host: 'localhost', port })), 'served');
  t.is(await held('0.0.0.0', (port) => ({ host: '::', port })), 'served', 'as ListenStream=10809');
  const elsewhere = /^usage the socket passed for 127\.0\.0\.1:\d+ is bound to /;
  t.regex(await held(host, (port) => ({ host, port: port === 1 ? 2 : 1 })), elsewhere);
  t.regex(await held('0.0.0.0', (port) => ({ host, port })), elsewhere);
});

test('a write is called sent when the kernel has it all, and never when the socket breaks before', async (t) => {
  const accepted = Promise.withResolvers<Socket>();
  const server = await listenFast({ host, port: 0 }, { maxSockets: 1, onSocket: accepted.resolve });
  const closed = Promise.withResolvers<void>();
  const socket = await connectFast(
    { host, port: server.port },
    { clock, timeoutMs: 5000, onData: () => undefined, onClose: () => closed.resolve() },
  );
  const first = Promise.withResolvers<void>();
  let isSecondSent = false;
  socket.write(new Uint8Array(1000), first.resolve);
  await first.promise;
  // More than the kernel takes while nobody reads.
  socket.write(new Uint8Array(64 * MIB), () => {
    isSecondSent = true;
  });
  (await accepted.promise).destroy();
  await closed.promise;
  t.false(isSecondSent);
  await server.close();
});
