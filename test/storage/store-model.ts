// A store under a random workload beside a model of it: per object the sequence of states that it went through. After a
// crash every object must be in one of the states from the last one confirmed on: wholly, with its version and bytes.
// All objects together must show one prefix of what was accepted: nothing later is there when something earlier is not.

import { sumsOf } from '../../src/core/checksum.ts';
import type { OperatingError } from '../../src/core/errors.ts';
import type { FamilyId, FencingToken, GenerationId, Version } from '../../src/core/ids.ts';
import { MIB, OBJECT_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import type { LocalObjectStore } from '../../src/storage/local-store.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import { type CrashWorld, PowerLoss } from './crash-world.ts';

const GENERATION = 1 as GenerationId;
const FAMILY = 1 as FamilyId;
const JOURNAL_BYTES = 8 * MIB;
/** Small, so that many writes of a workload go past the journal. */
const EXTENT_BYTES = 2 * SECTOR_BYTES;

/** What an object holds: tags of sectors, by number; undefined = the object is absent. */
interface State {
  readonly version: Version | undefined;
  readonly kind: 'data' | 'zero';
  readonly tags: ReadonlyMap<number, number>;
  /** When it was accepted, counted over all objects: not before `low`, not after `high`. */
  readonly low: number;
  high: number;
}

interface ObjectHistory {
  readonly states: State[];
  /** Position in `states` of the last confirmed one. */
  confirmed: number;
  staging: State | undefined;
}

function absent(accepted: number): State {
  return { version: undefined, kind: 'zero', tags: new Map(), low: accepted, high: accepted };
}

/** Sectors and their sums are made once: exhaustive tests look at each a thousand times. */
const SECTORS = new Map<number, Uint8Array>();
const SUMS = new Map<string, Uint8Array>();
const MAX_REMEMBERED = 20_000;

/** The bytes of a sector with this tag. */
export function sectorOf(tag: number): Uint8Array {
  const known = SECTORS.get(tag);
  if (known !== undefined) return known;
  const bytes = new Uint8Array(SECTOR_BYTES);
  const words = new Uint32Array(bytes.buffer);
  for (let i = 0; tag !== 0 && i < words.length; i += 1) words[i] = Math.imul(tag, 0x9e3779b1) + i;
  if (SECTORS.size >= MAX_REMEMBERED) SECTORS.clear();
  SECTORS.set(tag, bytes);
  return bytes;
}

function sumOf(index: number, sector: number, tag: number): Uint8Array {
  const key = `${index} ${sector} ${tag}`;
  const known = SUMS.get(key);
  if (known !== undefined) return known;
  const sum = sumsOf(GENERATION, index, sector * SECTOR_BYTES, sectorOf(tag));
  if (SUMS.size >= MAX_REMEMBERED) SUMS.clear();
  SUMS.set(key, sum);
  return sum;
}

export class ModelledStore {
  readonly world: CrashWorld;
  readonly #objects: ObjectHistory[];
  store: LocalObjectStore | undefined;
  failure: OperatingError | undefined;
  /** Whether the workload asks for checkpoints of its own. */
  mayCheckpoint = true;
  /** Percent of the writes, zeroes and drops of mode writeback: done when received, durable when settled (R5). */
  lagPercent = 0;
  #nextTag = 1;
  /** Changes accepted so far. */
  #accepted = 0;
  inFlight = 0;

  constructor(world: CrashWorld, objects: number) {
    this.world = world;
    this.#objects = Array.from({ length: objects }, () => fresh(absent(0)));
  }

  /** What is known at this moment, beside a world in which the power goes now. */
  forkFor(world: CrashWorld): ModelledStore {
    const fork = new ModelledStore(world, 0);
    for (const { states, confirmed, staging } of this.#objects) {
      fork.#objects.push({ states: states.slice(confirmed), confirmed: 0, staging });
    }
    fork.#nextTag = this.#nextTag;
    fork.#accepted = this.#accepted;
    return fork;
  }

  /** Opens the store in the present life. Returns false when the power went meanwhile. */
  async open(): Promise<boolean> {
    const { world } = this;
    this.store = undefined;
    let failure: unknown;
    openObjectStore({
      disk: world.disk(),
      clock: world.clock(),
      random: world.random.fork('store'),
      trace: world.trace(),
      journalBytes: JOURNAL_BYTES,
      extentBytes: EXTENT_BYTES,
      onFatal: (error) => {
        if (!world.isDead) this.failure = error;
      },
    }).then(
      (store) => {
        this.store = store;
      },
      (error: unknown) => {
        failure = error;
      },
    );
    await world.runUntil(() => this.store !== undefined || failure !== undefined);
    if (world.isDead) return false;
    if (failure !== undefined) throw failure;
    return true;
  }

  /** Starts one random operation. */
  act(maxSectors = 8): void {
    try {
      this.#choose(maxSectors);
    } catch (error) {
      if (!(error instanceof PowerLoss)) throw error;
    }
  }

  /** A trim, a write, or a checkpoint of few sectors: they meet often. */
  trimOrWrite(): void {
    const { random } = this.world;
    const history = this.#objects[0] as ObjectHistory;
    const count = 1 + random.below(12);
    const first = random.below(36 - count);
    if (this.mayCheckpoint && random.below(8) === 0) this.store?.checkpoint(() => undefined);
    if (random.below(2) === 0) this.#zeroRange(0, history, first, count);
    else this.#writeRange(0, history, first, count);
  }

  #choose(maxSectors: number): void {
    const { random } = this.world;
    if (this.mayCheckpoint && random.below(12) === 0) this.store?.checkpoint(() => undefined);
    if (this.lagPercent > 0 && random.below(15) === 0) this.#flush();
    const index = random.below(this.#objects.length);
    const history = this.#objects[index] as ObjectHistory;
    if (history.staging !== undefined && !this.#sawStaged(index, history)) return;
    const choice = random.below(100);
    if (choice < 60) this.#write(index, history, maxSectors);
    else if (choice < 70) this.#zero(index, history, false);
    else if (choice < 76) this.#zero(index, history, true);
    else if (choice < 82) this.#close(index);
    else if (choice < 88) this.#stage(index, history);
    else if (choice < 94) this.#patch(index, history);
    else this.#drop(index, history);
  }

  #write(index: number, history: ObjectHistory, maxSectors: number): void {
    const { random } = this.world;
    const count = 1 + random.below(maxSectors);
    const first = random.below(64) * 16 + random.below(16 - Math.min(count, 15));
    this.#writeRange(index, history, first, count);
  }

  #writeRange(index: number, history: ObjectHistory, first: number, count: number): void {
    const { random } = this.world;
    const last = latest(history);
    const tags = new Map(last.tags);
    const data = new Uint8Array(count * SECTOR_BYTES);
    for (let i = 0; i < count; i += 1) {
      const tag = this.#nextTag++;
      tags.set(first + i, tag);
      data.set(sectorOf(tag), i * SECTOR_BYTES);
    }
    const next = nextVersion(last.version, random.below(10) === 0);
    const mayLag = random.below(100) < this.lagPercent;
    const place = { ...this.#place(index, last, next, first, count), mayLag };
    const sums = sumsOf(GENERATION, index, place.offset, data);
    const state: State = { version: next, kind: 'data', tags, ...this.#now() };
    const done = this.#confirm(history, state, mayLag);
    this.store?.write(place, data, sums, done);
  }

  #zero(index: number, history: ObjectHistory, isWhole: boolean): void {
    const { random } = this.world;
    const count = isWhole ? OBJECT_BYTES / SECTOR_BYTES : 1 + random.below(32);
    const first = isWhole ? 0 : random.below(OBJECT_BYTES / SECTOR_BYTES - count);
    this.#zeroRange(index, history, first, count);
  }

  #zeroRange(index: number, history: ObjectHistory, first: number, count: number): void {
    const isWhole = count === OBJECT_BYTES / SECTOR_BYTES;
    const last = latest(history);
    const tags = new Map(last.tags);
    for (let i = 0; i < count; i += 1) tags.delete(first + i);
    const next = nextVersion(last.version, false);
    const kind = isWhole ? 'zero' : last.kind;
    const mayLag = this.world.random.below(100) < this.lagPercent;
    const done = this.#confirm(history, { version: next, kind, tags, ...this.#now() }, mayLag);
    this.store?.zero({ ...this.#place(index, last, next, first, count), mayLag }, done);
  }

  #close(index: number): void {
    const row = this.store?.row(GENERATION, index);
    if (row !== undefined) this.store?.close(GENERATION, index, row.verCount);
  }

  #stage(index: number, history: ObjectHistory): void {
    const { random } = this.world;
    const last = latest(history);
    const token = ((last.version?.token ?? 0) + 1) as FencingToken;
    const version = { token, count: (last.version?.count ?? 0) + 10 };
    const kind = random.below(4) === 0 ? 'zero' : 'data';
    const tags = new Map<number, number>();
    const staged = this.store?.stage({
      generation: GENERATION,
      index,
      family: FAMILY,
      partition: index % 3,
      version,
      kind,
      ownLow: 1,
      ownHigh: 0,
      closed: 0,
      openLow: 1,
      openHigh: 0,
    });
    for (let i = 0; kind === 'data' && i < 3; i += 1) {
      const sector = random.below(1000);
      const tag = this.#nextTag++;
      tags.set(sector, tag);
      const data = sectorOf(tag);
      const offset = sector * SECTOR_BYTES;
      staged?.writeSectors(offset, sumsOf(GENERATION, index, offset, data), data);
    }
    if (random.below(5) === 0) {
      staged?.abort();
      return;
    }
    const state: State = {
      version,
      kind,
      tags,
      low: this.#accepted,
      high: Number.POSITIVE_INFINITY,
    };
    history.staging = state;
    this.inFlight += 1;
    staged?.commit((error) => {
      if (error !== undefined) return this.#refused(error);
      this.inFlight -= 1;
      this.#sawStaged(index, history);
      history.confirmed = Math.max(history.confirmed, history.states.indexOf(state));
    });
  }

  /** A few regions become another copy's, with holes; one that was owned is owned no more. */
  #patch(index: number, history: ObjectHistory): void {
    const { random } = this.world;
    const last = latest(history);
    const row = this.store?.row(GENERATION, index);
    if (row?.kind !== 'data' || last.version === undefined) {
      this.#stage(index, history);
      return;
    }
    const changed = new Set([random.below(64), random.below(64)]);
    const tags = new Map(last.tags);
    const own = { low: row.ownLow, high: row.ownHigh };
    const set = (region: number, isOwned: boolean): void => {
      const half = region < 32 ? 'low' : 'high';
      const bit = (1 << (region & 31)) >>> 0;
      own[half] = (isOwned ? own[half] | bit : own[half] & ~bit) >>> 0;
      for (let i = 0; i < 16; i += 1) tags.delete(region * 16 + i);
    };
    // Only what is owned can be given up: what staged copies of this model have elsewhere stays.
    const gone = random.below(64);
    if ((((gone < 32 ? own.low : own.high) >>> (gone & 31)) & 1) === 1) set(gone, false);
    for (const region of changed) set(region, true);
    const token = (last.version.token + 1) as FencingToken;
    const version = { token, count: last.version.count + 3 };
    const staged = this.store?.patch({
      ...{ generation: GENERATION, index, family: FAMILY, partition: index % 3, version },
      ...{ kind: 'data', ownLow: own.low, ownHigh: own.high, closed: 0, openLow: 1, openHigh: 0 },
    });
    // Lost to a crash that the test made: there is nothing to start from.
    if (staged === undefined) return;
    for (const region of changed) {
      const sums = new Uint8Array(16 * 4);
      const data: Uint8Array[] = [];
      for (let i = random.below(8); i < 16; i += 1 + random.below(8)) {
        const tag = this.#nextTag++;
        tags.set(region * 16 + i, tag);
        data.push(sectorOf(tag));
        sums.set(sumOf(index, region * 16 + i, tag), 4 * i);
      }
      staged.writeSectors(region * 16 * SECTOR_BYTES, sums, Buffer.concat(data));
    }
    const done = this.#confirm(history, { version, kind: 'data', tags, ...this.#now() });
    staged.commit(done);
  }

  #drop(index: number, history: ObjectHistory): void {
    // Nothing is recorded for an object that is absent already.
    if (latest(history).version === undefined) return;
    const done = this.#confirm(history, absent(this.#now().low));
    this.store?.drop({ generation: GENERATION, index }, done);
  }

  /** A commit is accepted at an instant of the store's choice: the row shows it. */
  #sawStaged(index: number, history: ObjectHistory): boolean {
    const state = history.staging;
    const row = this.store?.row(GENERATION, index);
    if (state === undefined || row?.verCount !== state.version?.count) return false;
    if (row?.verToken !== state.version?.token) return false;
    state.high = this.#accepted + 0.5;
    history.states.push(state);
    history.staging = undefined;
    return true;
  }

  /** The next place in the order of acceptance. */
  #now(): { readonly low: number; high: number } {
    this.#accepted += 1;
    return { low: this.#accepted, high: this.#accepted };
  }

  /** A flush: once it is answered everything that was accepted before it is durable. */
  #flush(): void {
    const before = this.#objects.map((history) => latest(history));
    this.store?.settled((error) => {
      if (error !== undefined) return this.#refused(error);
      for (const [index, state] of before.entries()) {
        const history = this.#objects[index] as ObjectHistory;
        history.confirmed = Math.max(history.confirmed, history.states.indexOf(state));
      }
    });
  }

  #confirm(
    history: ObjectHistory,
    state: State,
    mayLag = false,
  ): (error: OperatingError | undefined) => void {
    history.states.push(state);
    const position = history.states.length - 1;
    const life = this.world.life;
    this.inFlight += 1;
    return (error) => {
      if (life !== this.world.life) throw new TypeError('a dead life confirms nothing');
      if (error !== undefined) return this.#refused(error);
      this.inFlight -= 1;
      if (!mayLag) history.confirmed = Math.max(history.confirmed, position);
    };
  }

  #refused(error: OperatingError): void {
    if (!this.world.isDead) this.failure = error;
  }

  #place(index: number, last: State, next: Version, first: number, count: number) {
    return {
      generation: GENERATION,
      index,
      family: FAMILY,
      partition: index % 3,
      prev: last.version ?? { token: 0 as FencingToken, count: 0 },
      next,
      cfg: 1,
      closed: this.world.random.below(2) === 0 ? (last.version?.count ?? 0) : 0,
      offset: first * SECTOR_BYTES,
      count: count * SECTOR_BYTES,
    };
  }

  /** Checks every object against its history. After a crash the history is cut to what was found. */
  async check(isAfterCrash: boolean): Promise<void> {
    // A commit that is accepted while a read is in flight would change what is right.
    if (!isAfterCrash && this.#objects.some((o) => o.staging !== undefined)) await this.settle();
    if (this.world.isDead) return;
    try {
      await this.#checkAll(isAfterCrash);
    } catch (error) {
      if (!(error instanceof PowerLoss)) throw error;
    }
  }

  async #checkAll(isAfterCrash: boolean): Promise<void> {
    for (const [index, history] of this.#objects.entries()) {
      if (history.staging !== undefined && !this.#sawStaged(index, history) && isAfterCrash) {
        history.staging = undefined;
      }
    }
    if (isAfterCrash) {
      const found = await this.#prefix();
      this.#checkUsage(found);
      this.#objects.splice(0, found.length, ...found.map(fresh));
      this.inFlight = 0;
      return;
    }
    for (const [index, state] of this.#objects.map(latest).entries()) {
      const row = this.store?.row(GENERATION, index);
      if (!isLike(state, row)) {
        throw new TypeError(`object ${index} is ${rowText(row)}, accepted was ${describe(state)}`);
      }
      await this.#checkBytes(index, state);
    }
  }

  /** What the store counts as used is what it holds: nothing is in flight after a start. */
  #checkUsage(states: readonly State[]): void {
    const held = states.reduce((sum, { tags }) => sum + tags.size * SECTOR_BYTES, 0);
    const used = this.store?.usedBytes;
    if (used !== held) throw new TypeError(`${used} bytes are counted, ${held} are held`);
  }

  /**
   * The states that show one prefix of what was accepted. Several prefixes may look the same by their rows (an object
   * that was dropped and made anew): then the bytes must fit one of them.
   */
  async #prefix(): Promise<State[]> {
    const prefixes = this.#prefixes();
    let failure: unknown;
    for (const states of prefixes) {
      try {
        for (const [index, state] of states.entries()) await this.#checkBytes(index, state);
        return states;
      } catch (error) {
        failure = error;
      }
    }
    throw failure ?? new TypeError(`no prefix of what was accepted: ${this.#rows()}`);
  }

  /** Every cut of the order of acceptance, from what was confirmed on, after which the rows look as they do. */
  #prefixes(): State[][] {
    const cuts = new Set(this.#objects.flatMap(({ states }) => states.map(({ low }) => low)));
    const seen = new Map<string, State[]>();
    for (const cut of [...cuts].sort((a, b) => b - a)) {
      const states = this.#objects.map((history, index) => this.#stateAt(index, history, cut));
      if (states.some((state) => state === undefined)) continue;
      const key = states.map((state) => state?.low).join();
      if (!seen.has(key)) seen.set(key, states as State[]);
    }
    return [...seen.values()];
  }

  /** The state that an object has when everything up to `cut` is there and nothing else; undefined: it has another. */
  #stateAt(index: number, { states, confirmed }: ObjectHistory, cut: number): State | undefined {
    const row = this.store?.row(GENERATION, index);
    return states.find((state, i) => {
      const next = states[i + 1];
      const isThere = state.low <= cut || i === 0;
      return (
        i >= confirmed && isThere && (next === undefined || next.high > cut) && isLike(state, row)
      );
    });
  }

  #rows(): string {
    return this.#objects
      .map(({ states, confirmed }, index) => {
        const row = this.store?.row(GENERATION, index);
        return `${index}: ${rowText(row)}, confirmed ${describe(states[confirmed])}`;
      })
      .join('; ');
  }

  async #checkBytes(index: number, state: State): Promise<void> {
    const step = 256 * SECTOR_BYTES;
    for (let offset = 0; offset < OBJECT_BYTES; offset += step) {
      const copy = await this.#copy(index, offset, step);
      const sums = new Uint8Array(copy.sums.length);
      let at = 0;
      for (let i = 0; i < 256; i += 1) {
        const sector = offset / SECTOR_BYTES + i;
        const tag = state.tags.get(sector);
        if (tag === undefined) continue;
        sums.set(sumOf(index, sector, tag), i * 4);
        const found = copy.data.subarray(at, at + SECTOR_BYTES);
        at += SECTOR_BYTES;
        if (Buffer.compare(found, sectorOf(tag)) !== 0) {
          throw new TypeError(
            `object ${index}, sector ${sector}: bytes differ from ${describe(state)}`,
          );
        }
      }
      if (Buffer.compare(sums, copy.sums) !== 0 || at !== copy.data.length) {
        throw new TypeError(`object ${index} at ${offset}: sums differ from ${describe(state)}`);
      }
    }
    this.#checkSyncRead(index, state);
  }

  #checkSyncRead(index: number, state: State): void {
    const target = new Uint8Array(3 * SECTOR_BYTES);
    for (const [sector, tag] of state.tags) {
      const outcome = this.store?.readSync(
        GENERATION,
        index,
        sector * SECTOR_BYTES + 5,
        100,
        target,
        7,
      );
      if (outcome === 'cold') continue;
      const same = Buffer.compare(sectorOf(tag).subarray(5, 105), target.subarray(7, 107)) === 0;
      if (outcome !== 'ok' || !same) throw new TypeError(`object ${index}: sync read ${outcome}`);
    }
  }

  async #copy(index: number, offset: number, count: number) {
    let result: { sums: Uint8Array; data: Uint8Array } | undefined;
    let failure: OperatingError | undefined;
    this.store?.readForCopy(GENERATION, index, offset, count, (error, sums, data) => {
      failure = error;
      result = { sums, data };
    });
    await this.world.runUntil(() => result !== undefined);
    if (this.world.isDead) throw new PowerLoss('in a check');
    if (failure !== undefined) throw failure;
    if (result === undefined) throw new TypeError('a read was never answered');
    return result;
  }

  /** Waits until everything is confirmed. */
  async settle(): Promise<void> {
    let isSettled = false;
    await this.world.runUntil(() => this.inFlight === 0);
    this.store?.settled(() => {
      isSettled = true;
    });
    await this.world.runUntil(() => isSettled);
  }

  async stop(): Promise<void> {
    let isStopped = false;
    this.store?.stop(() => {
      isStopped = true;
    });
    await this.world.runUntil(() => isStopped);
    if (!isStopped && !this.world.isDead) throw new TypeError('the store does not stop');
  }
}

function fresh(state: State): ObjectHistory {
  return { states: [state], confirmed: 0, staging: undefined };
}

function isLike(
  { version, kind }: State,
  row: { readonly verToken: number; readonly verCount: number; readonly kind: string } | undefined,
): boolean {
  if (version === undefined || row === undefined) return version === undefined && row === undefined;
  return row.verCount === version.count && row.verToken === version.token && row.kind === kind;
}

function rowText(
  row: { readonly verToken: number; readonly verCount: number; readonly kind: string } | undefined,
): string {
  return row === undefined ? 'absent' : `(${row.verToken},${row.verCount}) ${row.kind}`;
}

function latest(history: ObjectHistory): State {
  return history.states[history.states.length - 1] as State;
}

function describe(state: State | undefined): string {
  if (state?.version === undefined) return 'absent';
  return `(${state.version.token},${state.version.count}) ${state.kind}, ${state.tags.size} sectors`;
}

function nextVersion(last: Version | undefined, isNewToken: boolean): Version {
  const token = (last?.token ?? 1) + (isNewToken ? 1 : 0);
  return { token: token as FencingToken, count: (last?.count ?? 0) + 1 };
}
