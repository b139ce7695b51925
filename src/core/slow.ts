// Replicas that are slow, by the word of writers (C1.7). A writer looks once a second at how long its replicas took to
// confirm; who stands out for long is reported to the voters, and the leader takes it out of in-sync sets that keep
// minCopies live members without it. Nobody writes there then, so time alone brings it back, each time later.
//
// Two rules beside the protocol's: below SLOW_FLOOR_MS nobody is slow, whatever the others do, for a disk that stalls for a
// checkpoint is none; and with one replica to look at there is nothing to compare.

import type { NodeId } from './ids.ts';
import type { ClusterView } from './view.ts';

/** p99 above this many times the median of the others. */
export const SLOW_FACTOR = 20;
/** In so many looks one after the other. */
export const SLOW_LOOKS = 10;
/** Milliseconds that nobody minds. */
export const SLOW_FLOOR_MS = 100;
/** Confirmations of one replica that are kept between two looks, in ms. */
export const MAX_SLOW_SAMPLES = 512;
/** How long the leader keeps a slow replica away; doubled each time it comes back slow. */
export const SLOW_HOLD_MS = 60_000;
export const MAX_SLOW_HOLD_MS = 16 * SLOW_HOLD_MS;

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

/** The writer's part. Bounded by the replicas it writes to between two looks. */
export class SlowWatch {
  readonly #samples = new Map<NodeId, number[]>();
  readonly #looks = new Map<NodeId, number>();

  /** A replica confirmed, or refused, after so long. */
  note(node: NodeId, ms: number): void {
    const samples = this.#samples.get(node);
    if (samples === undefined) this.#samples.set(node, [ms]);
    else if (samples.length < MAX_SLOW_SAMPLES) samples.push(ms);
  }

  /** Once a second: who has been slow for SLOW_LOOKS of them. Who was not written to stays what it was. */
  look(): readonly NodeId[] {
    const sorted = [...this.#samples].map(([node, all]) => ({
      node,
      all: all.sort((a, b) => a - b),
    }));
    this.#samples.clear();
    for (const { node, all } of sorted) {
      const others = sorted.filter((one) => one.node !== node).flatMap((one) => one.all);
      if (others.length === 0) continue;
      const median = quantile(
        others.sort((a, b) => a - b),
        0.5,
      );
      const isSlow = quantile(all, 0.99) > Math.max(SLOW_FLOOR_MS, SLOW_FACTOR * median);
      if (isSlow) this.#looks.set(node, (this.#looks.get(node) ?? 0) + 1);
      else this.#looks.delete(node);
    }
    return [...this.#looks].filter(([, looks]) => looks >= SLOW_LOOKS).map(([node]) => node);
  }

  /** Its word was told: it is to be slow for as long again before it is told anew. */
  told(node: NodeId): void {
    this.#looks.delete(node);
  }
}

interface Hold {
  readonly incarnation: number;
  until: number;
  holdMs: number;
}

/** The leader's part; every voter keeps it, so that whoever leads next knows. Bounded by the members. */
export class SlowNodes {
  readonly #holds = new Map<NodeId, Hold>();

  /** A writer says that this life of a node is slow. */
  note(node: NodeId, incarnation: number, now: number): void {
    const hold = this.#holds.get(node);
    if (hold === undefined || hold.incarnation !== incarnation) {
      this.#holds.set(node, { incarnation, until: now + SLOW_HOLD_MS, holdMs: SLOW_HOLD_MS });
    } else if (now >= hold.until) {
      // It was let back in, and is slow again.
      hold.holdMs = Math.min(MAX_SLOW_HOLD_MS, 2 * hold.holdMs);
      hold.until = now + hold.holdMs;
    }
  }

  /** Who is to be kept away now, ascending. Forgets who was well for as long as it was held. */
  slow(view: ClusterView, now: number): readonly NodeId[] {
    const slow: NodeId[] = [];
    for (const [node, hold] of this.#holds) {
      const member = view.members.get(node);
      const isOver = now >= hold.until + hold.holdMs;
      if (member?.incarnation !== hold.incarnation || isOver) this.#holds.delete(node);
      else if (now < hold.until) slow.push(node);
    }
    return slow.sort((a, b) => a - b);
  }
}
