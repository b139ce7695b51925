// Each fault that a stage can ask of a simulated disk does what it says, to the named file, and nothing else.

import test, { type ExecutionContext } from 'ava';
import { SimDisk } from '../../sim/sim-disk.ts';
import { SimDiskPort } from '../../sim/sim-disk-port.ts';
import { SimProcess } from '../../sim/sim-process.ts';
import { World } from '../../sim/world.ts';
import { OperatingError } from '../../src/core/errors.ts';
import type { DiskFile } from '../../src/ports/ports.ts';

const PAGE = 4096;

function machine(seed = 1) {
  const world = new World(seed);
  const disk = new SimDisk(world, 'node-1');
  const port = new SimDiskPort(disk, new SimProcess(world, 'node-1'));
  return { world, disk, port };
}

/** A file of pages, each filled with its number from 1 on. */
function filled(port: SimDiskPort, path: string, pages: number): DiskFile {
  const file = port.open(path, { create: true });
  if (file === undefined) throw new TypeError('create gives a file');
  for (let i = 0; i < pages; i += 1) file.writeSync(new Uint8Array(PAGE).fill(i + 1), i * PAGE);
  return file;
}

function byteAt(file: DiskFile | undefined, position: number): number | undefined {
  const byte = new Uint8Array(1);
  return file?.readSync(byte, 0, 1, position) === 1 ? byte[0] : undefined;
}

function isIo(t: ExecutionContext, call: () => unknown): void {
  const error = t.throws(call);
  t.true(error instanceof OperatingError && error.code === 'io', String(error));
}

test('disk faults: an unreadable page fails both ways of reading until it is written as a whole', async (t) => {
  const { world, disk, port } = machine();
  const file = filled(port, 'a', 3);
  disk.makeUnreadable('a', PAGE + 17);
  isIo(t, () => byteAt(file, PAGE));
  t.is(byteAt(file, 0), 1);
  t.is(byteAt(file, 2 * PAGE), 3);
  let outcome: string | undefined;
  file.read(new Uint8Array(3 * PAGE), 0, 3 * PAGE, 0, (error, count) => {
    outcome = `${error instanceof OperatingError ? error.code : 'none'} ${count}`;
  });
  await world.run({ seconds: 1 });
  t.is(outcome, 'io 0');
  isIo(t, () => file.writeSync(Uint8Array.of(9), PAGE));
  file.writeSync(new Uint8Array(PAGE).fill(9), PAGE);
  t.is(byteAt(file, PAGE + 17), 9);
});

test('disk faults: a misdirected write leaves its own place as it was and spoils another page, once', (t) => {
  for (let seed = 0; seed < 20; seed += 1) {
    const { disk, port } = machine(seed);
    const file = filled(port, 'a', 4);
    disk.misdirectWrite((path) => path === 'a');
    filled(port, 'b', 2);
    file.writeSync(new Uint8Array(PAGE).fill(77), PAGE);
    const bytes = [0, 1, 2, 3].map((page) => byteAt(file, page * PAGE));
    t.is(bytes[1], 2, `seed ${seed}`);
    t.is(bytes.filter((byte) => byte === 77).length, 1, `seed ${seed}: ${bytes.join()}`);
    file.writeSync(new Uint8Array(PAGE).fill(78), PAGE);
    t.is(byteAt(file, PAGE), 78);
  }
});

test('disk faults: a misdirected write may hit another file, a misdirected read may come from one', (t) => {
  const { disk, port } = machine();
  const a = filled(port, 'a', 2);
  const b = filled(port, 'b', 2);
  disk.misdirectWrite((path) => path === 'a', 'b');
  a.writeSync(Uint8Array.of(77), 0);
  t.deepEqual([byteAt(a, 0), byteAt(b, 0)], [1, 77]);
  disk.misdirectRead((path) => path === 'a', 'b');
  t.deepEqual([byteAt(a, 0), byteAt(a, 0)], [77, 1]);
  disk.misdirectRead((path) => path === 'a');
  t.deepEqual([byteAt(a, 0), byteAt(a, 0)], [2, 1]);
});

test('disk faults: rot turns one bit, in the cache and on the platter', (t) => {
  const { disk, port } = machine();
  const file = filled(port, 'a', 1);
  file.sync(() => {});
  disk.rot('a', 100);
  const turned = (byteAt(file, 100) ?? 0) ^ 1;
  t.true(turned !== 0 && (turned & (turned - 1)) === 0);
  t.is(byteAt(file, 99), 1);
});

test('disk faults: failing reads, failing writes and a read-only file system say io, and can be cured', async (t) => {
  const { world, disk, port } = machine();
  const file = filled(port, 'a', 1);
  disk.failsReads = true;
  isIo(t, () => byteAt(file, 0));
  disk.failsReads = false;
  disk.failsWrites = true;
  isIo(t, () => file.writeSync(Uint8Array.of(2), 0));
  disk.failsWrites = false;
  disk.isReadOnly = true;
  for (const change of [
    () => file.writeSync(Uint8Array.of(2), 0),
    () => file.truncateSync(0),
    () => port.open('new', { create: true }),
    () => port.rename('a', 'b'),
    () => port.remove('a'),
    () => port.makeFolder('f'),
  ])
    isIo(t, change);
  const failures: (Error | undefined)[] = [];
  file.sync((error) => failures.push(error));
  port.syncFolder('', (error) => failures.push(error));
  await world.run({ seconds: 1 });
  t.false(file.punch(0, PAGE));
  t.is(failures.filter((error) => error instanceof OperatingError).length, 2);
  t.is(byteAt(file, 0), 1);
  disk.isReadOnly = false;
  file.writeSync(Uint8Array.of(2), 0);
  t.is(byteAt(file, 0), 2);
});

test('disk faults: a folder that was moved away hides its names; open files go on', (t) => {
  const { disk, port } = machine();
  const file = filled(port, 'a', 1);
  disk.isMovedAway = true;
  t.is(port.open('a', { create: false }), undefined);
  t.deepEqual(port.list(''), []);
  for (const call of [
    () => port.open('a', { create: true }),
    () => port.rename('a', 'b'),
    () => port.makeFolder('f'),
    () => port.space(),
  ])
    isIo(t, call);
  file.writeSync(Uint8Array.of(5), 0);
  disk.isMovedAway = false;
  t.is(byteAt(port.open('a', { create: false }), 0), 5);
});

test('disk faults: a lost entry is gone for good; a lost rename gives back what both names were', (t) => {
  const { disk, port } = machine();
  filled(port, 'a', 1);
  const other = filled(port, 'b', 1);
  other.writeSync(Uint8Array.of(50), 0);
  port.rename('a', 'b');
  disk.applyDurably(disk.changesOf(disk.folder('')!));
  t.false(disk.loseRename('a'));
  t.true(disk.loseRename('b'));
  t.is(byteAt(port.open('a', { create: false }), 0), 1);
  t.is(byteAt(port.open('b', { create: false }), 0), 50);
  disk.loseEntry('b');
  disk.losePower();
  t.deepEqual(port.list(''), ['a']);
});

test('disk faults: an image brings the disk back to its moment, as often as wanted', (t) => {
  const { disk, port } = machine();
  port.makeFolder('f');
  filled(port, 'f/a', 2);
  const image = disk.image();
  const used = disk.usedBytes;
  for (let round = 0; round < 2; round += 1) {
    const file = port.open('f/a', { create: false });
    file?.writeSync(Uint8Array.of(99), 0);
    filled(port, 'f/b', 3);
    disk.restore(image);
    disk.losePower();
    t.deepEqual(disk.filePaths(), ['f/a']);
    t.is(byteAt(port.open('f/a', { create: false }), 0), 1);
    t.is(disk.usedBytes, used);
  }
  disk.wipe();
  t.deepEqual([disk.filePaths().length, disk.usedBytes], [0, 0]);
});

test('disk faults: a power loss may leave a form that a sector had between two syncs', async (t) => {
  const seen = new Set<number | undefined>();
  for (let seed = 0; seed < 200; seed += 1) {
    const { world, disk, port } = machine(seed);
    const file = filled(port, 'a', 1);
    file.sync(() => {});
    port.syncFolder('', () => {});
    await world.run({ seconds: 1 });
    file.writeSync(Uint8Array.of(2), 0);
    file.writeSync(Uint8Array.of(3), 0);
    disk.losePower();
    seen.add(byteAt(port.open('a', { create: false }), 0));
  }
  for (const form of [1, 2, 3]) t.true(seen.has(form), `form ${form}`);
});

test('disk faults: slowness stretches every access', async (t) => {
  const { world, disk, port } = machine();
  const file = filled(port, 'a', 1);
  const timed = async (): Promise<number> => {
    const startMs = world.nowMs;
    let isDone = false;
    file.sync(() => {
      isDone = true;
    });
    await world.runUntil(() => isDone, 1e6);
    return world.nowMs - startMs;
  };
  const usual = await timed();
  disk.slowness = 1000;
  t.true((await timed()) > 10 * usual);
});
