// The real Network port, control half: libp2p (tcp, noise, yamux, identify, gossipsub) for control messages, knocks,
// rumours and the agreement on data channels; blocks go beside it (data-channel.ts).
//
// Who may do what: members (setPeers) everything; strangers connect in small numbers, for a short time, and may only
// knock. Gossipsub does not even hear of them. What a peer sends can cost it its connection, never our process.

import { privateKeyFromProtobuf } from '@libp2p/crypto/keys';
import type { Connection, PeerId, Stream } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { multiaddr } from '@multiformats/multiaddr';
import { messageOf, OperatingError } from '../core/errors.ts';
import type { PeerKey } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import { connectFast, dialError, listenError, listenFast } from '../io/fast-socket.ts';
import {
  type Clock,
  type DataChannel,
  type GossipTopic,
  type Knocker,
  MAX_GOSSIP_BYTES,
  MAX_MESSAGE_BYTES,
  type MixUp,
  type Network,
  type PeerAddress,
  type Random,
  type TimerHandle,
  type Trace,
} from '../ports/ports.ts';
import { answerChannel, askChannel, MAX_AGREEMENT_BYTES, readAnswer } from './channel-agreement.ts';
import { ControlLink } from './control-link.ts';
import { exchange, receiveMessages, receiveOne, sendLast } from './control-stream.ts';
import { DataPlane, type DataTls } from './data-channel.ts';
import { createGatedNode, type GatedNode, JOIN_PROTOCOL } from './gated-node.ts';
import { LinkUse, MAX_KEPT_DIALS, neighboursOf } from './kept-links.ts';
import { MixUps, otherIdentity } from './mix-ups.ts';
import { hostAndPort, isLoopback, peerOf, targetsOf, withoutPeer } from './multiaddr-parts.ts';

const CONTROL_PROTOCOL = '/sheep/control/1';
const CHANNEL_PROTOCOL = '/sheep/channel/1';
const TOPICS: readonly GossipTopic[] = ['map', 'alerts', 'stats'];
const TOPIC_PREFIX = '/sheep/1/';
/** From a dial to a negotiated stream, and for the agreement on a data channel, in ms. */
const DIAL_TIMEOUT_MS = 3000;
/** A plain TCP dial that asks a host whether anybody listens, in ms. */
const PROBE_TIMEOUT_MS = 1000;
/** Knocks being answered at once; a further one is cut off. */
const MAX_KNOCKS = 16;
const KNOCK_TIMEOUT_MS = 15_000;
/** Control streams that one peer may have open towards us: an old one may linger beside its successor. */
const MAX_CONTROL_STREAMS = 8;
const MAX_CHANNEL_STREAMS = 32;
const KEEP_INTERVAL_MS = 1000;

export interface Libp2pNetworkOptions {
  /** Multiaddr with ip4 or ip6, and tcp; port 0 = any. */
  readonly listen: string;
  /** identity.ts. */
  readonly privateKey: Uint8Array;
  readonly dataTls: DataTls;
  /** The control port + 1 unless given; any when the control port is 0. */
  readonly dataPort?: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly trace: Trace;
}

const MAX_PORT = 65535;

/** A Network on this machine's sockets. Nothing listens before `start`. */
export function createLibp2pNetwork(options: Libp2pNetworkOptions): Network {
  return new Libp2pNetwork(options);
}

class Libp2pNetwork implements Network {
  readonly self: PeerKey;
  readonly #options: Libp2pNetworkOptions;
  readonly #trace: Trace;
  readonly #data: DataPlane;
  readonly #links = new Map<PeerKey, ControlLink>();
  #peers: ReadonlyMap<PeerKey, PeerAddress> = new Map();
  #barred: ReadonlySet<PeerKey> = new Set();
  #gated: GatedNode | undefined;
  #isStopped = false;
  readonly #use = new LinkUse();
  readonly #mixUps: MixUps;
  #knocks = 0;
  #keepTimer: TimerHandle | undefined;
  #message: ((peer: PeerKey, message: Uint8Array) => void) | undefined;
  #knock: ((from: Knocker, request: Uint8Array) => Promise<Uint8Array>) | undefined;
  #channel: ((channel: DataChannel) => void) | undefined;
  #gossip: ((topic: GossipTopic, payload: Uint8Array) => void) | undefined;

  constructor(options: Libp2pNetworkOptions) {
    this.#options = options;
    this.#trace = options.trace;
    this.#mixUps = new MixUps(options.clock, options.trace);
    const key = privateKeyFromProtobuf(options.privateKey);
    this.self = peerIdFromPrivateKey(key).toString() as PeerKey;
    this.#data = new DataPlane({
      clock: options.clock,
      trace: options.trace,
      onChannel: (channel) => {
        if (this.#channel === undefined || !this.#peers.has(channel.peer)) channel.close();
        else this.#channel(channel);
      },
    });
  }

  // ------------------------------------------------------------------------------------------- lifecycle

  async start(): Promise<void> {
    const { host, port } = hostAndPort(this.#options.listen);
    const dataPort = this.#options.dataPort ?? portAfter(port);
    // libp2p's own error for a used port names no cure: ask first.
    const probe = await listenFast({ host, port }, { maxSockets: 1, onSocket: (s) => s.destroy() });
    await probe.close();
    await this.#data.listen(host, dataPort);
    const gated = await createGatedNode({
      listen: this.#options.listen,
      privateKey: privateKeyFromProtobuf(this.#options.privateKey),
      clock: this.#options.clock,
      random: this.#options.random,
      isMember: (peer) => this.#peers.has(peer),
      onStranger: (peer, address) => {
        if (this.#barred.has(peer)) this.#mixUps.tell({ kind: 'barred-came', peer, address });
      },
      onSecond: (peer, address) => this.#mixUps.tell({ kind: 'identity-twice', peer, address }),
    });
    this.#gated = gated;
    await this.#handleStreams(gated);
    this.#handleGossip(gated);
    try {
      await gated.node.start();
    } catch (error) {
      await this.#data.stop();
      throw listenError({ host, port }, error);
    }
    for (const topic of TOPICS) gated.pubsub.subscribe(TOPIC_PREFIX + topic);
    this.#keepLinks();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#keepTimer !== undefined) this.#options.clock.clearTimer(this.#keepTimer);
    for (const link of this.#links.values()) link.stop();
    await this.#data.stop();
    await this.#gated?.stop();
  }

  addresses(): readonly string[] {
    const all = this.#gated?.node.getMultiaddrs() ?? [];
    // Listening everywhere includes loopback, where other hosts would find themselves.
    const others = all.filter((address) => !isLoopback(address));
    return (others.length > 0 ? others : all).map((address) => withoutPeer(address));
  }

  setPeers(peers: readonly PeerAddress[]): void {
    const others = peers.filter(({ peer }) => peer !== this.self);
    this.#barred = new Set(others.filter((one) => one.isBarred === true).map(({ peer }) => peer));
    const next = new Map(others.filter((one) => one.isBarred !== true).map((p) => [p.peer, p]));
    const gone = [...this.#peers.keys()].filter((peer) => !next.has(peer));
    this.#peers = next;
    for (const peer of gone) {
      this.#links.get(peer)?.stop();
      this.#links.delete(peer);
      this.#mixUps.forget(peer);
      this.#data.closePeer(peer);
      this.#gated?.hangUp(peer);
    }
    // A stranger that became a member comes back as one: gossipsub learns of peers when they connect only.
    this.#gated?.promoteStrangers();
    if (this.#keepTimer !== undefined) this.#keepLinks();
  }

  // --------------------------------------------------------------------------------------------- control

  send(peer: PeerKey, message: Uint8Array): boolean {
    invariant(message.length <= MAX_MESSAGE_BYTES, 'a control message is at most 1 MiB');
    if (this.#isStopped || this.#gated === undefined || !this.#peers.has(peer)) return false;
    this.#noteUse(peer);
    return this.#linkTo(peer).send(message);
  }

  onMessage(fn: (peer: PeerKey, message: Uint8Array) => void): void {
    this.#message = fn;
  }

  #linkTo(peer: PeerKey): ControlLink {
    const known = this.#links.get(peer);
    if (known !== undefined) return known;
    const link = new ControlLink({
      clock: this.#options.clock,
      trace: this.#trace,
      peer,
      open: () => this.#openStream(peer, CONTROL_PROTOCOL, AbortSignal.timeout(DIAL_TIMEOUT_MS)),
      onOpened: () => this.#keepMore(),
    });
    this.#links.set(peer, link);
    return link;
  }

  // ----------------------------------------------------------------------------------------------- knock

  async knock(address: string, request: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const gated = this.#gated;
    if (gated === undefined || this.#isStopped) throw unreachable('the network is not started');
    let peer: PeerKey | undefined;
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      const target = multiaddr(address);
      peer = peerOf(target);
      gated.allowDial(peer);
      const connection = await gated.node.dial(target, { signal });
      const stream = await connection.newStream(JOIN_PROTOCOL, { signal });
      const reply = await bounded(stream, signal, () =>
        exchange(stream, request, MAX_MESSAGE_BYTES),
      );
      if (!this.#peers.has(peer)) connection.close().catch((error) => connection.abort(error));
      return reply;
    } catch (error) {
      throw unreachable(`${address}: ${messageOf(error)}`, error);
    } finally {
      if (peer !== undefined) gated.disallowDial(peer);
    }
  }

  onKnock(fn: (from: Knocker, request: Uint8Array) => Promise<Uint8Array>): void {
    this.#knock = fn;
  }

  onMixUp(fn: (mixUp: MixUp) => void): void {
    this.#mixUps.onMixUp = fn;
  }

  async #serveKnock(stream: Stream, connection: Connection): Promise<void> {
    const answer = this.#knock;
    if (answer === undefined || this.#knocks >= MAX_KNOCKS) throw unreachable('too many knocks');
    this.#knocks += 1;
    try {
      await bounded(stream, AbortSignal.timeout(KNOCK_TIMEOUT_MS), async () => {
        const request = await receiveOne(stream, MAX_MESSAGE_BYTES);
        const isSecond = (await this.#gated?.provesSecond(connection)) ?? false;
        const address = withoutPeer(connection.remoteAddr);
        const from = { peer: keyOf(connection.remotePeer), address, isSecond };
        await sendLast(stream, await answer(from, request));
      });
    } finally {
      this.#knocks -= 1;
    }
  }

  // -------------------------------------------------------------------------------------------- channels

  async openChannel(peer: PeerKey): Promise<DataChannel> {
    const known = this.#peers.get(peer);
    if (this.#isStopped || this.#gated === undefined || known === undefined) {
      throw unreachable(`${peer} is no member`);
    }
    try {
      return await this.#agreeAndDial(known);
    } catch (error) {
      // Whatever libp2p made of it: a fresh TCP dial tells whether a process is there (C1.8).
      throw (await this.#isRefused(known))
        ? new OperatingError('refused', `${peer} does not listen`, {
            advice: 'retry',
            cause: error,
          })
        : unreachable(`${peer}: ${messageOf(error)}`, error);
    }
  }

  onChannel(fn: (channel: DataChannel) => void): void {
    this.#channel = fn;
  }

  async #agreeAndDial({ peer, addresses }: PeerAddress): Promise<DataChannel> {
    const { random, dataTls: tls } = this.#options;
    const signal = AbortSignal.timeout(DIAL_TIMEOUT_MS);
    const stream = await this.#openStream(peer, CHANNEL_PROTOCOL, signal);
    const { nonce, message } = askChannel(random, tls);
    const reply = await bounded(stream, signal, () =>
      exchange(stream, message, MAX_AGREEMENT_BYTES),
    );
    stream.close().catch((error) => stream.abort(error));
    const { agreement, port } = readAnswer(reply, { nonce, self: this.self, peer, tls });
    const hosts = new Set(addresses.map((address) => hostAndPort(address).host));
    let failure: unknown = unreachable('no address');
    for (const host of hosts) {
      try {
        return await this.#data.dial(agreement, host, port);
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  async #serveAgreement(stream: Stream, connection: Connection, peer: PeerKey): Promise<void> {
    await bounded(stream, AbortSignal.timeout(DIAL_TIMEOUT_MS), async () => {
      const request = await receiveOne(stream, MAX_AGREEMENT_BYTES);
      const { agreement, message } = answerChannel(request, {
        random: this.#options.random,
        self: this.self,
        peer,
        tls: this.#options.dataTls,
        isLoopback: isLoopback(connection.remoteAddr),
        port: this.#data.port,
      });
      this.#data.expect(agreement);
      await sendLast(stream, message);
    });
  }

  /** True when every address of the peer answers that nobody listens. */
  async #isRefused({ addresses }: PeerAddress): Promise<boolean> {
    const { clock } = this.#options;
    const probes = addresses.map(async (address) => {
      const target = hostAndPort(address);
      const none = () => undefined;
      const options = { clock, timeoutMs: PROBE_TIMEOUT_MS, onData: none, onClose: none };
      try {
        (await connectFast(target, options)).destroy();
        return false;
      } catch (error) {
        return dialError(error).code === 'refused';
      }
    });
    const answers = await Promise.all(probes);
    return answers.length > 0 && answers.every((isRefused) => isRefused);
  }

  // ---------------------------------------------------------------------------------------------- gossip

  publish(topic: GossipTopic, payload: Uint8Array): void {
    invariant(payload.length <= MAX_GOSSIP_BYTES, 'a rumour is at most 32 KiB');
    if (this.#isStopped) return;
    // Best effort: a rumour that goes nowhere is made up for by pulls (C8.5).
    this.#gated?.pubsub
      .publish(TOPIC_PREFIX + topic, payload)
      .catch(() => this.#trace.count('gossip.publish.failed'));
  }

  onGossip(fn: (topic: GossipTopic, payload: Uint8Array) => void): void {
    this.#gossip = fn;
  }

  #handleGossip(gated: GatedNode): void {
    gated.pubsub.addEventListener('message', (event) => {
      const { topic, data } = event.detail;
      const known = TOPICS.find((name) => TOPIC_PREFIX + name === topic);
      if (known === undefined || data.length > MAX_GOSSIP_BYTES) return;
      this.#gossip?.(known, data);
    });
  }

  // --------------------------------------------------------------------------------------------- streams

  async #handleStreams(gated: GatedNode): Promise<void> {
    const { node } = gated;
    const forMembers =
      (serve: (stream: Stream, connection: Connection, peer: PeerKey) => Promise<void>) =>
      (stream: Stream, connection: Connection) => {
        const peer = keyOf(connection.remotePeer);
        if (!gated.isTrusted(connection)) {
          stream.abort(unreachable('not a member'));
          return;
        }
        this.#noteUse(peer);
        this.#guard(stream, peer, serve(stream, connection, peer));
      };
    const control = (stream: Stream, _connection: Connection, peer: PeerKey) =>
      receiveMessages(stream, MAX_MESSAGE_BYTES, (message) => {
        if (!this.#peers.has(peer)) return;
        this.#noteUse(peer);
        this.#message?.(peer, message);
      });
    await node.handle(CONTROL_PROTOCOL, forMembers(control), {
      maxInboundStreams: MAX_CONTROL_STREAMS,
    });
    const agreement = (stream: Stream, connection: Connection, peer: PeerKey) =>
      this.#serveAgreement(stream, connection, peer);
    await node.handle(CHANNEL_PROTOCOL, forMembers(agreement), {
      maxInboundStreams: MAX_CHANNEL_STREAMS,
    });
    const join = (stream: Stream, connection: Connection) => {
      this.#guard(stream, keyOf(connection.remotePeer), this.#serveKnock(stream, connection));
    };
    await node.handle(JOIN_PROTOCOL, join, { maxInboundStreams: 1 });
  }

  /** A stream that breaks costs the stream; only broken invariants of ours go on up. */
  #guard(stream: Stream, peer: PeerKey, serving: Promise<void>): void {
    serving.catch((error: unknown) => {
      stream.abort(error instanceof Error ? error : unreachable(messageOf(error)));
      this.#trace.event('network.stream.broken', { peer, reason: messageOf(error) });
      if (error instanceof Error && error.name === 'InvariantError') throw error;
    });
  }

  async #openStream(peer: PeerKey, protocol: string, signal: AbortSignal): Promise<Stream> {
    const gated = this.#gated;
    const known = this.#peers.get(peer);
    if (gated === undefined || known === undefined) throw unreachable(`${peer} is no member`);
    this.#noteUse(peer);
    const connection =
      gated.connectionTo(peer) ??
      (await gated.node.dial(targetsOf(known), { signal }).catch((error: unknown) => {
        this.#lookForOther(known, error);
        throw error;
      }));
    // libp2p hands out what is open, whoever is behind it.
    if (gated.isSecond(connection)) throw unreachable(`a second process answers as ${peer}`);
    return connection.newStream(protocol, { signal });
  }

  /** A foreign node, or the same host with a wiped disk: it never becomes that member by being dialled again. */
  #lookForOther({ peer, addresses }: PeerAddress, error: unknown): void {
    const found = otherIdentity(error);
    if (found === undefined) return;
    const by = found === '' ? {} : { found: found as PeerKey };
    this.#mixUps.tell({ kind: 'address-taken', peer, address: addresses[0] ?? '', ...by });
  }

  /** Dials the neighbours, and closes what nobody needs. */
  #keepLinks(): void {
    if (this.#keepTimer !== undefined) this.#options.clock.clearTimer(this.#keepTimer);
    if (this.#isStopped) return;
    const neighbours = neighboursOf(this.self, this.#peers.keys());
    const missing = neighbours.after.filter((one) => this.#gated?.connectionTo(one) === undefined);
    const dialling = missing.filter((peer) => this.#links.get(peer)?.isRunning).length;
    const room = Math.max(0, MAX_KEPT_DIALS - dialling);
    const next = missing.map((peer) => this.#linkTo(peer)).filter((link) => link.mayDial);
    // Whoever failed last comes last: the dead must not hold all places.
    next.sort((a, b) => a.redialAt - b.redialAt);
    for (const link of next.slice(0, room)) link.connect();
    this.#closeIdle(new Set([...neighbours.after, ...neighbours.before]));
    this.#keepTimer = this.#options.clock.setTimer(KEEP_INTERVAL_MS, () => this.#keepLinks());
  }

  /** One neighbour is reached: the next one, without waiting for the tick. */
  #keepMore(): void {
    if (this.#keepTimer !== undefined) this.#keepLinks();
  }

  #closeIdle(kept: Set<string>): void {
    const gated = this.#gated;
    if (gated === undefined) return;
    for (const topic of TOPICS) {
      for (const peer of gated.meshOf(TOPIC_PREFIX + topic)) kept.add(peer);
    }
    const connected = new Set(gated.node.getPeers().map(keyOf));
    for (const peer of this.#use.idle(connected, kept, this.#options.clock.now())) {
      this.#links.get(peer)?.stop();
      this.#links.delete(peer);
      gated.hangUp(peer);
    }
  }

  #noteUse(peer: PeerKey): void {
    this.#use.note(peer, this.#options.clock.now());
  }
}

/** Data channels take the next port, or any when the control port is any. */
function portAfter(port: number): number {
  if (port < MAX_PORT) return port === 0 ? 0 : port + 1;
  throw new OperatingError('usage', `port ${port} has no next one, where data channels go`, {
    remedy: `choose a port below ${MAX_PORT}`,
  });
}

function keyOf(peer: PeerId): PeerKey {
  return peer.toString() as PeerKey;
}

function unreachable(text: string, cause?: unknown): OperatingError {
  return new OperatingError('unreachable', text, { advice: 'retry', cause });
}

/** Aborts the stream when the signal fires, so that nothing waits for ever. */
async function bounded<T>(stream: Stream, signal: AbortSignal, run: () => Promise<T>): Promise<T> {
  const onAbort = () => stream.abort(unreachable('too slow'));
  signal.addEventListener('abort', onAbort);
  try {
    return await run();
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
