// What every Disk promises, as one suite for all implementations. Run it from a test file of yours:
//
//   import { diskContract } from '../ports/disk.contract.ts';
//   diskContract('simulated disk', (t) => ({ disk, settle: () => world.runUntilIdle() }));
//
// `make` gives a fresh, empty disk per test. `settle` is called while a completion is waited for: a simulator runs its
// events there; a real disk needs none. Durability is not part of this suite: only a crash can show it.

import test, { type ExecutionContext } from 'ava';
import { OperatingError } from '../../src/core/errors.ts';
import type { Disk, DiskFile } from '../../src/ports/ports.ts';

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
  writing(name, make);
  folders(name, make);
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

  test(`${name}: space is known and free space is not more than all`, async (t) => {
    const { disk } = await make(t);
    const space = disk.space();
    t.true(space.totalBytes > 0 && space.freeBytes >= 0 && space.freeBytes <= space.totalBytes);
  });
}

function refusals(name: string, make: MakeDisk): void {
  test(`${name}: what can not be done is an operating error`, async (t) => {
    const { disk } = await make(t);
    for (const attempt of [
      () => disk.open('no/such/folder', { create: true }),
      () => disk.rename('absent', 'other'),
    ]) {
      const error = t.throws(attempt);
      t.true(error instanceof OperatingError && error.code === 'io', String(error));
    }
  });
}
