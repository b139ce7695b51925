// A copy in the making whose bytes are written in bulk: it is synced, and its record journaled, once all of them are
// written, and the caller keeps its bytes until then. One that could not be written is no object.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { sumsOf } from '../../src/core/checksum.ts';
import { OperatingError } from '../../src/core/errors.ts';
import type { FamilyId, FencingToken, GenerationId } from '../../src/core/ids.ts';
import { MIB, REGION_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import { createRealClock } from '../../src/io/real-clock.ts';
import type { Disk, DiskFile } from '../../src/ports/ports.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import { SeededRandom } from './crash-world.ts';

const GENERATION = 1 as GenerationId;
const INDEX = 3;
const VERSION = { token: 9 as FencingToken, count: 40 };
const PLACE = { generation: GENERATION, index: INDEX, family: 1 as FamilyId, partition: 5 };

/** The real disk, but bulk writes wait for `release`; files that are synced are noted. */
function slowDisk(folder: string) {
  const held: ((error?: Error) => void)[] = [];
  const events: string[] = [];
  const disk = openFileDisk(folder);
  const slow = (file: DiskFile): DiskFile =>
    replaced(file, {
      writeBulk: (bytes, position, done) => {
        held.push((error) => {
          if (error !== undefined) return done(error);
          file.writeBulk(bytes, position, done);
        });
      },
      sync: (done) => {
        events.push('sync');
        file.sync(done);
      },
    });
  const open: Disk['open'] = (name, options) => {
    const file = disk.open(name, options);
    return file === undefined || !name.startsWith('incoming') ? file : slow(file);
  };
  return { disk: replaced(disk, { open }), held, events };
}

/** The same object with some methods replaced. */
function replaced<T extends Disk | DiskFile>(object: T, methods: Partial<T>): T {
  return new Proxy(object, {
    get(target, key): unknown {
      const own: unknown = Reflect.get(methods, key);
      const value: unknown = own ?? Reflect.get(target, key, target);
      return own === undefined && typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

async function staging(t: ExecutionContext) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-staging-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));
  const { disk, held, events } = slowDisk(folder);
  const store = await openObjectStore({
    disk,
    clock: createRealClock(),
    random: new SeededRandom(1),
    trace: { event: () => undefined, warn: () => undefined, count: () => undefined },
    journalBytes: 16 * MIB,
    onFatal: (error) => t.fail(error.message),
  });
  const masks = { ownLow: 0xffff, ownHigh: 0, closed: 39, openLow: 0, openHigh: 0 };
  const staged = store.stage({ ...PLACE, version: VERSION, kind: 'data', ...masks });
  const data = new SeededRandom(2).bytes(MIB);
  staged.writeSectors(0, sumsOf(GENERATION, INDEX, 0, data), data, () => events.push('written'));
  const ended = new Promise<OperatingError | undefined>((resolve) => {
    staged.commit((error) => {
      events.push('committed');
      resolve(error);
    });
  });
  return { store, held, events, data, ended };
}

test('a copy is synced and becomes the object after its last byte was written', async (t) => {
  const { store, held, events, data, ended } = await staging(t);
  // Whatever would follow without waiting has followed by now.
  await new Promise((resolve) => store.read(GENERATION, 0, 0, 8, new Uint8Array(8), 0, resolve));
  t.is(held.length, MIB / (16 * REGION_BYTES));
  t.deepEqual(events, []);
  t.is(store.row(GENERATION, INDEX), undefined);
  for (const release of held) release();
  t.is(await ended, undefined);
  t.deepEqual(events, ['written', 'sync', 'committed']);
  const target = new Uint8Array(64 * 1024);
  t.is(store.readSync(GENERATION, INDEX, 5 * SECTOR_BYTES, target.length, target, 0), 'ok');
  t.is(
    Buffer.compare(target, data.subarray(5 * SECTOR_BYTES, 5 * SECTOR_BYTES + target.length)),
    0,
  );
  await new Promise((resolve) => store.stop(resolve));
});

test('a copy that could not be written says so, and is no object', async (t) => {
  const { store, held, events, ended } = await staging(t);
  for (const release of held) release(new OperatingError('io', 'the disk is gone'));
  t.is((await ended)?.code, 'io');
  t.deepEqual(events, ['written', 'committed'], 'nothing was synced');
  t.is(store.row(GENERATION, INDEX), undefined);
  await new Promise((resolve) => store.stop(resolve));
});
