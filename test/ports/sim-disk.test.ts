// The simulated disk keeps the contract of all disks, and loses in a power cut exactly what a disk may lose.

import test from 'ava';
import { SimDisk } from '../../sim/sim-disk.ts';
import { SimDiskPort } from '../../sim/sim-disk-port.ts';
import { SimProcess } from '../../sim/sim-process.ts';
import { World } from '../../sim/world.ts';
import type { DiskFile } from '../../src/ports/ports.ts';
import { diskContract, fullDiskContract } from './disk.contract.ts';

function machine(seed: number) {
  const world = new World(seed);
  const disk = new SimDisk(world, 'node-1');
  const start = () => {
    const process = new SimProcess(world, 'node-1');
    return { process, port: new SimDiskPort(disk, process) };
  };
  return { world, disk, start };
}

function created(port: SimDiskPort, path: string): DiskFile {
  const file = port.open(path, { create: true });
  if (file === undefined) throw new TypeError('create gives a file');
  return file;
}

diskContract('simulated disk', () => {
  const { world, start } = machine(1);
  return { disk: start().port, settle: () => world.run({ seconds: 1 }) };
});

const SMALL_BYTES = 1024 * 1024;

fullDiskContract('simulated disk', SMALL_BYTES, () => {
  const { disk, start } = machine(1);
  disk.capacityBytes = SMALL_BYTES;
  return { disk: start().port };
});

test('simulated disk: synced bytes of a synced name survive every power cut', async (t) => {
  for (let seed = 0; seed < 50; seed += 1) {
    const { world, disk, start } = machine(seed);
    const { port } = start();
    const file = created(port, 'a');
    file.writeSync(new Uint8Array(9000).fill(7), 100);
    file.sync(() => {});
    port.syncFolder('', () => {});
    await world.run({ seconds: 1 });
    file.writeSync(new Uint8Array(4096).fill(8), 4096);
    disk.losePower();
    const read = new Uint8Array(4096);
    t.is(
      start().port.open('a', { create: false })?.readSync(read, 0, 4096, 0),
      4096,
      `seed ${seed}`,
    );
    t.true(read.subarray(100).every((byte) => byte === 7));
  }
});

test('simulated disk: unsynced bytes are lost, kept, or torn between sectors of 512 bytes', (t) => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 200; seed += 1) {
    const { disk, start } = machine(seed);
    const file = created(start().port, 'a');
    file.writeSync(new Uint8Array(4096).fill(5), 0);
    disk.losePower();
    const after = start().port.open('a', { create: false });
    if (after === undefined) {
      seen.add('no name');
      continue;
    }
    const read = new Uint8Array(4096);
    after.readSync(read, 0, 4096, 0);
    const sectors = Array.from({ length: 8 }, (_, i) => read.subarray(i * 512, i * 512 + 512));
    t.true(
      sectors.every((sector) => sector.every((byte) => byte === sector[0])),
      'torn inside',
    );
    const kept = sectors.filter((sector) => sector[0] === 5).length;
    seen.add(kept === 0 ? 'lost' : kept === 8 ? 'kept' : 'torn');
  }
  t.deepEqual([...seen].sort(), ['kept', 'lost', 'no name', 'torn']);
});

test('simulated disk: a sync covers what was written before its call, not what came later', async (t) => {
  for (let seed = 0; seed < 50; seed += 1) {
    const { world, disk, start } = machine(seed);
    const { port } = start();
    const file = created(port, 'a');
    port.syncFolder('', () => {});
    file.writeSync(Uint8Array.of(1), 0);
    let isDone = false;
    file.sync(() => {
      isDone = true;
    });
    file.writeSync(Uint8Array.of(2), 0);
    await world.runUntil(() => isDone, 1000);
    await world.run({ seconds: 1 });
    disk.losePower();
    const read = new Uint8Array(1);
    start().port.open('a', { create: false })?.readSync(read, 0, 1, 0);
    t.true(read[0] === 1 || read[0] === 2, `seed ${seed} read ${read[0]}`);
  }
});

test('simulated disk: a rename is whole after a power cut, never both names lost', (t) => {
  for (let seed = 0; seed < 100; seed += 1) {
    const { disk, start } = machine(seed);
    const { port } = start();
    created(port, 'a');
    disk.applyDurably(disk.changesOf(disk.folder('')!));
    port.rename('a', 'b');
    disk.losePower();
    t.is(start().port.list('').length, 1, `seed ${seed}`);
  }
});

test('simulated disk: a dead process changes nothing and hears nothing', async (t) => {
  const { world, start } = machine(1);
  const { port, process } = start();
  const file = created(port, 'a');
  let heard = 0;
  file.sync(() => {
    heard += 1;
  });
  process.end();
  file.writeSync(Uint8Array.of(1), 0);
  port.remove('a');
  await world.run({ seconds: 1 });
  t.is(heard, 0);
  t.is(start().port.open('a', { create: false })?.sizeSync(), 0);
});

test('simulated disk: a full disk refuses with no-space, removal gives the space back', (t) => {
  const { disk, start } = machine(1);
  const { port } = start();
  disk.capacityBytes = 8192;
  const file = created(port, 'a');
  file.writeSync(new Uint8Array(8192).fill(1), 0);
  t.is(t.throws(() => file.writeSync(Uint8Array.of(1), 8192))?.message, 'disk of node-1 is full');
  port.remove('a');
  t.is(port.space().freeBytes, 8192);
});

test('simulated disk: what happened to a name earlier does not undo a rename that is durable', async (t) => {
  for (let seed = 0; seed < 30; seed += 1) {
    const { world, disk, start } = machine(seed);
    const { port } = start();
    port.makeFolder('objects');
    port.makeFolder('incoming');
    port.syncFolder('', () => {});
    await world.run({ seconds: 1 });
    created(port, 'objects/a').writeSync(new Uint8Array(10).fill(1), 0);
    const copy = created(port, 'incoming/b');
    copy.writeSync(new Uint8Array(10).fill(2), 0);
    copy.sync(() => {});
    port.syncFolder('incoming', () => {});
    await world.run({ seconds: 1 });
    port.rename('incoming/b', 'objects/a');
    port.syncFolder('incoming', () => {});
    port.syncFolder('objects', () => {});
    await world.run({ seconds: 1 });
    disk.losePower();
    const read = new Uint8Array(10);
    start().port.open('objects/a', { create: false })?.readSync(read, 0, 10, 0);
    t.is(read[0], 2, `seed ${seed}`);
  }
});
