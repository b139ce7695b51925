// The parts of the multiaddrs we use: /ip4/A/tcp/P, /ip6/A/tcp/P, /dns.../tcp/P, and /p2p/KEY behind them.

import { peerIdFromString } from '@libp2p/peer-id';
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import { messageOf, OperatingError } from '../core/errors.ts';
import type { PeerKey } from '../core/ids.ts';
import type { PeerAddress } from '../ports/ports.ts';

/** Throws OperatingError 'usage' that shows the right form. */
export function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  let reason = 'no TCP address';
  try {
    const components = multiaddr(address).getComponents();
    const host = components.find(({ name }) => /^(ip[46]|dns[46]?)$/.test(name))?.value;
    const port = components.find(({ name }) => name === 'tcp')?.value;
    if (host !== undefined && port !== undefined) return { host, port: Number(port) };
  } catch (error) {
    reason = messageOf(error);
  }
  throw new OperatingError('usage', `bad address ${address}: ${reason}`, {
    remedy: 'write it like /ip4/192.0.2.1/tcp/7000',
  });
}

/** True for an address that stays on this host. */
export function isLoopback(address: Multiaddr): boolean {
  const { host } = hostAndPort(address.toString());
  return host.startsWith('127.') || host === '::1' || host === 'localhost';
}

export function withoutPeer(address: Multiaddr): string {
  return address.toString().replace(/\/p2p\/[^/]+$/, '');
}

/** Throws OperatingError 'unreachable' where nobody is named. */
export function peerOf(address: Multiaddr): PeerKey {
  const text = /\/p2p\/([^/]+)$/.exec(address.toString())?.[1];
  if (text === undefined) {
    throw new OperatingError('unreachable', 'the address has no /p2p/ part', { advice: 'retry' });
  }
  return peerIdFromString(text).toString() as PeerKey;
}

/** What to dial for a peer. */
export function targetsOf({ peer, addresses }: PeerAddress): Multiaddr[] {
  return addresses.map((address) => multiaddr(`${address}/p2p/${peer}`));
}
