// Strangers on both ports: random bytes, half handshakes, lying lengths. The node must stay, and stay small. The bytes
// come from a seed that is printed when a check fails.

import { connect } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import test from 'ava';
import fc from 'fast-check';
import { GREETING } from '../../src/p2p/greeting.ts';
import type { Network } from '../../src/ports/ports.ts';
import { addressOf, newNetwork, stopAll, until } from './network-fixtures.ts';

const seed = 77;
const MIB = 1024 * 1024;
/** Below what costs a node one ping. */
const MAX_LAG_MS = 400;

function portsOf(network: Network, dataPort: number): number[] {
  const control = /\/tcp\/(\d+)/.exec(network.addresses()[0] ?? '')?.[1];
  return [Number(control), dataPort];
}

/** Sends and waits until the other side closed, or closes after it took everything. */
async function throwAt(port: number, bytes: Uint8Array): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.on('error', () => undefined);
  socket.on('data', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.end(bytes);
  await closed;
}

/** A free pair of ports, found by the system. */
async function newPair(): Promise<{ network: Network; dataPort: number }> {
  const first = await newNetwork();
  const port = Number(/\/tcp\/(\d+)/.exec(first.addresses()[0] ?? '')?.[1]);
  await first.stop();
  return {
    network: await newNetwork({ listen: `/ip4/127.0.0.1/tcp/${port}` }),
    dataPort: port + 1,
  };
}

test.serial(`garbage on the control and data port harms nobody (seed ${seed})`, async (t) => {
  const { network, dataPort } = await newPair();
  const other = await newNetwork();
  const before = process.memoryUsage().rss;
  const starts = [
    [],
    [0x16, 3, 1, 2, 0],
    [0x53],
    [0, 32],
    [19, ...Buffer.from('/multistream/1.0.0\n')],
  ];
  const garbage = fc
    .tuple(fc.constantFrom(...starts), fc.uint8Array({ minLength: 1, maxLength: 3000 }))
    .map(([start, rest]) => Uint8Array.from([...start, ...rest]));
  for (const port of portsOf(network, dataPort)) {
    const pieces = fc.sample(garbage, { seed, numRuns: 40 });
    await Promise.all(pieces.map((bytes) => throwAt(port, bytes)));
    await throwAt(port, new Uint8Array(8 * MIB).fill(0x41));
  }
  const grown = process.memoryUsage().rss - before;
  t.true(grown < 64 * MIB, `memory grew by ${grown} bytes`);

  network.setPeers([addressOf(other)]);
  other.setPeers([addressOf(network)]);
  let isHeard = false;
  network.onMessage(() => {
    isHeard = true;
  });
  await until(
    () => isHeard,
    () => other.send(network.self, Uint8Array.of(1)),
  );
  network.onChannel((channel) => channel.onFrame(() => undefined));
  const channel = await other.openChannel(network.self);
  t.true(channel.isOpen);
  await stopAll([network, other]);
});

test.serial(
  'a length that never ends does not stop the event loop of the control port',
  async (t) => {
    const { network } = await newPair();
    const port = portsOf(network, 0)[0] ?? 0;
    for (const start of [Buffer.alloc(0), Buffer.from('\x13/multistream/1.0.0\n'), GREETING]) {
      const lag = monitorEventLoopDelay({ resolution: 5 });
      lag.enable();
      await throwAt(port, Buffer.concat([start, Buffer.alloc(3 * MIB, 0xff)]));
      lag.disable();
      const longestMs = lag.max / 1e6;
      t.true(longestMs < MAX_LAG_MS, `${longestMs} ms after ${start.length} good bytes`);
    }
    await stopAll([network]);
  },
);

test.serial(
  'a greeting in pieces is heard; a wrong one is cut off at its first wrong byte',
  async (t) => {
    const { network } = await newPair();
    const port = portsOf(network, 0)[0] ?? 0;
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    const answered = new Promise<Buffer>((resolve) => socket.once('data', resolve));
    for (const byte of GREETING) {
      await new Promise<void>((sent) => socket.write(Uint8Array.of(byte), () => sent()));
    }
    t.deepEqual((await answered).subarray(0, 20), GREETING.subarray(0, 20));
    socket.destroy();
    const wrong = connect({ host: '127.0.0.1', port });
    const closed = new Promise<void>((resolve) => wrong.once('close', () => resolve()));
    wrong.on('error', () => undefined);
    wrong.write(Uint8Array.of(19, 0x2e));
    await closed;
    t.pass();
    await stopAll([network]);
  },
);

test.serial('a member that sends no frames on a channel loses it, and only it', async (t) => {
  const a = await newNetwork();
  const b = await newNetwork();
  a.setPeers([addressOf(b)]);
  b.setPeers([addressOf(a)]);
  b.onChannel((channel) => channel.onFrame(() => t.fail('that was no frame')));
  const channel = await a.openChannel(b.self);
  const closed = new Promise<void>((resolve) => channel.onClose(resolve));
  channel.send([new Uint8Array(4096).fill(0xff)]);
  await closed;
  t.true((await a.openChannel(b.self)).isOpen);
  await stopAll([a, b]);
});
