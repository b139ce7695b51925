// The events of a run, ordered by (time, sequence): two events of one instant run in the order in which they were scheduled.
// What is scheduled for the present instant is in order already and waits in a row, the rest in a heap. Removal is lazy: a
// cancelled event stays and is skipped when its time comes.

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

/** Children of a place. Four: half as deep as a heap of two, and they lie side by side in memory. */
const WIDTH = 4;
const FIRST_PLACES = 1024;

/** A heap of events. What orders them lies in arrays of numbers: most comparisons touch no event. */
export class EventHeap {
  readonly #items: SimEvent[] = [];
  #times = new Float64Array(FIRST_PLACES);
  #sequences = new Float64Array(FIRST_PLACES);
  /** Of the present instant, as they were appended, from `#first` to before `#end`; its places are used again. */
  readonly #row: (SimEvent | undefined)[] = [];
  #first = 0;
  #end = 0;

  get size(): number {
    return this.#items.length + this.#end - this.#first;
  }

  /** An event not before any other that was appended; not before the last that was popped either. */
  append(event: SimEvent): void {
    this.#row[this.#end] = event;
    this.#end += 1;
  }

  push(event: SimEvent): void {
    const items = this.#items;
    let at = items.length;
    items.push(event);
    if (at === this.#times.length) this.#grow();
    const times = this.#times;
    const sequences = this.#sequences;
    const { atMs, sequence } = event;
    while (at > 0) {
      const up = Math.floor((at - 1) / WIDTH);
      const upMs = times[up] as number;
      if (upMs < atMs || (upMs === atMs && (sequences[up] as number) < sequence)) break;
      this.#move(up, at);
      at = up;
    }
    this.#put(event, at);
  }

  /** The earliest event, left in place. */
  peek(): SimEvent | undefined {
    return this.#isRowFirst() ? this.#row[this.#first] : this.#items[0];
  }

  pop(): SimEvent | undefined {
    return this.#isRowFirst() ? this.#popRow() : this.#popHeap();
  }

  #isRowFirst(): boolean {
    const inRow = this.#row[this.#first];
    if (inRow === undefined) return false;
    if (this.#items.length === 0) return true;
    const heapMs = this.#times[0] as number;
    if (heapMs !== inRow.atMs) return inRow.atMs < heapMs;
    return inRow.sequence < (this.#sequences[0] as number);
  }

  #popRow(): SimEvent | undefined {
    const event = this.#row[this.#first];
    this.#row[this.#first] = undefined;
    this.#first += 1;
    if (this.#first === this.#end) {
      this.#first = 0;
      this.#end = 0;
    }
    return event;
  }

  #popHeap(): SimEvent | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (first === undefined || last === undefined || items.length === 0) return first;
    this.#sink(last);
    return first;
  }

  /** Puts `event` at the root and lets it sink to its place. */
  #sink(event: SimEvent): void {
    const { length } = this.#items;
    const times = this.#times;
    const sequences = this.#sequences;
    const { atMs, sequence } = event;
    let at = 0;
    for (let first = 1; first < length; first = at * WIDTH + 1) {
      const least = this.#leastOf(first, Math.min(first + WIDTH, length));
      const leastMs = times[least] as number;
      if (atMs < leastMs || (atMs === leastMs && sequence < (sequences[least] as number))) break;
      this.#move(least, at);
      at = least;
    }
    this.#put(event, at);
  }

  #leastOf(first: number, end: number): number {
    const times = this.#times;
    const sequences = this.#sequences;
    let least = first;
    let leastMs = times[first] as number;
    for (let at = first + 1; at < end; at += 1) {
      const ms = times[at] as number;
      if (ms > leastMs) continue;
      if (ms === leastMs && (sequences[at] as number) > (sequences[least] as number)) continue;
      least = at;
      leastMs = ms;
    }
    return least;
  }

  #move(from: number, to: number): void {
    this.#items[to] = this.#items[from] as SimEvent;
    this.#times[to] = this.#times[from] as number;
    this.#sequences[to] = this.#sequences[from] as number;
  }

  #put(event: SimEvent, at: number): void {
    this.#items[at] = event;
    this.#times[at] = event.atMs;
    this.#sequences[at] = event.sequence;
  }

  #grow(): void {
    const [times, sequences] = [this.#times, this.#sequences];
    this.#times = new Float64Array(times.length * 2);
    this.#sequences = new Float64Array(times.length * 2);
    this.#times.set(times);
    this.#sequences.set(sequences);
  }
}
