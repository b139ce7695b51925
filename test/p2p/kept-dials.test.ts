// Neighbours are dialled a few at a time: when tens of nodes start together, all handshakes at once end as none in time. And
// hosts that never answer must not hold the places of the others.

import * as net from 'node:net';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import test from 'ava';
import type { PeerKey } from '../../src/core/ids.ts';
import { MAX_KEPT_DIALS } from '../../src/p2p/kept-links.ts';
import type { PeerAddress } from '../../src/ports/ports.ts';
import { newNetwork, until } from './network-fixtures.ts';

const SILENT = 10;

interface Silent {
  readonly address: PeerAddress;
  close(): void;
}

/** A host that takes a connection and never says a word. */
async function silentHost(onChange: (by: number) => void): Promise<Silent> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    onChange(1);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      sockets.delete(socket);
      onChange(-1);
    });
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  const peer = peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString() as PeerKey;
  const close = () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  return { address: { peer, addresses: [`/ip4/127.0.0.1/tcp/${port}`] }, close };
}

test('neighbours are dialled a few at a time, and each has its turn though others never answer', async (t) => {
  t.timeout(60_000);
  let open = 0;
  let peak = 0;
  const tried = new Set<number>();
  const hosts = await Promise.all(
    Array.from({ length: SILENT }, (_, at) =>
      silentHost((by) => {
        open += by;
        peak = Math.max(peak, open);
        tried.add(at);
      }),
    ),
  );
  const network = await newNetwork();
  network.setPeers(hosts.map(({ address }) => address));
  await until(() => tried.size === SILENT);
  // One that was given up may linger beside its successor.
  t.true(peak >= MAX_KEPT_DIALS && peak <= 2 * MAX_KEPT_DIALS, String(peak));
  await network.stop();
  for (const host of hosts) host.close();
});
