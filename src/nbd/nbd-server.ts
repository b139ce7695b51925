// The sockets of the NBD front: listens on unix sockets and loopback TCP, gives each client a Connection, ends them in
// order. Bounded in connections; TCP is served with TLS, in the clear on loopback addresses only.

import { isIPv4, type Socket } from 'node:net';
import { hasCode, messageOf, OperatingError } from '../core/errors.ts';
import { MAX_SOCKET_PATH_BYTES } from '../core/limits.ts';
import {
  connectFast,
  type FastListener,
  FastSocket,
  listenFast,
  type SocketAddress,
} from '../io/fast-socket.ts';
import type { Clock, Trace } from '../ports/ports.ts';
import type { NbdCredentials } from './access.ts';
import type { ByteChannel, ByteReceiver, TlsDoor, TlsOutcome } from './byte-channel.ts';
import { Connection } from './connection.ts';
import { type ExportSource, Exports } from './exports.ts';
import { type SilenceRule, SilentClients } from './silent-clients.ts';
import { checkCredentials, TlsChannel } from './tls-channel.ts';

/** Clients of one server at a time, in handshake or attached; the next one is closed at once. */
export const MAX_CONNECTIONS = 256;
/** An orderly end waits this long for requests in flight, then cuts. Milliseconds. */
export const SHUTDOWN_MS = 5_000;
/** How long a process that holds a unix socket has to answer before it counts as living. Milliseconds. */
const PROBE_MS = 1_000;
/** Refused connections are told of at most so often. Milliseconds. */
export const REFUSAL_SAID_EVERY_MS = 10_000;
const MAX_PORT = 65_535;

/** Where to listen: `tcp` with TLS, `tcp-plain` in the clear. Port 0 = any free one. */
export type NbdAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp' | 'tcp-plain'; readonly host: string; readonly port: number };

/** Reads `unix:PATH`, `tcp:HOST:PORT` or `tcp-plain:HOST:PORT`. Throws 'usage' with the cure. */
export function parseNbdAddress(text: string): NbdAddress {
  if (text.startsWith('unix:')) return { kind: 'unix', path: checkedPath(text.slice(5)) };
  const tcp = /^tcp(-plain)?:(?:\[([0-9a-f:]+)\]|([^:[\]]+)):(\d{1,5})$/i.exec(text);
  const host = tcp?.[2] ?? tcp?.[3] ?? '';
  const port = Number(tcp?.[4] ?? -1);
  if (host === '' || port < 0 || port > MAX_PORT) {
    const remedy = 'write unix:PATH, tcp:HOST:PORT (TLS) or tcp-plain:127.0.0.1:PORT';
    throw new OperatingError('usage', `${text} is not an NBD address`, { remedy });
  }
  if (tcp?.[1] === undefined) return { kind: 'tcp', host, port };
  return { kind: 'tcp-plain', host: checkedLoopback(host), port };
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
  /** Keys, certificates and rights as they are now; for each client anew. Throws OperatingError. Absent: no TLS. */
  readonly credentials?: (() => NbdCredentials) | undefined;
  /** When a client's host counts as vanished; for tests. */
  readonly silence?: SilenceRule;
}

export class NbdServer {
  readonly #options: NbdServerOptions;
  readonly #exports: Exports;
  readonly #listeners: FastListener[] = [];
  readonly #connections = new Map<Connection, ByteChannel>();
  readonly #silent: SilentClients;
  #isStopping = false;
  /** Refused and not said yet; when that was said last. */
  #refusals = 0;
  #refusalSaidMs = Number.NEGATIVE_INFINITY;
  #onEmpty: (() => void) | undefined;

  constructor(options: NbdServerOptions) {
    this.#options = options;
    this.#exports = new Exports(options.source);
    this.#silent = new SilentClients(options.clock, options.trace, options.silence);
  }

  /** Clients now. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /**
   * Listens; may be called for several addresses. Returns where (the port, when any was asked for). `held`: a socket that
   * is bound there and outlives this process.
   * Rejects with 'usage' (path too long, in the clear beyond loopback, TLS without keys), 'locked' (a living process
   * listens), 'io'.
   */
  async listen(address: NbdAddress, held?: number): Promise<NbdAddress> {
    if (address.kind === 'unix') {
      checkedPath(address.path);
      if (held === undefined) await this.#listenUnix(address.path);
      else await this.#open({ path: address.path }, false, held);
      return address;
    }
    const { kind } = address;
    if (kind === 'tcp') checkCredentials(this.#options.credentials?.() ?? noKeys());
    const host = kind === 'tcp' ? address.host : checkedLoopback(address.host);
    const { port } = await this.#open({ host, port: address.port }, kind === 'tcp', held);
    return { kind, host, port };
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

  async #open(address: SocketAddress, needsTls = false, held?: number): Promise<FastListener> {
    const onSocket = (socket: Socket) => this.#accept(socket, needsTls);
    const listener = await listenFast(address, { maxSockets: MAX_CONNECTIONS, onSocket, held });
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

  #accept(accepted: Socket, needsTls: boolean): void {
    if (this.#isStopping || this.#connections.size >= MAX_CONNECTIONS) {
      this.#noteRefusal();
      accepted.destroy();
      return;
    }
    const receiver: ByteReceiver = {
      onData: (chunk) => connection.onData(chunk),
      onDrain: () => connection.onDrain(),
      onClose: () => {
        this.#silent.forget(channel);
        connection.onClose();
      },
    };
    const { clock, trace, credentials } = this.#options;
    // Asked before its handle goes to another socket.
    const isByTcp = accepted.remoteAddress !== undefined;
    let channel: ByteChannel;
    let tls: TlsDoor | undefined;
    if (needsTls && credentials !== undefined) {
      const secured = new TlsChannel(accepted, clock, receiver);
      tls = { prepare: () => prepareTls(secured, credentials, trace) };
      channel = secured;
    } else {
      const socket = new FastSocket(accepted, { clock, ...receiver });
      socket.onDrain(receiver.onDrain);
      channel = socket;
    }
    const connection = new Connection(channel, {
      exports: this.#exports,
      clock,
      trace,
      tls,
      onFinished: () => {
        this.#connections.delete(connection);
        if (this.#connections.size === 0) this.#onEmpty?.();
      },
    });
    this.#connections.set(connection, channel);
    if (isByTcp) this.#silent.watch(channel);
  }
}

/** The client is told that it can not be, the operator why. */
function prepareTls(
  channel: TlsChannel,
  credentials: () => NbdCredentials,
  trace: Trace,
): (outcome: TlsOutcome) => void {
  try {
    const now = credentials();
    return (outcome) => channel.startTls(now, outcome);
  } catch (error) {
    trace.warn('nbd.tls.files', { reason: messageOf(error) });
    throw new OperatingError('io', 'this node can not read its keys; its log says why', {
      cause: error,
    });
  }
}

function noKeys(): never {
  throw new OperatingError('usage', 'NBD over TCP is served with TLS, and there are no keys', {
    remedy: 'give --nbd-psk FILE or --nbd-certs DIR, or tcp-plain: on a loopback address',
  });
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
    `tcp-plain: is in the clear, and ${host} is not a loopback address`,
    {
      remedy:
        'listen on 127.0.0.1 or on a unix socket; on other addresses with TLS: tcp:HOST:PORT and keys',
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
