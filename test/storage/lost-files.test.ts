// A store on the real disk of which one file or folder was taken away while it was stopped: each of them in turn. It
// refuses with the name and a cure, or starts, says what is damaged, and takes what heals it. The whole node:
// e2e/lost-files.test.ts.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { sumsOf } from '../../src/core/checksum.ts';
import { OperatingError } from '../../src/core/errors.ts';
import type { FamilyId, FencingToken, GenerationId } from '../../src/core/ids.ts';
import { MIB, SECTOR_BYTES } from '../../src/core/units.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import { createRealClock } from '../../src/io/real-clock.ts';
import { createRealRandom } from '../../src/io/real-random.ts';
import { indexPath, objectPath } from '../../src/storage/layout.ts';
import type { LocalObjectStore } from '../../src/storage/local-store.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import type { StoreDone } from '../../src/storage/store-types.ts';

const GENERATION = 1 as GenerationId;
const FAMILY = 1 as FamilyId;
const OBJECTS = 3;
const SECTORS = 4;

interface Case {
  readonly take: string;
  /** Objects that are known as damaged afterwards, or what the refusal says. */
  readonly follows: readonly number[] | RegExp;
}

const OBJECT = objectPath(GENERATION, 1);
const CASES: readonly Case[] = [
  { take: 'journal', follows: /^journal is missing/ },
  { take: indexPath(1), follows: /^index\.00000001 is missing/ },
  { take: 'objects', follows: [0, 1, 2] },
  { take: path.dirname(OBJECT), follows: [1] },
  { take: OBJECT, follows: [1] },
  { take: 'incoming', follows: [] },
];

function opened(folder: string, mustExist: boolean): Promise<LocalObjectStore> {
  return openObjectStore({
    disk: openFileDisk(folder),
    clock: createRealClock(),
    random: createRealRandom(),
    trace: { event: () => undefined, warn: () => undefined, count: () => undefined },
    journalBytes: 8 * MIB,
    mustExist,
    onFatal: (error) => {
      throw error;
    },
  });
}

function finished(start: (done: StoreDone) => void): Promise<void> {
  return new Promise((resolve, reject) =>
    start((error) => (error === undefined ? resolve() : reject(error))),
  );
}

function dataOf(index: number): Uint8Array {
  return new Uint8Array(SECTORS * SECTOR_BYTES).fill(index + 1);
}

/** A folder with one write in each object, stopped in order. */
async function stored(t: ExecutionContext): Promise<string> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-lost-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));
  const store = await opened(folder, false);
  for (let index = 0; index < OBJECTS; index += 1) {
    const data = dataOf(index);
    const token = 1 as FencingToken;
    const write = {
      ...{ generation: GENERATION, index, family: FAMILY, partition: 1, cfg: 1, closed: 0 },
      ...{ prev: { token: 0 as FencingToken, count: 0 }, next: { token, count: 1 } },
      ...{ offset: 0, count: data.length },
    };
    await finished((done) => store.write(write, data, sumsOf(GENERATION, index, 0, data), done));
  }
  await finished((done) => store.stop(done));
  return folder;
}

/** A whole copy from a peer, as the repair makes it. */
async function healed(store: LocalObjectStore, index: number): Promise<void> {
  const data = dataOf(index);
  const version = { token: 1 as FencingToken, count: 1 };
  const regions = { ownLow: 1, ownHigh: 0, closed: 0, openLow: 1, openHigh: 0 };
  const place = { generation: GENERATION, index, family: FAMILY, partition: 1, version };
  const staged = store.stage({ ...place, kind: 'data', ...regions });
  staged.writeSectors(0, sumsOf(GENERATION, index, 0, data), data);
  await finished((done) => staged.commit(done));
}

async function reads(store: LocalObjectStore, index: number): Promise<string> {
  const target = new Uint8Array(SECTORS * SECTOR_BYTES);
  const outcome = await new Promise<string>((resolve) => {
    store.read(GENERATION, index, 0, target.length, target, 0, (how) => resolve(how));
  });
  if (outcome !== 'ok') return outcome;
  return Buffer.compare(target, dataOf(index)) === 0 ? 'ok' : 'other bytes';
}

for (const { take, follows } of CASES) {
  test(`without ${take}: ${follows instanceof RegExp ? 'refused' : `${follows.length} damaged`}`, async (t) => {
    const folder = await stored(t);
    fs.rmSync(path.join(folder, take), { recursive: true });
    if (follows instanceof RegExp) {
      const error = await t.throwsAsync(opened(folder, true), { instanceOf: OperatingError });
      t.is(error.code, 'corrupt');
      t.regex(error.message, follows);
      t.regex(error.remedy ?? '', /put the file back/);
      return;
    }
    const store = await opened(folder, true);
    const damaged = store.suspects.list().map(({ index }) => index);
    t.deepEqual(damaged.sort(), [...follows]);
    for (let index = 0; index < OBJECTS; index += 1) {
      t.is(await reads(store, index), follows.includes(index) ? 'suspect' : 'ok');
      await healed(store, index);
      t.is(await reads(store, index), 'ok');
    }
    await finished((done) => store.stop(done));
    const again = await opened(folder, true);
    for (let index = 0; index < OBJECTS; index += 1) t.is(await reads(again, index), 'ok');
    await finished((done) => again.stop(done));
  });
}
