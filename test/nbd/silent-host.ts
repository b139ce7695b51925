// Runs in a network namespace of its own: an NBD server and two clients on loopback. One vanishes with a reply on its way,
// the other lives and does not read. Prints what became of both, as JSON.

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { MIB } from '../../src/core/units.ts';
import { createRealClock } from '../../src/io/real-clock.ts';
import { NbdServer } from '../../src/nbd/nbd-server.ts';
import { encodeInfoRequest, encodeOption, OPTION } from '../../src/nbd/option-codec.ts';
import { quietTrace, request } from './duplex.ts';
import { MemoryVolume, memorySource } from './memory-volume.ts';

/** By its path: a program of the same name comes with npm packages. */
const NFT = '/usr/sbin/nft';
const RULE = { maxSilentMs: 2_000, lookMs: 500 };
const GIVEN_UP_MS = 30_000;
/** Greeting, size and flags, ACK. */
const ANSWER_BYTES = 18 + 32 + 20;
/** More than the buffers of both sides take. */
const READS = 64;

async function attached(port: number, name: string): Promise<net.Socket> {
  const socket = net.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const go = encodeOption(OPTION.go, encodeInfoRequest(name, []));
  socket.write(Buffer.concat([Uint8Array.of(0, 0, 0, 3), go]));
  for (let have = 0; have < ANSWER_BYTES; ) {
    have += ((await once(socket, 'data')) as [Buffer])[0].length;
  }
  return socket;
}

function cut(port: number): void {
  const drop = ['sport', 'dport'].map((side) => `tcp ${side} ${port} drop;`).join(' ');
  const chain = `chain in { type filter hook input priority 0; ${drop} }`;
  const input = `table inet cut {\n${chain}\n}\n`;
  const { status, stderr } = spawnSync(NFT, ['-f', '-'], { input });
  if (status !== 0) throw new Error(String(stderr));
}

async function until(isTrue: () => boolean): Promise<boolean> {
  const end = Date.now() + GIVEN_UP_MS;
  while (!isTrue() && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
  return isTrue();
}

const [vanishing, living] = [new MemoryVolume('gone', 4 * MIB), new MemoryVolume('there', 4 * MIB)];
const warned: string[] = [];
const server = new NbdServer({
  source: memorySource([vanishing, living]),
  clock: createRealClock(),
  trace: { ...quietTrace, warn: (name) => warned.push(name) },
  removeSocket: () => undefined,
  silence: RULE,
});
const port = async (): Promise<number> => {
  const told = await server.listen({ kind: 'tcp-plain', host: '127.0.0.1', port: 0 });
  return told.kind === 'unix' ? 0 : told.port;
};
const [ofVanishing, ofLiving] = [await port(), await port()];

const gone = await attached(ofVanishing, 'gone');
const there = await attached(ofLiving, 'there');
there.pause();
for (let i = 0; i < READS; i += 1) there.write(request('read', { cookieLow: i, length: MIB }));
vanishing.delayed = true;
gone.write(request('read', { length: 64 * 1024 }));
await until(() => vanishing.waiting.length === 1);
cut(ofVanishing);
const cutAt = Date.now();
vanishing.waiting[0]?.finish();
const isEnded = await until(() => vanishing.connections === 0);
const endedMs = Date.now() - cutAt;
// As long again for the one that does not read: probes of its closed window come ever more seldom.
await new Promise((resolve) => setTimeout(resolve, 3 * RULE.maxSilentMs));
const stalledMs = Date.now() - cutAt;
let bytes = 0;
there.on('data', (chunk: Buffer) => {
  bytes += chunk.length;
});
there.resume();
const isServed = await until(() => bytes === READS * (16 + MIB));
console.log(JSON.stringify({ isEnded, endedMs, stalledMs, isServed, warned }));
process.exit(0);
