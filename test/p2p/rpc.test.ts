// Client and server of the data channel against each other, on a clock that the test moves.

import test from 'ava';
import type { ClusterId, Incarnation, NodeId, PeerKey } from '../../src/core/ids.ts';
import { MIB } from '../../src/core/units.ts';
import { CHANNEL_IDLE_MS, OVERDUE_MS } from '../../src/p2p/peer-client.ts';
import { IDLE_LOOK_MS, PeerClients } from '../../src/p2p/rpc-client.ts';
import { serveChannel } from '../../src/p2p/rpc-server.ts';
import {
  emptyFrame,
  encodeHeaders,
  FRAME_VERSION,
  type Frame,
  OP,
  replyTo,
  STATUS,
} from '../../src/wire/frame.ts';
import { encodeHello, type Hello } from '../../src/wire/payloads.ts';
import { createMemoryNetwork, createTestClock } from './memory-network.ts';
import { createTestTrace } from './network-fixtures.ts';

const CLIENT = 1 as NodeId;
const SERVER = 2 as NodeId;
const SERVER_KEY = 'listener' as PeerKey;

function helloOf(node: NodeId, changes: Partial<Hello> = {}): Hello {
  return {
    version: FRAME_VERSION,
    clusterId: 'c1' as ClusterId,
    node,
    incarnation: 7 as Incarnation,
    creditsBytes: 32 * MIB,
    ...changes,
  };
}

type Handle = (from: NodeId, frame: Frame, reply: (frame: Frame) => void) => void;

function setUp(options: { handle?: Handle; serverHello?: Hello; clientHello?: Hello } = {}) {
  const clock = createTestClock();
  const trace = createTestTrace();
  const memory = createMemoryNetwork(clock, SERVER_KEY);
  const held: { frame: Frame; reply: (frame: Frame) => void }[] = [];
  const handle: Handle = options.handle ?? ((_from, frame, reply) => held.push({ frame, reply }));
  memory.network.onChannel((channel) =>
    serveChannel(channel, {
      clock,
      trace,
      hello: () => options.serverHello ?? helloOf(SERVER),
      nodeOfKey: (peer) => (peer === 'dialler' ? CLIENT : undefined),
      handle,
    }),
  );
  const states: string[] = [];
  const clients = new PeerClients({
    network: memory.network,
    clock,
    trace,
    hello: () => options.clientHello ?? helloOf(CLIENT),
    peerKeyOf: (node) => (node === SERVER ? SERVER_KEY : undefined),
  });
  clients.onState((node, state) => states.push(`${node} ${state}`));
  return { ...memory, clock, trace, clients, states, held };
}

function ping(): Frame {
  return { ...emptyFrame(), op: OP.PING, flags: 0 };
}

function read(count: number): Frame {
  return { ...emptyFrame(), op: OP.READ, count };
}

test('each request gets its own reply, whatever the order of the answers', async (t) => {
  const { clients, clock, held, states } = setUp();
  const got: (string | undefined)[] = [];
  for (const index of [5, 6, 7]) {
    const frame = { ...read(4096), index };
    clients.request(SERVER, frame, 1000, (reply) => got.push(`${index}=${reply?.index}`));
  }
  t.deepEqual(got, []);
  await clock.run();
  t.deepEqual(states, ['2 open']);
  t.true(clients.isOpen(SERVER));
  t.is(clients.incarnationOf(SERVER), 7 as Incarnation);
  for (const { frame, reply } of held.reverse()) reply(replyTo(frame, STATUS.OK));
  await clock.run();
  t.deepEqual(got, ['7=7', '6=6', '5=5']);
});

test('bytes in flight never exceed the credits of the server, and all requests end', async (t) => {
  let inFlight = 0;
  let most = 0;
  const replies: (() => void)[] = [];
  const { clients, clock } = setUp({
    serverHello: helloOf(SERVER, { creditsBytes: 3 * MIB }),
    handle: (_from, frame, reply) => {
      inFlight += 1;
      most = Math.max(most, inFlight);
      replies.push(() => {
        inFlight -= 1;
        reply(replyTo(frame, STATUS.OK));
      });
    },
  });
  let answered = 0;
  for (let at = 0; at < 40; at += 1) {
    clients.request(SERVER, read(MIB), 60_000, (reply) => {
      answered += reply === undefined ? 0 : 1;
    });
  }
  await clock.run();
  while (replies.length > 0) {
    replies.shift()?.();
    await clock.run();
  }
  t.is(answered, 40);
  t.is(most, 2, 'a read of 1 MiB costs its reply and its headers');
});

test('a late request is lost once, its late reply is ignored, the channel stays', async (t) => {
  const { clients, clock, held, states } = setUp();
  const got: (Frame | undefined)[] = [];
  clients.request(SERVER, ping(), 500, (reply) => got.push(reply));
  await clock.advance(600);
  t.deepEqual(got, [undefined]);
  held[0]?.reply(replyTo(held[0].frame, STATUS.OK));
  await clock.run();
  clients.request(SERVER, ping(), 500, (reply) => got.push(reply));
  await clock.run();
  held[1]?.reply(replyTo(held[1].frame, STATUS.OK));
  await clock.run();
  t.is(got.length, 2);
  t.is(got[1]?.op, OP.PING + 128);
  t.deepEqual(states, ['2 open']);
});

test('C1.8: a broken channel loses what is pending, and a refused redial is reported', async (t) => {
  const { clients, clock, served, gate, states } = setUp();
  const got: (Frame | undefined)[] = [];
  clients.keepOpen(SERVER);
  clients.request(SERVER, ping(), 60_000, (reply) => got.push(reply));
  await clock.run();
  gate.mode = 'refused';
  served[0]?.close();
  await clock.run();
  t.deepEqual(got, [undefined]);
  t.deepEqual(states.slice(0, 3), ['2 open', '2 closed', '2 refused']);
  gate.mode = 'open';
  await clock.advance(1200);
  t.is(states.at(-1), '2 open');
  const { dials } = gate;
  await clock.advance(5000);
  t.is(gate.dials, dials, 'an open channel is not dialled again');
});

test('a peer that never answered a dial is not called dead, and dials have a backoff', async (t) => {
  const { clients, clock, gate, states } = setUp();
  gate.mode = 'refused';
  clients.keepOpen(SERVER);
  await clock.advance(10_000);
  t.deepEqual(states, []);
  t.true(gate.dials > 8 && gate.dials < 20, `${gate.dials} dials in 10 s`);
  clients.forget(SERVER);
  const { dials } = gate;
  await clock.advance(10_000);
  t.is(gate.dials, dials);
});

test('a wrong HELLO closes the channel and says why', async (t) => {
  for (const [side, hello, reason] of [
    ['serverHello', helloOf(SERVER, { clusterId: 'other' as ClusterId }), 'another cluster'],
    ['serverHello', helloOf(3 as NodeId), 'node 3 where node 2'],
    ['serverHello', helloOf(SERVER, { version: 9 }), 'frame version 9'],
    ['clientHello', helloOf(CLIENT, { clusterId: 'other' as ClusterId }), 'another cluster'],
    ['clientHello', helloOf(4 as NodeId), 'node 4 where node 1'],
  ] as const) {
    const { clients, clock, trace } = setUp({ [side]: hello });
    const got: (Frame | undefined)[] = [];
    clients.request(SERVER, ping(), 300, (reply) => got.push(reply));
    await clock.advance(400);
    t.deepEqual(got, [undefined], reason);
    t.true(
      trace.warnings.some((line) => line.includes(reason)),
      trace.warnings.join(),
    );
  }
});

test('a request that breaks the rules costs its sender the channel', async (t) => {
  const beyond = { ...read(4096), offset: 4 * MIB };
  const bare = { ...emptyFrame(), op: OP.WRITE, count: 4096, payload: new Uint8Array(4096) };
  for (const bad of [{ ...ping(), op: 99 }, beyond, bare, { ...read(MIB + 4096) }, ping()]) {
    const { network, clock, held, trace } = setUp();
    const channel = await network.openChannel(SERVER_KEY);
    // A raw channel: no HELLO before the last one.
    if (bad.op !== OP.PING) {
      const hello = { ...emptyFrame(), op: OP.HELLO, flags: 0 };
      const payload = encodeHello(helloOf(CLIENT));
      channel.send([encodeHeaders({ ...hello, payload }), payload]);
    }
    channel.send([encodeHeaders(bad), bad.payload]);
    await clock.run();
    t.false(channel.isOpen);
    t.is(held.length, 0);
    t.true(trace.warnings.length > 0);
  }
});

test('too much for one peer is lost at once instead of growing', async (t) => {
  const { clients, clock, gate } = setUp();
  gate.mode = 'unreachable';
  let lost = 0;
  for (let at = 0; at < 200; at += 1) {
    clients.request(SERVER, read(MIB), 60_000, () => {
      lost += 1;
    });
  }
  await clock.run();
  t.is(lost, 200);
  clients.request(9 as NodeId, ping(), 100, () => {
    lost += 1;
  });
  clients.stop();
  clients.request(SERVER, ping(), 100, () => {
    lost += 1;
  });
  await clock.run();
  t.is(lost, 202);
});

test('a channel that nobody needs any more is closed after a while, one that is kept stays', async (t) => {
  const { clients, clock, gate } = setUp();
  clients.keepOpen(SERVER);
  await clock.advance(2 * CHANNEL_IDLE_MS);
  t.true(clients.isOpen(SERVER));
  clients.release(SERVER);
  await clock.advance(CHANNEL_IDLE_MS - IDLE_LOOK_MS);
  t.true(clients.isOpen(SERVER));
  await clock.advance(2 * IDLE_LOOK_MS);
  t.false(clients.isOpen(SERVER));
  t.is(clients.size, 0);
  const { dials } = gate;
  await clock.advance(CHANNEL_IDLE_MS);
  t.is(gate.dials, dials, 'nobody dials it again');
});

test('a channel that was dialled for one request goes, too, and comes back for the next', async (t) => {
  const { clients, clock } = setUp({ handle: (_from, frame, reply) => reply(replyTo(frame, 0)) });
  let answers = 0;
  const ask = () =>
    clients.request(SERVER, read(4096), 1000, (reply) => {
      if (reply !== undefined) answers += 1;
    });
  ask();
  await clock.advance(CHANNEL_IDLE_MS + 2 * IDLE_LOOK_MS);
  t.is(clients.size, 0);
  ask();
  await clock.advance(1000);
  t.is(answers, 2);
});

test('a hanging request makes its peer overdue, a lost ping does not (C1.7)', async (t) => {
  const { clients, clock, held } = setUp();
  clients.request(SERVER, ping(), 500, () => {});
  await clock.advance(5000);
  t.false(clients.isOverdue(SERVER));
  clients.request(SERVER, read(4096), 500, () => {});
  await clock.advance(500 + OVERDUE_MS - 100);
  t.false(clients.isOverdue(SERVER));
  await clock.advance(200);
  t.true(clients.isOverdue(SERVER));
  for (const { frame, reply } of held) reply(replyTo(frame, STATUS.OK));
  await clock.advance(100);
  t.false(clients.isOverdue(SERVER));
});
