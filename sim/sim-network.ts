// The simulated network: the cable between all hosts, and each process's Network port on it. It is the weakest network
// that ports.ts allows: control messages ordered until the link breaks, gossip lost, doubled and out of order, data
// channels ordered until they break. A dead process answers "refused" at once while its host has power; a host without
// power, or behind a cut, is silent. See SIMULATOR.md, section 2.

import type { PeerKey } from '../src/core/ids.ts';
import type { GossipTopic } from '../src/ports/ports.ts';
import type { Host, Listener } from './sim-host.ts';
import { SimPaths } from './sim-paths.ts';
import { SimPipe } from './sim-pipe.ts';
import type { SimRandom } from './sim-random.ts';
import { GOSSIP_DELIVERIES, type Traffic } from './traffic.ts';
import type { World } from './world.ts';

/** Processes that start within this time of each other race for their peers. */
const SAME_START_MS = 1000;
/** Mean delay of one gossip delivery. */
const GOSSIP_MEAN_MS = 10;

/** Rewrites what goes over the wire, for mutants: undefined = the message vanishes. */
export type Tamper = (message: {
  readonly from: string;
  readonly to: string;
  readonly plane: 'control' | 'data';
  readonly bytes: Uint8Array;
}) => Uint8Array | undefined;

const AS_IT_IS: Tamper = ({ bytes }) => bytes;

export class Cable {
  readonly world: World;
  readonly paths: SimPaths;
  /** Probability that a gossip message reaches one receiver, and that it comes twice. */
  gossipRate = 0.95;
  gossipTwiceRate = 0.05;
  tamper: Tamper = AS_IT_IS;
  /** The same for a rumour, and for what a stranger knocks with. */
  tamperGossip: (from: string, to: string, topic: GossipTopic, bytes: Uint8Array) => Uint8Array = (
    _from,
    _to,
    _topic,
    bytes,
  ) => bytes;
  tamperKnock: (from: string, bytes: Uint8Array) => Uint8Array = (_from, bytes) => bytes;
  /** Sees each block frame as its receiver does. */
  watch: (bytes: Uint8Array) => void = () => {};
  readonly #random: SimRandom;
  readonly #gossipRandom: SimRandom;
  /** Counts what goes over the cable, when set. */
  traffic: Traffic | undefined;
  /** Some hosts have the same key: the disk of one is a copy of that of another. */
  hasCopies = false;
  /** Data channels that were opened, all together. */
  channelCount = 0;
  readonly #hosts = new Map<string, Host>();
  readonly #hostOfPeer = new Map<PeerKey, Host>();
  readonly #hostOfAddress = new Map<string, Host>();
  readonly #pipes = new Set<SimPipe>();
  /** Control links by "from>to". */
  readonly #links = new Map<string, SimPipe>();

  constructor(world: World) {
    this.world = world;
    this.#random = world.random.fork('network');
    this.#gossipRandom = world.random.fork('gossip');
    this.paths = new SimPaths(this.#random.fork('paths'));
    this.paths.onFault = (kind, where) => world.inject(kind, where);
    this.paths.onChange = () => {
      for (const pipe of this.#pipes) pipe.release();
    };
  }

  addHost(host: Host): void {
    this.#hosts.set(host.name, host);
    if (this.#hostOfPeer.has(host.peer)) this.hasCopies = true;
    else this.#hostOfPeer.set(host.peer, host);
    this.#hostOfAddress.set(host.address, host);
  }

  /** From now on this host has another key: the old one was lost with its disk. */
  giveNewKey(host: Host): void {
    this.#hostOfPeer.delete(host.peer);
    host.peer = `${host.peer}-anew` as PeerKey;
    this.#hostOfPeer.set(host.peer, host);
  }

  get hosts(): readonly Host[] {
    return [...this.#hosts.values()];
  }

  hostOfPeer(peer: PeerKey): Host | undefined {
    return this.#hostOfPeer.get(peer);
  }

  /** Whom the others are in touch with; of two that started at about the same time each of them draws one. */
  earliestOf(peer: PeerKey): Listener | undefined {
    const living = this.hosts.flatMap((host) => (host.peer === peer ? (host.network ?? []) : []));
    const [first, second] = living.sort((a, b) => a.startedMs - b.startedMs);
    if (first === undefined || second === undefined) return first;
    const isClose = second.startedMs - first.startedMs < SAME_START_MS;
    return isClose && this.#random.chance(0.5) ? second : first;
  }

  hostOfAddress(address: string): Host | undefined {
    return this.#hostOfAddress.get(address);
  }

  /** One way of a link, kept so that healing can release it. */
  makePipe(
    place: { readonly plane: 'control' | 'data'; readonly from: string; readonly to: string },
    deliver: (bytes: Uint8Array) => void,
    onBreak: () => void,
  ): SimPipe {
    const receive = (bytes: Uint8Array): void => {
      const seen = this.tamper === AS_IT_IS ? bytes : this.tamper({ ...place, bytes });
      if (seen === undefined) return;
      this.world.noteDelivery(place.to, place.plane, seen);
      if (place.plane === 'data') this.watch(seen);
      if (this.traffic !== undefined) {
        if (place.plane === 'data') this.traffic.addFrame(seen);
        else this.traffic.addControl(seen);
      }
      deliver(seen);
    };
    const pipe: SimPipe = new SimPipe(this.world, this.paths, place, receive, () => {
      this.#pipes.delete(pipe);
      onBreak();
    });
    this.#pipes.add(pipe);
    return pipe;
  }

  /** Both ends of its link are gone. */
  dropPipe(pipe: SimPipe): void {
    pipe.isBroken = true;
    this.#pipes.delete(pipe);
  }

  get pipeCount(): number {
    return this.#pipes.size;
  }

  /** Queues a control message; false when the link broke by it. */
  sendControl(from: Host, to: Host, bytes: Uint8Array): boolean {
    const key = `${from.name}>${to.name}`;
    let link = this.#links.get(key);
    if (link === undefined || link.isBroken) {
      link = this.makePipe(
        { plane: 'control', from: from.name, to: to.name },
        (message) => {
          if (to.network?.isSecond(from) === false) to.network.receiveControl(from.peer, message);
        },
        () => this.#links.delete(key),
      );
      this.#links.set(key, link);
    }
    return link.send(bytes);
  }

  /** A process ended or left: its control links break, what is under way is lost. */
  breakLinksOf(host: Host): void {
    const [starts, ends] = [`${host.name}>`, `>${host.name}`];
    for (const [key, link] of [...this.#links]) {
      if (key.startsWith(starts) || key.endsWith(ends)) link.break();
    }
  }

  /** Breaks one control link in both directions, losing the tail. */
  breakLink(a: string, b: string): void {
    this.#links.get(`${a}>${b}`)?.break();
    this.#links.get(`${b}>${a}`)?.break();
  }

  /** Whether a packet and its answer can pass now. */
  isReachable(a: Host, b: Host, plane: 'control' | 'data'): boolean {
    const { paths } = this;
    return (
      b.isPowered && !paths.isCut(a.name, b.name, plane) && !paths.isCut(b.name, a.name, plane)
    );
  }

  /** Time for a packet and its answer. */
  roundTripMs(a: Host, b: Host): number {
    return this.paths.delayMs(a.name, b.name, 64) + this.paths.delayMs(b.name, a.name, 64);
  }

  /** To everybody else with luck, in any order, perhaps twice. */
  gossip(from: Host, bytes: number, deliver: (to: Host) => void): void {
    this.traffic?.add('gossip', bytes, GOSSIP_DELIVERIES * (this.#hosts.size - 1));
    for (const to of this.#hosts.values()) {
      if (to === from) continue;
      const times = this.#gossipRandom.chance(this.gossipTwiceRate) ? 2 : 1;
      if (times > 1) this.world.inject('gossip-doubled', to.name);
      for (let i = 0; i < times; i += 1) {
        const delayMs = this.#gossipRandom.exponential(GOSSIP_MEAN_MS);
        if (!this.#gossipRandom.chance(this.gossipRate)) {
          this.world.inject('gossip-lost', to.name);
          continue;
        }
        this.world.schedule(delayMs, undefined, () => {
          if (!this.paths.isCut(from.name, to.name, 'control')) deliver(to);
        });
      }
    }
  }
}
