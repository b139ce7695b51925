// One stream socket done right (DATAPLANE: techniques): reads land in one static buffer of the process instead of 64 KiB
// of garbage each; all writes of a tick leave as one writev. Used by data channels and by the NBD server.
//
// Accepted sockets have no public `onread` option: their handle moves into a new Socket that has it. That rests on
// Node's internals, so there is a fall-back on 'data' events, which TLS sockets use as well. Both are tested.

import { createConnection, createServer, isIP, type ListenOptions, Socket } from 'node:net';
import { messageOf, OperatingError } from '../core/errors.ts';
import { KIB } from '../core/units.ts';
import type { Clock } from '../ports/ports.ts';
import { silentForMs } from './tcp-silence.ts';

const READ_BUFFER_BYTES = 256 * KIB;
/** Probes of an idle connection begin after this; the tenth that nobody answers ends it. Milliseconds. */
const KEEP_ALIVE_MS = 10_000;

/**
 * Shared by all sockets: `onData` is synchronous and keeps nothing of it. A plain Uint8Array, whose `slice` copies; that
 * of a Buffer does not.
 */
const readBuffer = new Uint8Array(READ_BUFFER_BYTES);

export interface FastSocketOptions {
  readonly clock: Clock;
  /** `chunk` is valid during the call only: copy what you keep. */
  readonly onData: (chunk: Uint8Array) => void;
  /** Called once, whoever closed; with the error when there was one. No `onData` follows. */
  readonly onClose: (error?: Error) => void;
}

/** TCP or unix. */
export type SocketAddress =
  | { readonly host: string; readonly port: number }
  | { readonly path: string };

/** Where an `onread` callback delivers: set once the FastSocket exists. */
interface ReadSink {
  deliver: (chunk: Uint8Array) => void;
}

interface NativeHandle {
  reading: boolean;
  readStop(): number;
}

/** Where the other side of a socket is, for people. */
export function originOf({ remoteAddress, remotePort }: Socket): string {
  return remoteAddress === undefined ? 'a unix socket' : `${remoteAddress}:${remotePort ?? 0}`;
}

/** How long the other side has acknowledged nothing while something waits for it; 0: it answers, or nobody can say. */
export function silenceOf(socket: Socket): number {
  return silentForMs(socket);
}

/** Owns one connected socket. Unbounded by itself: look at `queuedBytes`, wait for `onDrain`. */
export class FastSocket {
  readonly #socket: Socket;
  readonly #clock: Clock;
  #isCorked = false;
  #isClosed = false;
  #error: Error | undefined;

  /**
   * Takes over `socket`: an accepted one (listenFast, or any server with pauseOnConnect), a TLS socket, or one that
   * nobody reads yet. Starts reading at once.
   * @param sink of a socket that was made with `onread` (connectFast only)
   */
  constructor(socket: Socket, options: FastSocketOptions, sink?: ReadSink) {
    this.#clock = options.clock;
    const deliver = (chunk: Uint8Array) => {
      if (!this.#isClosed && chunk.length > 0) options.onData(chunk);
    };
    this.#socket = sink === undefined ? adopt(socket, deliver) : socket;
    if (sink !== undefined) sink.deliver = deliver;
    this.#socket.on('error', (error) => {
      this.#error ??= error;
    });
    this.#socket.on('close', () => {
      if (this.#isClosed) return;
      this.#isClosed = true;
      options.onClose(this.#error);
    });
    this.#socket.setNoDelay(true);
    this.#socket.setKeepAlive(true, KEEP_ALIVE_MS);
    this.#socket.resume();
    // Died before we listened: its 'close' may be over.
    if (this.#socket.destroyed) options.clock.soon(() => this.#socket.emit('close'));
  }

  /**
   * Queued until the end of this tick, kept by reference until sent. Ignored after the close.
   * @param sent the kernel has all of it; never called when the socket breaks before
   */
  write(bytes: Uint8Array, sent?: () => void): void {
    if (this.#isClosed || this.#socket.destroyed || !this.#socket.writable) return;
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#socket.cork();
      this.#clock.soon(() => {
        this.#isCorked = false;
        this.#socket.uncork();
      });
    }
    if (sent === undefined) this.#socket.write(bytes);
    else this.#socket.write(bytes, (error) => error ?? sent());
  }

  /** Address and port of the other side, for people; `a unix socket` where it has none. */
  get from(): string {
    return originOf(this.#socket);
  }

  silentForMs(): number {
    return silenceOf(this.#socket);
  }

  /** Bytes written and not yet taken by the kernel. */
  get queuedBytes(): number {
    return this.#socket.writableLength;
  }

  get isClosed(): boolean {
    return this.#isClosed || this.#socket.destroyed;
  }

  /** Calls back each time that a queue of more than the socket's high-water mark has drained. */
  onDrain(fn: () => void): void {
    this.#socket.on('drain', fn);
  }

  /** No `onData` until `resume`, but for a chunk that is on its way. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Sends what is queued, then closes. */
  end(): void {
    this.#socket.end();
  }

  /** Closes at once; what is queued is dropped. */
  destroy(): void {
    this.#socket.destroy();
  }
}

function onread(sink: ReadSink) {
  return {
    buffer: readBuffer,
    callback: (count: number, buffer: Uint8Array) => {
      sink.deliver(buffer.subarray(0, count));
      return true;
    },
  };
}

/** The socket to use from now on: a new one around the same handle where Node lets us, else the same. */
function adopt(socket: Socket, deliver: (chunk: Uint8Array) => void): Socket {
  const rebuilt = rebuild(socket, { deliver });
  if (rebuilt !== undefined) return rebuilt;
  socket.on('data', (chunk: Buffer) =>
    deliver(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length)),
  );
  return socket;
}

function rebuild(socket: Socket, sink: ReadSink): Socket | undefined {
  const holder = socket as unknown as { _handle: NativeHandle | null; encrypted?: boolean };
  const handle = holder._handle;
  const isPlain = socket.constructor === Socket && handle !== null && typeof handle === 'object';
  // What the old socket has read already would be lost with it.
  if (!isPlain || socket.readableLength > 0 || socket.writableLength > 0) return undefined;
  if (typeof handle.readStop !== 'function' || socket.destroyed) return undefined;
  handle.readStop();
  handle.reading = false;
  holder._handle = null;
  const options = { handle, readable: true, writable: true, onread: onread(sink) };
  const rebuilt = new Socket(options as unknown as ConstructorParameters<typeof Socket>[0]);
  // Without a handle this only tells the server that the connection is no longer its own.
  socket.destroy();
  rebuilt.read(0);
  return rebuilt;
}

/**
 * Dials. Rejects with 'refused' (a host answered that nobody listens), 'timeout' or 'unreachable'.
 */
export function connectFast(
  address: SocketAddress,
  options: FastSocketOptions & { readonly timeoutMs: number },
): Promise<FastSocket> {
  return new Promise((resolve, reject) => {
    const sink: ReadSink = { deliver: () => undefined };
    const socket = createConnection({ ...address, onread: onread(sink), noDelay: true });
    const fail = (error: unknown) => {
      options.clock.clearTimer(timer);
      socket.destroy();
      reject(dialError(error));
    };
    const timer = options.clock.setTimer(options.timeoutMs, () =>
      fail(new OperatingError('timeout', 'no answer to a dial', { advice: 'retry' })),
    );
    socket.once('error', fail);
    socket.once('connect', () => {
      options.clock.clearTimer(timer);
      socket.off('error', fail);
      resolve(new FastSocket(socket, options, sink));
    });
  });
}

/** What a failed dial tells its caller. */
export function dialError(error: unknown): OperatingError {
  if (error instanceof OperatingError) return error;
  const code = (error as { readonly code?: unknown } | undefined)?.code;
  const isRefused = code === 'ECONNREFUSED' || code === 'ENOENT';
  return new OperatingError(isRefused ? 'refused' : 'unreachable', messageOf(error), {
    advice: 'retry',
    cause: error,
  });
}

export interface FastListener {
  /** 0 for a unix socket. */
  readonly port: number;
  /** Stops listening; accepted sockets go on. */
  close(): Promise<void>;
}

/**
 * Listens and hands over accepted sockets, paused: give each to a FastSocket, or destroy it.
 * @param options.maxSockets more at once are closed on arrival (sockets given to a FastSocket do not count)
 * @throws OperatingError 'io' that names the address and the cure when it can not listen
 */
export function listenFast(
  address: SocketAddress,
  options: {
    readonly maxSockets: number;
    readonly onSocket: (socket: Socket) => void;
    /** A socket that is bound to this address already, and stays so when this process is gone. */
    readonly held?: number | undefined;
  },
): Promise<FastListener> {
  return new Promise((resolve, reject) => {
    const server = createServer({ pauseOnConnect: true, noDelay: true }, options.onSocket);
    server.maxConnections = options.maxSockets;
    const fail = (error: Error) => reject(listenError(address, error));
    server.once('error', fail);
    const { held } = options;
    server.listen(held === undefined ? (address as ListenOptions) : { fd: held }, () => {
      server.off('error', fail);
      // A failed accept (no descriptors left) is the peer's loss, not ours.
      server.on('error', () => undefined);
      const bound = server.address();
      const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
      const close = () => new Promise<void>((closed) => server.close(() => closed()));
      const problem = held === undefined ? undefined : heldElsewhere(address, bound);
      if (problem !== undefined) {
        void close();
        reject(problem);
        return;
      }
      resolve({ port, close });
    });
  });
}

const ANY_ADDRESS: readonly string[] = ['0.0.0.0', '::'];

/** Why a socket that somebody else bound is not the one that was meant: in the clear beyond loopback, perhaps. */
function heldElsewhere(
  address: SocketAddress,
  bound: ReturnType<ReturnType<typeof createServer>['address']>,
): OperatingError | undefined {
  // A unix socket was looked at when it was passed (held-sockets.ts).
  if ('path' in address) return undefined;
  const wanted = `${address.host}:${address.port}`;
  if (typeof bound === 'object' && bound !== null) {
    const hasHost = isIP(address.host) !== 0;
    const isAny = [address.host, bound.address].every((host) => ANY_ADDRESS.includes(host));
    const isThere = !hasHost || isAny || bound.address === address.host;
    if (isThere && (address.port === 0 || bound.port === address.port)) return undefined;
  }
  const where =
    typeof bound === 'object' && bound !== null ? `${bound.address}:${bound.port}` : bound;
  return new OperatingError(
    'usage',
    `the socket passed for ${wanted} is bound to ${where ?? 'nothing'}`,
    { remedy: 'pass one listening socket for each --nbd flag, in their order' },
  );
}

/** The one line that a person needs when a listener can not start. */
export function listenError(address: SocketAddress, error: unknown): OperatingError {
  const place = 'path' in address ? address.path : `${address.host}:${address.port}`;
  const code = (error as { readonly code?: unknown } | undefined)?.code;
  const isUsed = code === 'EADDRINUSE';
  const message = isUsed ? `${place} is in use` : `can not listen on ${place}: ${messageOf(error)}`;
  const remedy = isUsed
    ? 'stop the process that listens there, or choose another address'
    : 'choose an address of this host that this user may listen on';
  return new OperatingError('io', message, { remedy, cause: error });
}
