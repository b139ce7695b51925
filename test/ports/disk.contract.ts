// What every Disk promises, as one suite for all implementations. Run it from a test file of yours:
//
//   import { diskContract } from '../ports/disk.contract.ts';
//   diskContract('simulated disk', (t) => ({ disk, settle: () => world.runUntilIdle() }));
//
// `make` gives a fresh, empty disk per test. `settle` is called while a completion is waited for: a simulator runs its
// events there; a real disk needs none. Durability is not part of this suite: only a crash can show it. What a full disk
// does is `fullDiskContract`: not every machine can make one.

import test, { type ExecutionContext } from 'ava';
import { OperatingError } from '../../src/core/errors.ts';
import type { Disk, DiskFile } from '../../src/ports/ports.ts';

const PAGE_BYTES = 4096;

export interface DiskUnderTest {
  readonly disk: Disk;
  /** Lets pending completions arrive; absent where they arrive by themselves. */
  readonly settle?: () => void | Promise<void>;
}

export type MakeDisk = (t: ExecutionContext) => DiskUnderTest | Promise<DiskUnderTest>;

async function completed<T>(
  under: DiskUnderTest,
  start: (done: (value: T) => void) => void,
): Promise<T> {
  const waiting = new Promise<T>((resolve) => {
    start(resolve);
  });
  await under.settle?.();
  return waiting;
}

function opened(disk: Disk, path: string): DiskFile {
  const file = disk.open(path, { create: true });
  if (file === undefined) throw new TypeError('create gives a file');
  return file;
}

function bytesOf(...values: number[]): Uint8Array {
  return Uint8Array.from(values);
}

/** Declares the whole suite for one implementation. */
export function diskContract(name: string, make: MakeDisk): void {
  reading(name, make);
  readingTogether(name, make);
  writing(name, make);
  punching(name, make);
  folders(name, make);
  names(name, make);
  refusals(name, make);
}

function reading(name: string, make: MakeDisk): void {
  test(`${name}: what was written is read, by either way of reading`, async (t) => {
    const under = await make(t);
    const file = opened(under.disk, 'a');
    file.writeSync(bytesOf(1, 2, 3, 4, 5), 10);
    const target = new Uint8Array(8).fill(9);
    t.is(file.readSync(target, 2, 3, 11), 3);
    t.deepEqual([...target], [9, 9, 2, 3, 4, 9, 9, 9]);
    const other = new Uint8Array(5);
    const outcome = await completed<[Error | undefined, number]>(under, (done) => {
      file.read(other, 0, 5, 10, (error, count) => done([error, count]));
    });
    t.deepEqual(outcome, [undefined, 5]);
    t.deepEqual([...other], [1, 2, 3, 4, 5]);
    file.close();
  });

  test(`${name}: a read at the end is short, behind the end empty, a gap reads as zeroes`, async (t) => {
    const under = await make(t);
    const file = opened(under.disk, 'a');
    file.writeSync(bytesOf(7), 5000);
    const target = new Uint8Array(4).fill(9);
    t.is(file.readSync(target, 0, 4, 4998), 3);
    t.deepEqual([...target], [0, 0, 7, 9]);
    t.is(file.readSync(target, 0, 4, 6000), 0);
    const late = await completed<[Error | undefined, number]>(under, (done) => {
      file.read(target, 0, 4, 6000, (error, count) => done([error, count]));
    });
    t.deepEqual(late, [undefined, 0]);
    file.close();
  });
}

function readingTogether(name: string, make: MakeDisk): void {
  test(`${name}: reads in flight do not disturb each other, nor does closing before they are done`, async (t) => {
    const under = await make(t);
    const file = opened(under.disk, 'a');
    const bytes = Uint8Array.from({ length: 8192 }, (_, i) => i % 251);
    file.writeSync(bytes, 0);
    const places = [0, 1, 4095, 4096, 5000, 8191];
    const targets = await completed<Uint8Array[]>(under, (done) => {
      const targets = places.map(() => new Uint8Array(100));
      let left = places.length;
      for (const [i, place] of places.entries()) {
        file.read(targets[i] as Uint8Array, 0, 100, place, () => {
          left -= 1;
          if (left === 0) done(targets);
        });
      }
    });
    for (const [i, place] of places.entries()) {
      const expected = new Uint8Array(100);
      expected.set(bytes.subarray(place, place + 100));
      t.deepEqual(targets[i], expected, `at ${place}`);
    }
    file.close();
    file.close();
  });

  test(`${name}: two handles of one file see the same bytes at once`, async (t) => {
    const { disk } = await make(t);
    const one = opened(disk, 'a');
    const two = opened(disk, 'a');
    one.writeSync(bytesOf(1, 2, 3), 0);
    const target = new Uint8Array(3);
    t.is(two.readSync(target, 0, 3, 0), 3);
    t.deepEqual([...target], [1, 2, 3]);
    two.truncateSync(1);
    t.is(one.sizeSync(), 1);
    one.close();
    two.writeSync(bytesOf(9), 0);
    two.close();
  });
}

function writing(name: string, make: MakeDisk): void {
  test(`${name}: writev writes many pieces one after the other`, async (t) => {
    const { disk } = await make(t);
    const file = opened(disk, 'a');
    const pieces = Array.from({ length: 3000 }, (_, i) => bytesOf(i % 251, (i >> 8) % 251));
    file.writevSync(pieces, 4);
    const target = new Uint8Array(6000);
    t.is(file.readSync(target, 0, 6000, 4), 6000);
    t.deepEqual(Buffer.from(target), Buffer.concat(pieces));
    file.writevSync([], 0);
    t.is(file.sizeSync(), 6004);
    file.close();
  });

  test(`${name}: a size follows writes and truncation; what grows by truncation is zero`, async (t) => {
    const { disk } = await make(t);
    const file = opened(disk, 'a');
    t.is(file.sizeSync(), 0);
    file.writeSync(bytesOf(1, 2, 3), 4096);
    t.is(file.sizeSync(), 4099);
    file.truncateSync(4097);
    file.truncateSync(4099);
    const target = new Uint8Array(3);
    file.readSync(target, 0, 3, 4096);
    t.deepEqual([...target], [1, 0, 0]);
    file.close();
  });

  test(`${name}: sync completes without an error and later than the call`, async (t) => {
    const under = await make(t);
    const file = opened(under.disk, 'a');
    file.writeSync(bytesOf(1), 0);
    let returned = false;
    const error = await completed<Error | undefined>(under, (done) => {
      file.sync((failed) => done(returned ? failed : new TypeError('called too early')));
      returned = true;
    });
    t.is(error, undefined);
    file.close();
  });

  test(`${name}: bytes are taken at the call, a later change of the buffer is not seen`, async (t) => {
    const { disk } = await make(t);
    const file = opened(disk, 'a');
    const bytes = bytesOf(1, 2);
    file.writeSync(bytes, 0);
    bytes.fill(9);
    const target = new Uint8Array(2);
    file.readSync(target, 0, 2, 0);
    t.deepEqual([...target], [1, 2]);
    file.close();
  });
}

/** The first and the last byte of each page. */
function edges(file: DiskFile, pages: number): number[] {
  const bytes = new Uint8Array(pages * PAGE_BYTES);
  file.readSync(bytes, 0, bytes.length, 0);
  return Array.from({ length: 2 * pages }, (_, i) => {
    return bytes[Math.floor(i / 2) * PAGE_BYTES + (i % 2) * (PAGE_BYTES - 1)] as number;
  });
}

function punching(name: string, make: MakeDisk): void {
  test(`${name}: a hole reads as zeroes, its neighbours and the size stay; it can be filled again`, async (t) => {
    const { disk } = await make(t);
    const file = opened(disk, 'a');
    for (let i = 0; i < 4; i += 1)
      file.writeSync(new Uint8Array(PAGE_BYTES).fill(i + 1), i * PAGE_BYTES);
    if (!file.punch(PAGE_BYTES, 2 * PAGE_BYTES)) {
      // A wish: then nothing was changed.
      t.deepEqual(edges(file, 4), [1, 1, 2, 2, 3, 3, 4, 4]);
      return;
    }
    t.deepEqual(edges(file, 4), [1, 1, 0, 0, 0, 0, 4, 4]);
    t.is(file.sizeSync(), 4 * PAGE_BYTES);
    file.writeSync(new Uint8Array(PAGE_BYTES).fill(7), 2 * PAGE_BYTES);
    t.deepEqual(edges(file, 4), [1, 1, 0, 0, 7, 7, 4, 4]);
    file.close();
  });

  test(`${name}: a hole at and behind the end neither fails nor makes the file longer`, async (t) => {
    const { disk } = await make(t);
    const file = opened(disk, 'a');
    file.writeSync(new Uint8Array(PAGE_BYTES + 10).fill(1), 0);
    const isMade = file.punch(PAGE_BYTES, 8 * PAGE_BYTES);
    t.is(file.sizeSync(), PAGE_BYTES + 10);
    const target = new Uint8Array(20);
    t.is(file.readSync(target, 0, 20, PAGE_BYTES - 10), 20);
    t.is(target[0], 1);
    t.is(target[15], isMade ? 0 : 1);
    t.false(file.punch(0, 0), 'nothing was given back');
    file.close();
  });
}

/** What a disk does that has no room left: `make` gives one with less than `capacityBytes` of it. */
export function fullDiskContract(name: string, capacityBytes: number, make: MakeDisk): void {
  test(`${name}: a full disk refuses with no-space, keeps what it has, and takes more after a removal`, async (t) => {
    const { disk } = await make(t);
    const piece = new Uint8Array(64 * 1024).fill(5);
    const file = opened(disk, 'a');
    let taken = 0;
    const error = t.throws(() => {
      for (; taken < 2 * capacityBytes; taken += piece.length) file.writeSync(piece, taken);
    });
    t.true(error instanceof OperatingError && error.code === 'no-space', String(error));
    t.true(taken <= capacityBytes && disk.space().freeBytes < piece.length);
    const target = new Uint8Array(piece.length);
    t.is(file.readSync(target, 0, target.length, 0), target.length);
    t.deepEqual(target, piece, 'what was taken is there');
    file.writeSync(new Uint8Array(PAGE_BYTES).fill(6), 0);
    const other = opened(disk, 'b');
    t.throws(() => other.writevSync([piece, piece], 0));
    file.close();
    disk.remove('a');
    other.writeSync(piece, 0);
    t.true(disk.space().freeBytes > 0);
    other.close();
  });

  test(`${name}: a hole in a full disk is room again`, async (t) => {
    const { disk } = await make(t);
    const piece = new Uint8Array(64 * 1024).fill(5);
    const file = opened(disk, 'a');
    let taken = 0;
    t.throws(() => {
      for (; taken < 2 * capacityBytes; taken += piece.length) file.writeSync(piece, taken);
    });
    if (!file.punch(0, 4 * piece.length)) return t.pass('no holes here');
    t.true(disk.space().freeBytes >= 3 * piece.length);
    file.writeSync(piece, taken);
    file.close();
    return undefined;
  });
}

function folders(name: string, make: MakeDisk): void {
  test(`${name}: open without create finds only what exists`, async (t) => {
    const { disk } = await make(t);
    t.is(disk.open('absent', { create: false }), undefined);
    opened(disk, 'present').close();
    const file = disk.open('present', { create: false });
    t.not(file, undefined);
    file?.close();
  });

  test(`${name}: a folder lists its names by code unit, an absent one is empty`, async (t) => {
    const under = await make(t);
    const { disk } = under;
    disk.makeFolder('x/y');
    disk.makeFolder('x/y');
    for (const child of ['b', 'a', 'C', 'a1']) opened(disk, `x/y/${child}`).close();
    t.deepEqual(disk.list('x/y'), ['C', 'a', 'a1', 'b']);
    t.deepEqual(disk.list('x'), ['y']);
    t.deepEqual(disk.list('nowhere'), []);
    const error = await completed<Error | undefined>(under, (done) => disk.syncFolder('x/y', done));
    t.is(error, undefined);
  });

  test(`${name}: rename replaces; an open file keeps its content; remove forgives absence`, async (t) => {
    const { disk } = await make(t);
    disk.makeFolder('f');
    const old = opened(disk, 'f/to');
    old.writeSync(bytesOf(1), 0);
    const next = opened(disk, 'from');
    next.writeSync(bytesOf(2), 0);
    disk.rename('from', 'f/to');
    t.deepEqual(disk.list('f'), ['to']);
    t.is(disk.open('from', { create: false }), undefined);
    const target = new Uint8Array(1);
    old.readSync(target, 0, 1, 0);
    t.is(target[0], 1, 'the replaced file lives as long as it is open');
    next.writeSync(bytesOf(3), 0);
    const again = opened(disk, 'f/to');
    again.readSync(target, 0, 1, 0);
    t.is(target[0], 3, 'the renamed file is the same file');
    for (const file of [old, next, again]) file.close();
    disk.remove('f/to');
    disk.remove('f/to');
    t.deepEqual(disk.list('f'), []);
  });
}

function names(name: string, make: MakeDisk): void {
  test(`${name}: a rename in place, over itself and between folders keeps the content`, async (t) => {
    const under = await make(t);
    const { disk } = under;
    disk.makeFolder('one/deep');
    disk.makeFolder('two');
    const file = opened(disk, 'one/deep/a');
    file.writeSync(bytesOf(1, 2), 0);
    disk.rename('one/deep/a', 'one/deep/a');
    disk.rename('one/deep/a', 'two/b');
    t.deepEqual([disk.list('one/deep'), disk.list('two')], [[], ['b']]);
    const target = new Uint8Array(2);
    file.readSync(target, 0, 2, 0);
    t.deepEqual([...target], [1, 2]);
    for (const folder of ['one/deep', 'two']) {
      const error = await completed<Error | undefined>(under, (done) =>
        disk.syncFolder(folder, done),
      );
      t.is(error, undefined, folder);
    }
    file.close();
  });

  test(`${name}: a removed file lives on in its open handle; its name is free for another`, async (t) => {
    const { disk } = await make(t);
    const old = opened(disk, 'a');
    old.writeSync(bytesOf(1), 0);
    disk.remove('a');
    t.is(disk.open('a', { create: false }), undefined);
    const next = opened(disk, 'a');
    t.is(next.sizeSync(), 0, 'a new file is empty');
    old.writeSync(bytesOf(2), 1);
    const target = new Uint8Array(2);
    t.is(old.readSync(target, 0, 2, 0), 2);
    t.deepEqual([...target], [1, 2]);
    t.is(next.sizeSync(), 0);
    for (const file of [old, next]) file.close();
    disk.remove('no/such/folder/a');
  });

  test(`${name}: create opens what exists and leaves it as it is`, async (t) => {
    const { disk } = await make(t);
    const file = opened(disk, 'a');
    file.writeSync(bytesOf(1, 2, 3), 0);
    file.close();
    const again = opened(disk, 'a');
    t.is(again.sizeSync(), 3);
    again.close();
  });

  test(`${name}: space is known and free space is not more than all`, async (t) => {
    const { disk } = await make(t);
    const space = disk.space();
    t.true(space.totalBytes > 0 && space.freeBytes >= 0 && space.freeBytes <= space.totalBytes);
  });
}

function refusals(name: string, make: MakeDisk): void {
  test(`${name}: what can not be done is an operating error`, async (t) => {
    const under = await make(t);
    const { disk } = under;
    disk.makeFolder('folder');
    opened(disk, 'file').close();
    for (const attempt of [
      () => disk.open('no/such/folder', { create: true }),
      () => disk.rename('absent', 'other'),
      () => disk.rename('file', 'no/such/folder'),
      () => disk.open('folder', { create: false }),
      () => disk.open('folder', { create: true }),
      () => disk.makeFolder('file'),
      () => disk.makeFolder('file/below'),
    ]) {
      const error = t.throws(attempt);
      t.true(error instanceof OperatingError && error.code === 'io', String(error));
    }
    const failed = await completed<Error | undefined>(under, (done) =>
      disk.syncFolder('absent', done),
    );
    t.true(failed instanceof OperatingError && failed.code === 'io', String(failed));
  });
}
