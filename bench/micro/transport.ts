// Two processes over the real data channel, with credits and slots, plain and TLS: node bench/micro/transport.ts [seconds].
// 4 KiB writes and reads, 64 in flight; CPU of both processes. Beside it a naive server over the same sockets: every chunk
// joined to what is left, a promise and a write per message.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { sumsOf } from '../../src/core/checksum.ts';
import type { ClusterId, GenerationId, Incarnation, NodeId, PeerKey } from '../../src/core/ids.ts';
import { KIB, MIB } from '../../src/core/units.ts';
import type { DataTls } from '../../src/p2p/data-channel.ts';
import { PeerClients } from '../../src/p2p/rpc-client.ts';
import { serveChannel } from '../../src/p2p/rpc-server.ts';
import type { Network, PeerAddress } from '../../src/ports/ports.ts';
import {
  emptyFrame,
  FLAG,
  FRAME_VERSION,
  type Frame,
  OP,
  replyTo,
  STATUS,
} from '../../src/wire/frame.ts';
import type { Hello } from '../../src/wire/payloads.ts';
import { addressOf, clock, newNetwork } from '../../test/p2p/network-fixtures.ts';
import { cpuUs, say } from './line.ts';

const CLIENT = 1 as NodeId;
const SERVER = 2 as NodeId;
const BLOCK_BYTES = 4 * KIB;
const DEPTH = 64;
const DEADLINE_MS = 10_000;
/** Compiling counts for nothing. */
const WARM_UP_MS = 1000;
const GENERATION = 1 as GenerationId;
const KINDS = ['write', 'read'] as const;
type Kind = (typeof KINDS)[number];

const block = new Uint8Array(BLOCK_BYTES).fill(7);
const sums = sumsOf(GENERATION, 0, 0, block);
const trace = {
  event: () => undefined,
  warn: (name: string, fields?: object) =>
    void process.stderr.write(`${name} ${JSON.stringify(fields)}\n`),
  count: () => undefined,
};

function helloOf(node: NodeId): Hello {
  const clusterId = '0'.repeat(32) as ClusterId;
  const incarnation = 1 as Incarnation;
  return { version: FRAME_VERSION, clusterId, node, incarnation, creditsBytes: 32 * MIB };
}

// ------------------------------------------------------------------------------------------------ serving

/** The other process: tells where it is, serves, and answers `cpu` with what it has spent. */
async function serve(tls: DataTls): Promise<void> {
  const network = await newNetwork({ dataTls: tls });
  let client: PeerKey | undefined;
  network.onChannel((channel) =>
    serveChannel(channel, {
      clock,
      trace,
      hello: () => helloOf(SERVER),
      nodeOfKey: (peer) => (peer === client ? CLIENT : undefined),
      handle: (_from, frame, reply) => reply(answerTo(frame)),
    }),
  );
  const naive = createServer(serveNaively);
  await new Promise<void>((resolve) => naive.listen(0, '127.0.0.1', resolve));
  process.on('message', (message: 'cpu' | PeerAddress) => {
    if (message === 'cpu') {
      process.send?.(cpuUs());
      return;
    }
    client = message.peer;
    network.setPeers([message]);
    process.send?.('known');
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.({
    address: addressOf(network),
    naivePort: (naive.address() as { port: number }).port,
  });
}

function answerTo(frame: Frame): Frame {
  const reply = replyTo(frame, STATUS.OK);
  if (frame.op !== OP.READ) return reply;
  reply.sums = sums;
  reply.payload = block;
  return reply;
}

/** Messages of the naive pair: length, id, kind (4 bytes each), then bytes. */
const NAIVE_HEAD_BYTES = 12;

function onMessages(socket: Socket, take: (message: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= NAIVE_HEAD_BYTES && rest.length >= rest.readUInt32LE(0)) {
      const length = rest.readUInt32LE(0);
      take(rest.subarray(0, length));
      rest = rest.subarray(length);
    }
  });
}

function naiveMessage(id: number, kind: number, bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(NAIVE_HEAD_BYTES);
  head.writeUInt32LE(NAIVE_HEAD_BYTES + bytes.length, 0);
  head.writeUInt32LE(id, 4);
  head.writeUInt32LE(kind, 8);
  return Buffer.concat([head, bytes]);
}

function serveNaively(socket: Socket): void {
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  onMessages(socket, (message) => {
    const isRead = message.readUInt32LE(8) === KINDS.indexOf('read');
    socket.write(naiveMessage(message.readUInt32LE(4), 0, isRead ? block : new Uint8Array(0)));
  });
}

// ----------------------------------------------------------------------------------------------- measuring

type Ask = (kind: Kind, done: () => void) => void;

function askOver(network: Network, server: PeerKey): { ask: Ask; stop: () => void } {
  const clients = new PeerClients({
    network,
    clock,
    trace,
    hello: () => helloOf(CLIENT),
    peerKeyOf: (node) => (node === SERVER ? server : undefined),
  });
  const ask: Ask = (kind, done) => {
    clients.request(SERVER, requestOf(kind), DEADLINE_MS, (reply) => {
      if (reply?.status !== STATUS.OK) throw new TypeError('a request was lost');
      done();
    });
  };
  return { ask, stop: () => clients.stop() };
}

function requestOf(kind: Kind): Frame {
  const frame = emptyFrame();
  frame.generation = GENERATION;
  frame.count = BLOCK_BYTES;
  if (kind === 'read') {
    frame.op = OP.READ;
    return frame;
  }
  frame.op = OP.WRITE;
  frame.flags = FLAG.SECOND | FLAG.SUMS;
  frame.sums = sums;
  frame.payload = block;
  return frame;
}

async function askNaively(port: number): Promise<{ ask: Ask; stop: () => void }> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  const waiting = new Map<number, () => void>();
  onMessages(socket, (message) => {
    const id = message.readUInt32LE(4);
    waiting.get(id)?.();
    waiting.delete(id);
  });
  let last = 0;
  const ask: Ask = (kind, done) => {
    last += 1;
    const answered = new Promise<void>((resolve) => waiting.set(last, resolve));
    const bytes = kind === 'write' ? block : new Uint8Array(0);
    socket.write(naiveMessage(last, KINDS.indexOf(kind), bytes));
    void answered.then(done);
  };
  return { ask, stop: () => socket.destroy() };
}

/** Keeps DEPTH in flight for `ms`. */
function load(ask: Ask, kind: Kind, ms: number): Promise<number> {
  return new Promise((resolve) => {
    const end = performance.now() + ms;
    let [operations, running] = [0, DEPTH];
    const next = (): void => {
      if (performance.now() < end) {
        ask(kind, over);
        return;
      }
      running -= 1;
      if (running === 0) resolve(operations);
    };
    const over = (): void => {
      operations += 1;
      next();
    };
    for (let i = 0; i < DEPTH; i += 1) ask(kind, over);
  });
}

async function cpuOfBoth(child: ChildProcess): Promise<number> {
  child.send('cpu');
  const [other] = (await once(child, 'message')) as [number];
  return other + cpuUs();
}

async function measure(
  child: ChildProcess,
  ask: Ask,
  name: string,
  seconds: number,
): Promise<void> {
  for (const kind of KINDS) {
    await load(ask, kind, WARM_UP_MS);
    const [before, since] = [await cpuOfBoth(child), performance.now()];
    const operations = await load(ask, kind, seconds * 1000);
    const ms = performance.now() - since;
    const cpu = (await cpuOfBoth(child)) - before;
    say(`${name}: 4 KiB ${kind}s, ${DEPTH} in flight`, { operations, ms, cpuUs: cpu });
  }
}

async function compare(seconds: number): Promise<void> {
  for (const tls of ['never', 'always'] as const) {
    const child = fork(import.meta.filename, ['--serve', tls]);
    const [{ address, naivePort }] = (await once(child, 'message')) as [
      { address: PeerAddress; naivePort: number },
    ];
    const network = await newNetwork({ dataTls: tls });
    network.setPeers([address]);
    child.send(addressOf(network));
    await once(child, 'message');
    const real = askOver(network, address.peer);
    await measure(
      child,
      real.ask,
      tls === 'always' ? 'data channel, TLS' : 'data channel',
      seconds,
    );
    real.stop();
    if (tls === 'never') {
      const naive = await askNaively(naivePort);
      await measure(child, naive.ask, 'naive: joins, promises, a write each', seconds);
      naive.stop();
    }
    await network.stop();
    child.disconnect();
    await once(child, 'exit');
  }
}

if (process.argv[2] === '--serve') await serve(process.argv[3] as DataTls);
else await compare(Number(process.argv[2] ?? 4));
