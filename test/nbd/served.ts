// An NBD server in this process over volumes in memory, on a unix socket and on TCP, in a directory of its own.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { OperatingError } from '../../src/core/errors.ts';
import { createRealClock } from '../../src/io/real-clock.ts';
import type { NbdCredentials } from '../../src/nbd/access.ts';
import { NbdServer } from '../../src/nbd/nbd-server.ts';
import { quietTrace } from './duplex.ts';
import { type MemoryVolume, memorySource } from './memory-volume.ts';

/** As main.ts does it: sockets only. */
export function removeSocket(file: string): void {
  const isSocket = fs.lstatSync(file).isSocket();
  if (!isSocket) throw new OperatingError('usage', `${file} exists and is no socket`);
  fs.unlinkSync(file);
}

export interface Served {
  readonly server: NbdServer;
  /** Short, fresh, removed by `stop`. */
  readonly dir: string;
  readonly socket: string;
  readonly port: number;
  /** `nbd+unix:///NAME?socket=...` */
  readonly uri: (name: string) => string;
  readonly tcpUri: (name: string) => string;
  readonly stop: () => Promise<void>;
}

/** @param credentials TCP with TLS in place of TCP in the clear */
export async function serve(
  volumes: readonly MemoryVolume[],
  credentials?: () => NbdCredentials,
): Promise<Served> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-nbd-'));
  const socket = path.join(dir, 'nbd.sock');
  const server = new NbdServer({
    source: memorySource(volumes),
    clock: createRealClock(),
    trace: quietTrace,
    removeSocket,
    credentials,
  });
  const kind = credentials === undefined ? 'tcp-plain' : 'tcp';
  const address = { kind, host: '127.0.0.1', port: 0 } as const;
  const tcp = await server.listen(address).catch((error: unknown) => {
    fs.rmSync(dir, { recursive: true });
    throw error;
  });
  await server.listen({ kind: 'unix', path: socket });
  const port = tcp.kind !== 'unix' ? tcp.port : 0;
  return {
    server,
    dir,
    socket,
    port,
    uri: (name) => `nbd+unix:///${name}?socket=${socket}`,
    tcpUri: (name) => `nbd://127.0.0.1:${port}/${name}`,
    stop: async () => {
      await server.stop();
      fs.rmSync(dir, { recursive: true, force: true });
    },
  };
}
