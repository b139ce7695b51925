// Small steps with a store in a CrashWorld: open, wait, write, read. No model: the test knows what it expects.

import { sumsOf } from '../../src/core/checksum.ts';
import type { FamilyId, FencingToken, GenerationId } from '../../src/core/ids.ts';
import { MIB, OBJECT_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import type { LocalObjectStore } from '../../src/storage/local-store.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import type { CrashWorld } from './crash-world.ts';
import { sectorOf } from './store-model.ts';

export const GENERATION = 1 as GenerationId;

/** Opens the store of this life. @param extentBytes smallest write past the journal */
export async function opened(
  world: CrashWorld,
  extentBytes?: number,
  disk = world.disk(),
): Promise<LocalObjectStore> {
  let store: LocalObjectStore | undefined;
  let failure: unknown;
  openObjectStore({
    disk,
    clock: world.clock(),
    random: world.random.fork('store'),
    trace: world.trace(),
    journalBytes: 8 * MIB,
    ...(extentBytes === undefined ? {} : { extentBytes }),
    onFatal: (error) => {
      failure = error;
    },
  }).then(
    (made) => {
      store = made;
    },
    (error: unknown) => {
      failure = error;
    },
  );
  await world.runUntil(() => store !== undefined || failure !== undefined || world.isDead);
  if (store === undefined) throw failure ?? new TypeError('the power went');
  return store;
}

/** Runs until `start` is done; throws what it is refused with. */
export async function finished(
  world: CrashWorld,
  start: (done: (error?: Error) => void) => void,
): Promise<void> {
  let outcome: Error | 'done' | undefined;
  start((error) => {
    outcome = error ?? 'done';
  });
  await world.runUntil(() => outcome !== undefined);
  if (outcome !== 'done') throw outcome ?? new TypeError('never done');
}

/** Where the next write of an object goes; every one has token 2. */
export function placeOf(store: LocalObjectStore, index: number, offset: number, count: number) {
  const own = store.row(GENERATION, index)?.verCount ?? 0;
  const token = (c: number) => (c === 0 ? 0 : 2) as FencingToken;
  return {
    ...{ generation: GENERATION, index, family: 1 as FamilyId, partition: 1, cfg: 1, closed: own },
    prev: { token: token(own), count: own },
    next: { token: token(own + 1), count: own + 1 },
    ...{ offset, count },
  };
}

/** Sectors that all have this tag. */
export function tagged(tag: number, sectors: number): Uint8Array {
  const data = new Uint8Array(sectors * SECTOR_BYTES);
  for (let i = 0; i < sectors; i += 1) data.set(sectorOf(tag), i * SECTOR_BYTES);
  return data;
}

/** Starts a write of sectors with this tag. */
export function write(
  store: LocalObjectStore,
  index: number,
  at: { readonly first: number; readonly sectors: number; readonly tag: number },
  done: (error?: Error) => void,
  mayLag = false,
): void {
  const data = tagged(at.tag, at.sectors);
  const offset = at.first * SECTOR_BYTES;
  const place = { ...placeOf(store, index, offset, data.length), mayLag };
  store.write(place, data, sumsOf(GENERATION, index, offset, data), done);
}

/** Starts dropping the sums of sectors; of all without `at`. */
export function zero(
  store: LocalObjectStore,
  index: number,
  at: { readonly first: number; readonly sectors: number } | undefined,
  done: (error?: Error) => void,
): void {
  const offset = (at?.first ?? 0) * SECTOR_BYTES;
  const count = at === undefined ? OBJECT_BYTES : at.sectors * SECTOR_BYTES;
  store.zero(placeOf(store, index, offset, count), done);
}

/** The tags of sectors: 0 = zeroes, -1 = suspect. Throws at a sector that is no one's. */
export async function tagsOf(
  world: CrashWorld,
  store: LocalObjectStore,
  index: number,
  at: { readonly first: number; readonly sectors: number; readonly tags: readonly number[] },
): Promise<number[]> {
  const found: number[] = [];
  for (let i = 0; i < at.sectors; i += 1) {
    const bytes = new Uint8Array(SECTOR_BYTES);
    let outcome = '';
    store.read(GENERATION, index, (at.first + i) * SECTOR_BYTES, SECTOR_BYTES, bytes, 0, (o) => {
      outcome = o;
    });
    await world.runUntil(() => outcome !== '');
    const tag = [0, ...at.tags].find((one) => Buffer.compare(sectorOf(one), bytes) === 0);
    if (outcome !== 'suspect' && tag === undefined) throw new TypeError(`sector ${i} is wrong`);
    found.push(outcome === 'suspect' ? -1 : (tag ?? 0));
  }
  return found;
}
