// The simulated network: what a cut, a crash and a power loss do to messages, channels and dials.

import test from 'ava';
import type { Host } from '../../sim/sim-host.ts';
import { Cable } from '../../sim/sim-network.ts';
import { SimNetwork } from '../../sim/sim-network-port.ts';
import { SimProcess } from '../../sim/sim-process.ts';
import { World } from '../../sim/world.ts';
import type { PeerKey } from '../../src/core/ids.ts';
import type { DataChannel } from '../../src/ports/ports.ts';

function hostNamed(name: string, number: number): Host {
  const address = `/ip4/10.0.0.${number}/tcp/7000`;
  return { name, peer: `peer-${name}` as PeerKey, address, isPowered: true, network: undefined };
}

async function pair(seed = 1) {
  const world = new World(seed);
  const cable = new Cable(world);
  const make = async (name: string, number: number) => {
    const host = hostNamed(name, number);
    cable.addHost(host);
    const process = new SimProcess(world, name);
    process.onCrash = (error) => world.fail('crashed', error);
    const network = new SimNetwork(cable, host, process);
    await network.start();
    return { host, process, network };
  };
  const a = await make('a', 1);
  const b = await make('b', 2);
  for (const side of [a, b]) {
    side.network.setPeers(
      [a, b].map(({ host }) => ({ peer: host.peer, addresses: [host.address] })),
    );
  }
  const dial = () => world.wait('dial', a.network.openChannel(b.host.peer), { seconds: 10 });
  return { world, cable, a, b, dial };
}

test.serial('network: control messages arrive in order and once', async (t) => {
  const { world, a, b } = await pair();
  const seen: number[] = [];
  b.network.onMessage((peer, message) => {
    t.is(peer, a.host.peer);
    seen.push(message[0] ?? -1);
  });
  for (let i = 0; i < 50; i += 1) a.network.send(b.host.peer, Uint8Array.of(i));
  await world.run({ seconds: 1 });
  t.deepEqual(
    seen,
    Array.from({ length: 50 }, (_, i) => i),
  );
});

test.serial('network: strangers are not heard, but may knock', async (t) => {
  const { world, a, b } = await pair();
  b.network.setPeers([]);
  b.network.onMessage(() => t.fail('heard a stranger'));
  b.network.onKnock(({ peer }, request) => {
    t.is(peer, a.host.peer);
    return Promise.resolve(Uint8Array.of((request[0] ?? 0) + 1));
  });
  a.network.send(b.host.peer, Uint8Array.of(1));
  const address = `${b.host.address}/p2p/${b.host.peer}`;
  const answer = await world.wait('knock', a.network.knock(address, Uint8Array.of(7), 1000), {
    seconds: 5,
  });
  t.deepEqual([...answer], [8]);
  await t.throwsAsync(world.wait('dial', a.network.openChannel(b.host.peer), { seconds: 9 }), {
    message: /unreachable/,
  });
});

test.serial(
  'network: frames of a channel arrive whole and in order, replies go back',
  async (t) => {
    const { world, b, dial } = await pair();
    const seen: string[] = [];
    b.network.onChannel((channel) => {
      channel.onFrame((frame) => channel.send([frame.subarray(0, 1), Uint8Array.of(99)]));
    });
    const channel = await dial();
    channel.onFrame((frame) => seen.push([...frame].join(' ')));
    for (let i = 0; i < 5; i += 1) channel.send([Uint8Array.of(i), Uint8Array.of(1, 2)]);
    await world.run({ seconds: 1 });
    t.deepEqual(seen, ['0 99', '1 99', '2 99', '3 99', '4 99']);
  },
);

test.serial(
  'network: a killed process resets its channels at once, and a dial is refused',
  async (t) => {
    const { world, a, b, dial } = await pair();
    const channel = await dial();
    let closed = 0;
    channel.onClose(() => {
      closed += 1;
    });
    b.process.end();
    b.network.shutDown(true);
    await world.run({ seconds: 0.1 });
    t.is(closed, 1);
    t.false(channel.isOpen);
    const start = world.nowMs;
    const error = await t.throwsAsync<Error & { code?: string }>(
      world.wait('dial', a.network.openChannel(b.host.peer), { seconds: 9 }),
    );
    t.is(error?.code, 'refused');
    t.true(world.nowMs - start < 50);
  },
);

test.serial(
  'network: a host without power is silent: the channel stays, a dial takes its time',
  async (t) => {
    const { world, a, b, dial } = await pair();
    const channel = await dial();
    b.host.isPowered = false;
    b.process.end();
    b.network.shutDown(false);
    channel.send([Uint8Array.of(1)]);
    await world.run({ seconds: 1 });
    t.true(channel.isOpen);
    const error = await t.throwsAsync<Error & { code?: string }>(
      world.wait('dial', a.network.openChannel(b.host.peer), { seconds: 9 }),
    );
    t.is(error?.code, 'unreachable');
    await world.run({ seconds: 30 });
    t.false(channel.isOpen, 'given up by the user time-out');
  },
);

test.serial(
  'network: a cut holds frames back, one way if asked, and healing lets them through',
  async (t) => {
    const { world, cable, b, dial } = await pair();
    const atB: number[] = [];
    const atA: number[] = [];
    let far: DataChannel | undefined;
    b.network.onChannel((channel) => {
      far = channel;
      channel.onFrame((frame) => atB.push(frame[0] ?? -1));
    });
    const channel = await dial();
    channel.onFrame((frame) => atA.push(frame[0] ?? -1));
    await world.run({ seconds: 0.1 });
    cable.paths.cut('a', 'b');
    channel.send([Uint8Array.of(1)]);
    far?.send([Uint8Array.of(2)]);
    await world.run({ seconds: 1 });
    t.deepEqual([atA, atB], [[2], []]);
    cable.paths.healAll();
    await world.run({ seconds: 1 });
    t.deepEqual(atB, [1]);
  },
);

test.serial('network: a dead process neither sends nor hears', async (t) => {
  const { world, a, b } = await pair();
  b.network.onMessage(() => t.fail('heard'));
  a.network.send(b.host.peer, Uint8Array.of(1));
  b.process.end();
  await world.run({ seconds: 1 });
  a.process.end();
  t.false(a.network.send(b.host.peer, Uint8Array.of(1)));
});

test.serial(
  'network: gossip is lost, doubled and reordered, and never comes back to its author',
  async (t) => {
    const { world, cable, a, b } = await pair();
    cable.gossipRate = 0.7;
    cable.gossipTwiceRate = 0.2;
    const seen: number[] = [];
    a.network.onGossip(() => t.fail('own gossip'));
    b.network.onGossip((_topic, payload) => seen.push(payload[0] ?? -1));
    for (let i = 0; i < 200; i += 1) a.network.publish('map', Uint8Array.of(i));
    await world.run({ seconds: 5 });
    t.true(new Set(seen).size < 195);
    t.true(new Set(seen).size < seen.length);
    t.notDeepEqual(
      seen,
      [...seen].sort((x, y) => x - y),
    );
  },
);
