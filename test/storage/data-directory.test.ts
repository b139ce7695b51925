// Data directories stored by earlier formats open with this program and hold the exact bytes: replayed, stopped, opened
// again, and written to. A format that is left behind here is one that users lose.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test from 'ava';
import { OBJECT_BYTES, REGION_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import { createRealClock } from '../../src/io/real-clock.ts';
import { createRealRandom } from '../../src/io/real-random.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import { openRaftLog } from '../../src/storage/raft-log-open.ts';
import type { ObjectStore } from '../../src/storage/store-types.ts';
import { openSuperblock } from '../../src/storage/superblock.ts';
import {
  BELOW,
  BELOW_INDEX,
  BELOW_SECTOR,
  BELOW_TAG,
  expectedObjects,
  GENERATION,
  HARD_STATE,
  IDENTITY,
  layersOf,
  logEntries,
  taggedSector,
  take,
  unpackFolder,
} from '../fixtures/data-directory.ts';

const FIXTURES = new URL('../fixtures/', import.meta.url).pathname;
const STORED = fs.readdirSync(FIXTURES).filter((name) => /^data-directory-\d+$/.test(name));

const fatal = (error: Error): never => {
  throw error;
};

function opened(folder: string) {
  return openObjectStore({
    disk: openFileDisk(folder),
    clock: createRealClock(),
    random: createRealRandom(),
    trace: { event: () => undefined, warn: () => undefined, count: () => undefined },
    journalBytes: 8 * 1024 * 1024,
    onFatal: fatal,
  });
}

function finished(start: (done: (error?: Error) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error === undefined ? resolve() : reject(error)));
  });
}

async function bytesOf(store: ObjectStore, index: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(OBJECT_BYTES);
  await new Promise<void>((resolve, reject) => {
    store.read(GENERATION, index, 0, OBJECT_BYTES, bytes, 0, (outcome, error) => {
      if (outcome === 'ok') resolve();
      else reject(error ?? new TypeError(`object ${index} is ${outcome}`));
    });
  });
  return bytes;
}

async function wrongObjects(store: ObjectStore, objects: ReturnType<typeof expectedObjects>) {
  const wrong: string[] = [];
  for (const [index, tags] of objects.entries()) {
    const row = store.row(GENERATION, index);
    if ((row === undefined) !== (tags === undefined)) wrong.push(`object ${index}: row`);
    const expected = new Uint8Array(OBJECT_BYTES);
    for (const [sector, tag] of tags ?? []) {
      expected.set(taggedSector(index, sector, tag), sector * SECTOR_BYTES);
    }
    const found = await bytesOf(store, index);
    if (Buffer.compare(found, expected) !== 0) wrong.push(`object ${index}: bytes`);
  }
  return wrong;
}

/** What the generation below shows: the region that it copied, with its own sector, whatever changed above since. */
async function wrongBelow(store: ObjectStore, objects: ReturnType<typeof expectedObjects>) {
  if (store.row(BELOW, BELOW_INDEX) === undefined) return ['row'];
  store.followLayers(layersOf);
  const bytes = new Uint8Array(REGION_BYTES);
  await new Promise<void>((resolve, reject) => {
    store.read(BELOW, BELOW_INDEX, 0, REGION_BYTES, bytes, 0, (outcome, error) => {
      if (outcome === 'ok') resolve();
      else reject(error ?? new TypeError(`the generation below is ${outcome}`));
    });
  });
  const expected = new Uint8Array(REGION_BYTES);
  const tags = new Map(objects[BELOW_INDEX]).set(BELOW_SECTOR, BELOW_TAG);
  for (const [sector, tag] of tags) {
    if (sector >= REGION_BYTES / SECTOR_BYTES) continue;
    expected.set(taggedSector(BELOW_INDEX, sector, tag), sector * SECTOR_BYTES);
  }
  return Buffer.compare(bytes, expected) === 0 ? [] : ['bytes'];
}

test('there is a stored directory of every format', (t) => {
  t.deepEqual(STORED.sort(), ['data-directory-1', 'data-directory-2', 'data-directory-3']);
});

for (const name of STORED) {
  test(`${name} opens with its exact bytes, twice, and takes writes`, async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-stored-'));
    t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));
    unpackFolder(path.join(FIXTURES, name), folder);
    const objects = expectedObjects();
    const first = await opened(folder);
    t.deepEqual(await wrongObjects(first, objects), []);
    t.deepEqual([first.row(GENERATION, 0)?.verCount, first.row(GENERATION, 2)?.verCount], [3, 11]);
    await finished((done) => first.stop(done));

    const second = await opened(folder);
    t.deepEqual(await wrongObjects(second, objects), []);
    const step = { kind: 'write', index: 0, first: 500, sectors: 30 } as const;
    await finished((done) => take(second, step, 99, done));
    for (let i = 0; i < 30; i += 1) objects[0]?.set(500 + i, 100);
    await finished((done) => second.stop(done));

    const third = await opened(folder);
    t.deepEqual(await wrongObjects(third, objects), []);
    t.deepEqual(await wrongBelow(third, objects), name === 'data-directory-3' ? [] : ['row']);
    await finished((done) => third.stop(done));
  });

  test(`${name}: its superblock and its map log say what was written`, async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-stored-'));
    t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));
    unpackFolder(path.join(FIXTURES, name), folder);
    const superblock = await openSuperblock(openFileDisk(folder), createRealRandom());
    const { clusterId, node, peerKey } = superblock;
    t.deepEqual({ clusterId, node, peerKey }, IDENTITY);
    t.false(superblock.wasClean || superblock.isFresh);
    t.is(superblock.incarnation as number, 2);
    const log = await openRaftLog(openFileDisk(folder), createRealClock(), fatal);
    t.deepEqual(log.hardState, HARD_STATE);
    t.deepEqual([...log.entries], logEntries());
    t.is(log.commit, 4);
    await finished((done) => log.stop(() => done()));
  });
}
