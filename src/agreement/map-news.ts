// What a leader tells everybody of the entries that it applied (C8.1): at once after a silence, else once per
// MAP_NEWS_EVERY_MS. While hundreds of nodes join, a rumour per batch of the log would cost each of them a sync and a view
// for each. Nothing waits for a rumour: who proposed pulls what it needs, and whoever is behind pulls, too (C8.3, C8.4).

import type { MapIndex } from '../core/ids.ts';
import type { LogEntry } from '../core/log-entry.ts';
import type { Clock, TimerHandle } from '../ports/ports.ts';
import type { MapDelta } from '../wire/messages.ts';

/** Between two rumours of one leader. */
export const MAP_NEWS_EVERY_MS = 20;

export interface MapNewsOptions {
  readonly clock: Clock;
  /** Applied entries from `first` to `last`; fewer where the log starts later. */
  readonly entries: (first: number, last: number) => readonly LogEntry[];
  /** Of an applied entry; undefined where the log starts later. */
  readonly termAt: (index: number) => number | undefined;
  readonly publish: (delta: MapDelta) => void;
}

export class MapNews {
  readonly #options: MapNewsOptions;
  #publishedAt = Number.NEGATIVE_INFINITY;
  /** First index that waits. */
  #first: number | undefined;
  #last = 0;
  #timer: TimerHandle | undefined;

  constructor(options: MapNewsOptions) {
    this.#options = options;
  }

  /** This leader applied entries [first, last]. */
  note(first: number, last: number): void {
    const { clock } = this.#options;
    this.#first ??= first;
    this.#last = last;
    if (this.#timer !== undefined) return;
    const waitMs = this.#publishedAt + MAP_NEWS_EVERY_MS - clock.now();
    if (waitMs <= 0) this.#publish();
    else this.#timer = clock.setTimer(waitMs, () => this.#publish());
  }

  stop(): void {
    if (this.#timer !== undefined) this.#options.clock.clearTimer(this.#timer);
    this.#timer = undefined;
  }

  #publish(): void {
    const { clock, entries, publish, termAt } = this.#options;
    const first = this.#first ?? this.#last + 1;
    this.#timer = undefined;
    this.#first = undefined;
    this.#publishedAt = clock.now();
    const told = entries(first, this.#last);
    const prevTerm = termAt((told[0]?.index ?? first) - 1);
    const commit = this.#last as MapIndex;
    // Compacted meanwhile: what they follow can not be shown any more, so whoever lacks them pulls (section 6).
    if (prevTerm === undefined) publish({ commit, entries: [], prevTerm: 0 });
    else publish({ commit, entries: told, prevTerm });
  }
}
