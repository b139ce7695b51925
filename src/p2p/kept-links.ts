// Which control connections stay without being used: a few neighbours in the order of keys, so that rumours find a mesh;
// the rest is dialled when there is something to say and closed when there was nothing for long. A node of a cluster of
// hundreds keeps no sockets to all. Pure.

import type { PeerKey } from '../core/ids.ts';

/** Links kept up without being asked: to the next peers in the order of keys; as many come from those before. */
export const MAX_KEPT_LINKS = 16;
/**
 * Of them, dialled at once. When tens of nodes start together on a slow host, all handshakes at once end as none in time,
 * and are made again.
 */
export const MAX_KEPT_DIALS = 4;
/** A control connection beside those, and beside gossip's mesh, is closed after so long without a message. */
export const LINK_IDLE_MS = 120_000;

export interface Neighbours {
  /** To be dialled by us. */
  readonly after: readonly PeerKey[];
  /** They dial us. */
  readonly before: readonly PeerKey[];
}

/** The nearest peers on both sides of `self` in the circle of keys: the links form one ring at least. */
export function neighboursOf(self: PeerKey, peers: Iterable<PeerKey>): Neighbours {
  const sorted = [...peers].filter((peer) => peer !== self).sort();
  const next = sorted.findIndex((peer) => peer > self);
  const from = next === -1 ? 0 : next;
  const circle = [...sorted.slice(from), ...sorted.slice(0, from)];
  return { after: circle.slice(0, MAX_KEPT_LINKS), before: circle.slice(-MAX_KEPT_LINKS) };
}

/** When each peer was talked to last. At most one entry per connection and link. */
export class LinkUse {
  readonly #usedAt = new Map<PeerKey, number>();

  note(peer: PeerKey, now: number): void {
    this.#usedAt.set(peer, now);
  }

  /** Of the connected ones, those that are idle and not to be kept. What is connected and was never noted starts now. */
  idle(connected: Iterable<PeerKey>, kept: ReadonlySet<string>, now: number): PeerKey[] {
    const idle: PeerKey[] = [];
    const seen = new Set<PeerKey>();
    for (const peer of connected) {
      seen.add(peer);
      const usedAt = this.#usedAt.get(peer);
      if (usedAt === undefined) this.#usedAt.set(peer, now);
      else if (!kept.has(peer) && now - usedAt >= LINK_IDLE_MS) idle.push(peer);
    }
    for (const peer of this.#usedAt.keys()) if (!seen.has(peer)) this.#usedAt.delete(peer);
    return idle;
  }
}
