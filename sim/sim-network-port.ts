// The Network port of one process on the simulated cable.

import { OperatingError } from '../src/core/errors.ts';
import type { PeerKey } from '../src/core/ids.ts';
import { invariant } from '../src/core/invariant.ts';
import type {
  DataChannel,
  GossipTopic,
  Knocker,
  MixUp,
  Network,
  PeerAddress,
} from '../src/ports/ports.ts';
import { MAX_GOSSIP_BYTES, MAX_MESSAGE_BYTES } from '../src/ports/ports.ts';
import type { ChannelEnd } from './sim-channel.ts';
import { openPair } from './sim-channel.ts';
import type { AcceptedChannel, Host, Listener } from './sim-host.ts';
import type { Cable } from './sim-network.ts';
import type { SimProcess } from './sim-process.ts';

/** Dialling gives up after this long without an answer. */
const DIAL_TIMEOUT_MS = 3000;
/** Most open channel ends of one process. */
const MAX_CHANNELS = 4096;

export class SimNetwork implements Network, Listener {
  readonly self: PeerKey;
  readonly process: SimProcess;
  readonly host: Host;
  readonly #cable: Cable;
  startedMs = 0;
  #isStarted = false;
  #peers = new Map<PeerKey, PeerAddress>();
  #barred: ReadonlySet<PeerKey> = new Set();
  readonly #channels = new Set<ChannelEnd>();
  #onMessage: (peer: PeerKey, message: Uint8Array) => void = () => {};
  #onKnock: ((from: Knocker, request: Uint8Array) => Promise<Uint8Array>) | undefined;
  #onMixUp: (mixUp: MixUp) => void = () => {};
  /** Who came first under each key; looked at only where hosts are copies of each other. */
  readonly #firsts = new Map<PeerKey, Listener>();
  #onChannel: (channel: DataChannel) => void = () => {};
  #onGossip: (topic: GossipTopic, payload: Uint8Array) => void = () => {};

  constructor(cable: Cable, host: Host, process: SimProcess) {
    this.#cable = cable;
    this.host = host;
    this.process = process;
    this.self = host.peer;
  }

  get isListening(): boolean {
    return this.#isStarted && this.process.isAlive;
  }

  start(): Promise<void> {
    if (this.process.isAlive) {
      this.#isStarted = true;
      this.startedMs = this.#cable.world.nowMs;
      this.host.network = this;
    }
    return Promise.resolve();
  }

  stop(): Promise<void> {
    this.shutDown(true);
    return Promise.resolve();
  }

  /** @param says true = the kernel resets the connections; false = silence, as when the power is gone */
  shutDown(says: boolean): void {
    if (this.host.network === this) this.host.network = undefined;
    this.#isStarted = false;
    this.#cable.breakLinksOf(this.host);
    for (const end of [...this.#channels]) {
      if (says) end.reset();
      else end.vanish();
    }
    this.#channels.clear();
  }

  addresses(): readonly string[] {
    return [this.host.address];
  }

  setPeers(peers: readonly PeerAddress[]): void {
    if (!this.process.isAlive) return;
    this.#barred = new Set(peers.filter((one) => one.isBarred === true).map(({ peer }) => peer));
    const others = peers.filter((one) => one.isBarred !== true);
    this.#peers = new Map(others.map((peer) => [peer.peer, peer]));
    for (const end of [...this.#channels]) if (!this.#peers.has(end.peer)) end.close();
  }

  knows(peer: PeerKey): boolean {
    return this.#peers.has(peer);
  }

  // ------------------------------------------------------------------------------------------- control

  send(peer: PeerKey, message: Uint8Array): boolean {
    invariant(
      message.length <= MAX_MESSAGE_BYTES,
      'a control message is at most MAX_MESSAGE_BYTES',
    );
    if (!this.isListening) return false;
    const to = this.#dialled(peer);
    if (to === undefined || (to.isPowered && to.network === undefined)) return false;
    return this.#cable.sendControl(this.host, to, message.slice());
  }

  onMessage(fn: (peer: PeerKey, message: Uint8Array) => void): void {
    this.#onMessage = fn;
  }

  receiveControl(from: PeerKey, message: Uint8Array): void {
    if (!this.isListening) return;
    if (this.#barred.has(from)) this.#tell({ kind: 'barred-came', peer: from, address: '' });
    if (!this.knows(from)) return;
    this.#cable.world.follow(this.process, () => this.#onMessage(from, message));
  }

  // ------------------------------------------------------------------------------------------- knock

  knock(address: string, request: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    invariant(request.length <= MAX_MESSAGE_BYTES, 'a knock is at most MAX_MESSAGE_BYTES');
    const [place, peer] = address.split('/p2p/');
    const to = this.#cable.hostOfAddress(place ?? '');
    const { world } = this.#cable;
    return new Promise((resolve, reject) => {
      const answer = (bytes: Uint8Array): void => {
        world.schedule(this.#cable.roundTripMs(this.host, this.host), this.process, () =>
          resolve(bytes),
        );
      };
      world.schedule(timeoutMs, this.process, () => {
        reject(new OperatingError('unreachable', `no answer from ${address}`, { advice: 'retry' }));
      });
      if (to === undefined || to.peer !== peer || !this.isListening) return;
      const copy = this.#cable.tamperKnock(this.host.name, request.slice());
      world.schedule(this.#cable.roundTripMs(this.host, to), undefined, () => {
        if (this.#cable.isReachable(this.host, to, 'control'))
          to.network?.answerKnock(this, copy, answer);
      });
    });
  }

  onKnock(fn: (from: Knocker, request: Uint8Array) => Promise<Uint8Array>): void {
    this.#onKnock = fn;
  }

  onMixUp(fn: (mixUp: MixUp) => void): void {
    this.#onMixUp = fn;
  }

  /** As the real one judges (p2p/second-process.ts): the first one stays as long as it answers. */
  isSecond(from: Host): boolean {
    const now = from.network;
    if (!this.#cable.hasCopies || now === undefined || !this.knows(from.peer)) return false;
    const first = this.#firsts.get(from.peer) ?? this.#cable.earliestOf(from.peer);
    const isAlive =
      first !== undefined &&
      first.host.network === first &&
      this.#cable.isReachable(this.host, first.host, 'control');
    if (first === now || !isAlive) {
      this.#firsts.set(from.peer, now);
      return false;
    }
    const { peer, address } = from;
    this.#tell({ kind: 'identity-twice', peer, address });
    return true;
  }

  #tell(mixUp: MixUp): void {
    this.#cable.world.schedule(0, this.process, () => this.#onMixUp(mixUp));
  }

  answerKnock(from: Listener, request: Uint8Array, answer: (bytes: Uint8Array) => void): void {
    this.#cable.world.noteDelivery(this.host.name, 'knock', request);
    this.#cable.world.schedule(0, this.process, () => {
      const handler = this.#onKnock;
      if (handler === undefined) return;
      const { peer, address } = from.host;
      handler({ peer, address, isSecond: this.isSecond(from.host) }, request).then(
        (bytes) => {
          if (this.#cable.isReachable(this.host, from.host, 'control')) answer(bytes.slice());
        },
        () => this.#cable.world.note(this.host.name, 'knock failed', ''),
      );
    });
  }

  // ------------------------------------------------------------------------------------------- data

  openChannel(peer: PeerKey): Promise<DataChannel> {
    const to = this.#dialled(peer);
    const { world } = this.#cable;
    return new Promise((resolve, reject) => {
      const fail = (code: 'unreachable' | 'refused', afterMs: number): void => {
        world.schedule(afterMs, this.process, () => {
          reject(new OperatingError(code, `${peer}: ${code}`, { advice: 'retry' }));
        });
      };
      if (to === undefined || !this.isListening) {
        fail('unreachable', 1);
        return;
      }
      world.schedule(this.#cable.roundTripMs(this.host, to), this.process, () => {
        if (!this.#cable.isReachable(this.host, to, 'data')) fail('unreachable', DIAL_TIMEOUT_MS);
        else if (to.network === undefined) fail('refused', 0);
        else if (!to.network.knows(this.self) || to.network.isSecond(this.host)) {
          fail('unreachable', 0);
        } else resolve(this.#pairWith(to.network));
      });
    });
  }

  onChannel(fn: (channel: DataChannel) => void): void {
    this.#onChannel = fn;
  }

  #pairWith(remote: Listener): DataChannel {
    this.#cable.channelCount += 1;
    const { near, far } = openPair(this.#cable, this, remote);
    this.#keep(near);
    remote.accept(far);
    return near;
  }

  /** A peer that is let in dialled us. */
  accept(end: AcceptedChannel): void {
    this.#keep(end as ChannelEnd);
    this.#cable.world.schedule(0, this.process, () => this.#onChannel(end));
  }

  #keep(end: ChannelEnd): void {
    invariant(this.#channels.size < MAX_CHANNELS, 'a node keeps at most MAX_CHANNELS channels');
    this.#channels.add(end);
    end.onGone = () => this.#channels.delete(end);
  }

  // ------------------------------------------------------------------------------------------- gossip

  publish(topic: GossipTopic, payload: Uint8Array): void {
    invariant(payload.length <= MAX_GOSSIP_BYTES, 'a gossip payload is at most MAX_GOSSIP_BYTES');
    if (!this.isListening) return;
    const copy = payload.slice();
    this.#cable.gossip(this.host, copy.length, (to) => {
      if (to.network?.isSecond(this.host) === false) {
        const heard = this.#cable.tamperGossip(this.host.name, to.name, topic, copy);
        to.network.receiveGossip(this.self, topic, heard);
      }
    });
  }

  onGossip(fn: (topic: GossipTopic, payload: Uint8Array) => void): void {
    this.#onGossip = fn;
  }

  receiveGossip(from: PeerKey, topic: GossipTopic, payload: Uint8Array): void {
    if (!this.isListening || !this.knows(from)) return;
    this.#cable.world.noteDelivery(this.host.name, `gossip ${topic}`, payload);
    this.#cable.world.follow(this.process, () => this.#onGossip(topic, payload.slice()));
  }

  #dialled(peer: PeerKey): Host | undefined {
    const known = this.#peers.get(peer);
    if (known === undefined) return undefined;
    const host = known.addresses
      .map((address) => this.#cable.hostOfAddress(address))
      .find((found) => found !== undefined);
    return host?.peer === peer ? host : undefined;
  }
}
