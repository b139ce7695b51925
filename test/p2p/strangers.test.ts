// Method: a plain libp2p node, whose key is no member's, dials a member and tries every protocol that the member itself says
// it speaks, so that a new one is covered by being there. Each attempt must be cut off before a byte comes back, whatever is
// sent; the same for a barred peer, and for raw connections to the data port. Only the knock is answered, and identify,
// which is how libp2p's ends greet each other: it names addresses and protocols.

import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys';
import { identify } from '@libp2p/identify';
import type { Connection, PrivateKey, Stream } from '@libp2p/interface';
import { noise } from '@libp2p/noise';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import test, { type ExecutionContext } from 'ava';
import { createLibp2p } from 'libp2p';
import { DEFAULT_CREDITS_BYTES, piecesOf } from '../../src/p2p/channel-rules.ts';
import { prefixed } from '../../src/p2p/control-stream.ts';
import type { Network } from '../../src/ports/ports.ts';
import { emptyFrame, FRAME_VERSION, OP } from '../../src/wire/frame.ts';
import { encodeControl } from '../../src/wire/messages.ts';
import { encodeHello } from '../../src/wire/payloads.ts';
import { CLUSTER_ID, nodeId } from '../fixtures.ts';
import { addressOf, newNetwork, stopAll } from './network-fixtures.ts';

const KNOCK = '/sheep/join/1';
const GREETINGS: ReadonlySet<string> = new Set(['/ipfs/id/1.0.0']);
/** Spoken today; more may come, and are tried as well. */
const LEAST = ['/sheep/control/1', '/sheep/channel/1', '/meshsub/1.1.0'];

async function libp2pOf(privateKey: PrivateKey) {
  return createLibp2p({
    privateKey,
    addresses: { listen: [] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false },
    services: { identify: identify() },
  });
}

function targetOf(network: Network) {
  return multiaddr(`${network.addresses()[0]}/p2p/${network.self}`);
}

/** What a member would say there. */
function words(): readonly Uint8Array[] {
  const ask = { kind: 'request', id: 1, body: { type: 'contact' } } as const;
  return [prefixed(encodeControl(ask)), prefixed(new Uint8Array(64)), new Uint8Array(2048)];
}

/** Opens the protocol, says everything, and waits for the end. @returns bytes that came back */
async function answerTo(connection: Connection, protocol: string): Promise<number> {
  let stream: Stream;
  try {
    stream = await connection.newStream(protocol, { signal: AbortSignal.timeout(5000) });
  } catch {
    return 0; // Refused before it was open.
  }
  let bytes = 0;
  stream.addEventListener('message', ({ data }) => {
    bytes += data.byteLength;
  });
  const ended = new Promise<void>((resolve) => {
    stream.addEventListener('close', () => resolve());
    if (stream.status !== 'open') resolve();
  });
  for (const word of words()) if (stream.status === 'open') stream.send(word);
  await ended;
  return bytes;
}

/** A member that must not hear anything but knocks. */
async function deafMember(t: ExecutionContext): Promise<Network> {
  const network = await newNetwork();
  network.onMessage(() => t.fail('a message was heard'));
  network.onChannel(() => t.fail('a channel was opened'));
  network.onGossip(() => t.fail('a rumour was heard'));
  network.onKnock(async (_from, request) => request);
  return network;
}

async function triesAll(t: ExecutionContext, network: Network, key: PrivateKey): Promise<void> {
  const stranger = await libp2pOf(key);
  const named = new Promise<readonly string[]>((resolve) => {
    stranger.addEventListener('peer:identify', ({ detail }) => resolve(detail.protocols));
  });
  await stranger.dial(targetOf(network));
  const protocols = await named;
  for (const one of LEAST) t.true(protocols.includes(one), `${one} is tried`);
  for (const protocol of protocols) {
    if (protocol === KNOCK || GREETINGS.has(protocol)) continue;
    const connection = await stranger.dial(targetOf(network));
    t.is(await answerTo(connection, protocol), 0, protocol);
  }
  const knock = await (await stranger.dial(targetOf(network))).newStream(KNOCK);
  const answered = new Promise<number>((resolve) => {
    knock.addEventListener('message', ({ data }) => resolve(data.byteLength));
  });
  knock.send(prefixed(Uint8Array.of(1, 2, 3)));
  t.true((await answered) > 0, 'the knock is answered');
  await stranger.stop();
}

test.serial('a stranger can speak no protocol of a member but the knock', async (t) => {
  const network = await deafMember(t);
  const other = await newNetwork();
  network.setPeers([addressOf(other)]);
  await triesAll(t, network, await generateKeyPair('Ed25519'));
  await stopAll([network, other]);
});

test.serial('nor can a peer that is barred', async (t) => {
  const network = await deafMember(t);
  const key = await generateKeyPair('Ed25519');
  const peer = await newNetwork({ privateKey: privateKeyToProtobuf(key) });
  network.setPeers([{ ...addressOf(peer), isBarred: true }]);
  await peer.stop();
  await triesAll(t, network, key);
  await stopAll([network]);
});

/** Bytes that come back until the other side closes. */
function bytesOf(socket: ReturnType<typeof connectTcp>): Promise<number> {
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  socket.on('error', () => undefined);
  return new Promise((resolve) => socket.once('close', () => resolve(bytes)));
}

function helloFrame(): Uint8Array {
  const hello = {
    version: FRAME_VERSION,
    clusterId: CLUSTER_ID,
    node: nodeId(2),
    incarnation: 1 as never,
    creditsBytes: DEFAULT_CREDITS_BYTES,
  };
  const frame = { ...emptyFrame(), op: OP.HELLO, flags: 0, payload: encodeHello(hello) };
  return Buffer.concat(piecesOf(frame));
}

test.serial('the data port answers nobody who has no key that was agreed', async (t) => {
  const first = await newNetwork();
  const port = Number(/\/tcp\/(\d+)/.exec(first.addresses()[0] ?? '')?.[1]);
  await first.stop();
  const network = await newNetwork({ listen: `/ip4/127.0.0.1/tcp/${port}` });
  network.onChannel(() => t.fail('a channel was opened'));
  const at = { host: '127.0.0.1', port: port + 1 };
  // A channel id that nobody agreed on, with a proof of nothing; and frames without either.
  for (const bytes of [new Uint8Array(64).fill(0x53), helloFrame()]) {
    const socket = connectTcp(at);
    const came = bytesOf(socket);
    socket.write(Buffer.concat([bytes, helloFrame()]));
    t.is(await came, 0);
  }
  const socket = connectTls({
    ...at,
    ciphers: 'TLS_AES_128_GCM_SHA256',
    minVersion: 'TLSv1.3',
    checkServerIdentity: () => undefined,
    pskCallback: () => ({ psk: Buffer.alloc(32), identity: '53'.repeat(32) }),
  });
  let isOpen = false;
  socket.once('secureConnect', () => {
    isOpen = true;
  });
  await bytesOf(socket);
  t.false(isOpen, 'no TLS channel without the key');
  await network.stop();
});
