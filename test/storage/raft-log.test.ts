// The map log on a disk in memory that forgets what was not synced, as a whole, in part, or torn at any byte.

import test from 'ava';
import { hasCode, OperatingError } from '../../src/core/errors.ts';
import type { MapIndex, NodeId } from '../../src/core/ids.ts';
import type { LogEntry } from '../../src/core/log-entry.ts';
import type { Clock, Disk, DiskFile, TimerHandle } from '../../src/ports/ports.ts';
import type { LogAppend, RaftLog } from '../../src/storage/raft-log.ts';
import {
  encodeFileHeader,
  MAP_LOG_ALIGN,
  MAP_LOG_PATH,
  MAP_LOG_STEP_BYTES,
  MAP_LOG_VERSION,
  MAX_LOG_BATCH_BYTES,
} from '../../src/storage/raft-log-format.ts';
import { openRaftLog } from '../../src/storage/raft-log-open.ts';

class MemoryFile {
  bytes = new Uint8Array(0);
  synced = new Uint8Array(0);
}

/** Syncs end when `run` says so. What `synced` holds survives a power loss. */
class MemoryDisk implements Disk {
  files = new Map<string, MemoryFile>();
  pending: (() => void)[] = [];
  syncs = 0;
  failNextSync = false;

  open(path: string, options: { readonly create: boolean }): DiskFile | undefined {
    let file = this.files.get(path);
    if (file === undefined) {
      if (!options.create) return undefined;
      file = new MemoryFile();
      this.files.set(path, file);
    }
    return this.#handle(file);
  }

  #handle(file: MemoryFile): DiskFile {
    return {
      readSync: (target, at, length, position) => {
        const part = file.bytes.subarray(position, position + length);
        target.set(part, at);
        return part.length;
      },
      read: () => undefined,
      writeSync: (bytes, position) => {
        const size = Math.max(file.bytes.length, position + bytes.length);
        if (size > file.bytes.length) {
          const grown = new Uint8Array(size);
          grown.set(file.bytes);
          file.bytes = grown;
        }
        file.bytes.set(bytes, position);
      },
      writevSync: () => undefined,
      writeBulk: () => undefined,
      punch: () => false,
      sizeSync: () => file.bytes.length,
      truncateSync: (bytes) => {
        file.bytes = file.bytes.slice(0, bytes);
      },
      sync: (done) => {
        this.syncs += 1;
        const fails = this.failNextSync;
        this.failNextSync = false;
        this.pending.push(() => {
          if (!fails) file.synced = file.bytes.slice();
          done(fails ? new OperatingError('io', 'sync failed') : undefined);
        });
      },
      close: () => undefined,
    };
  }

  makeFolder(): void {}

  list(): readonly string[] {
    return [...this.files.keys()];
  }

  rename(from: string, to: string): void {
    const file = this.files.get(from);
    if (file === undefined) throw new OperatingError('io', `no ${from}`);
    this.files.delete(from);
    this.files.set(to, file);
  }

  remove(path: string): void {
    this.files.delete(path);
  }

  syncFolder(_path: string, done: (error: Error | undefined) => void): void {
    this.pending.push(() => done(undefined));
  }

  onSyncFailed(): void {}

  space(): { readonly totalBytes: number; readonly freeBytes: number } {
    return { totalBytes: 1e12, freeBytes: 1e12 };
  }

  get log(): MemoryFile {
    const file = this.files.get(MAP_LOG_PATH);
    if (file === undefined) throw new OperatingError('missing', 'no log');
    return file;
  }

  /** A disk with this log only. */
  static of(bytes: Uint8Array): MemoryDisk {
    const disk = new MemoryDisk();
    const file = new MemoryFile();
    file.bytes = bytes.slice();
    file.synced = bytes.slice();
    disk.files.set(MAP_LOG_PATH, file);
    return disk;
  }
}

class StepClock implements Clock {
  time = 0;
  soonQueue: (() => void)[] = [];
  timers = new Map<object, { at: number; fn: () => void }>();

  now(): number {
    return this.time;
  }

  date(): number {
    return this.time;
  }

  setTimer(ms: number, fn: () => void): TimerHandle {
    const handle = {} as TimerHandle;
    this.timers.set(handle, { at: this.time + ms, fn });
    return handle;
  }

  clearTimer(handle: TimerHandle): void {
    this.timers.delete(handle);
  }

  soon(fn: () => void): void {
    this.soonQueue.push(fn);
  }

  advance(ms: number): void {
    this.time += ms;
    for (const [handle, timer] of [...this.timers]) {
      if (timer.at > this.time) continue;
      this.timers.delete(handle);
      timer.fn();
    }
  }
}

class Bench {
  readonly clock = new StepClock();
  readonly fatal: Error[] = [];
  readonly disk: MemoryDisk;

  constructor(disk: MemoryDisk = new MemoryDisk()) {
    this.disk = disk;
  }

  async open(): Promise<RaftLog> {
    const opening = openRaftLog(this.disk, this.clock, (error) => this.fatal.push(error));
    let isOpen = false;
    const settled = opening.then(
      () => {
        isOpen = true;
      },
      () => {
        isOpen = true;
      },
    );
    for (let turn = 0; turn < 20 && !isOpen; turn += 1) {
      this.runSyncs();
      await Promise.resolve();
    }
    await settled;
    return await opening;
  }

  tick(): void {
    const fns = this.clock.soonQueue;
    this.clock.soonQueue = [];
    for (const fn of fns) fn();
  }

  runSyncs(): void {
    const pending = this.disk.pending;
    this.disk.pending = [];
    for (const end of pending) end();
  }

  /** Until nothing is scheduled and no sync is under way. */
  settle(): void {
    while (this.clock.soonQueue.length > 0 || this.disk.pending.length > 0) {
      this.tick();
      this.runSyncs();
    }
  }

  write(log: RaftLog, append: LogAppend): void {
    log.append(append, () => undefined);
    this.settle();
  }
}

function entry(index: number, term = 1, text = 'v'): LogEntry {
  return {
    index: index as MapIndex,
    term,
    origin: { node: 1 as NodeId, incarnation: 1 as never, counter: index },
    body: { type: 'setting', key: `k${index}`, value: text },
  };
}

function contentsOf(log: RaftLog): unknown {
  return { hardState: log.hardState, entries: [...log.entries], commit: log.commit };
}

/** Three finished batches and what the log said after each; `ends` are where they end in the file. */
async function threeBatches(): Promise<{ bytes: Uint8Array; ends: number[]; states: unknown[] }> {
  const bench = new Bench();
  const log = await bench.open();
  const ends = [log.usedBytes];
  const states = [contentsOf(log)];
  const appends: LogAppend[] = [
    { hardState: { term: 1, vote: 1 as NodeId }, entries: [entry(1), entry(2)] },
    { entries: [], commit: 1 },
    { hardState: { term: 2, vote: 0 }, truncateFrom: 2, entries: [entry(2, 2), entry(3, 2)] },
  ];
  for (const append of appends) {
    bench.write(log, append);
    ends.push(log.usedBytes);
    states.push(contentsOf(log));
  }
  return { bytes: bench.disk.log.synced.slice(0, log.usedBytes), ends, states };
}

test('map log: what was confirmed is there after a power loss', async (t) => {
  const { bytes, states } = await threeBatches();
  const log = await new Bench(MemoryDisk.of(bytes)).open();
  t.deepEqual(contentsOf(log), states[3]);
  t.deepEqual(log.hardState, { term: 2, vote: 0 });
  t.deepEqual(
    log.entries.map((e) => e.term),
    [1, 2, 2],
  );
  t.is(log.commit, 1);
});

test('map log: nothing is confirmed, and nothing visible, before its sync', async (t) => {
  const bench = new Bench();
  const log = await bench.open();
  let done = 0;
  log.append({ entries: [entry(1)], commit: 1 }, () => {
    done += 1;
  });
  t.is(bench.disk.pending.length, 0, 'written at the end of the tick');
  bench.tick();
  t.is(bench.disk.pending.length, 1);
  t.is(done, 0);
  t.is(log.commit, 0);
  bench.runSyncs();
  t.is(done, 1);
  t.is(log.commit, 1);
});

test('map log: appends that come while a sync is under way share the next one, and end in order', async (t) => {
  const bench = new Bench();
  const log = await bench.open();
  const order: number[] = [];
  const before = bench.disk.syncs;
  for (let index = 1; index <= 20; index += 1) {
    log.append({ entries: [entry(index)] }, () => order.push(index));
    if (index === 5) bench.tick();
  }
  bench.settle();
  t.is(bench.disk.syncs - before, 2);
  t.deepEqual(
    order,
    Array.from({ length: 20 }, (_, at) => at + 1),
  );
});

// Method: the last batch is cut or torn at every byte; the file is as after a power loss in the middle of its sync.
test('map log: a torn last batch is cut as a whole, at whatever byte it tore', async (t) => {
  const { bytes, ends, states } = await threeBatches();
  const start = ends[2] as number;
  for (let at = start; at < bytes.length; at += 1) {
    for (const kind of ['short', 'zeroed', 'garbage'] as const) {
      const torn = kind === 'short' ? bytes.slice(0, at) : bytes.slice();
      if (kind === 'zeroed') torn.fill(0, at);
      if (kind === 'garbage') torn[at] = (torn[at] as number) ^ 0xff;
      const bench = new Bench(MemoryDisk.of(torn));
      const log = await bench.open();
      const isWhole = JSON.stringify(contentsOf(log)) === JSON.stringify(states[3]);
      // The padding behind the contents carries nothing.
      if (!isWhole || at < start + 40) t.deepEqual(contentsOf(log), states[2], `${kind} at ${at}`);
      bench.write(log, { entries: [entry(log.entries.length + 1, 3)] });
      const again = await new Bench(MemoryDisk.of(bench.disk.log.synced)).open();
      t.deepEqual(contentsOf(again), contentsOf(log));
    }
  }
});

test('map log: damage before an end that was named as synced stops the node (C2.6)', async (t) => {
  const { bytes, ends } = await threeBatches();
  const named = ends[2] as number;
  for (let at = MAP_LOG_ALIGN; at < named; at += 1) {
    const damaged = bytes.slice();
    damaged[at] = (damaged[at] as number) ^ 0x10;
    const bench = new Bench(MemoryDisk.of(damaged));
    const error = await bench.open().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (error === undefined) {
      // Only padding may change unnoticed.
      t.is(bytes[at], 0, `byte ${at}`);
    } else {
      t.true(hasCode(error, 'corrupt'), `byte ${at}: ${error}`);
      t.regex((error as OperatingError).message, /map\.log .* byte \d+/);
      t.regex(
        (error as OperatingError).remedy,
        /move this data directory aside.*one copy.*keep it/,
      );
    }
  }
});

test('map log: a zeroed sector in the middle is damage, not an end (C2.6)', async (t) => {
  const { bytes, ends } = await threeBatches();
  const damaged = bytes.slice();
  damaged.fill(0, ends[0], ends[2]);
  await t.throwsAsync(new Bench(MemoryDisk.of(damaged)).open(), { code: 'corrupt' });
});

// Method: without the attest record the last batch would pass as a torn tail for ever.
test('map log: after 100 ms of silence the last batch is named as synced, and so it is at a stop (R4)', async (t) => {
  for (const way of ['silence', 'stop'] as const) {
    const bench = new Bench();
    const log = await bench.open();
    const start = log.usedBytes;
    bench.write(log, { entries: [entry(1)] });
    if (way === 'silence') bench.clock.advance(100);
    let stopped = false;
    if (way === 'stop') {
      log.stop(() => {
        stopped = true;
      });
    }
    bench.settle();
    t.is(stopped, way === 'stop');
    const damaged = bench.disk.log.synced.slice();
    damaged[start + 50] = (damaged[start + 50] as number) ^ 1;
    await t.throwsAsync(new Bench(MemoryDisk.of(damaged)).open(), { code: 'corrupt' });
    const used = log.usedBytes;
    bench.clock.advance(1000);
    bench.settle();
    t.is(log.usedBytes, used, 'one attest record is enough');
  }
});

// Method: two batches under one sync; power fails, the first one is torn, the second one is whole on the disk.
test('map log: what a crash left behind the end is never taken for a batch later', async (t) => {
  const bench = new Bench();
  const log = await bench.open();
  const start = log.usedBytes;
  const text = 'x'.repeat(4000);
  bench.write(log, { entries: Array.from({ length: 600 }, (_, at) => entry(at + 1, 1, text)) });
  const torn = bench.disk.log.bytes.slice();
  torn.fill(0, start + 1000, start + 2000);

  const second = new Bench(MemoryDisk.of(torn));
  const reopened = await second.open();
  t.is(reopened.entries.length, 0, 'a torn tail: nobody names the first batch as synced');
  t.true(
    second.disk.log.synced.subarray(start).every((byte) => byte === 0),
    'zeroed, and synced',
  );
  second.write(reopened, { entries: [entry(1, 2)] });
  const third = await new Bench(MemoryDisk.of(second.disk.log.synced)).open();
  t.deepEqual(third.entries, [entry(1, 2)]);
});

test('map log: a big append becomes several batches under one sync and is read back', async (t) => {
  const bench = new Bench();
  const log = await bench.open();
  const text = 'x'.repeat(4000);
  const entries = Array.from({ length: 1500 }, (_, at) => entry(at + 1, 1, text));
  const before = bench.disk.syncs;
  bench.write(log, { entries });
  t.is(bench.disk.syncs - before, 1);
  t.true(log.usedBytes > MAX_LOG_BATCH_BYTES);
  t.is(bench.disk.log.bytes.length % MAP_LOG_STEP_BYTES, 0, 'grown in zero-filled steps');
  const again = await new Bench(MemoryDisk.of(bench.disk.log.synced)).open();
  t.deepEqual(contentsOf(again), contentsOf(log));
});

test('map log: a failed sync is fatal and never repeated', async (t) => {
  const bench = new Bench();
  const log = await bench.open();
  bench.disk.failNextSync = true;
  let done = 0;
  const count = () => {
    done += 1;
  };
  log.append({ entries: [entry(1)] }, count);
  bench.settle();
  const { syncs } = bench.disk;
  log.append({ entries: [entry(2)] }, count);
  bench.settle();
  bench.clock.advance(1000);
  bench.settle();
  t.is(bench.fatal.length, 1);
  t.is(done, 0);
  t.is(bench.disk.syncs, syncs);
});

test('map log: a newer format is refused by name, a damaged header is damage', async (t) => {
  const newer = new Uint8Array(MAP_LOG_STEP_BYTES);
  newer.set(encodeFileHeader(MAP_LOG_VERSION + 1));
  const error = await t.throwsAsync(new Bench(MemoryDisk.of(newer)).open(), {
    code: 'newer-format',
  });
  t.regex(error?.message ?? '', /map\.log has format 3/);
  for (const bytes of [new Uint8Array(0), new Uint8Array(64), encodeFileHeader().slice(0, 63)]) {
    await t.throwsAsync(new Bench(MemoryDisk.of(bytes)).open(), { code: 'corrupt' });
  }
});

test('map log: a crash while the file is made leaves none, and the next start makes it', async (t) => {
  const disk = new MemoryDisk();
  disk.open(`${MAP_LOG_PATH}.new`, { create: true })?.writeSync(new Uint8Array([1, 2, 3]), 0);
  const log = await new Bench(disk).open();
  t.deepEqual(contentsOf(log), { hardState: { term: 0, vote: 0 }, entries: [], commit: 0 });
  t.deepEqual(disk.list(), [MAP_LOG_PATH]);
});

test('map log: gaps, cuts of what is committed and falling commits are our own mistakes', async (t) => {
  const bench = new Bench();
  const log = await bench.open();
  bench.write(log, { entries: [entry(1), entry(2)], commit: 1 });
  const wrong: LogAppend[] = [
    { entries: [entry(4)] },
    { truncateFrom: 1, entries: [] },
    { entries: [], commit: 0 },
    { entries: [], commit: 3 },
  ];
  for (const append of wrong) {
    t.throws(() => log.append(append, () => undefined), { name: 'InvariantError' });
  }
});
