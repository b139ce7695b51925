// Pings of the subjects of this observer, on the data channel, so that a wedged data path is a failure (C1.2, C1.8).
// It counts; the peer actors are told the edges only. A leader may have further nodes pinged, of which nobody is told:
// it wants to know whether it reaches them itself (C1.5).

import type { NodeId } from '../core/ids.ts';
import { EdgeWindow, windowPings } from '../core/membership.ts';
import type { PeerClients } from '../p2p/rpc-client.ts';
import type { Clock, TimerHandle } from '../ports/ports.ts';
import { emptyFrame, type Frame, OP, STATUS } from '../wire/frame.ts';

export const PING_EVERY_MS = 1000;
export const PING_DEADLINE_MS = 500;
/** A ping timer this late means that this observer's event loop lagged: it distrusts itself (C1.3). */
export const MAX_LAG_MS = 500;
/** Rounds of pings whose lag a pong tells of. */
export const LAG_ROUNDS = 10;

export interface ProberOptions {
  readonly clock: Clock;
  readonly peers: Pick<PeerClients, 'request' | 'keepOpen' | 'release' | 'isOverdue'>;
  /** Nodes that are up, this one included: decides how many pings judge an edge. */
  readonly clusterSize: () => number;
  readonly onPong: (node: NodeId, reply: Frame) => void;
  readonly onEdge: (type: 'edge.lost' | 'edge.regained' | 'peer.refused', node: NodeId) => void;
}

interface Edge {
  readonly window: EdgeWindow;
  /** False: pinged for this node's own knowledge only. */
  readonly isSubject: boolean;
  isLost: boolean;
}

export class Prober {
  readonly #options: ProberOptions;
  readonly #edges = new Map<NodeId, Edge>();
  #subjects: ReadonlySet<NodeId> = new Set();
  #extra: ReadonlySet<NodeId> = new Set();
  #timer: TimerHandle | undefined;
  #dueAt = 0;
  /** Lag of the last rounds in ms, the newest last; at most LAG_ROUNDS. */
  readonly #lags: number[] = [];

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

  /** C1.3: this observer was late itself within the window that judges an edge. */
  isDistrustful(): boolean {
    const window = windowPings(this.#options.clusterSize());
    return this.#lags.slice(-window).some((lagMs) => lagMs > MAX_LAG_MS);
  }

  /** Worst event loop lag of the last LAG_ROUNDS rounds. */
  get worstLagMs(): number {
    return Math.max(0, ...this.#lags);
  }

  /** Observes exactly these nodes; edges of the others are forgotten. */
  observe(subjects: readonly NodeId[]): void {
    this.#subjects = new Set(subjects);
    this.#adopt();
  }

  /** Pings these nodes, too, without a word to anybody: see `isLost`. */
  probe(nodes: readonly NodeId[]): void {
    this.#extra = new Set(nodes);
    this.#adopt();
  }

  /** True when this node itself has lost its edge to that one, as a subject or by `probe`. */
  isLost(node: NodeId): boolean {
    return this.#edges.get(node)?.isLost ?? false;
  }

  /** One ping, beside the rounds: true when it is answered in time. */
  ask(node: NodeId): Promise<boolean> {
    return new Promise((resolve) => {
      const done = (reply: Frame | undefined): void => resolve(reply?.status === STATUS.OK);
      this.#options.peers.request(node, pingFrame(), PING_DEADLINE_MS, done);
    });
  }

  /** A new life of that node: what its former one missed does not count. */
  forget(node: NodeId): void {
    if (!this.#edges.delete(node)) return;
    this.#adopt();
  }

  /** The channel broke and a new dial was refused: a full alert at once (C1.8). */
  refused(node: NodeId): void {
    const edge = this.#edges.get(node);
    if (edge === undefined) return;
    edge.isLost = true;
    if (edge.isSubject) this.#options.onEdge('peer.refused', node);
  }

  #adopt(): void {
    const { peers } = this.#options;
    for (const [node, { isSubject }] of this.#edges) {
      if (this.#subjects.has(node) === isSubject && (isSubject || this.#extra.has(node))) continue;
      this.#edges.delete(node);
      if (!this.#subjects.has(node) && !this.#extra.has(node)) peers.release(node);
    }
    for (const node of [...this.#subjects, ...this.#extra]) {
      if (this.#edges.has(node)) continue;
      const isSubject = this.#subjects.has(node);
      this.#edges.set(node, { window: new EdgeWindow(), isSubject, isLost: false });
      peers.keepOpen(node);
    }
  }

  #arm(): void {
    const { clock } = this.#options;
    this.#dueAt = clock.now() + PING_EVERY_MS;
    this.#timer = clock.setTimer(PING_EVERY_MS, () => this.#round());
  }

  #round(): void {
    const { clock } = this.#options;
    this.#lags.push(Math.max(0, clock.now() - this.#dueAt));
    if (this.#lags.length > LAG_ROUNDS) this.#lags.shift();
    for (const [node, edge] of this.#edges) this.#ping(node, edge);
    this.#arm();
  }

  #ping(node: NodeId, edge: Edge): void {
    const { peers } = this.#options;
    peers.request(node, pingFrame(), PING_DEADLINE_MS, (reply) => {
      if (this.#edges.get(node) !== edge) return;
      const isAnswered = reply?.status === STATUS.OK;
      if (isAnswered) this.#options.onPong(node, reply);
      // C1.7: who answers pings while other requests hang, hangs.
      this.#judge(node, edge, isAnswered && !peers.isOverdue(node));
    });
  }

  #judge(node: NodeId, edge: Edge, isAnswered: boolean): void {
    edge.window.note(isAnswered);
    const isDown = edge.window.isDown(this.#options.clusterSize());
    const isLost = edge.isLost ? !isAnswered || isDown : isDown;
    if (isLost === edge.isLost) return;
    edge.isLost = isLost;
    if (edge.isSubject) this.#options.onEdge(isLost ? 'edge.lost' : 'edge.regained', node);
  }
}

/** The short header and no payload: of a thousand nodes' traffic most is pings. */
function pingFrame(): Frame {
  const frame = emptyFrame();
  frame.op = OP.PING;
  frame.flags = 0;
  return frame;
}
