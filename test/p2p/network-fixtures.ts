// Real networks on loopback for tests, and events to wait for instead of sleeping.

import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys';
import { createRealClock } from '../../src/io/real-clock.ts';
import { createRealRandom } from '../../src/io/real-random.ts';
import type { DataTls } from '../../src/p2p/data-channel.ts';
import { createLibp2pNetwork } from '../../src/p2p/libp2p-network.ts';
import type { Network, PeerAddress, Trace } from '../../src/ports/ports.ts';

export const clock = createRealClock();
export const random = createRealRandom();

/** Keeps warnings for a test to look at. */
export function createTestTrace(): Trace & { readonly warnings: string[] } {
  const warnings: string[] = [];
  return {
    warnings,
    event: () => undefined,
    warn: (name, fields) => warnings.push(`${name} ${JSON.stringify(fields ?? {})}`),
    count: () => undefined,
  };
}

export async function newNetwork(
  options: { dataTls?: DataTls; listen?: string; privateKey?: Uint8Array; trace?: Trace } = {},
): Promise<Network> {
  const privateKey = options.privateKey ?? privateKeyToProtobuf(await generateKeyPair('Ed25519'));
  const network = createLibp2pNetwork({
    listen: options.listen ?? '/ip4/127.0.0.1/tcp/0',
    privateKey,
    dataTls: options.dataTls ?? 'auto',
    clock,
    random,
    trace: options.trace ?? createTestTrace(),
  });
  await network.start();
  return network;
}

export function addressOf(network: Network): PeerAddress {
  return { peer: network.self, addresses: network.addresses() };
}

/** Started networks that all know each other. */
export async function newCluster(count: number, dataTls: DataTls = 'auto'): Promise<Network[]> {
  const networks = await Promise.all(Array.from({ length: count }, () => newNetwork({ dataTls })));
  const peers = networks.map(addressOf);
  for (const network of networks) network.setPeers(peers);
  return networks;
}

export async function stopAll(networks: readonly Network[]): Promise<void> {
  await Promise.all(networks.map((network) => network.stop()));
}

/** Calls `act` on each turn of a timer until `isDone`: for best-effort sends whose loss is allowed. */
export function until(isDone: () => boolean, act: () => void = () => undefined): Promise<void> {
  return new Promise((resolve) => {
    const turn = () => {
      if (isDone()) {
        resolve();
        return;
      }
      act();
      clock.setTimer(50, turn);
    };
    turn();
  });
}
