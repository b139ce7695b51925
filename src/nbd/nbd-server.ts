// The sockets of the NBD front: listens on unix sockets and loopback TCP, gives each client a Connection, ends them in
// order. Bounded in connections; TCP in the clear is refused on every address but loopback (TLS comes later).

import net from 'node:net';
import { OperatingError } from '../core/errors.ts';
import type { Clock, Trace } from '../ports/ports.ts';
import type { ByteChannel, ByteReceiver } from './byte-channel.ts';
import { Connection } from './connection.ts';
import { type ExportSource, Exports } from './exports.ts';

/** Clients of one server at a time, in handshake or attached; the next one is closed at once. */
export const MAX_CONNECTIONS = 256;
/** An orderly end waits this long for requests in flight, then cuts. Milliseconds. */
export const SHUTDOWN_MS = 5_000;
/** Longest path of a unix socket; the system's own limit. Bytes. */
export const MAX_SOCKET_PATH_BYTES = 107;
/** TCP keep-alive starts after this silence: a vanished host must not hold its volume for ever. Milliseconds. */
const KEEP_ALIVE_MS = 30_000;
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
  readonly #servers: net.Server[] = [];
  readonly #connections = new Map<Connection, ByteChannel>();
  #isStopping = false;
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
    const server = await this.#open({ host, port: address.port });
    const bound = server.address();
    const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
    return { kind: 'tcp', host, port };
  }

  /** Stops accepting, answers what is in flight, closes all. Resolves within SHUTDOWN_MS. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const { clock, trace } = this.#options;
    const closed = this.#servers.map((server) => new Promise((done) => server.close(done)));
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
      if (systemCode(error) !== 'EADDRINUSE') throw listenError(error, path);
      if (await isServed(path)) {
        throw new OperatingError('locked', `another process serves the socket ${path}`, {
          remedy: 'stop that process, or choose another path',
        });
      }
      this.#options.removeSocket(path);
      await this.#open({ path });
    }
  }

  #open(where: { path: string } | { host: string; port: number }): Promise<net.Server> {
    const server = net.createServer({ noDelay: true }, (socket) => this.#accept(socket));
    return new Promise((resolve, reject) => {
      server.once('error', (error) => {
        reject('path' in where ? error : listenError(error, `${where.host}:${where.port}`));
      });
      server.listen(where, () => {
        server.on('error', (error) => {
          this.#options.trace.warn('nbd.accept-failed', { error: error.message });
        });
        this.#servers.push(server);
        resolve(server);
      });
    });
  }

  #accept(socket: net.Socket): void {
    if (this.#isStopping || this.#connections.size >= MAX_CONNECTIONS) {
      this.#options.trace.warn('nbd.refused', { connections: this.#connections.size });
      socket.destroy();
      return;
    }
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    const channel = new SocketChannel(socket);
    const connection = new Connection(channel, {
      exports: this.#exports,
      clock: this.#options.clock,
      trace: this.#options.trace,
      onFinished: () => {
        this.#connections.delete(connection);
        if (this.#connections.size === 0) this.#onEmpty?.();
      },
    });
    this.#connections.set(connection, channel);
    channel.serve(connection);
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
  if ((net.isIPv4(host) && host.startsWith('127.')) || host === '::1') return host;
  throw new OperatingError(
    'usage',
    `NBD over TCP is in the clear and ${host} is not a loopback address`,
    {
      remedy:
        'listen on 127.0.0.1 or on a unix socket; other addresses need TLS, which comes later',
    },
  );
}

function systemCode(error: unknown): string {
  const isCoded = error instanceof Error && 'code' in error && typeof error.code === 'string';
  return isCoded ? String(error.code) : '';
}

function listenError(error: unknown, where: string): OperatingError {
  const code = systemCode(error);
  const why = code === 'EADDRINUSE' ? 'the port is in use' : code || String(error);
  const remedy = code === 'EADDRINUSE' ? 'stop the other process, or choose another port' : '';
  return new OperatingError('io', `can not listen for NBD on ${where}: ${why}`, {
    remedy,
    cause: error,
  });
}

/** Whether somebody answers on a unix socket. */
function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = net.connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error) => resolve(systemCode(error) !== 'ECONNREFUSED'));
  });
}

/** A Node socket as a ByteChannel. */
class SocketChannel implements ByteChannel {
  readonly #socket: net.Socket;

  constructor(socket: net.Socket) {
    this.#socket = socket;
  }

  get queuedBytes(): number {
    return this.#socket.writableLength;
  }

  serve(receiver: ByteReceiver): void {
    this.#socket.on('data', (chunk: Buffer) => receiver.onData(chunk));
    this.#socket.on('drain', () => receiver.onDrain());
    this.#socket.on('error', () => {}); // 'close' follows and says all there is to say
    this.#socket.on('close', () => receiver.onClose());
  }

  write(bytes: Uint8Array): void {
    if (this.#socket.writable) this.#socket.write(bytes);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
