// Typed rumours over Network.publish (C8.1): committed entries, alerts, load. Nothing here decides anything; a rumour
// may be lost, doubled or late, and its receiver checks it by index, epoch or counter. Own news is not heard (C8.6).

import { messageOf } from '../core/errors.ts';
import type { Clock, GossipTopic, Network, Trace } from '../ports/ports.ts';
import { MAX_GOSSIP_BYTES } from '../ports/ports.ts';
import {
  type Alert,
  decodeAlertRumour,
  decodeMapDelta,
  decodeStats,
  encodeAlertRumour,
  encodeMapDelta,
  encodeStats,
  type MapDelta,
  type Stats,
} from '../wire/messages.ts';

/** Rumours taken per second, all topics together; the rest is dropped, pulls and digests make up for it. */
export const MAX_RUMOURS_PER_SECOND = 2000;
const WINDOW_MS = 1000;

export interface GossipHandlers {
  readonly map: (delta: MapDelta) => void;
  readonly alert: (alert: Alert) => void;
  readonly stats: (stats: Stats) => void;
}

/** Takes over `network.onGossip`. */
export class Gossip {
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #trace: Trace;
  #windowStart = 0;
  #taken = 0;
  #counter = 0;

  constructor(
    ports: { readonly network: Network; readonly clock: Clock; readonly trace: Trace },
    handlers: GossipHandlers,
  ) {
    this.#network = ports.network;
    this.#clock = ports.clock;
    this.#trace = ports.trace;
    this.#network.onGossip((topic, payload) => this.#receive(topic, payload, handlers));
  }

  /** Committed entries, in order. Cut into several rumours when large; a single huge entry is left to pulls. */
  publishMap(delta: MapDelta): void {
    const bytes = encodeMapDelta(delta);
    if (bytes.length <= MAX_GOSSIP_BYTES) {
      this.#network.publish('map', bytes);
      return;
    }
    const half = Math.ceil(delta.entries.length / 2);
    if (half === delta.entries.length) {
      this.#trace.count('gossip.too-large');
      return;
    }
    const { commit, entries, prevTerm } = delta;
    this.publishMap({ commit, entries: entries.slice(0, half), prevTerm });
    const middle = entries[half - 1]?.term ?? prevTerm;
    this.publishMap({ commit, entries: entries.slice(half), prevTerm: middle });
  }

  publishAlert(alert: Alert): void {
    this.#counter += 1;
    this.#network.publish('alerts', encodeAlertRumour({ ...alert, counter: this.#counter }));
  }

  /** Returns the counter that it went out with (C8.2). */
  publishStats(stats: Omit<Stats, 'counter'>): number {
    this.#counter += 1;
    this.#network.publish('stats', encodeStats({ ...stats, counter: this.#counter }));
    return this.#counter;
  }

  #receive(topic: GossipTopic, payload: Uint8Array, handlers: GossipHandlers): void {
    if (this.#isFlooded()) {
      this.#trace.count('gossip.dropped');
      return;
    }
    let deliver: () => void;
    try {
      deliver = decoded(topic, payload, handlers);
    } catch (error) {
      this.#trace.warn('gossip.bad', { topic, reason: messageOf(error) });
      return;
    }
    deliver();
  }

  #isFlooded(): boolean {
    const now = this.#clock.now();
    if (now - this.#windowStart >= WINDOW_MS) {
      this.#windowStart = now;
      this.#taken = 0;
    }
    this.#taken += 1;
    return this.#taken > MAX_RUMOURS_PER_SECOND;
  }
}

/** Decodes now, so that only bad bytes are caught, and not what a handler throws. */
function decoded(topic: GossipTopic, payload: Uint8Array, handlers: GossipHandlers): () => void {
  switch (topic) {
    case 'map': {
      const delta = decodeMapDelta(payload);
      return () => handlers.map(delta);
    }
    case 'alerts': {
      const alert = decodeAlertRumour(payload);
      return () => handlers.alert(alert);
    }
    case 'stats': {
      const stats = decodeStats(payload);
      return () => handlers.stats(stats);
    }
  }
}
