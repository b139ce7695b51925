// A copy of a sparse object costs the disk what it holds, not the 4 MiB it spans; and it has its name before its record.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test from 'ava';
import { sumsOf } from '../../src/core/checksum.ts';
import type { FamilyId, FencingToken, GenerationId } from '../../src/core/ids.ts';
import { KIB, MIB, SECTOR_BYTES } from '../../src/core/units.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import type { Clock, Disk, TimerHandle, Trace } from '../../src/ports/ports.ts';
import { objectPath } from '../../src/storage/layout.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import { SeededRandom } from './crash-world.ts';

const GENERATION = 1 as GenerationId;
/** Two slots of sums, of which one is written, and what the file system rounds up. */
const HEAD_BYTES = 16 * KIB;
const clock: Clock = {
  now: () => performance.now(),
  date: () => performance.now(),
  setTimer: (ms, fn) => setTimeout(fn, ms) as unknown as TimerHandle,
  clearTimer: (handle) => clearTimeout(handle as unknown as NodeJS.Timeout),
  soon: (fn) => void setImmediate(fn),
};
const trace: Trace = { event: () => undefined, warn: () => undefined, count: () => undefined };

test('store: a copy of two sectors takes a few of the disk, and renames nothing when its record is applied', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-sparse-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));
  const real = openFileDisk(folder);
  const synced: string[] = [];
  const syncFolder: Disk['syncFolder'] = (name, done) => {
    synced.push(name);
    real.syncFolder(name, done);
  };
  const disk = new Proxy(real, {
    get: (target, key: keyof Disk) => {
      const found = target[key];
      if (key === 'syncFolder') return syncFolder;
      return typeof found === 'function' ? found.bind(target) : found;
    },
  });
  const store = await openObjectStore({
    ...{ disk, clock, trace, random: new SeededRandom(1), journalBytes: 8 * MIB },
    onFatal: (error) => {
      throw error;
    },
  });
  const version = { token: 9 as FencingToken, count: 40 };
  const place = { generation: GENERATION, index: 4, family: 1 as FamilyId, partition: 5 };
  const masks = { ownLow: 0, ownHigh: 2 ** 31, closed: 40, openLow: 0, openHigh: 0 };
  const staged = store.stage({ ...place, version, ...masks, kind: 'data' });
  const data = new SeededRandom(2).bytes(2 * SECTOR_BYTES);
  const offset = 4 * MIB - 2 * SECTOR_BYTES;
  staged.writeSectors(offset, sumsOf(GENERATION, 4, offset, data), data);
  synced.length = 0;
  const error = await new Promise((resolve) => staged.commit(resolve));
  t.is(error, undefined);
  const name = objectPath(GENERATION, 4);
  t.deepEqual(synced, [path.dirname(name)], 'one folder, once, before the record');
  const { blocks, size } = fs.statSync(path.join(folder, name));
  t.true(size >= 4 * MIB);
  t.true(blocks * 512 <= data.length + HEAD_BYTES, `${blocks * 512} bytes on the disk`);
  const target = new Uint8Array(SECTOR_BYTES);
  t.is(store.readSync(GENERATION, 4, offset, SECTOR_BYTES, target, 0), 'ok');
  t.deepEqual(target, data.slice(0, SECTOR_BYTES));
  await new Promise((resolve) => store.stop(resolve));
});
