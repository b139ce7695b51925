// The one heap of a run, ordered by (time, sequence): two events of one instant run in the order in which they were
// scheduled. Removal is lazy: a cancelled event stays in the heap and is skipped when its time comes.

/** Something that will happen. `process` undefined = belongs to no node (the stage itself). */
export interface SimEvent {
  atMs: number;
  sequence: number;
  readonly fn: () => void;
  readonly process: EventOwner | undefined;
  cancelled: boolean;
}

/** Whose event it is: dead owners get nothing, paused ones get it late. */
export interface EventOwner {
  readonly name: string;
  readonly isAlive: boolean;
  readonly pausedUntilMs: number;
  /** Called with what an event of this owner threw. */
  onThrow(error: unknown): void;
}

function isBefore(a: SimEvent, b: SimEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence);
}

/** A binary heap of events. */
export class EventHeap {
  readonly #items: SimEvent[] = [];

  get size(): number {
    return this.#items.length;
  }

  push(event: SimEvent): void {
    const items = this.#items;
    let at = items.length;
    items.push(event);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = items[up] as SimEvent;
      if (!isBefore(event, parent)) break;
      items[at] = parent;
      at = up;
    }
    items[at] = event;
  }

  /** The earliest event, left in place. */
  peek(): SimEvent | undefined {
    return this.#items[0];
  }

  pop(): SimEvent | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (first === undefined || last === undefined || items.length === 0) return first;
    this.#sink(last);
    return first;
  }

  /** Puts `event` at the root and lets it sink to its place. */
  #sink(event: SimEvent): void {
    const items = this.#items;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= items.length) break;
      const right = items[child + 1];
      if (right !== undefined && isBefore(right, items[child] as SimEvent)) child += 1;
      if (!isBefore(items[child] as SimEvent, event)) break;
      items[at] = items[child] as SimEvent;
      at = child;
    }
    items[at] = event;
  }
}
