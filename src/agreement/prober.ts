// Pings of the subjects of this observer, on the data channel, so that a wedged data path is a failure (C1.2, C1.8).
// It counts; the peer actors are told the edges only.

import type { NodeId } from '../core/ids.ts';
import { EdgeWindow } from '../core/membership.ts';
import type { PeerClients } from '../p2p/rpc-client.ts';
import type { Clock, TimerHandle } from '../ports/ports.ts';
import { emptyFrame, type Frame, OP, STATUS } from '../wire/frame.ts';

export const PING_EVERY_MS = 1000;
export const PING_DEADLINE_MS = 500;
/** A ping timer this late means that this observer's event loop lagged: it distrusts itself (C1.3). */
export const MAX_LAG_MS = 500;
/** How long a lag counts. */
export const LAG_WINDOW_MS = 5000;

export interface ProberOptions {
  readonly clock: Clock;
  readonly peers: PeerClients;
  /** Nodes of the map, this one included: decides how many pings judge an edge. */
  readonly clusterSize: () => number;
  readonly pingPayload: () => Uint8Array;
  readonly onPong: (node: NodeId, reply: Frame) => void;
  readonly onEdge: (type: 'edge.lost' | 'edge.regained' | 'peer.refused', node: NodeId) => void;
}

interface Edge {
  window: EdgeWindow;
  isLost: boolean;
  generation: number;
}

export class Prober {
  readonly #options: ProberOptions;
  readonly #edges = new Map<NodeId, Edge>();
  #timer: TimerHandle | undefined;
  #dueAt = 0;
  #laggedAt = Number.NEGATIVE_INFINITY;
  #generation = 0;

  constructor(options: ProberOptions) {
    this.#options = options;
  }

  start(): void {
    this.#arm();
  }

  stop(): void {
    if (this.#timer !== undefined) this.#options.clock.clearTimer(this.#timer);
    this.#timer = undefined;
    this.#edges.clear();
  }

  /** C1.3: this observer was late itself not long ago. */
  isDistrustful(): boolean {
    return this.#options.clock.now() - this.#laggedAt < LAG_WINDOW_MS;
  }

  /** Observes exactly these nodes; edges of the others are forgotten. */
  observe(subjects: readonly NodeId[]): void {
    const wanted = new Set(subjects);
    for (const node of this.#edges.keys()) {
      if (!wanted.has(node)) this.#edges.delete(node);
    }
    for (const node of wanted) {
      if (this.#edges.has(node)) continue;
      this.#edges.set(node, this.#newEdge());
      this.#options.peers.keepOpen(node);
    }
  }

  /** A new life of that node: what its former one missed does not count. */
  forget(node: NodeId): void {
    if (!this.#edges.has(node)) return;
    this.#edges.set(node, this.#newEdge());
    this.#options.peers.keepOpen(node);
  }

  /** The channel broke and a new dial was refused: a full alert at once (C1.8). */
  refused(node: NodeId): void {
    const edge = this.#edges.get(node);
    if (edge === undefined) return;
    edge.isLost = true;
    this.#options.onEdge('peer.refused', node);
  }

  #newEdge(): Edge {
    this.#generation += 1;
    return {
      window: new EdgeWindow(this.#options.clusterSize()),
      isLost: false,
      generation: this.#generation,
    };
  }

  #arm(): void {
    const { clock } = this.#options;
    this.#dueAt = clock.now() + PING_EVERY_MS;
    this.#timer = clock.setTimer(PING_EVERY_MS, () => this.#round());
  }

  #round(): void {
    const { clock } = this.#options;
    if (clock.now() - this.#dueAt > MAX_LAG_MS) this.#laggedAt = clock.now();
    for (const [node, edge] of this.#edges) this.#ping(node, edge);
    this.#arm();
  }

  #ping(node: NodeId, edge: Edge): void {
    const frame = emptyFrame();
    frame.op = OP.PING;
    frame.payload = this.#options.pingPayload();
    const { generation } = edge;
    this.#options.peers.request(node, frame, PING_DEADLINE_MS, (reply) => {
      if (this.#edges.get(node)?.generation !== generation) return;
      const isAnswered = reply?.status === STATUS.OK;
      if (isAnswered) this.#options.onPong(node, reply);
      this.#judge(node, edge, isAnswered);
    });
  }

  #judge(node: NodeId, edge: Edge, isAnswered: boolean): void {
    edge.window.note(isAnswered);
    const isLost = edge.isLost ? !isAnswered || edge.window.isDown() : edge.window.isDown();
    if (isLost === edge.isLost) return;
    edge.isLost = isLost;
    this.#options.onEdge(isLost ? 'edge.lost' : 'edge.regained', node);
  }
}
