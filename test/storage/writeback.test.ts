// Mode writeback in one store (R5): a write that may lag is confirmed when it is written to the journal; it is read from
// memory until the journal is synced, in place nothing is ever ahead of that; whoever asks for durability gets it at
// once. Power goes at every single I/O step: what is found is a prefix of what was accepted, with all that was settled.

import test, { type ExecutionContext } from 'ava';
import { sumsOf } from '../../src/core/checksum.ts';
import { OperatingError } from '../../src/core/errors.ts';
import type { FamilyId, FencingToken, GenerationId, Version } from '../../src/core/ids.ts';
import { MIB, SECTOR_BYTES } from '../../src/core/units.ts';
import type { Disk, DiskFile } from '../../src/ports/ports.ts';
import { UNSYNCED_MS } from '../../src/storage/journal.ts';
import { MAX_BATCH_BYTES } from '../../src/storage/journal-codec.ts';
import type { LocalObjectStore } from '../../src/storage/local-store.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import type { StoreWrite } from '../../src/storage/store-types.ts';
import { CrashWorld, PowerLoss } from './crash-world.ts';

const GENERATION = 1 as GenerationId;
const TOKEN = 1 as FencingToken;
const OBJECTS = 3;
const ROUNDS = 30;

type WrapDisk = (disk: Disk) => Disk;

/** A store with a model of it: what was accepted, in order, and how much of that must be there after a power cut. */
class Bench {
  readonly world: CrashWorld;
  readonly wrap: WrapDisk;
  store: LocalObjectStore | undefined;
  syncs = 0;
  /** Tag of each accepted write by its object, in order of acceptance. */
  readonly accepted: { readonly index: number; readonly tag: number }[] = [];
  /** Accepted before the last `settled` that was answered, or durable write that was confirmed. */
  settled = 0;
  confirmed = 0;
  #tag = 0;

  constructor(world: CrashWorld, wrap: WrapDisk = (disk) => disk) {
    this.world = world;
    this.wrap = wrap;
  }

  async open(): Promise<boolean> {
    const { world } = this;
    let failure: unknown;
    this.store = undefined;
    openObjectStore({
      disk: this.#counted(this.wrap(world.disk())),
      clock: world.clock(),
      random: world.random.fork('store'),
      trace: world.trace(),
      journalBytes: 8 * MIB,
      onFatal: (error) => {
        failure = error;
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

  #counted(disk: Disk): Disk {
    return wrapFiles(disk, (path, file) =>
      path === 'journal'
        ? {
            sync: (done) => {
              this.syncs += 1;
              file.sync(done);
            },
          }
        : {},
    );
  }

  live(): LocalObjectStore {
    if (this.store === undefined) throw new TypeError('the store is not open');
    return this.store;
  }

  /** One write of one sector, the n-th of its object, with a tag of its own. */
  write(mayLag: boolean, done: () => void = () => {}, sectors = 1): void {
    const store = this.live();
    this.#tag += 1;
    const tag = this.#tag;
    const index = tag % OBJECTS;
    const row = store.row(GENERATION, index);
    const prev: Version = {
      token: (row?.verToken ?? 0) as FencingToken,
      count: row?.verCount ?? 0,
    };
    const write: StoreWrite = {
      generation: GENERATION,
      index,
      family: 1 as FamilyId,
      partition: 1,
      prev,
      next: { token: TOKEN, count: prev.count + 1 },
      cfg: 1,
      closed: 0,
      offset: (tag % 16) * SECTOR_BYTES,
      count: sectors * SECTOR_BYTES,
      mayLag,
    };
    const data = new Uint8Array(write.count);
    new Uint32Array(data.buffer).fill(tag);
    const sums = sumsOf(GENERATION, index, write.offset, data);
    const at = this.accepted.length + 1;
    this.accepted.push({ index, tag });
    store.write(write, data, sums, (error) => {
      if (error !== undefined) throw error;
      this.confirmed += 1;
      if (!mayLag) this.settled = Math.max(this.settled, at);
      done();
    });
  }

  settle(done: () => void = () => {}): void {
    const at = this.accepted.length;
    this.live().settled((error) => {
      if (error !== undefined) throw error;
      this.settled = Math.max(this.settled, at);
      done();
    });
  }

  async until(condition: () => boolean): Promise<void> {
    await this.world.runUntil(condition);
  }

  read(index: number, sector: number): number | 'suspect' {
    const bytes = new Uint8Array(SECTOR_BYTES);
    const store = this.live();
    let outcome: string = store.readSync(
      GENERATION,
      index,
      sector * SECTOR_BYTES,
      SECTOR_BYTES,
      bytes,
      0,
    );
    if (outcome !== 'cold') return outcome === 'ok' ? firstWord(bytes) : 'suspect';
    outcome = 'waiting';
    store.read(GENERATION, index, sector * SECTOR_BYTES, SECTOR_BYTES, bytes, 0, (found) => {
      outcome = found;
    });
    for (let i = 0; i < 1000 && outcome === 'waiting'; i += 1) this.world.step();
    return outcome === 'ok' ? firstWord(bytes) : 'suspect';
  }

  /** What is there is what the first `k` accepted writes made, k as the rows say, and not less than was settled. */
  judge(atLeast: number): string | undefined {
    let left = this.accepted.length;
    const counts = new Map<number, number>();
    for (const { index } of this.accepted) counts.set(index, (counts.get(index) ?? 0) + 1);
    const rows = new Map<number, number>();
    for (let i = 0; i < OBJECTS; i += 1) rows.set(i, this.live().row(GENERATION, i)?.verCount ?? 0);
    const isThere = (): boolean => [...rows].every(([i, count]) => (counts.get(i) ?? 0) === count);
    while (!isThere() && left > 0) {
      left -= 1;
      const { index } = this.accepted[left] as { index: number };
      counts.set(index, (counts.get(index) as number) - 1);
    }
    if (!isThere()) return `rows ${[...rows]} are no prefix`;
    if (left < atLeast)
      return `${left} of ${this.accepted.length} are there, ${atLeast} were settled`;
    const expected = new Map<string, number>();
    for (const { index, tag } of this.accepted.slice(0, left))
      expected.set(`${index} ${tag % 16}`, tag);
    for (const [key, tag] of expected) {
      const [index = 0, sector = 0] = key.split(' ').map(Number);
      const found = this.read(index, sector);
      if (found !== tag) return `object ${index} sector ${sector}: ${found} instead of ${tag}`;
    }
    // The rest never happened: the next life goes on from here.
    this.accepted.length = left;
    return undefined;
  }
}

function firstWord(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
}

function wrapFiles(disk: Disk, change: (path: string, file: DiskFile) => Partial<DiskFile>): Disk {
  return new Proxy(disk, {
    get(target, key) {
      if (key !== 'open') {
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? value.bind(target) : value;
      }
      return (path: string, how: { create: boolean }) => {
        const file = target.open(path, how);
        return file === undefined ? undefined : { ...file, ...change(path, file) };
      };
    },
  });
}

async function opened(seed: number): Promise<Bench> {
  const bench = new Bench(new CrashWorld(seed));
  await bench.open();
  bench.syncs = 0;
  return bench;
}

test('writeback: confirmed before the sync, read from memory, synced a little later', async (t) => {
  const bench = await opened(1);
  const clock = bench.world.clock();
  bench.write(true);
  await bench.until(() => bench.confirmed === 1);
  t.is(bench.syncs, 0);
  t.is(bench.read(1, 1), 1);
  const startMs = clock.now();
  await bench.until(() => bench.syncs > 0);
  t.is(clock.now() - startMs, UNSYNCED_MS);
});

test('writeback: who asks for durability gets it at once, and once for all that was accepted', async (t) => {
  const bench = await opened(2);
  for (let i = 0; i < 10; i += 1) bench.write(true);
  let isSettled = false;
  const startMs = bench.world.clock().now();
  bench.settle(() => {
    isSettled = true;
  });
  await bench.until(() => isSettled);
  t.is(bench.syncs, 1);
  t.true(bench.world.clock().now() - startMs < UNSYNCED_MS);
  bench.world.crash(0);
  bench.world.restart();
  t.true(await bench.open());
  t.is(bench.judge(10), undefined);
});

test('writeback: a durable write beside it is confirmed by its sync alone', async (t) => {
  const bench = await opened(3);
  let isDurable = false;
  bench.write(true);
  bench.write(false, () => {
    isDurable = true;
    t.is(bench.syncs, 1);
  });
  bench.write(true);
  await bench.until(() => isDurable);
  bench.world.crash(0);
  bench.world.restart();
  t.true(await bench.open());
  t.is(bench.judge(2), undefined);
});

test('writeback: what is not synced is bounded: beyond, confirmations wait for the sync', async (t) => {
  const inFlight: (() => void)[] = [];
  const world = new CrashWorld(5);
  const held = new Bench(world, (disk) =>
    wrapFiles(disk, (path, file) =>
      path === 'journal'
        ? { sync: (done) => (isHeld ? void inFlight.push(() => file.sync(done)) : file.sync(done)) }
        : {},
    ),
  );
  let isHeld = false;
  await held.open();
  isHeld = true;
  for (let i = 0; i < 200; i += 1) held.write(true, () => {}, 16);
  await held.until(() => false);
  const bytes = held.confirmed * 16 * SECTOR_BYTES;
  // A quarter of the ring, and the batch that went beyond.
  t.true(bytes > 0 && bytes <= 2 * MIB + MAX_BATCH_BYTES, `${bytes} bytes unsynced`);
  isHeld = false;
  for (const go of inFlight.splice(0)) go();
  await held.until(() => held.confirmed === 200);
  t.is(held.confirmed, 200);
});

test('writeback: kill -9 loses nothing that was confirmed', async (t) => {
  for (let seed = 1; seed <= 8; seed += 1) {
    const bench = await opened(seed);
    for (let i = 0; i < 40; i += 1) {
      bench.write(bench.world.random.below(4) > 0);
      for (let k = bench.world.random.below(4); k > 0; k -= 1) bench.world.step();
    }
    const { confirmed } = bench;
    // The process is gone, the page cache is not.
    bench.world.restart();
    t.true(await bench.open());
    t.is(bench.judge(confirmed), undefined, `seed ${seed}`);
    // What the start found is durable by now: a power cut right after it takes nothing back.
    bench.world.crash(0);
    bench.world.restart();
    t.true(await bench.open());
    t.is(bench.judge(confirmed), undefined, `seed ${seed} after the power cut`);
  }
});

test('writeback: life after life, nothing of an earlier one comes back', async (t) => {
  for (let seed = 1; seed <= 12; seed += 1) {
    const bench = await opened(seed);
    for (let life = 0; life < 6; life += 1) {
      // Many batches without a sync, of which some come through; then a life of one batch in the place of the first.
      const writes = life % 2 === 0 ? 6 : 1;
      for (let i = 0; i < writes; i += 1) {
        bench.write(true);
        await bench.until(() => bench.confirmed > 0);
        bench.confirmed = 0;
      }
      if (writes === 1) bench.settle();
      if (writes === 1) await bench.until(() => bench.settled === bench.accepted.length);
      const { settled } = bench;
      bench.world.crash(92);
      bench.world.restart();
      t.true(await bench.open());
      t.is(bench.judge(settled), undefined, `seed ${seed} life ${life}`);
      bench.settled = bench.accepted.length;
    }
  }
});

/** Plays the same work with the power going at step `crashAt`; undefined = the work ended before. */
async function playTo(
  crashAt: number,
  wrap?: WrapDisk,
): Promise<{ readonly wrong: string | undefined } | undefined> {
  const bench = new Bench(new CrashWorld(77), wrap);
  await bench.open();
  const { world } = bench;
  world.crashAt = world.operations + crashAt;
  try {
    await work(bench);
  } catch (error) {
    if (!(error instanceof PowerLoss)) throw error;
  }
  if (!world.isDead) return undefined;
  const { settled } = bench;
  world.restart();
  let wrong: string | undefined;
  try {
    await bench.open();
    wrong = bench.judge(settled);
    // And once more, right after the start: what replay did in place is not ahead of the journal either.
    const again = bench.store?.row(GENERATION, 0)?.verCount;
    world.crash();
    world.restart();
    await bench.open();
    wrong ??= bench.judge(settled);
    if (bench.store?.row(GENERATION, 0)?.verCount !== again) wrong ??= 'a start took back a start';
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    wrong = error.message;
  }
  return { wrong };
}

async function work(bench: Bench): Promise<void> {
  const { world } = bench;
  for (let i = 0; i < ROUNDS && !world.isDead; i += 1) {
    bench.write(i % 7 !== 3);
    if (i % 11 === 5) bench.settle();
    if (i % 17 === 9) bench.live().checkpoint(() => {});
    for (let k = i % 4; k > 0; k -= 1) world.step();
  }
  bench.settle();
  await bench.until(() => bench.settled === bench.accepted.length);
}

async function everyStep(t: ExecutionContext, wrap?: WrapDisk): Promise<readonly string[]> {
  const wrongs: string[] = [];
  let steps = 0;
  for (;;) {
    const outcome = await playTo(steps + 1, wrap);
    if (outcome === undefined) break;
    steps += 1;
    if (outcome.wrong !== undefined) wrongs.push(`step ${steps}: ${outcome.wrong}`);
  }
  t.true(steps > 60, `${steps} steps`);
  return wrongs;
}

test('writeback: the power goes at every single I/O step: an allowed prefix, all that was settled', async (t) => {
  t.timeout(120_000);
  t.deepEqual(await everyStep(t), []);
});

test('writeback, mutant: in-place apply before the sync is found', async (t) => {
  t.timeout(120_000);
  // The journal says "synced" at once and is synced later.
  const early: WrapDisk = (disk) =>
    wrapFiles(disk, (path, file) =>
      path === 'journal'
        ? {
            sync: (done) => {
              done(undefined);
              file.sync(() => {});
            },
          }
        : {},
    );
  t.true((await everyStep(t, early)).length > 0);
});
