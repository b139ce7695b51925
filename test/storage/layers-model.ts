// A store with a tree of generations beside a model of it: what each generation shows, as tags of sectors, and which
// regions it owns. Writes, zeroes, trims, snapshots, clones, limits, deletes. After a crash the store must show one prefix
// of what was accepted, in all generations at once, with everything that was confirmed.

import { getSum, sumsOf } from '../../src/core/checksum.ts';
import type { OperatingError } from '../../src/core/errors.ts';
import { type Layer, NO_LIMIT } from '../../src/core/generations.ts';
import type { FamilyId, FencingToken, GenerationId } from '../../src/core/ids.ts';
import {
  MIB,
  OBJECT_BYTES,
  REGION_BYTES,
  REGIONS_PER_OBJECT,
  SECTOR_BYTES,
  SECTORS_PER_OBJECT,
} from '../../src/core/units.ts';
import type { LocalObjectStore } from '../../src/storage/local-store.ts';
import { hasRegion } from '../../src/storage/object-state.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import type { StoreWrite } from '../../src/storage/store-types.ts';
import { type CrashWorld, PowerLoss } from './crash-world.ts';
import { sectorOf } from './store-model.ts';

const FAMILY = 1 as FamilyId;
const INDEX = 2;
const PARTITION = 1;
/** Small, so that many writes of a workload go past the journal. */
const EXTENT_BYTES = 20 * SECTOR_BYTES;
const SECTORS_PER_REGION = REGION_BYTES / SECTOR_BYTES;
/** Where changes go, so that they meet: a few neighbours, and one in the upper half. */
const REGIONS = [0, 1, 2, 3, 40];
const MAX_LIVING = 6;

interface Node {
  readonly id: number;
  readonly parent: number;
  /** Bytes of the object that show from above. */
  readonly limit: number;
  state: 'head' | 'frozen' | 'deleted';
  isDropped: boolean;
}

/** What one generation has: its version, what it shows, which regions are its own. */
interface Content {
  readonly count: number;
  readonly tags: ReadonlyMap<number, number>;
  readonly own: ReadonlySet<number>;
}

/** All of them, after one accepted change. */
type Moment = ReadonlyMap<number, Content>;

export class LayeredStore {
  readonly world: CrashWorld;
  store: LocalObjectStore | undefined;
  failure: OperatingError | undefined;
  readonly nodes: Map<number, Node>;
  #moments: Moment[] = [new Map()];
  /** Position in `#moments` of the last confirmed change. */
  #confirmed = 0;
  #nextTag = 1;
  /** What the workload may do beside writing. */
  mayReplace = true;

  constructor(world: CrashWorld) {
    this.world = world;
    this.nodes = new Map([
      [1, { id: 1, parent: 0, limit: NO_LIMIT, state: 'head', isDropped: false }],
    ]);
  }

  forkFor(world: CrashWorld): LayeredStore {
    const fork = new LayeredStore(world);
    for (const node of this.nodes.values()) fork.nodes.set(node.id, { ...node });
    fork.#moments = this.#moments.slice(this.#confirmed);
    fork.#nextTag = this.#nextTag;
    return fork;
  }

  async open(): Promise<boolean> {
    const { world } = this;
    this.store = undefined;
    let failure: unknown;
    openObjectStore({
      disk: world.disk(),
      clock: world.clock(),
      random: world.random.fork('store'),
      trace: world.trace(),
      journalBytes: 8 * MIB,
      extentBytes: EXTENT_BYTES,
      onFatal: (error) => {
        if (!world.isDead) this.failure = error;
      },
    }).then(
      (store) => {
        store.followLayers((generation) => this.#layersOf(generation));
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

  #layersOf(generation: number): readonly Layer[] {
    const path: Layer[] = [];
    let limitBytes = NO_LIMIT;
    for (let at = this.nodes.get(generation); at !== undefined; at = this.nodes.get(at.parent)) {
      path.push({ generation: at.id as GenerationId, limitBytes });
      limitBytes = Math.min(limitBytes, at.limit);
    }
    return path;
  }

  // ------------------------------------------------------------------------------------------ the workload

  act(): void {
    try {
      this.#choose();
    } catch (error) {
      if (!(error instanceof PowerLoss)) throw error;
    }
  }

  #choose(): void {
    const { random } = this.world;
    if (random.below(14) === 0) this.store?.checkpoint(() => undefined);
    const head = this.#pick('head');
    const choice = random.below(100);
    if (head === undefined) this.#below(this.#pick('frozen'), 'head');
    else if (choice < 55) this.#write(head);
    else if (choice < 68) this.#zero(head, false);
    else if (choice < 78) this.#zero(head, true);
    else if (choice < 80) this.#zeroAll(head);
    else if (choice < 87) this.#below(head, 'frozen');
    else if (choice < 90) this.#below(this.#pick('frozen'), 'head');
    else if (choice < 95) this.#delete();
    else if (this.mayReplace) this.#replace();
  }

  #pick(state: Node['state']): Node | undefined {
    const found = [...this.nodes.values()].filter((node) => node.state === state);
    return found[this.world.random.below(Math.max(1, found.length))];
  }

  /** A head below a generation, which from then on has the state `becomes`; or a clone of a frozen one. */
  #below(parent: Node | undefined, becomes: 'head' | 'frozen'): void {
    const living = [...this.nodes.values()].filter(({ state }) => state !== 'deleted');
    if (parent === undefined || living.length >= MAX_LIVING) return;
    const { random } = this.world;
    const sector = random.below(4 * SECTORS_PER_REGION);
    const isLimited = random.below(6) === 0;
    const limit = isLimited ? INDEX * OBJECT_BYTES + sector * SECTOR_BYTES : NO_LIMIT;
    if (becomes === 'frozen') parent.state = isLimited ? 'deleted' : 'frozen';
    const id = Math.max(...this.nodes.keys()) + 1;
    this.nodes.set(id, { id, parent: parent.id, limit, state: 'head', isDropped: false });
  }

  /** Any living generation; rows of deleted ones without anything below go. */
  #delete(): void {
    const living = [...this.nodes.values()].filter(({ state }) => state !== 'deleted');
    const node = living[this.world.random.below(living.length)];
    if (node === undefined || living.length < 3) return;
    node.state = 'deleted';
    for (const one of this.nodes.values()) {
      const isLeaf = [...this.nodes.values()].every(
        (other) => other.parent !== one.id || other.isDropped,
      );
      if (one.state === 'deleted' && isLeaf && !one.isDropped) this.#drop(one);
    }
  }

  #drop(node: Node): void {
    node.isDropped = true;
    this.store?.drop({ generation: node.id as GenerationId, index: INDEX }, (error) => {
      if (error !== undefined && !this.world.isDead) this.failure = error;
    });
  }

  /** A frozen object as another member has it: the same version, the same bytes, another file. */
  #replace(): void {
    const node = this.#pick('frozen');
    const row = node && this.store?.row(node.id, INDEX);
    if (node === undefined || row === undefined || row.kind === 'zero') return;
    const content = this.#contentOf(this.#latest, node.id);
    const { family, partition, kind, ownLow, ownHigh, closed, openLow, openHigh } = row;
    const generation = node.id as GenerationId;
    const version = { token: row.verToken as FencingToken, count: row.verCount };
    const staged = this.store?.stage({
      ...{ generation, index: INDEX, family, partition, version, kind },
      ...{ ownLow, ownHigh, closed, openLow, openHigh },
    });
    for (const region of content.own) {
      for (let i = 0; i < SECTORS_PER_REGION; i += 1) {
        const sector = region * SECTORS_PER_REGION + i;
        const tag = content.tags.get(sector);
        if (tag === undefined) continue;
        const offset = sector * SECTOR_BYTES;
        const data = sectorOf(tag);
        staged?.writeSectors(offset, sumsOf(generation, INDEX, offset, data), data);
      }
    }
    staged?.commit((error) => {
      if (error !== undefined && !this.world.isDead) this.failure = error;
    });
  }

  #write(head: Node): void {
    const { random } = this.world;
    const region = REGIONS[random.below(REGIONS.length)] as number;
    const first = region * SECTORS_PER_REGION + random.below(SECTORS_PER_REGION);
    const count = random.below(4) === 0 ? 1 + random.below(40) : 1 + random.below(4);
    const content = this.#contentOf(this.#latest, head.id);
    const tags = new Map(content.tags);
    const data = new Uint8Array(count * SECTOR_BYTES);
    for (let i = 0; i < count; i += 1) {
      const tag = this.#nextTag++;
      tags.set(first + i, tag);
      data.set(sectorOf(tag), i * SECTOR_BYTES);
    }
    const place = this.#place(head, content, first, count);
    const own = new Set([...content.own, ...regionsIn(first, count)]);
    const done = this.#accept(head, { count: content.count + 1, tags, own });
    this.store?.write(place, data, sumsOf(head.id, INDEX, place.offset, data), done);
  }

  #zero(head: Node, keepsUnowned: boolean): void {
    const { random } = this.world;
    const region = REGIONS[random.below(REGIONS.length)] as number;
    const first = region * SECTORS_PER_REGION + random.below(SECTORS_PER_REGION);
    const count = random.below(3) === 0 ? 16 + random.below(24) : 1 + random.below(8);
    const content = this.#contentOf(this.#latest, head.id);
    const tags = new Map(content.tags);
    const own = new Set(content.own);
    for (const one of regionsIn(first, count)) {
      const start = Math.max(first, one * SECTORS_PER_REGION);
      const end = Math.min(first + count, (one + 1) * SECTORS_PER_REGION);
      const isPart = end - start < SECTORS_PER_REGION;
      const isLeft = keepsUnowned && isPart && !content.own.has(one);
      if (isLeft) continue;
      own.add(one);
      for (let sector = start; sector < end; sector += 1) tags.delete(sector);
    }
    const place = { ...this.#place(head, content, first, count), keepsUnowned };
    this.store?.zero(place, this.#accept(head, { count: content.count + 1, tags, own }));
  }

  #zeroAll(head: Node): void {
    const content = this.#contentOf(this.#latest, head.id);
    const own = new Set(Array.from({ length: REGIONS_PER_OBJECT }, (_, i) => i));
    const place = this.#place(head, content, 0, SECTORS_PER_OBJECT);
    const done = this.#accept(head, { count: content.count + 1, tags: new Map(), own });
    this.store?.zero(place, done);
  }

  #place(head: Node, { count }: Content, first: number, sectors: number): StoreWrite {
    return {
      ...{ generation: head.id as GenerationId, index: INDEX },
      ...{ family: FAMILY, partition: PARTITION, cfg: 1 },
      prev: { token: (count === 0 ? 0 : 1) as FencingToken, count },
      next: { token: 1 as FencingToken, count: count + 1 },
      closed: this.world.random.below(2) === 0 ? count : 0,
      offset: first * SECTOR_BYTES,
      count: sectors * SECTOR_BYTES,
    };
  }

  get #latest(): Moment {
    return this.#moments.at(-1) as Moment;
  }

  #accept(head: Node, content: Content): (error: OperatingError | undefined) => void {
    const before = this.#moments.length;
    this.#moments.push(new Map(this.#latest).set(head.id, content));
    const { life } = this.world;
    return (error) => {
      if (life !== this.world.life) throw new TypeError('a dead life confirms nothing');
      if (error !== undefined && !this.world.isDead) this.failure = error;
      this.#confirmed = Math.max(this.#confirmed, before);
    };
  }

  /** What a generation has at a moment; without a change of its own it shows what its parent shows. */
  #contentOf(moment: Moment, id: number): Content {
    const found = moment.get(id);
    if (found !== undefined) return found;
    const node = this.nodes.get(id);
    if (node === undefined) return { count: 0, tags: new Map(), own: new Set() };
    const { tags } = this.#contentOf(moment, node.parent);
    const visible = Math.max(0, node.limit - INDEX * OBJECT_BYTES) / SECTOR_BYTES;
    const shown = new Map([...tags].filter(([sector]) => sector < visible));
    return { count: 0, tags: shown, own: new Set() };
  }

  // ------------------------------------------------------------------------------------------ checks

  /** Nothing is in flight. */
  async settle(): Promise<void> {
    let isDone = false;
    this.store?.settled(() => {
      isDone = true;
    });
    await this.world.runUntil(() => isDone);
  }

  /** Every generation that somebody may read shows what it should. */
  async check(isAfterCrash: boolean): Promise<void> {
    try {
      if (!isAfterCrash) return await this.#checkAt(this.#latest);
      const moments = this.#moments.slice(this.#confirmed).reverse();
      const moment = moments.find((one) => this.#fitsRows(one));
      if (moment === undefined) throw new TypeError(`no prefix fits ${this.#rows()}`);
      await this.#checkAt(moment);
      this.#moments = [moment];
      this.#confirmed = 0;
    } catch (error) {
      if (!(error instanceof PowerLoss)) throw error;
    }
  }

  #fitsRows(moment: Moment): boolean {
    return this.#kept().every(({ id }) => {
      return (this.store?.row(id, INDEX)?.verCount ?? 0) === this.#contentOf(moment, id).count;
    });
  }

  #kept(): Node[] {
    return [...this.nodes.values()].filter(({ isDropped }) => !isDropped);
  }

  #rows(): string {
    const counts = this.#kept().map(({ id }) => `${id}:${this.store?.row(id, INDEX)?.verCount}`);
    return counts.join(' ');
  }

  async #checkAt(moment: Moment): Promise<void> {
    for (const node of this.#kept()) {
      const content = this.#contentOf(moment, node.id);
      this.#checkOwn(node, content);
      if (node.state === 'deleted') continue;
      for (const region of [...REGIONS, 4, 63]) await this.#checkRegion(node, content, region);
      this.#checkHeld(node, content);
    }
  }

  #checkOwn({ id }: Node, { own }: Content): void {
    const row = this.store?.row(id, INDEX);
    for (let region = 0; region < REGIONS_PER_OBJECT; region += 1) {
      const isOwn = row !== undefined && hasRegion(row.ownLow, row.ownHigh, region);
      if (isOwn !== own.has(region)) throw new TypeError(`generation ${id}: own of ${region}`);
    }
  }

  /** What is called a hole is one. */
  #checkHeld({ id }: Node, { tags }: Content): void {
    const held = this.store?.heldRegions(id as GenerationId, INDEX) ?? { low: 0, high: 0 };
    for (const sector of tags.keys()) {
      if (hasRegion(held.low, held.high, Math.floor(sector / SECTORS_PER_REGION))) continue;
      throw new TypeError(`generation ${id}: sector ${sector} lies in a hole`);
    }
  }

  async #checkRegion({ id }: Node, { tags }: Content, region: number): Promise<void> {
    const bytes = await this.#read(id as GenerationId, region * REGION_BYTES, REGION_BYTES);
    for (let i = 0; i < SECTORS_PER_REGION; i += 1) {
      const sector = region * SECTORS_PER_REGION + i;
      const expected = sectorOf(tags.get(sector) ?? 0);
      const found = bytes.subarray(i * SECTOR_BYTES, (i + 1) * SECTOR_BYTES);
      if (Buffer.compare(found, expected) === 0) continue;
      const tag = this.#tagOf(found);
      throw new TypeError(
        `generation ${id} sector ${sector}: ${tag}, not ${tags.get(sector) ?? 0}`,
      );
    }
  }

  #tagOf(bytes: Uint8Array): string {
    for (let tag = 0; tag < this.#nextTag; tag += 1) {
      if (Buffer.compare(sectorOf(tag), bytes) === 0) return `${tag}`;
    }
    return 'nobody knows what';
  }

  async #read(generation: GenerationId, offset: number, count: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(count);
    const isNow = this.world.random.below(2) === 0;
    if (isNow) {
      const outcome = this.store?.readSync(generation, INDEX, offset, count, bytes, 0);
      if (outcome === 'ok') return bytes;
      if (outcome === 'suspect') throw new TypeError(`generation ${generation} is suspect`);
    }
    let outcome = '';
    this.store?.read(generation, INDEX, offset, count, bytes, 0, (found) => {
      outcome = found;
    });
    await this.world.runUntil(() => outcome !== '');
    if (this.world.isDead) throw new PowerLoss('the power went');
    if (outcome !== 'ok') throw new TypeError(`generation ${generation} is ${outcome}`);
    return bytes;
  }

  /** FETCH of every row: the data that comes with sums passes them. */
  async copyAll(): Promise<number> {
    let sectors = 0;
    for (const { id } of this.#kept()) {
      const row = this.store?.row(id, INDEX);
      if (row === undefined) continue;
      let sums: Uint8Array | undefined;
      this.store?.readForCopy(id as GenerationId, INDEX, 0, 4 * REGION_BYTES, (error, found) => {
        if (error !== undefined) throw error;
        sums = found;
      });
      await this.world.runUntil(() => sums !== undefined);
      for (let i = 0; sums !== undefined && i < sums.length / 4; i += 1) {
        if (getSum(sums, i) === 0) continue;
        sectors += 1;
        const region = Math.floor(i / SECTORS_PER_REGION);
        if (!hasRegion(row.ownLow, row.ownHigh, region)) throw new TypeError('not its own');
      }
    }
    return sectors;
  }
}

function regionsIn(first: number, count: number): number[] {
  const start = Math.floor(first / SECTORS_PER_REGION);
  const end = Math.floor((first + count - 1) / SECTORS_PER_REGION);
  return Array.from({ length: end - start + 1 }, (_, i) => start + i);
}
