// A network in a process of its own, for killed-peer.test.ts. Prints its address as one JSON line, then serves.

import type { PeerAddress } from '../../src/ports/ports.ts';
import { addressOf, newNetwork } from './network-fixtures.ts';

const peer = JSON.parse(process.argv[2] as string) as PeerAddress;
const network = await newNetwork();
network.setPeers([peer]);
network.onChannel((channel) => channel.onFrame((frame) => channel.send([frame])));
const rssMiB = process.memoryUsage().rss / 1024 / 1024;
process.stdout.write(`${JSON.stringify({ ...addressOf(network), rssMiB })}\n`);
