// What absent members miss, kept over a restart (PROTOCOL 4.7): whatever the power does to the disk, what a store finds has
// every change since the member left, or the store says that it knows nothing. Method: a store on a disk that loses power
// at any operation; a model notes what was written from the moment on in which a member left.

import test, { type ExecutionContext } from 'ava';
import { sectorSum, setSum } from '../../src/core/checksum.ts';
import { type RegionMask, regionsOf } from '../../src/core/extent.ts';
import type {
  ConfigVersion,
  FamilyId,
  FencingToken,
  GenerationId,
  NodeId,
} from '../../src/core/ids.ts';
import { KIB, MIB, REGION_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import type { LocalObjectStore } from '../../src/storage/local-store.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import {
  decodeOutages,
  encodeOutages,
  missedKey,
  OUTAGES_PATH,
} from '../../src/storage/outage-file.ts';
import type { KeptOutages, MissedObject } from '../../src/storage/store-types.ts';
import { CrashWorld, PowerLoss } from './crash-world.ts';

const PARTITION = 7;
const AWAY = 3 as NodeId;
const GENERATION = 5 as GenerationId;
const OBJECTS = 3;
const JOURNAL_BYTES = 8 * MIB;

/** A store with one member away, and what that one misses by the rules. */
class Case {
  readonly world: CrashWorld;
  store!: LocalObjectStore;
  /** Undefined: nobody is away. */
  missed: Map<string, MissedObject> | undefined;
  /** Each change since the member left, with the version that it made; 0: the object went, durably. */
  changes: { readonly index: number; readonly count: number; readonly mask: RegionMask }[] = [];
  /** Numbers of the objects that live; one that went never comes back. */
  readonly #live = Array.from({ length: OBJECTS }, (_, index) => index);
  #last = OBJECTS;

  constructor(seed: number) {
    this.world = new CrashWorld(seed);
  }

  async open(): Promise<void> {
    const { world } = this;
    let opened: LocalObjectStore | undefined;
    void openObjectStore({
      disk: world.disk(),
      clock: world.clock(),
      random: world.random.fork('store'),
      trace: world.trace(),
      journalBytes: JOURNAL_BYTES,
      onFatal: () => undefined,
    }).then((store) => {
      opened = store;
    });
    await world.runUntil(() => opened !== undefined);
    if (opened === undefined) throw new RangeError('the store did not open');
    this.store = opened;
  }

  /** As the data path does: it takes what was kept, and says from now on what is missed. */
  follow(): KeptOutages | undefined {
    const found = this.store.keptOutages;
    const [map] = found?.maps ?? [];
    this.missed = map === undefined ? undefined : new Map(map.objects);
    this.store.followOutages(() => ({
      mapIndex: 11,
      maps:
        this.missed === undefined
          ? []
          : [
              {
                partition: PARTITION,
                node: AWAY,
                since: 4 as ConfigVersion,
                objects: this.missed,
              },
            ],
    }));
    return found;
  }

  leaves(): void {
    this.missed = new Map();
    this.changes = [];
    this.store.saveOutages();
  }

  /** Notes first, as the data path does, then changes. */
  change(kind: 'write' | 'zero', index: number, offset: number, count: number): void {
    const mask = regionsOf(offset, count);
    this.#note(index, mask);
    const has = this.store.row(GENERATION, index);
    const prev = { token: (has?.verToken ?? 0) as FencingToken, count: has?.verCount ?? 0 };
    const next = { token: 1 as FencingToken, count: prev.count + 1 };
    this.changes.push({ index, count: next.count, mask });
    const place = { generation: GENERATION, index, family: 1 as FamilyId, partition: PARTITION };
    const write = { ...place, prev, next, cfg: 4, closed: prev.count, offset, count };
    if (kind === 'zero') {
      this.store.zero(write, () => undefined);
      return;
    }
    const data = new Uint8Array(count).fill(next.count);
    const sums = new Uint8Array((count / SECTOR_BYTES) * 4);
    for (let i = 0; i < count / SECTOR_BYTES; i += 1) {
      const sector = offset / SECTOR_BYTES + i;
      setSum(sums, i, sectorSum(GENERATION, index, sector, data, i * SECTOR_BYTES));
    }
    this.store.write(write, data, sums, () => undefined);
  }

  drop(index: number): void {
    const mask = { low: 0xffffffff, high: 0xffffffff };
    this.#note(index, mask);
    this.store.drop({ generation: GENERATION, index }, () => {
      this.changes.push({ index, count: 0, mask });
    });
  }

  #note(index: number, { low, high }: RegionMask): void {
    const key = missedKey(GENERATION, index);
    const known = this.missed?.get(key) ?? { low: 0, high: 0 };
    const all = { low: (known.low | low) >>> 0, high: (known.high | high) >>> 0 };
    this.missed?.set(key, { generation: GENERATION, index, ...all });
  }

  async settled(): Promise<void> {
    let isDone = false;
    this.store.settled(() => {
      isDone = true;
    });
    await this.world.runUntil(() => isDone);
  }

  async checkpoint(): Promise<void> {
    let isDone = false;
    this.store.checkpoint(() => {
      isDone = true;
    });
    await this.world.runUntil(() => isDone);
  }

  async stop(): Promise<void> {
    let isDone = false;
    this.store.stop(() => {
      isDone = true;
    });
    await this.world.runUntil(() => isDone);
  }

  randomChange(): void {
    const { random } = this.world;
    const slot = random.below(OBJECTS);
    const index = this.#live[slot] as number;
    const offset = random.below(60) * REGION_BYTES + random.below(15) * SECTOR_BYTES;
    const kind = random.below(6);
    if (kind === 0 && this.store.row(GENERATION, index) !== undefined) {
      this.drop(index);
      this.#live[slot] = this.#last;
      this.#last += 1;
    } else {
      const count = SECTOR_BYTES * (1 + random.below(30));
      this.change(kind < 3 ? 'zero' : 'write', index, offset, count);
    }
  }

  /** What the store has of the changes since the member left. */
  present(): Map<string, MissedObject> {
    const all = new Map<string, MissedObject>();
    // What was lost never was: its number is given again.
    this.changes = this.changes.filter(({ index, count }) => {
      const row = this.store.row(GENERATION, index);
      return count === 0 || (row?.verCount ?? 0) >= count;
    });
    for (const { index, mask } of this.changes) {
      const key = missedKey(GENERATION, index);
      const known = all.get(key) ?? { low: 0, high: 0 };
      const masks = { low: (known.low | mask.low) >>> 0, high: (known.high | mask.high) >>> 0 };
      all.set(key, { generation: GENERATION, index, ...masks });
    }
    return all;
  }
}

/** What is found has every region of `wanted`. Returns whether anything was found. */
function hasAll(
  t: ExecutionContext,
  found: KeptOutages | undefined,
  wanted: ReadonlyMap<string, MissedObject>,
  label: string,
): boolean {
  const [map] = found?.maps ?? [];
  if (map === undefined) return false;
  for (const [key, { low, high }] of wanted) {
    const has: RegionMask = map.objects.get(key) ?? { low: 0, high: 0 };
    t.is((low & ~has.low) >>> 0, 0, `${label}: regions 0-31 of ${key}`);
    t.is((high & ~has.high) >>> 0, 0, `${label}: regions 32-63 of ${key}`);
  }
  return true;
}

function fileOf(world: CrashWorld): Uint8Array {
  const file = world.disk().open(OUTAGES_PATH, { create: false });
  const bytes = new Uint8Array(file?.sizeSync() ?? 0);
  file?.readSync(bytes, 0, bytes.length, 0);
  return bytes;
}

test('what was missed is there after an orderly end, exactly', async (t) => {
  const one = new Case(1);
  await one.open();
  t.is(one.follow(), undefined);
  one.change('write', 0, 0, 64 * KIB);
  await one.settled();
  await one.checkpoint();
  one.leaves();
  one.change('write', 0, 5 * REGION_BYTES, SECTOR_BYTES);
  one.change('zero', 1, 40 * REGION_BYTES, REGION_BYTES);
  await one.settled();
  await one.stop();
  one.world.restart();
  await one.open();
  const [map] = one.store.keptOutages?.maps ?? [];
  t.deepEqual([map?.node, map?.partition, map?.since], [AWAY, PARTITION, 4 as ConfigVersion]);
  t.deepEqual(
    [...(map?.objects.values() ?? [])],
    [
      { generation: GENERATION, index: 0, low: 1 << 5, high: 0 },
      { generation: GENERATION, index: 1, low: 0, high: 1 << 8 },
    ],
  );
});

/** A few changes and checkpoints, and the power goes in the middle of something. */
async function randomLife(one: Case): Promise<void> {
  const { world } = one;
  const { random } = world;
  world.crashAt = world.operations + random.below(400);
  try {
    for (let i = 0; i < 40 && !world.isDead; i += 1) {
      const dice = random.below(12);
      if (dice < 8) one.randomChange();
      else if (dice < 11) await one.settled();
      else await one.checkpoint();
    }
  } catch (error) {
    if (!(error instanceof PowerLoss)) throw error;
  }
  if (!world.isDead) world.crash();
}

test('a power loss at any moment: every change is in what is found, or nothing is found', async (t) => {
  let known = 0;
  let unknown = 0;
  for (let seed = 1; seed <= 40; seed += 1) {
    const one = new Case(seed);
    await one.open();
    one.follow();
    for (let i = one.world.random.below(6); i > 0; i -= 1) one.randomChange();
    await one.settled();
    one.leaves();
    for (let life = 1; life <= 5; life += 1) {
      await randomLife(one);
      one.world.restart();
      await one.open();
      if (!hasAll(t, one.store.keptOutages, one.present(), `seed ${seed}, life ${life}`)) {
        unknown += 1;
        break;
      }
      known += 1;
      one.follow();
    }
  }
  t.log(`${known} lives knew what was missed, ${unknown} did not`);
  t.true(known > 100);
});

test('a file from before the last checkpoint is not believed: it lacks what the journal forgot', async (t) => {
  const one = new Case(9);
  await one.open();
  one.follow();
  one.leaves();
  one.change('write', 0, 0, SECTOR_BYTES);
  await one.settled();
  await one.checkpoint();
  const before = fileOf(one.world);
  one.change('write', 0, 9 * REGION_BYTES, SECTOR_BYTES);
  await one.settled();
  await one.checkpoint();
  await one.stop();
  one.world.restart();
  const file = one.world.disk().open(OUTAGES_PATH, { create: false });
  file?.truncateSync(before.length);
  file?.writeSync(before, 0);
  await one.open();
  t.is(one.store.keptOutages, undefined);
});

test('with any bit of it turned nothing is found', async (t) => {
  const one = new Case(2);
  await one.open();
  one.follow();
  one.leaves();
  one.change('write', 0, 0, SECTOR_BYTES);
  one.change('write', 2, 0, SECTOR_BYTES);
  await one.settled();
  await one.stop();
  const bytes = fileOf(one.world);
  t.truthy(decodeOutages(bytes));
  for (let bit = 0; bit < bytes.length * 8; bit += 1) {
    const turned = bytes.slice();
    turned[bit >> 3] = (turned[bit >> 3] as number) ^ (1 << (bit & 7));
    t.is(decodeOutages(turned), undefined, `bit ${bit}`);
  }
});

test('bytes: what is encoded is decoded', (t) => {
  const objects = new Map([
    [missedKey(1, 2), { generation: 1 as GenerationId, index: 2, low: 0xffffffff, high: 1 }],
  ]);
  const map = { partition: 65_536, node: AWAY, since: 9 as ConfigVersion, objects };
  const kept = {
    mapIndex: 2 ** 33,
    maps: [map, { ...map, node: 4 as NodeId, objects: new Map() }],
  };
  const place = { journalId: new Uint8Array(8).fill(3), position: 2 ** 40 };
  const bytes = encodeOutages(place, kept);
  t.deepEqual(bytes === undefined ? undefined : decodeOutages(bytes), { ...place, kept });
});
