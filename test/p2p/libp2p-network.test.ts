// Real sockets on loopback, several networks in one process. Each wait is for an event; AVA's time-out is the bound.

import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys';
import test from 'ava';
import { hasCode, OperatingError } from '../../src/core/errors.ts';
import type { DataChannel, Knocker, MixUp, Network } from '../../src/ports/ports.ts';
import { emptyFrame, encodeHeaders, FrameAssembler, OP } from '../../src/wire/frame.ts';
import {
  addressOf,
  createTestTrace,
  newCluster,
  newNetwork,
  random,
  stopAll,
  until,
} from './network-fixtures.ts';

const MIB = 1024 * 1024;

/** Next message that `network` gets. */
function nextMessage(network: Network): Promise<{ peer: string; message: Uint8Array }> {
  return new Promise((resolve) => {
    network.onMessage((peer, message) => resolve({ peer, message }));
  });
}

test.serial(
  'control messages travel both ways between members, up to 1 MiB and in order',
  async (t) => {
    const [a, b, c] = (await newCluster(3)) as [Network, Network, Network];
    const got: number[] = [];
    const last = Promise.withResolvers<Uint8Array>();
    b.onMessage((peer, message) => {
      t.is(peer, a.self);
      got.push(message.length);
      if (message.length === MIB) last.resolve(message);
    });
    const big = new Uint8Array(MIB).map((_, at) => (at * 7) & 255);
    for (const length of [0, 1, 5, 1000]) t.true(a.send(b.self, big.subarray(0, length)));
    t.true(a.send(b.self, big));
    t.deepEqual(await last.promise, big);
    t.deepEqual(got, [0, 1, 5, 1000, MIB]);
    const back = nextMessage(a);
    t.true(c.send(a.self, Uint8Array.of(42)));
    t.deepEqual(await back, { peer: c.self, message: Uint8Array.of(42) });
    await stopAll([a, b, c]);
  },
);

test.serial('another node at the address of a member is told once, as a warning', async (t) => {
  const trace = createTestTrace();
  const network = await newNetwork({ trace });
  const other = await newNetwork();
  const gone = await newNetwork();
  await gone.stop();
  network.setPeers([{ peer: gone.self, addresses: other.addresses() }]);
  await t.throwsAsync(network.openChannel(gone.self));
  await t.throwsAsync(network.openChannel(gone.self));
  const told = trace.warnings.filter((line) => line.startsWith('peer.address.taken'));
  t.is(told.length, 1);
  t.true(told[0]?.includes(gone.self) && told[0].includes(other.addresses()[0] ?? '-'));
  await stopAll([network, other]);
});

test.serial(
  'a second process with the key of a member that is there may knock only, and is told; the first is not disturbed',
  async (t) => {
    const privateKey = privateKeyToProtobuf(await generateKeyPair('Ed25519'));
    const trace = createTestTrace();
    const member = await newNetwork({ trace });
    const first = await newNetwork({ privateKey });
    member.setPeers([addressOf(first)]);
    first.setPeers([addressOf(member)]);
    const met: MixUp[] = [];
    member.onMixUp((mixUp) => met.push(mixUp));
    const knockers: Knocker[] = [];
    member.onKnock(async (from, request) => {
      knockers.push(from);
      return request;
    });
    const heard: number[] = [];
    member.onMessage((_peer, message) => heard.push(message[0] ?? -1));
    await until(
      () => heard.includes(1),
      () => first.send(member.self, Uint8Array.of(1)),
    );

    const second = await newNetwork({ privateKey });
    second.setPeers([addressOf(member)]);
    const address = `${member.addresses()[0]}/p2p/${member.self}`;
    await second.knock(address, Uint8Array.of(7), 5000);
    t.like(knockers, [{ peer: first.self, isSecond: true }]);
    t.like(met, [{ kind: 'identity-twice', peer: first.self, address: second.addresses()[0] }]);
    t.true(trace.warnings.some((line) => line.startsWith('peer.identity.twice')));
    second.send(member.self, Uint8Array.of(2));
    await t.throwsAsync(second.openChannel(member.self));
    first.send(member.self, Uint8Array.of(3));
    await until(() => heard.includes(3));
    t.false(heard.includes(2), 'nothing of the second one is heard');
    member.onChannel((channel) => t.is(channel.peer, first.self));
    (await first.openChannel(member.self)).close();
    const back = nextMessage(first);
    t.true(member.send(first.self, Uint8Array.of(4)));
    t.deepEqual((await back).message, Uint8Array.of(4), 'and the first one hears');

    await first.stop();
    await until(
      () => heard.includes(5),
      () => second.send(member.self, Uint8Array.of(5)),
    );
    t.pass('once the first is gone the second is an ordinary restart');
    await stopAll([member, second]);
  },
);

test.serial('a barred peer is a stranger, and it is told that it came', async (t) => {
  const [member, barred] = (await newCluster(2)) as [Network, Network];
  const met: MixUp[] = [];
  member.onMixUp((mixUp) => met.push(mixUp));
  member.onMessage(() => t.fail('it is heard'));
  member.setPeers([{ ...addressOf(barred), isBarred: true }]);
  t.false(member.send(barred.self, Uint8Array.of(1)));
  await until(
    () => met.length > 0,
    () => barred.send(member.self, Uint8Array.of(2)),
  );
  t.like(met[0], { kind: 'barred-came', peer: barred.self });
  t.true(hasCode(await t.throwsAsync(barred.openChannel(member.self)), 'unreachable'));
  member.onKnock(async () => Uint8Array.of(9));
  const address = `${member.addresses()[0]}/p2p/${member.self}`;
  t.deepEqual(await barred.knock(address, Uint8Array.of(1), 5000), Uint8Array.of(9));
  await stopAll([member, barred]);
});

test.serial('a stranger may knock, and nothing else', async (t) => {
  const [a, b] = (await newCluster(2)) as [Network, Network];
  const stranger = await newNetwork();
  a.onKnock(async ({ peer, address, isSecond }, request) => {
    t.is(peer, stranger.self);
    t.regex(address, /^\/ip4\/127\.0\.0\.1\/tcp\/\d+/);
    t.false(isSecond);
    return request.slice().reverse();
  });
  a.onMessage((peer) => t.not(peer, stranger.self));
  a.onChannel((channel) => t.not(channel.peer, stranger.self));
  const address = `${a.addresses()[0]}/p2p/${a.self}`;
  t.deepEqual(await stranger.knock(address, Uint8Array.of(1, 2, 3), 5000), Uint8Array.of(3, 2, 1));
  // One-sided: the stranger believes to be a member.
  stranger.setPeers([addressOf(a)]);
  stranger.send(a.self, Uint8Array.of(9));
  const refused = await t.throwsAsync(stranger.openChannel(a.self));
  t.true(hasCode(refused, 'unreachable'));
  // Once it is a member on both sides, everything works.
  a.setPeers([addressOf(b), addressOf(stranger)]);
  a.onChannel((channel) => t.is(channel.peer, stranger.self));
  let isHeard = false;
  a.onMessage((peer) => {
    isHeard ||= peer === stranger.self;
  });
  await until(
    () => isHeard,
    () => stranger.send(a.self, Uint8Array.of(10)),
  );
  (await stranger.openChannel(a.self)).close();
  await stopAll([a, b, stranger]);
  const gone = await t.throwsAsync(stranger.knock(address, Uint8Array.of(1), 1000));
  t.true(hasCode(gone, 'unreachable'));
});

test.serial('a knock at nobody is unreachable', async (t) => {
  const a = await newNetwork();
  const b = await newNetwork();
  const address = `${b.addresses()[0]}/p2p/${b.self}`;
  await b.stop();
  t.true(hasCode(await t.throwsAsync(a.knock(address, Uint8Array.of(1), 3000)), 'unreachable'));
  t.true(hasCode(await t.throwsAsync(a.knock('nonsense', Uint8Array.of(1), 3000)), 'unreachable'));
  await a.stop();
});

/** An echo of whole frames on every channel that comes. */
function echo(network: Network): void {
  network.onChannel((channel) => channel.onFrame((frame) => channel.send([frame])));
}

function framesOf(channel: DataChannel, count: number): Promise<Uint8Array[]> {
  return new Promise((resolve, reject) => {
    const frames: Uint8Array[] = [];
    channel.onClose(() => reject(new OperatingError('unreachable', 'the channel was closed')));
    channel.onFrame((frame) => {
      frames.push(frame);
      if (frames.length === count) resolve(frames);
    });
  });
}

for (const mode of ['never', 'always', 'auto'] as const) {
  test.serial(`data channels carry 1 MiB frames intact, TLS ${mode}`, async (t) => {
    const [a, b] = (await newCluster(2, mode)) as [Network, Network];
    echo(b);
    const channel = await a.openChannel(b.self);
    t.is(channel.peer, b.self);
    const payloads = [1, 4096, MIB, 12345, MIB].map((length, salt) =>
      new Uint8Array(length).map((_, at) => (at * 13 + (at >>> 9) + salt) & 255),
    );
    const echoes = framesOf(channel, payloads.length);
    for (const payload of payloads) {
      const frame = { ...emptyFrame(), op: OP.PING, payload };
      channel.send([encodeHeaders(frame), payload]);
    }
    const frames = await echoes;
    for (const [at, frame] of frames.entries()) {
      t.true(Buffer.from(frame.subarray(72)).equals(payloads[at] as Uint8Array));
    }
    const closed = new Promise<void>((resolve) => channel.onClose(resolve));
    channel.close();
    await closed;
    t.false(channel.isOpen);
    await stopAll([a, b]);
  });
}

test.serial('a member that stops is noticed at once, and a new dial is refused', async (t) => {
  const [a, b] = (await newCluster(2)) as [Network, Network];
  echo(b);
  const channel = await a.openChannel(b.self);
  const closed = new Promise<void>((resolve) => channel.onClose(resolve));
  await b.stop();
  await closed;
  t.true(hasCode(await t.throwsAsync(a.openChannel(b.self)), 'refused'));
  await a.stop();
});

test.serial('a removed member loses its channels and can not come back', async (t) => {
  const [a, b] = (await newCluster(2)) as [Network, Network];
  echo(b);
  const channel = await a.openChannel(b.self);
  const closed = new Promise<void>((resolve) => channel.onClose(resolve));
  b.setPeers([]);
  await closed;
  t.true(hasCode(await t.throwsAsync(a.openChannel(b.self)), 'unreachable'));
  t.false(b.send(a.self, Uint8Array.of(1)));
  await stopAll([a, b]);
});

test.serial('a used port is an error that names it', async (t) => {
  const a = await newNetwork();
  const listen = a.addresses()[0] as string;
  const error = await t.throwsAsync(newNetwork({ listen }));
  t.true(hasCode(error, 'io'));
  t.regex(error?.message ?? '', /127\.0\.0\.1:\d+ is in use/);
  await a.stop();
});

test.serial(
  'the last port is refused with a sentence: data channels need the one after it',
  async (t) => {
    const error = await t.throwsAsync(newNetwork({ listen: '/ip4/127.0.0.1/tcp/65535' }));
    t.true(hasCode(error, 'usage'));
    t.regex(error?.message ?? '', /65535/);
  },
);

test.serial('a rumour reaches the others, never its own publisher', async (t) => {
  const networks = (await newCluster(3)) as [Network, Network, Network];
  const [a, b, c] = networks;
  const heard = new Set<string>();
  a.onGossip(() => t.fail('own news is not heard'));
  for (const [name, network] of [
    ['b', b],
    ['c', c],
  ] as const) {
    network.onGossip((topic, payload) => {
      t.is(topic, 'map');
      t.is(payload[0], 77);
      heard.add(name);
    });
  }
  let counter = 0;
  await until(
    () => heard.size === 2,
    () => {
      counter += 1;
      a.publish('map', Uint8Array.of(77, counter & 255, counter >>> 8));
    },
  );
  t.is(heard.size, 2);
  await stopAll(networks);
});

test.serial('frames of a channel do not depend on how the stream is cut', (t) => {
  const payload = random.bytes(1000);
  const frame = { ...emptyFrame(), op: OP.PING, payload };
  const bytes = Buffer.concat([encodeHeaders(frame), payload]);
  for (const step of [1, 3, 4, 71, 5000]) {
    const frames: Uint8Array[] = [];
    const assembler = new FrameAssembler((whole) => frames.push(whole));
    for (let at = 0; at < bytes.length; at += step) assembler.feed(bytes.subarray(at, at + step));
    t.deepEqual(
      frames.map((whole) => Buffer.from(whole)),
      [bytes],
    );
  }
});
