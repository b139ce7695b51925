// Append and group sync of the journal on the real disk: node bench/micro/journal.ts [folder] [seconds]. Records of 4 KiB
// with 1, 16 and 64 writers; beside it a naive log in the same folder that appends and syncs each record by itself.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { invariant } from '../../src/core/invariant.ts';
import { KIB, MIB } from '../../src/core/units.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import { createRealClock } from '../../src/io/real-clock.ts';
import { createRealRandom } from '../../src/io/real-random.ts';
import { Journal } from '../../src/storage/journal.ts';
import { RECORD_WRITE } from '../../src/storage/journal-codec.ts';
import { formatJournal, readHead } from '../../src/storage/journal-head.ts';
import type { QueuedRecord } from '../../src/storage/journal-queue.ts';
import { JOURNAL_PATH } from '../../src/storage/layout.ts';
import { cpuUs, say } from './line.ts';

const BLOCK_BYTES = 4 * KIB;
const JOURNAL_BYTES = 64 * MIB;
const WRITERS = [1, 16, 64];

interface BenchRecord extends QueuedRecord {
  readonly done: () => void;
}

const data = new Uint8Array(BLOCK_BYTES).fill(7);
const sums = new Uint8Array(4);
const seconds = Number(process.argv[3] ?? 3);

function recordOf(index: number, done: () => void): BenchRecord {
  return {
    ...{ kind: RECORD_WRITE, isZeroAfter: false, isFresh: false, generation: 1, index, family: 1 },
    ...{ partition: 1, prevToken: 1, prevCount: index, verToken: 1, verCount: index + 1, cfg: 1 },
    ...{ closed: 0, openLow: 0, openHigh: 0, ownLow: 1, ownHigh: 0, offset: 0, count: BLOCK_BYTES },
    ...{ stagedId: new Uint8Array(0), sums, data, mayLag: false, extent: undefined, groupLeft: 0 },
    done,
  };
}

async function openJournal(folder: string): Promise<Journal<BenchRecord>> {
  const disk = openFileDisk(folder);
  const clock = createRealClock();
  await formatJournal({ disk, clock, random: createRealRandom() }, JOURNAL_BYTES, {
    generation: 1,
    bytes: 0,
  });
  const file = disk.open(JOURNAL_PATH, { create: false });
  invariant(file !== undefined, 'the journal was made');
  let isReleasing = false;
  const journal: Journal<BenchRecord> = new Journal<BenchRecord>({
    file,
    head: readHead(file),
    tail: { end: 0, sequence: 1 },
    clock,
    onWritten: () => undefined,
    apply: (records, done) => {
      for (const record of records) record.done();
      done();
    },
    isHeld: () => false,
    onPressure: () => {
      if (isReleasing) return;
      isReleasing = true;
      journal.release(journal.applied, { generation: 1, bytes: 0 }, () => {
        isReleasing = false;
      });
    },
    onFatal: (error) => {
      throw error;
    },
  });
  return journal;
}

/** Keeps `depth` calls in flight for some seconds. */
async function load(
  name: string,
  depth: number,
  append: (done: () => void) => void,
): Promise<void> {
  const [before, since] = [process.cpuUsage(), performance.now()];
  const end = since + seconds * 1000;
  let operations = 0;
  await new Promise<void>((resolve) => {
    let running = depth;
    const next = (): void => {
      if (performance.now() < end) {
        append(over);
        return;
      }
      running -= 1;
      if (running === 0) resolve();
    };
    const over = (): void => {
      operations += 1;
      next();
    };
    for (let i = 0; i < depth; i += 1) append(over);
  });
  say(name, { operations, ms: performance.now() - since, cpuUs: cpuUs(before) });
}

const folder = fs.mkdtempSync(path.join(process.argv[2] ?? os.tmpdir(), 'sheep-bench-'));
try {
  const journal = await openJournal(folder);
  let index = 0;
  for (const depth of WRITERS) {
    await load(`journal: 4 KiB, synced, ${depth} writers`, depth, (done) => {
      index += 1;
      journal.append(recordOf(index, done));
    });
  }
  await new Promise<void>((resolve) => journal.stop(resolve));
  const file = fs.openSync(path.join(folder, 'naive'), 'w');
  await load('naive: append and fdatasync of each record', 1, (done) => {
    fs.writeSync(file, data);
    fs.fdatasync(file, (error) => {
      if (error !== null) throw error;
      done();
    });
  });
  fs.closeSync(file);
} finally {
  fs.rmSync(folder, { recursive: true, force: true });
}
