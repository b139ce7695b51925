// Requests to peers over data channels: one client per peer (peer-client.ts), one timer for all of them. Callbacks, no
// promise per request: this is the data path.

import type { Incarnation, NodeId } from '../core/ids.ts';
import type { TimerHandle } from '../ports/ports.ts';
import { type Frame, OP } from '../wire/frame.ts';
import {
  type ChannelState,
  PeerClient,
  type PeerClientContext,
  type ReplyDone,
} from './peer-client.ts';

/** Deadlines and redials are judged this often, in ms, while something is pending. */
export const TICK_MS = 50;
/** Peers with a client; a cluster has fewer members. */
export const MAX_PEER_CLIENTS = 2000;
/** How often idle channels are looked for, in ms. */
export const IDLE_LOOK_MS = 15_000;

export type PeerClientsOptions = Omit<PeerClientContext, 'report' | 'wake'> & {
  /** How long a replica took to answer a change (C1.7). */
  readonly onAnswered?: (node: NodeId, ms: number) => void;
};

/** All data channels that this node dials. */
export class PeerClients {
  readonly #context: PeerClientContext;
  readonly #clients = new Map<NodeId, PeerClient>();
  readonly #onAnswered: PeerClientsOptions['onAnswered'];
  readonly #listeners: ((node: NodeId, state: ChannelState) => void)[] = [];
  #timer: TimerHandle | undefined;
  #idleTimer: TimerHandle | undefined;
  #isStopped = false;

  constructor(options: PeerClientsOptions) {
    this.#onAnswered = options.onAnswered;
    this.#context = {
      network: options.network,
      clock: options.clock,
      trace: options.trace,
      hello: options.hello,
      peerKeyOf: options.peerKeyOf,
      report: (node, state) => {
        options.trace.event('rpc.channel', { node, state });
        for (const listener of this.#listeners) listener(node, state);
      },
      wake: () => this.#arm(),
    };
  }

  /**
   * Sends in the order of calls per peer, dialling when there is no channel.
   * @param frame kept by reference until done: do not change it (its request id is set here)
   * @param deadlineMs from now; judged every TICK_MS
   * @param done the reply, or undefined: it may or may not have happened
   */
  request(node: NodeId, frame: Frame, deadlineMs: number, done: ReplyDone): void {
    const client = this.#clientOf(node);
    if (client === undefined) this.#context.clock.soon(() => done(undefined));
    else client.request(frame, deadlineMs, this.#timed(node, frame, done));
  }

  #timed(node: NodeId, { op }: Frame, done: ReplyDone): ReplyDone {
    const onAnswered = this.#onAnswered;
    if (onAnswered === undefined || (op !== OP.WRITE && op !== OP.ZERO)) return done;
    const { clock } = this.#context;
    const sentAt = clock.now();
    return (reply) => {
      if (reply !== undefined) onAnswered(node, clock.now() - sentAt);
      done(reply);
    };
  }

  isOpen(node: NodeId): boolean {
    return this.#clients.get(node)?.isOpen ?? false;
  }

  /** Incarnation that the peer said in its HELLO; undefined while no channel is open. */
  incarnationOf(node: NodeId): Incarnation | undefined {
    return this.#clients.get(node)?.incarnation;
  }

  /** Dials now and again after each break, until `forget`. */
  keepOpen(node: NodeId): void {
    this.#clientOf(node)?.keepOpen();
  }

  /** What `keepOpen` asked for is wanted no more: the channel closes when it is idle (CHANNEL_IDLE_MS). */
  release(node: NodeId): void {
    this.#clients.get(node)?.release();
  }

  /** A request other than a ping hangs there (C1.7). */
  isOverdue(node: NodeId): boolean {
    return this.#clients.get(node)?.isOverdue(this.#context.clock.now()) ?? false;
  }

  /** Peers with a channel, or with something to say. */
  get size(): number {
    return this.#clients.size;
  }

  /** `refused`: the channel broke, and the host says that nobody listens any more (C1.8). */
  onState(fn: (node: NodeId, state: ChannelState) => void): void {
    this.#listeners.push(fn);
  }

  /** Closes the channel; what is pending is lost. */
  forget(node: NodeId): void {
    const client = this.#clients.get(node);
    this.#clients.delete(node);
    client?.stop();
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== undefined) this.#context.clock.clearTimer(this.#timer);
    if (this.#idleTimer !== undefined) this.#context.clock.clearTimer(this.#idleTimer);
    this.#timer = undefined;
    this.#idleTimer = undefined;
    for (const node of [...this.#clients.keys()]) this.forget(node);
  }

  #clientOf(node: NodeId): PeerClient | undefined {
    const known = this.#clients.get(node);
    if (known !== undefined || this.#isStopped) return known;
    if (this.#clients.size >= MAX_PEER_CLIENTS) return undefined;
    const client = new PeerClient(node, this.#context);
    this.#clients.set(node, client);
    this.#armIdle();
    return client;
  }

  #armIdle(): void {
    if (this.#idleTimer !== undefined || this.#isStopped) return;
    this.#idleTimer = this.#context.clock.setTimer(IDLE_LOOK_MS, () => {
      this.#idleTimer = undefined;
      const now = this.#context.clock.now();
      for (const [node, client] of [...this.#clients]) if (client.isIdle(now)) this.forget(node);
      if (this.#clients.size > 0) this.#armIdle();
    });
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#isStopped) return;
    this.#timer = this.#context.clock.setTimer(TICK_MS, () => this.#tick());
  }

  #tick(): void {
    this.#timer = undefined;
    const now = this.#context.clock.now();
    for (const client of [...this.#clients.values()]) client.tick(now);
    for (const client of this.#clients.values()) {
      if (client.isBusy) {
        this.#arm();
        return;
      }
    }
  }
}
