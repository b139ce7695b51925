// A libp2p node that knows members and strangers. Members pass. Strangers are let in to knock: few at once, for a short
// time; gossipsub sees members only (its registrar is wrapped), and handlers of other protocols check by themselves.

import { gossipsub } from '@chainsafe/libp2p-gossipsub';
import { identify } from '@libp2p/identify';
import type {
  Connection,
  ConnectionGater,
  PeerId,
  PrivateKey,
  StreamHandler,
  Topology,
} from '@libp2p/interface';
import { noise } from '@libp2p/noise';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { createLibp2p, type Libp2p } from 'libp2p';
import type { PeerKey } from '../core/ids.ts';
import type { Clock, Random, TimerHandle } from '../ports/ports.ts';
import { beginsWithGreeting } from './greeting.ts';
import { withoutPeer } from './multiaddr-parts.ts';
import { newAgent, SecondProcess } from './second-process.ts';

/** The only protocol that is spoken with strangers. */
export const JOIN_PROTOCOL = '/sheep/join/1';

/** Connections of strangers at once; a further one is refused. */
const MAX_STRANGERS = 16;
/** New connections of strangers per second. */
const MAX_STRANGERS_PER_SECOND = 20;
/** A stranger's connection is closed after this, in ms. */
const STRANGER_LIFE_MS = 20_000;
/** Whoever knocks with a member's key is judged within this time, or passes for its first process, in ms. */
const JUDGED_WITHIN_MS = 2000;
/** libp2p's own bounds, raised for clusters of hundreds that restart together (TRAPS 2.9). */
const MAX_CONNECTIONS = 2500;
const MAX_PENDING_CONNECTIONS = 256;
const MAX_CONNECTIONS_PER_SECOND = 500;
const MAX_PARALLEL_DIALS = 100;
const MAX_GOSSIP_RPC_BYTES = 1024 * 1024;

type GossipService = ReturnType<ReturnType<typeof gossipsub>>;
interface Mesh {
  getMeshPeers(topic: string): string[];
}
type GossipComponents = Parameters<ReturnType<typeof gossipsub>>[0];
type Registrar = GossipComponents['registrar'];

export interface GatedNodeOptions {
  readonly listen: string;
  readonly privateKey: PrivateKey;
  readonly clock: Clock;
  readonly random: Random;
  readonly isMember: (peer: PeerKey) => boolean;
  /** Somebody who is no member is connected. */
  readonly onStranger: (peer: PeerKey, address: string) => void;
  /** A second process has the key of a member whose first one lives; where it listens, or came from. */
  readonly onSecond: (peer: PeerKey, address: string) => void;
}

export interface GatedNode {
  readonly node: Libp2p;
  readonly pubsub: GossipService;
  /** A member's, and not that of a second process with its key. */
  isTrusted(connection: Connection): boolean;
  /** Of a second process with the key of a member that lives. */
  isSecond(connection: Connection): boolean;
  /** The same of a connection that may have come just now; bounded. */
  provesSecond(connection: Connection): Promise<boolean>;
  /** An open connection that is not a stranger's. */
  connectionTo(peer: PeerKey): Connection | undefined;
  /** Lets us dial a peer that is no member, to knock there. */
  allowDial(peer: PeerKey): void;
  disallowDial(peer: PeerKey): void;
  hangUp(peer: PeerKey): void;
  /** Peers that this node exchanges a topic's rumours with. */
  meshOf(topic: string): readonly string[];
  /** Closes connections of former strangers that are members now. */
  promoteStrangers(): void;
  stop(): Promise<void>;
}

const keyOf = (peer: PeerId): PeerKey => peer.toString() as PeerKey;

function closeQuietly(connection: Connection): void {
  connection.close().catch((error) => connection.abort(error));
}

/** Strangers that are connected, and how fast they came. */
class Strangers {
  readonly #clock: Clock;
  readonly #timers = new Map<Connection, TimerHandle>();
  #windowStart = 0;
  #came = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  mayCome(): boolean {
    const now = this.#clock.now();
    if (now - this.#windowStart >= 1000) {
      this.#windowStart = now;
      this.#came = 0;
    }
    this.#came += 1;
    return this.#came <= MAX_STRANGERS_PER_SECOND && this.#timers.size < MAX_STRANGERS;
  }

  add(connection: Connection): void {
    const timer = this.#clock.setTimer(STRANGER_LIFE_MS, () => {
      this.#timers.delete(connection);
      connection.abort(new DOMException('a stranger stayed too long', 'AbortError'));
    });
    this.#timers.set(connection, timer);
  }

  has(connection: Connection): boolean {
    return this.#timers.has(connection);
  }

  remove(connection: Connection): void {
    const timer = this.#timers.get(connection);
    if (timer !== undefined) this.#clock.clearTimer(timer);
    this.#timers.delete(connection);
  }

  all(): readonly Connection[] {
    return [...this.#timers.keys()];
  }
}

/** Gossipsub's view of the world: members only. */
function membersOnly(
  registrar: Registrar,
  isTrusted: (connection: Connection) => boolean,
): Registrar {
  const guardedHandler =
    (handler: StreamHandler): StreamHandler =>
    (stream, connection) => {
      if (isTrusted(connection)) return handler(stream, connection);
      stream.abort(new DOMException('not a member', 'AbortError'));
    };
  const guardedTopology = (topology: Topology): Topology => ({
    ...topology,
    onConnect: (peer, connection) => {
      if (isTrusted(connection)) return topology.onConnect?.(peer, connection);
    },
  });
  const guarded: Partial<Registrar> = {
    handle: (protocol, handler, options) =>
      registrar.handle(protocol, guardedHandler(handler), options),
    unhandle: (protocols) => registrar.unhandle(protocols),
    register: (protocol, topology) => registrar.register(protocol, guardedTopology(topology)),
    unregister: (id) => registrar.unregister(id),
  };
  return guarded as Registrar;
}

function gossipService(isTrusted: (connection: Connection) => boolean) {
  const create = gossipsub({
    // Noise proves the neighbour, the gater that it is a member; members are trusted not to forge each other's hints, for
    // nothing is decided by them. A signature would cost 2.7 ms at each delivery (docs/decisions/0033).
    globalSignaturePolicy: 'StrictNoSign',
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    emitSelf: false,
    doPX: false,
    // To the mesh only: a publisher among hundreds would send each rumour to every peer it is connected to (TRAPS 3.5).
    floodPublish: false,
    maxInboundDataLength: MAX_GOSSIP_RPC_BYTES,
    maxOutboundBufferSize: 8 * MAX_GOSSIP_RPC_BYTES,
  });
  // libp2p's components are a proxy that can not be spread.
  return (components: GossipComponents): GossipService =>
    create({
      privateKey: components.privateKey,
      peerId: components.peerId,
      peerStore: components.peerStore,
      connectionManager: components.connectionManager,
      logger: components.logger,
      registrar: membersOnly(components.registrar, isTrusted),
    });
}

function judged(clock: Clock, seconds: SecondProcess, connection: Connection): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.setTimer(JUDGED_WITHIN_MS, resolve);
    seconds.judged(connection).then(() => {
      clock.clearTimer(timer);
      resolve();
    });
  });
}

function forget(node: Libp2p, peer: PeerId): void {
  // Memory only; it can fail when the node is stopping, and then nothing is left to forget.
  node.peerStore.delete(peer).catch(() => undefined);
}

function createNode(
  options: GatedNodeOptions,
  connectionGater: ConnectionGater,
  isTrusted: (connection: Connection) => boolean,
) {
  return createLibp2p({
    start: false,
    nodeInfo: { userAgent: newAgent(options.random) },
    privateKey: options.privateKey,
    addresses: { listen: [options.listen] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionGater,
    connectionManager: {
      maxConnections: MAX_CONNECTIONS,
      maxIncomingPendingConnections: MAX_PENDING_CONNECTIONS,
      inboundConnectionThreshold: MAX_CONNECTIONS_PER_SECOND,
      maxParallelDials: MAX_PARALLEL_DIALS,
      reconnectRetries: 0,
    },
    services: { identify: identify(), pubsub: gossipService(isTrusted) },
  });
}

type Node = Awaited<ReturnType<typeof createNode>>;

function secondsAmong(
  node: () => Node,
  strangers: Strangers,
  options: GatedNodeOptions,
): SecondProcess {
  return new SecondProcess({
    connectionsTo: (peer) => node().getConnections(peer),
    askAgain: (connection, timeoutMs) =>
      node().services.identify.identify(connection, { signal: AbortSignal.timeout(timeoutMs) }),
    onSecond: (connection, listens) => {
      strangers.add(connection);
      // What it opened before it was known: a stranger has nothing but the knock.
      for (const stream of connection.streams) {
        if (stream.protocol === JOIN_PROTOCOL) continue;
        stream.abort(new DOMException('a copy', 'AbortError'));
      }
      const address = listens ?? withoutPeer(connection.remoteAddr);
      options.onSecond(keyOf(connection.remotePeer), address);
    },
  });
}

function watchConnections(
  node: Node,
  who: {
    readonly strangers: Strangers;
    readonly seconds: SecondProcess;
    readonly options: GatedNodeOptions;
  },
): void {
  const { strangers, seconds, options } = who;
  const { isMember } = options;
  node.addEventListener('peer:identify', ({ detail }) => {
    const { connection, agentVersion, listenAddrs } = detail;
    if (!isMember(keyOf(connection.remotePeer))) return;
    seconds.note(connection, agentVersion ?? '', listenAddrs[0]?.toString());
  });
  node.addEventListener('connection:open', ({ detail }) => {
    const peer = keyOf(detail.remotePeer);
    if (isMember(peer)) return;
    strangers.add(detail);
    options.onStranger(peer, withoutPeer(detail.remoteAddr));
  });
  node.addEventListener('connection:close', ({ detail }) => {
    strangers.remove(detail);
    // The first process left: its second is no second any more, once it connects anew.
    for (const c of node.getConnections(detail.remotePeer)) if (seconds.has(c)) closeQuietly(c);
    // Or the peer store would remember every stranger that ever came.
    if (!isMember(keyOf(detail.remotePeer))) forget(node, detail.remotePeer);
  });
}

/** Created, not started. */
export async function createGatedNode(options: GatedNodeOptions): Promise<GatedNode> {
  const { clock, isMember } = options;
  const strangers = new Strangers(clock);
  const dialling = new Map<PeerKey, number>();
  const connectionGater: ConnectionGater = {
    // The default refuses private addresses: ours are.
    denyDialMultiaddr: () => false,
    denyInboundConnection: async (connection) => !(await beginsWithGreeting(connection)),
    denyOutboundEncryptedConnection: (peer) => {
      const key = keyOf(peer);
      return !isMember(key) && !dialling.has(key);
    },
    denyInboundEncryptedConnection: (peer) => !isMember(keyOf(peer)) && !strangers.mayCome(),
  };
  const seconds = secondsAmong(() => node, strangers, options);
  const isTrusted = (connection: Connection): boolean =>
    isMember(keyOf(connection.remotePeer)) && !seconds.has(connection);
  const node: Node = await createNode(options, connectionGater, isTrusted);
  watchConnections(node, { strangers, seconds, options });
  const connections = () => node.getConnections();
  return {
    node,
    pubsub: node.services.pubsub,
    isTrusted,
    isSecond: (connection) => seconds.has(connection),
    provesSecond: async (connection) => {
      if (isMember(keyOf(connection.remotePeer))) await judged(clock, seconds, connection);
      return seconds.has(connection);
    },
    connectionTo: (peer) =>
      connections().find(
        (c) => keyOf(c.remotePeer) === peer && c.status === 'open' && !strangers.has(c),
      ),
    allowDial: (peer) => dialling.set(peer, (dialling.get(peer) ?? 0) + 1),
    disallowDial: (peer) => {
      const count = (dialling.get(peer) ?? 1) - 1;
      if (count === 0) dialling.delete(peer);
      else dialling.set(peer, count);
    },
    hangUp: (peer) => {
      for (const c of connections()) if (keyOf(c.remotePeer) === peer) closeQuietly(c);
    },
    // Public in the class, absent from its interface.
    meshOf: (topic) => (node.services.pubsub as unknown as Mesh).getMeshPeers(topic),
    promoteStrangers: () => {
      for (const c of strangers.all()) {
        const isKnocking = c.streams.some((stream) => stream.protocol === JOIN_PROTOCOL);
        if (isMember(keyOf(c.remotePeer)) && !isKnocking) closeQuietly(c);
      }
    },
    stop: async () => {
      for (const connection of strangers.all()) strangers.remove(connection);
      await node.stop();
    },
  };
}
