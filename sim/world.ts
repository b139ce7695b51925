// The loop of a run: takes the next event by (time, sequence), runs it, drains promises, goes on. Time jumps from event
// to event. Promises are drained by one real setImmediate, and only after an event that created or settled one (V8's
// promise hooks say so). The rolling hash takes in whatever a node says to its Trace and whatever is delivered to it:
// two runs of one seed agree in it, or the product is not deterministic.

import { promiseHooks } from 'node:v8';
import { crc32 } from '../src/core/checksum.ts';
import { scribbleReturned } from '../src/core/lent-memory.ts';
import type { RarePoint } from '../src/ports/ports.ts';
import { realSetImmediate, setSimulating, takeViolations } from './bans.ts';
import type { EventOwner, SimEvent } from './event-heap.ts';
import { EventHeap } from './event-heap.ts';
import type { FaultKind } from './reach/fault-kinds.ts';
import { hashText, mixNumber, SimRandom } from './sim-random.ts';

/** Events between two turns of the real event loop, so that the test runner stays alive. */
const EVENTS_PER_TURN = 5000;
/** More events than this in one simulated instant is a loop without end. */
const MAX_EVENTS_PER_INSTANT = 200_000;
/** Rows kept for the time line and for the report of a failure. */
const MAX_RECORDS = 20_000;

/** Whose facts are no news. */
export const GUEST = 'guest';

/** One row of the record of a run. */
export interface TraceRecord {
  readonly atMs: number;
  readonly node: string;
  readonly name: string;
  readonly text: string;
}

/** A checker's verdict, or a crash that nobody ordered. Ends the run. */
export class RunFailure extends Error {
  override readonly name = 'RunFailure';
}

/** Handle of a scheduled event. */
export type Scheduled = Pick<SimEvent, 'cancelled'>;

/** A time as the two halves of its bits, for the hash. */
const exactMs = new Float64Array(1);
const halvesOfMs = new Uint32Array(exactMs.buffer);

let hasPromiseActivity = false;
function notePromise(): void {
  hasPromiseActivity = true;
}

function realTurn(): Promise<void> {
  return new Promise((resolve) => {
    realSetImmediate(() => resolve());
  });
}

/** One run: its time, its events, its random streams, its hash. */
export class World {
  readonly seed: number;
  readonly random: SimRandom;
  readonly records: TraceRecord[] = [];
  /** Called after each event, while nothing runs: checkers hang here. */
  afterEvent: () => void = () => {};
  eventCount = 0;
  /** Whose code runs, or ran last; undefined = the stage's. */
  executing: EventOwner | undefined;
  /** Faults that took effect, by kind. */
  readonly faults = new Map<FaultKind, number>();
  /** How likely each rare branch is taken when product code asks; what is not there never is. */
  rarities: ReadonlyMap<RarePoint, number> = new Map();
  /** Rare branches that were taken. */
  readonly rare = new Map<RarePoint, number>();
  readonly #rareStreams = new Map<string, SimRandom>();
  /** Hears of each of them, and where; and of each row of the record, however long the run is. */
  onFault: (kind: FaultKind, where: string) => void = () => {};
  onNote: (record: TraceRecord) => void = () => {};
  /** True = guests that work for ever hold their breath: they ask nothing more until it is false. */
  areGuestsHeld = false;
  /** When a node or the stage last said something; guests do not count. */
  #lastNewsMs = 0;
  /** The story waits for rest and hurts nobody meanwhile. */
  #isWaiting = false;
  #nowMs = 0;
  #sequence = 0;
  #hash = 0x811c9dc5;
  #failure: RunFailure | undefined;
  readonly #heap = new EventHeap();
  /** Hashes of the few names that deliveries have. */
  readonly #numbers = new Map<string, number>();

  constructor(seed: number) {
    scribbleReturned();
    this.seed = seed;
    this.random = new SimRandom(`seed ${seed}`);
  }

  /** Simulated milliseconds since the start of the run. */
  get nowMs(): number {
    return this.#nowMs;
  }

  get failure(): RunFailure | undefined {
    return this.#failure;
  }

  /** The rolling hash so far, 8 hex digits. */
  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0');
  }

  /** Runs `fn` after `delayMs` (0 = in this instant, after what is due) unless its owner is dead by then. */
  schedule(delayMs: number, owner: EventOwner | undefined, fn: () => void): Scheduled {
    const event: SimEvent = {
      atMs: this.#nowMs + Math.max(0, delayMs),
      sequence: this.#sequence,
      fn,
      process: owner,
      cancelled: false,
    };
    this.#sequence += 1;
    if (event.atMs === this.#nowMs) this.#heap.append(event);
    else this.#heap.push(event);
    return event;
  }

  /**
   * As `schedule(0, owner, fn)` by a caller that does nothing after it: `fn` runs at once when nothing else is due in this
   * instant, for it would be the next event.
   */
  follow(owner: EventOwner, fn: () => void): void {
    const next = this.#heap.peek();
    const isNext = next === undefined || next.atMs > this.#nowMs;
    if (isNext && owner.isAlive && owner.pausedUntilMs <= this.#nowMs) this.#run(owner, fn);
    else this.schedule(0, owner, fn);
  }

  /** Adds a fact to hash and record. */
  note(node: string, name: string, text: string): void {
    if (node !== GUEST) this.#lastNewsMs = this.#nowMs;
    this.#hash = hashText(`${this.#nowMs}|${node}|${name}|${text}`, this.#hash);
    if (this.records.length >= MAX_RECORDS) this.records.splice(0, MAX_RECORDS / 2);
    const record = { atMs: this.#nowMs, node, name, text };
    this.records.push(record);
    this.onNote(record);
  }

  /** A fault takes effect now. No part of the hash: what comes of it is. */
  inject(kind: FaultKind, where: string): void {
    this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1);
    this.onFault(kind, where);
  }

  /** Product code of a node asks whether to take a rare branch. Nobody draws anything in a run without rarities. */
  takesRare(point: RarePoint, node: string): boolean {
    const likely = this.rarities.get(point);
    if (likely === undefined) return false;
    let stream = this.#rareStreams.get(node);
    if (stream === undefined) {
      stream = this.random.fork(`rare ${node}`);
      this.#rareStreams.set(node, stream);
    }
    if (!stream.chance(likely)) return false;
    this.rare.set(point, (this.rare.get(point) ?? 0) + 1);
    return true;
  }

  /** Adds a delivery to the hash: who, what kind, which bytes. */
  noteDelivery(node: string, kind: string, bytes: Uint8Array): void {
    let hash = mixNumber(this.#hash, crc32(bytes));
    exactMs[0] = this.#nowMs;
    for (const half of halvesOfMs) hash = mixNumber(hash, half);
    hash = mixNumber(hash, this.#numberOf(node));
    this.#hash = mixNumber(mixNumber(hash, this.#numberOf(kind)), bytes.length);
  }

  #numberOf(name: string): number {
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = hashText(name);
      this.#numbers.set(name, number);
    }
    return number;
  }

  /** The first failure wins; the loop throws it at its next turn. */
  fail(reason: string, cause?: unknown): void {
    this.#failure ??= new RunFailure(reason, cause === undefined ? undefined : { cause });
  }

  /** Calls into a node from outside as if by an event: what it throws is its owner's. */
  enter(owner: EventOwner, fn: () => void): void {
    this.executing = owner;
    setSimulating(true);
    try {
      fn();
    } catch (error) {
      owner.onThrow(error);
    } finally {
      setSimulating(false);
    }
  }

  /**
   * Runs events until `isDone` or for `limitMs` of simulated time.
   * @returns whether `isDone` became true
   * @throws RunFailure when a checker or an event failed
   */
  async runUntil(isDone: () => boolean, limitMs: number): Promise<boolean> {
    const endMs = this.#nowMs + limitMs;
    const stopHooks = [promiseHooks.onInit(notePromise), promiseHooks.onSettled(notePromise)];
    const onRejection = (error: unknown): void =>
      this.fail('a promise was rejected and nobody listened', error);
    process.on('unhandledRejection', onRejection);
    try {
      await this.#drain();
      return await this.#loop(isDone, endMs);
    } finally {
      process.off('unhandledRejection', onRejection);
      for (const stop of stopHooks) (stop as () => void)();
    }
  }

  /** True when the story waits and nobody had anything to say for so long. */
  isCalmFor(ms: number): boolean {
    return this.#isWaiting && this.#nowMs - this.#lastNewsMs > ms;
  }

  /** A part of the story in which it hurts nobody. */
  async whileWaiting(part: () => Promise<unknown>): Promise<void> {
    this.#isWaiting = true;
    try {
      await part();
    } finally {
      this.#isWaiting = false;
    }
  }

  /** Runs for this much simulated time. */
  async run(time: { readonly seconds: number }): Promise<void> {
    await this.runUntil(() => false, time.seconds * 1000);
  }

  /** Runs until the promise is settled; a run failure when that takes longer than the limit. */
  async wait<T>(what: string, promise: Promise<T>, time: { readonly seconds: number }): Promise<T> {
    let outcome:
      | { readonly ok: true; readonly value: T }
      | { readonly ok: false; readonly error: unknown }
      | undefined;
    promise.then(
      (value) => {
        outcome = { ok: true, value };
      },
      (error: unknown) => {
        outcome = { ok: false, error };
      },
    );
    const isDone = await this.runUntil(() => outcome !== undefined, time.seconds * 1000);
    const result = outcome as typeof outcome;
    if (!isDone || result === undefined) {
      throw new RunFailure(`${what}: not done within ${time.seconds} s`);
    }
    if (!result.ok) throw result.error;
    return result.value;
  }

  async #loop(isDone: () => boolean, endMs: number): Promise<boolean> {
    let eventsHere = 0;
    let hereMs = this.#nowMs;
    for (;;) {
      this.#throwFailure();
      if (isDone()) return true;
      const next = this.#heap.peek();
      if (next === undefined || next.atMs > endMs) {
        this.#nowMs = endMs;
        return false;
      }
      this.#step();
      if (hasPromiseActivity || this.eventCount % EVENTS_PER_TURN === 0) await this.#drain();
      this.afterEvent();
      eventsHere = this.#nowMs === hereMs ? eventsHere + 1 : 0;
      hereMs = this.#nowMs;
      if (eventsHere > MAX_EVENTS_PER_INSTANT) this.fail('events of one instant never end');
    }
  }

  #step(): void {
    const event = this.#heap.pop() as SimEvent;
    this.#nowMs = Math.max(this.#nowMs, event.atMs);
    hasPromiseActivity = false;
    const owner = event.process;
    if (event.cancelled || (owner !== undefined && !owner.isAlive)) return;
    if (owner !== undefined && owner.pausedUntilMs > this.#nowMs) {
      event.atMs = owner.pausedUntilMs;
      event.sequence = this.#sequence;
      this.#sequence += 1;
      this.#heap.push(event);
      return;
    }
    this.#run(owner, event.fn);
  }

  #run(owner: EventOwner | undefined, fn: () => void): void {
    this.eventCount += 1;
    this.executing = owner;
    setSimulating(owner !== undefined);
    try {
      fn();
    } catch (error) {
      if (owner === undefined) this.fail('an event of the stage threw', error);
      else owner.onThrow(error);
    }
  }

  /** Ends when no promise reaction is left. Guards stay on: continuations are product code. */
  async #drain(): Promise<void> {
    await realTurn();
    setSimulating(false);
    hasPromiseActivity = false;
  }

  #throwFailure(): void {
    setSimulating(false);
    const banned = takeViolations();
    if (banned.length > 0)
      this.fail(`banned calls in simulated code: ${[...new Set(banned)].join(', ')}`);
    if (this.#failure !== undefined) throw this.#failure;
  }
}
