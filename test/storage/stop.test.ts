// The end of a store: after its last checkpoint nothing touches its files, whoever asks for another one meanwhile. The last
// batch of the journal, which says where all that is synced ends, is such a moment.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test from 'ava';
import { sumsOf } from '../../src/core/checksum.ts';
import type { FamilyId, FencingToken, GenerationId } from '../../src/core/ids.ts';
import { MIB, SECTOR_BYTES } from '../../src/core/units.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import type { Clock, TimerHandle, Trace } from '../../src/ports/ports.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import { SeededRandom } from './crash-world.ts';

const GENERATION = 1 as GenerationId;
const ROUNDS = 12;
const trace: Trace = { event: () => undefined, warn: () => undefined, count: () => undefined };
/** Every sync of the journal asks for a checkpoint. */
const clock: Clock = {
  now: () => performance.now(),
  date: () => performance.now(),
  setTimer: (ms, fn) => setTimeout(fn, ms) as unknown as TimerHandle,
  clearTimer: (handle) => clearTimeout(handle as unknown as NodeJS.Timeout),
  soon: (fn) => void setImmediate(fn),
  rarely: (point) => point === 'checkpoint-early',
};

test('store: no checkpoint begins after the last one of a stop', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-stop-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));
  const failures: string[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const store = await openObjectStore({
      disk: openFileDisk(folder),
      clock,
      random: new SeededRandom(round),
      trace,
      journalBytes: 8 * MIB,
      onFatal: (error) => failures.push(error.message),
    });
    const data = new Uint8Array(SECTOR_BYTES).fill(round + 1);
    const row = store.row(GENERATION, 0);
    const count = row?.verCount ?? 0;
    await new Promise<void>((resolve) => {
      const where = { generation: GENERATION, index: 0, family: 1 as FamilyId, partition: 5 };
      const prev = { token: (row?.verToken ?? 0) as FencingToken, count };
      const next = { token: 1 as FencingToken, count: count + 1 };
      const at = { prev, next, cfg: 1, closed: 0, offset: 0, count: SECTOR_BYTES };
      store.write({ ...where, ...at }, data, sumsOf(GENERATION, 0, 0, data), () => resolve());
    });
    await new Promise<void>((resolve) => store.stop(() => resolve()));
    // What began beside the stop ends within these.
    for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
  t.deepEqual(failures, []);
});
