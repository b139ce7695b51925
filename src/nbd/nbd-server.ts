// The sockets of the NBD front: listens on unix sockets and loopback TCP, gives each client a Connection, ends them in
// order. Bounded in connections; TCP in the clear is refused on every address but loopback (TLS comes later).

import { isIPv4, type Socket } from 'node:net';
import { hasCode, OperatingError } from '../core/errors.ts';
import { MAX_SOCKET_PATH_BYTES } from '../core/limits.ts';
import {
  connectFast,
  type FastListener,
  FastSocket,
  listenFast,
  type SocketAddress,
} from '../io/fast-socket.ts';
import type { Clock, Trace } from '../ports/ports.ts';
import type { ByteChannel } from './byte-channel.ts';
import { Connection } from './connection.ts';
import { type ExportSource, Exports } from './exports.ts';

/** Clients of one server at a time, in handshake or attached; the next one is closed at once. */
export const MAX_CONNECTIONS = 256;
/** An orderly end waits this long for requests in flight, then cuts. Milliseconds. */
export const SHUTDOWN_MS = 5_000;
/** How long a process that holds a unix socket has to answer before it counts as living. Milliseconds. */
const PROBE_MS = 1_000;
/** Refused connections are told of at most so often. Milliseconds. */
export const REFUSAL_SAID_EVERY_MS = 10_000;
const MAX_PORT = 65_535;

/** Where to listen. Port 0 = any free one. */
export type NbdAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** Reads `unix:PATH` or `tcp:HOST:PORT`. Throws 'usage' with the cure. */
export function parseNbdAddress(text: string): NbdAddress {
  if (text.startsWith('unix:')) return { kind: 'unix', path: checkedPath(text.slice(5)) };
  const tcp = /^tcp:(?:\[([0-9a-f:]+)\]|([^:[\]]+)):(\d{1,5})$/i.exec(text);
  const host = tcp?.[1] ?? tcp?.[2] ?? '';
  const port = Number(tcp?.[3] ?? -1);
  if (host === '' || port < 0 || port > MAX_PORT) {
    const remedy = 'write unix:PATH or tcp:HOST:PORT, for example tcp:127.0.0.1:10809';
    throw new OperatingError('usage', `${text} is not an NBD address`, { remedy });
  }
  return { kind: 'tcp', host: checkedLoopback(host), port };
}

export interface NbdServerOptions {
  readonly source: ExportSource;
  readonly clock: Clock;
  readonly trace: Trace;
  /**
   * Removes a unix socket that nobody listens on any more. Throws 'usage' when the path is no socket: files are never
   * removed. (This folder may not touch the file system.)
   */
  readonly removeSocket: (path: string) => void;
}

export class NbdServer {
  readonly #options: NbdServerOptions;
  readonly #exports: Exports;
  readonly #listeners: FastListener[] = [];
  readonly #connections = new Map<Connection, ByteChannel>();
  #isStopping = false;
  /** Refused and not said yet; when that was said last. */
  #refusals = 0;
  #refusalSaidMs = Number.NEGATIVE_INFINITY;
  #onEmpty: (() => void) | undefined;

  constructor(options: NbdServerOptions) {
    this.#options = options;
    this.#exports = new Exports(options.source);
  }

  /** Clients now. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /**
   * Listens; may be called for several addresses. Returns where (the port, when any was asked for).
   * Rejects with 'usage' (path too long, address not loopback), 'locked' (a living process listens), 'io'.
   */
  async listen(address: NbdAddress): Promise<NbdAddress> {
    if (address.kind === 'unix') {
      checkedPath(address.path);
      await this.#listenUnix(address.path);
      return address;
    }
    const host = checkedLoopback(address.host);
    const { port } = await this.#open({ host, port: address.port });
    return { kind: 'tcp', host, port };
  }

  /** Stops accepting, answers what is in flight, closes all. Resolves within SHUTDOWN_MS. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const { clock, trace } = this.#options;
    const closed = this.#listeners.map((listener) => listener.close());
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
      if (this.#connections.size === 0) resolve();
    });
    for (const connection of this.#connections.keys()) connection.shutDown();
    const timer = clock.setTimer(SHUTDOWN_MS, () => {
      trace.warn('nbd.cut', { connections: this.#connections.size });
      for (const channel of this.#connections.values()) channel.destroy();
      this.#onEmpty?.();
    });
    await empty;
    clock.clearTimer(timer);
    await Promise.all(closed);
  }

  async #listenUnix(path: string): Promise<void> {
    try {
      await this.#open({ path });
    } catch (error) {
      if (!isAddressInUse(error)) throw error;
      if (await isServed(path, this.#options.clock)) {
        throw new OperatingError('locked', `another process serves the socket ${path}`, {
          remedy: 'stop that process, or choose another path',
        });
      }
      this.#options.removeSocket(path);
      await this.#open({ path });
    }
  }

  async #open(address: SocketAddress): Promise<FastListener> {
    const onSocket = (socket: Socket) => this.#accept(socket);
    const listener = await listenFast(address, { maxSockets: MAX_CONNECTIONS, onSocket });
    this.#listeners.push(listener);
    return listener;
  }

  /** One line for many: a client that tries again and again must not fill the log. */
  #noteRefusal(): void {
    const { clock, trace } = this.#options;
    this.#refusals += 1;
    if (clock.now() - this.#refusalSaidMs < REFUSAL_SAID_EVERY_MS) return;
    this.#refusalSaidMs = clock.now();
    trace.warn('nbd.refused', { connections: this.#connections.size, refusals: this.#refusals });
    this.#refusals = 0;
  }

  #accept(accepted: Socket): void {
    if (this.#isStopping || this.#connections.size >= MAX_CONNECTIONS) {
      this.#noteRefusal();
      accepted.destroy();
      return;
    }
    const { clock, trace } = this.#options;
    const socket = new FastSocket(accepted, {
      clock,
      onData: (chunk) => connection.onData(chunk),
      onClose: () => connection.onClose(),
    });
    socket.onDrain(() => connection.onDrain());
    const connection = new Connection(socket, {
      exports: this.#exports,
      clock,
      trace,
      onFinished: () => {
        this.#connections.delete(connection);
        if (this.#connections.size === 0) this.#onEmpty?.();
      },
    });
    this.#connections.set(connection, socket);
  }
}

function checkedPath(path: string): string {
  const bytes = new TextEncoder().encode(path).length;
  if (path !== '' && bytes <= MAX_SOCKET_PATH_BYTES) return path;
  const what =
    path === ''
      ? 'the path of a unix socket is empty'
      : `the socket path ${path} has ${bytes} bytes`;
  throw new OperatingError('usage', `${what}; at most ${MAX_SOCKET_PATH_BYTES} are possible`, {
    remedy: 'choose a shorter directory',
  });
}

function checkedLoopback(host: string): string {
  if (host === 'localhost') return '127.0.0.1';
  if ((isIPv4(host) && host.startsWith('127.')) || host === '::1') return host;
  throw new OperatingError(
    'usage',
    `NBD over TCP is in the clear and ${host} is not a loopback address`,
    {
      remedy:
        'listen on 127.0.0.1 or on a unix socket; other addresses need TLS, which comes later',
    },
  );
}

function isAddressInUse(error: unknown): boolean {
  const cause = error instanceof OperatingError ? error.cause : undefined;
  return cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE';
}

/** Whether somebody answers on a unix socket. Only a refusal is proof that nobody does. */
async function isServed(path: string, clock: Clock): Promise<boolean> {
  const ignore = { onData: () => undefined, onClose: () => undefined };
  try {
    const probe = await connectFast({ path }, { clock, timeoutMs: PROBE_MS, ...ignore });
    probe.destroy();
    return true;
  } catch (error) {
    return !hasCode(error, 'refused');
  }
}
