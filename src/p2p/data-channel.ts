// The block half of the Network port: sockets beside libp2p, keyed through it (DATAPLANE.md, FORMATS "Opening a data
// channel"). Two peers agree over their noise connection on nonces and a channel id; the key that follows is used once.
//
//   TLS    TLS 1.3 with the key as pre-shared key, its identity = the channel id in hex (between hosts)
//   plain  64 bytes each way: channel id, HMAC of our role under the key; then frames (loopback)
//
// One port takes both: a TLS record starts with 0x16, a channel id with 'S'. A stranger on the port has no key: it is
// cut off after HANDSHAKE_MS or its first wrong byte.

import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { OperatingError } from '../core/errors.ts';
import type { PeerKey } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import {
  connectFast,
  dialError,
  type FastListener,
  FastSocket,
  listenFast,
} from '../io/fast-socket.ts';
import type { Clock, DataChannel, Random, TimerHandle, Trace } from '../ports/ports.ts';
import { SocketChannel } from './socket-channel.ts';

export type DataTls = 'auto' | 'always' | 'never';
export type ChannelMode = 'tls' | 'plain';

export const NONCE_BYTES = 32;
export const CHANNEL_ID_BYTES = 32;
const PREAMBLE_BYTES = 64;
/** From the accept, or the dial, to proven keys, in ms. */
const HANDSHAKE_MS = 5000;
/** An agreed key that nobody used by then is forgotten, in ms. */
const KEY_LIFE_MS = 10_000;
/** Agreed keys that wait for their socket; a further agreement is refused. */
const MAX_WAITING_KEYS = 1024;
/** Accepted sockets that came in the last HANDSHAKE_MS or have not proven a key; further ones are closed on arrival. */
const MAX_UNPROVEN_SOCKETS = 256;
/** Sockets that the listener holds: TLS ones count for as long as they live. */
const MAX_ACCEPTED_SOCKETS = 4096;
/** First byte of a channel id; that of a TLS record is 0x16. */
const CHANNEL_ID_MARK = 0x53;
const TLS_RECORD = 0x16;
/** The only cipher that Node's PSK callback offers for TLS 1.3. */
const TLS_OPTIONS = {
  ciphers: 'TLS_AES_128_GCM_SHA256',
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
} as const;
const KEY_BYTES = 32;

/** What both ends know after the agreement. */
export interface ChannelAgreement {
  readonly peer: PeerKey;
  readonly channelId: Uint8Array;
  readonly key: Uint8Array;
  readonly mode: ChannelMode;
}

/** 'always' of either side wins, then 'never', then what the address says. */
export function modeOf(ours: DataTls, theirs: DataTls, isLoopback: boolean): ChannelMode {
  if (ours === 'always' || theirs === 'always') return 'tls';
  if (ours === 'never' || theirs === 'never') return 'plain';
  return isLoopback ? 'plain' : 'tls';
}

/** The key of one channel; both nonces are secret, they travelled over noise. */
export function channelKey(options: {
  readonly diallerNonce: Uint8Array;
  readonly listenerNonce: Uint8Array;
  readonly dialler: PeerKey;
  readonly listener: PeerKey;
  readonly channelId: Uint8Array;
}): Uint8Array {
  const secret = Buffer.concat([options.diallerNonce, options.listenerNonce]);
  const info = `sheep/channel/1 ${options.dialler} ${options.listener}`;
  return new Uint8Array(hkdfSync('sha256', secret, options.channelId, info, KEY_BYTES));
}

/** A fresh id: 'S' and 31 random bytes. */
export function newChannelId(random: Random): Uint8Array {
  const id = random.bytes(CHANNEL_ID_BYTES);
  id[0] = CHANNEL_ID_MARK;
  return id;
}

function preambleOf(agreement: ChannelAgreement, role: 'dialler' | 'listener'): Uint8Array {
  const proof = createHmac('sha256', agreement.key).update(role).update(agreement.channelId);
  return new Uint8Array(Buffer.concat([agreement.channelId, proof.digest()]));
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

export interface DataPlaneOptions {
  readonly clock: Clock;
  readonly trace: Trace;
  readonly onChannel: (channel: DataChannel) => void;
}

interface WaitingKey {
  readonly agreement: ChannelAgreement;
  readonly timer: TimerHandle;
}

/** All data channels of a node, both directions. */
export class DataPlane {
  readonly #options: DataPlaneOptions;
  readonly #keys = new Map<string, WaitingKey>();
  readonly #channels = new Set<SocketChannel>();
  readonly #unproven = new Set<Socket | FastSocket>();
  readonly #proven = new WeakMap<object, ChannelAgreement>();
  readonly #tls = createTlsServer({
    ...TLS_OPTIONS,
    handshakeTimeout: HANDSHAKE_MS,
    pskCallback: (socket, identity) => this.#keyFor(socket, identity),
  });
  #listener: FastListener | undefined;

  constructor(options: DataPlaneOptions) {
    this.#options = options;
    this.#tls.on('secureConnection', (socket) => this.#acceptTls(socket));
    // A failed handshake is a stranger's; Node has closed its socket.
    this.#tls.on('tlsClientError', (_error, socket) => socket.destroy());
  }

  /** Rejects with 'io' that names the address. */
  async listen(host: string, port: number): Promise<void> {
    this.#listener = await listenFast(
      { host, port },
      { maxSockets: MAX_ACCEPTED_SOCKETS, onSocket: (socket) => this.#accept(socket) },
    );
  }

  get port(): number {
    return this.#listener?.port ?? 0;
  }

  /** Keeps the key until the peer's socket comes. Throws 'busy' when too many wait. */
  expect(agreement: ChannelAgreement): void {
    if (this.#keys.size >= MAX_WAITING_KEYS) throw new OperatingError('busy', 'too many channels');
    const id = hex(agreement.channelId);
    const timer = this.#options.clock.setTimer(KEY_LIFE_MS, () => this.#keys.delete(id));
    this.#keys.set(id, { agreement, timer });
  }

  /** Rejects with 'refused', 'unreachable' or 'timeout'. */
  dial(agreement: ChannelAgreement, host: string, port: number): Promise<DataChannel> {
    return agreement.mode === 'tls'
      ? this.#dialTls(agreement, host, port)
      : this.#dialPlain(agreement, host, port);
  }

  closePeer(peer: PeerKey): void {
    for (const channel of [...this.#channels]) if (channel.peer === peer) channel.close();
  }

  async stop(): Promise<void> {
    for (const { timer } of this.#keys.values()) this.#options.clock.clearTimer(timer);
    this.#keys.clear();
    for (const channel of [...this.#channels]) channel.close();
    for (const socket of this.#unproven) socket.destroy();
    await this.#listener?.close();
  }

  #take(id: string, mode: ChannelMode): ChannelAgreement | undefined {
    const waiting = this.#keys.get(id);
    if (waiting === undefined || waiting.agreement.mode !== mode) return undefined;
    this.#keys.delete(id);
    this.#options.clock.clearTimer(waiting.timer);
    return waiting.agreement;
  }

  #newChannel(peer: PeerKey): SocketChannel {
    const ended = (gone: SocketChannel) => this.#channels.delete(gone);
    const channel = new SocketChannel(peer, this.#options.trace, ended);
    this.#channels.add(channel);
    return channel;
  }

  // ------------------------------------------------------------------------------------------ accepting

  /** Looks at the first byte only: TLS and plain share the port. */
  #accept(socket: Socket): void {
    if (this.#unproven.size >= MAX_UNPROVEN_SOCKETS) {
      socket.destroy();
      return;
    }
    let isTls = false;
    this.#unproven.add(socket);
    const timer = this.#options.clock.setTimer(HANDSHAKE_MS, () => {
      this.#unproven.delete(socket);
      // Of TLS handshakes the TLS server takes care by itself.
      if (!isTls) socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      this.#unproven.delete(socket);
      this.#options.clock.clearTimer(timer);
    });
    socket.once('data', (first: Buffer) => {
      socket.pause();
      isTls = first[0] === TLS_RECORD;
      if (!isTls) {
        this.#acceptPlain(socket, first);
        return;
      }
      socket.unshift(first);
      this.#tls.emit('connection', socket);
    });
    socket.resume();
  }

  #acceptPlain(socket: Socket, first: Uint8Array): void {
    const preamble = new Uint8Array(PREAMBLE_BYTES);
    let have = 0;
    let channel: SocketChannel | undefined;
    const { clock } = this.#options;
    const end = () => {
      this.#unproven.delete(fast);
      clock.clearTimer(timer);
    };
    const onData = (chunk: Uint8Array) => {
      if (channel !== undefined) {
        channel.receive(chunk);
        return;
      }
      const count = Math.min(chunk.length, PREAMBLE_BYTES - have);
      preamble.set(chunk.subarray(0, count), have);
      have += count;
      if (have < PREAMBLE_BYTES) return;
      const agreement = this.#proofOf(preamble);
      if (agreement === undefined) {
        fast.destroy();
        return;
      }
      end();
      fast.write(preambleOf(agreement, 'listener'));
      channel = this.#opened(agreement, fast);
      channel.receive(chunk.subarray(count));
    };
    const onClose = () => {
      end();
      channel?.lost();
    };
    const fast = new FastSocket(socket, { clock, onData, onClose });
    const timer = clock.setTimer(HANDSHAKE_MS, () => fast.destroy());
    this.#unproven.add(fast);
    onData(new Uint8Array(first));
  }

  #proofOf(preamble: Uint8Array): ChannelAgreement | undefined {
    const agreement = this.#take(hex(preamble.subarray(0, CHANNEL_ID_BYTES)), 'plain');
    if (agreement === undefined) return undefined;
    return timingSafeEqual(preamble, preambleOf(agreement, 'dialler')) ? agreement : undefined;
  }

  #opened(agreement: ChannelAgreement, socket: FastSocket): SocketChannel {
    const channel = this.#newChannel(agreement.peer);
    channel.socket = socket;
    this.#options.onChannel(channel);
    return channel;
  }

  #keyFor(socket: object, identity: string): Uint8Array | null {
    const agreement = this.#take(identity, 'tls');
    if (agreement === undefined) return null;
    this.#proven.set(socket, agreement);
    return agreement.key;
  }

  #acceptTls(socket: TLSSocket): void {
    const agreement = this.#proven.get(socket);
    if (agreement === undefined) {
      socket.destroy();
      return;
    }
    let channel: SocketChannel | undefined;
    const fast = new FastSocket(socket, {
      clock: this.#options.clock,
      onData: (chunk) => channel?.receive(chunk),
      onClose: () => channel?.lost(),
    });
    channel = this.#opened(agreement, fast);
  }

  // -------------------------------------------------------------------------------------------- dialling

  async #dialPlain(agreement: ChannelAgreement, host: string, port: number): Promise<DataChannel> {
    const { clock } = this.#options;
    const expected = preambleOf(agreement, 'listener');
    const answer = new Uint8Array(PREAMBLE_BYTES);
    const proof = Promise.withResolvers<void>();
    let have = 0;
    let channel: SocketChannel | undefined;
    const socket = await connectFast(
      { host, port },
      {
        clock,
        timeoutMs: HANDSHAKE_MS,
        onClose: () => {
          proof.reject(new OperatingError('unreachable', 'the channel was closed'));
          channel?.lost();
        },
        onData: (chunk) => {
          if (channel !== undefined) return channel.receive(chunk);
          invariant(have < PREAMBLE_BYTES || chunk.length === 0, 'frames follow our HELLO');
          if (have + chunk.length > PREAMBLE_BYTES) return socket.destroy();
          answer.set(chunk, have);
          have += chunk.length;
          if (have < PREAMBLE_BYTES) return;
          if (timingSafeEqual(answer, expected)) proof.resolve();
          else socket.destroy();
        },
      },
    );
    const timer = clock.setTimer(HANDSHAKE_MS, () => socket.destroy());
    socket.write(preambleOf(agreement, 'dialler'));
    try {
      await proof.promise;
    } finally {
      clock.clearTimer(timer);
    }
    channel = this.#newChannel(agreement.peer);
    channel.socket = socket;
    if (socket.isClosed) channel.lost();
    return channel;
  }

  async #dialTls(agreement: ChannelAgreement, host: string, port: number): Promise<DataChannel> {
    const { clock } = this.#options;
    const identity = hex(agreement.channelId);
    const socket = connectTls({
      ...TLS_OPTIONS,
      host,
      port,
      // The key proves the peer; there is no certificate whose name could be checked.
      checkServerIdentity: () => undefined,
      pskCallback: () => ({ psk: agreement.key, identity }),
    });
    const ready = Promise.withResolvers<void>();
    const timer = clock.setTimer(HANDSHAKE_MS, () =>
      ready.reject(new OperatingError('timeout', 'no TLS handshake in time', { advice: 'retry' })),
    );
    const failed = (error: unknown) => ready.reject(dialError(error));
    const closed = () => failed(new OperatingError('unreachable', 'the channel was closed'));
    socket.once('error', failed);
    socket.once('close', closed);
    socket.once('secureConnect', () => ready.resolve());
    try {
      await ready.promise;
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      clock.clearTimer(timer);
    }
    const channel = this.#newChannel(agreement.peer);
    channel.socket = new FastSocket(socket, {
      clock,
      onData: (chunk) => channel.receive(chunk),
      onClose: () => channel.lost(),
    });
    return channel;
  }
}
