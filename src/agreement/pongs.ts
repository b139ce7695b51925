// What a pong tells an observer beside "I live": how far its sender has applied the log. What was applied elsewhere a
// moment ago and is not here was missed, and is pulled: with no gossip at all a node is late, never lost (C8.3, C8.5).

import { hasCode } from '../core/errors.ts';
import type { Incarnation, MapIndex, NodeId } from '../core/ids.ts';
import type { DiskWord } from '../core/sightings.ts';
import type { Clock, Trace } from '../ports/ports.ts';
import type { Frame } from '../wire/frame.ts';
import { decodePingInfo, type PingInfo } from '../wire/payloads.ts';

/** A rumour is waited for so long before what a pong tells of is pulled. */
export const PONG_PULL_AFTER_MS = 500;

export interface PongsOptions {
  readonly clock: Clock;
  readonly trace: Trace;
  readonly applied: () => number;
  readonly pull: (index: MapIndex, from: NodeId) => void;
  /** What it says of its disk (C1.9). */
  readonly onDisk: (node: NodeId, word: DiskWord) => void;
}

export class Pongs {
  readonly #options: PongsOptions;
  /** The first index beyond the own one that a pong told of, and when. */
  #heard = { index: 0, at: 0 };
  /** The life that each node told last. Bounded by the ids of members. */
  readonly #lives = new Map<NodeId, Incarnation>();

  constructor(options: PongsOptions) {
    this.#options = options;
  }

  take(node: NodeId, reply: Frame): void {
    const { clock, applied, pull } = this.#options;
    const info = this.#decoded(node, reply);
    if (info === undefined) return;
    this.#options.onDisk(node, info);
    this.#lives.set(node, info.incarnation);
    const { appliedIndex } = info;
    if (appliedIndex <= applied()) return;
    if (applied() >= this.#heard.index) this.#heard = { index: appliedIndex, at: clock.now() };
    else if (clock.now() - this.#heard.at >= PONG_PULL_AFTER_MS) pull(appliedIndex, node);
  }

  /** The life in which a node answered last; undefined: it never did. 0: it is of a version that does not tell. */
  lifeOf(node: NodeId): Incarnation | undefined {
    return this.#lives.get(node);
  }

  #decoded(node: NodeId, reply: Frame): PingInfo | undefined {
    try {
      return decodePingInfo(reply.payload);
    } catch (error) {
      if (!hasCode(error, 'bad-frame')) throw error;
      this.#options.trace.warn('ping.bad', { node });
      return undefined;
    }
  }
}
