// Opening a volume of 4 TiB that lies below a thousand snapshots, and a clone of it: what a gateway does until its guest's
// first read is answered is bounded by its partitions, not by its objects or layers. CPU time of all nodes together.

import test from 'ava';
import { TIB } from '../../src/core/units.ts';
import { snapshot } from './layers-world.ts';
import { World } from './world.ts';

const DEEP = 1000;
const OPEN_MS = 1000;

test('opening a deep volume costs far less than a second', (t) => {
  const world = new World({ sizeBytes: 4 * TIB });
  const first = world.attach(1);
  t.is(world.write(first, 0, new Uint8Array(65536).fill(7)), 'ok');
  first.end();
  world.clock.run(1000);
  for (let i = 0; i < DEEP; i += 1) snapshot(world);
  world.clock.run(50);
  const from = process.cpuUsage();
  const guest = world.attach(2);
  t.deepEqual(world.read(guest, 4096, 4096), new Uint8Array(4096).fill(7), 'through all layers');
  t.is(world.write(guest, 4 * TIB - 4096, new Uint8Array(4096).fill(1)), 'ok');
  const { user, system } = process.cpuUsage(from);
  const ms = (user + system) / 1000;
  t.log(`${ms.toFixed(0)} ms`);
  t.true(ms < OPEN_MS, `${ms} ms`);
});
