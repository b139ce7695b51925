// A store under a random workload beside a model of it: per object the sequence of states that it went through. After a
// crash every object must be in one of the states from the last one confirmed on: wholly, with its version and bytes.

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
}

interface ObjectHistory {
  readonly states: State[];
  /** Position in `states` of the last confirmed one. */
  confirmed: number;
  staging: State | undefined;
}

const ABSENT: State = { version: undefined, kind: 'zero', tags: new Map() };

/** The bytes of a sector with this tag. */
export function sectorOf(tag: number): Uint8Array {
  const bytes = new Uint8Array(SECTOR_BYTES);
  if (tag === 0) return bytes;
  const words = new Uint32Array(bytes.buffer);
  for (let i = 0; i < words.length; i += 1) words[i] = Math.imul(tag, 0x9e3779b1) + i;
  return bytes;
}

export class ModelledStore {
  readonly world: CrashWorld;
  readonly #objects: ObjectHistory[];
  store: LocalObjectStore | undefined;
  failure: OperatingError | undefined;
  /** Whether the workload asks for checkpoints of its own. */
  mayCheckpoint = true;
  #nextTag = 1;
  inFlight = 0;

  constructor(world: CrashWorld, objects: number) {
    this.world = world;
    this.#objects = Array.from({ length: objects }, () => fresh(ABSENT));
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
    if (random.below(8) === 0) this.store?.checkpoint(() => undefined);
    if (random.below(2) === 0) this.#zeroRange(0, history, first, count);
    else this.#writeRange(0, history, first, count);
  }

  #choose(maxSectors: number): void {
    const { random } = this.world;
    if (this.mayCheckpoint && random.below(12) === 0) this.store?.checkpoint(() => undefined);
    const index = random.below(this.#objects.length);
    const history = this.#objects[index] as ObjectHistory;
    if (history.staging !== undefined && !this.#sawStaged(index, history)) return;
    const choice = random.below(100);
    if (choice < 60) this.#write(index, history, maxSectors);
    else if (choice < 70) this.#zero(index, history, false);
    else if (choice < 76) this.#zero(index, history, true);
    else if (choice < 82) this.#close(index);
    else if (choice < 94) this.#stage(index, history);
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
    const place = this.#place(index, last, next, first, count);
    const sums = sumsOf(GENERATION, index, place.offset, data);
    const done = this.#confirm(history, { version: next, kind: 'data', tags });
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
    const done = this.#confirm(history, { version: next, kind, tags });
    this.store?.zero(this.#place(index, last, next, first, count), done);
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
    const state: State = { version, kind, tags };
    history.staging = state;
    this.inFlight += 1;
    staged?.commit((error) => {
      if (error !== undefined) return this.#refused(error);
      this.inFlight -= 1;
      this.#sawStaged(index, history);
      history.confirmed = Math.max(history.confirmed, history.states.indexOf(state));
    });
  }

  #drop(index: number, history: ObjectHistory): void {
    const done = this.#confirm(history, ABSENT);
    this.store?.drop({ generation: GENERATION, index }, done);
  }

  /** A commit is accepted at an instant of the store's choice: the row shows it. */
  #sawStaged(index: number, history: ObjectHistory): boolean {
    const state = history.staging;
    const row = this.store?.row(GENERATION, index);
    if (state === undefined || row?.verCount !== state.version?.count) return false;
    if (row?.verToken !== state.version?.token) return false;
    history.states.push(state);
    history.staging = undefined;
    return true;
  }

  #confirm(history: ObjectHistory, state: State): (error: OperatingError | undefined) => void {
    history.states.push(state);
    const position = history.states.length - 1;
    const life = this.world.life;
    this.inFlight += 1;
    return (error) => {
      if (life !== this.world.life) throw new TypeError('a dead life confirms nothing');
      if (error !== undefined) return this.#refused(error);
      this.inFlight -= 1;
      history.confirmed = Math.max(history.confirmed, position);
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
    for (let index = 0; index < this.#objects.length; index += 1) {
      const history = this.#objects[index] as ObjectHistory;
      if (history.staging !== undefined && !this.#sawStaged(index, history) && isAfterCrash) {
        history.staging = undefined;
      }
      const found = this.#matching(index, history);
      if (!isAfterCrash && found !== latest(history)) {
        throw new TypeError(`object ${index} is not as accepted: ${describe(found)}`);
      }
      await this.#checkBytes(index, found);
      if (isAfterCrash) this.#objects[index] = fresh(found);
    }
    if (isAfterCrash) this.inFlight = 0;
  }

  #matching(index: number, history: ObjectHistory): State {
    const row = this.store?.row(GENERATION, index);
    const candidates = history.states.slice(history.confirmed).reverse();
    const found = candidates.find(({ version, kind }) =>
      version === undefined
        ? row === undefined
        : row?.verCount === version.count && row.verToken === version.token && row.kind === kind,
    );
    if (found !== undefined) return found;
    const have = row === undefined ? 'absent' : `(${row.verToken},${row.verCount}) ${row.kind}`;
    const last = history.states[history.confirmed];
    throw new TypeError(`object ${index}: ${have}, confirmed was ${describe(last)}`);
  }

  async #checkBytes(index: number, state: State): Promise<void> {
    const step = 256 * SECTOR_BYTES;
    for (let offset = 0; offset < OBJECT_BYTES; offset += step) {
      const copy = await this.#copy(index, offset, step);
      const expected: Uint8Array[] = [];
      const sums = new Uint8Array(copy.sums.length);
      for (let i = 0; i < 256; i += 1) {
        const tag = state.tags.get(offset / SECTOR_BYTES + i);
        if (tag === undefined) continue;
        const bytes = sectorOf(tag);
        expected.push(bytes);
        sums.set(sumsOf(GENERATION, index, offset + i * SECTOR_BYTES, bytes), i * 4);
      }
      if (Buffer.compare(sums, copy.sums) !== 0) {
        throw new TypeError(`object ${index} at ${offset}: sums differ from ${describe(state)}`);
      }
      if (Buffer.compare(Buffer.concat(expected), copy.data) !== 0) {
        throw new TypeError(`object ${index} at ${offset}: bytes differ from ${describe(state)}`);
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
