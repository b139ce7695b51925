// What a volume says of where it holds data. Method: several real data paths on one fake clock (world.ts).

import test from 'ava';
import { KIB, MIB } from '../../src/core/units.ts';
import { MAX_ALLOCATION_OBJECTS } from '../../src/datapath/allocation.ts';
import type { Gateway } from '../../src/datapath/gateway.ts';
import { outsiderOf, World } from './world.ts';

const block = (length: number) => new Uint8Array(length).fill(7);

/** As `+bytes` (data) and `-bytes` (nothing); or the code of the error. */
function allocation(world: World, guest: Gateway, offset: number, length: number): string {
  let said = 'waiting';
  guest.allocation(offset, length, (error, extents) => {
    const text = extents.map((one) => `${one.isAllocated ? '+' : '-'}${one.length / KIB}`);
    said = error?.code ?? text.join(' ');
  });
  world.clock.run(5000);
  return said;
}

test('what was never written is no data; a write makes its regions data; neighbours are one extent', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(allocation(world, guest, 0, 16 * MIB), `-${16 * KIB}`);
  world.write(guest, 100 * KIB, block(40 * KIB));
  world.write(guest, 4 * MIB - 4 * KIB, block(8 * KIB));
  t.is(allocation(world, guest, 0, 8 * MIB), '-64 +128 -3840 +128 -4032');
  t.is(allocation(world, guest, 70 * KIB, 20 * KIB), '+20');
  t.is(allocation(world, guest, 60 * KIB, 8 * KIB), '-4 +4', 'cut to the range');
});

test('an object that was zeroed or trimmed as a whole is no data any more', (t) => {
  const world = new World();
  const guest = world.attach(1);
  world.write(guest, 0, block(8 * MIB));
  world.zero(guest, 0, 4 * MIB);
  world.trim(guest, 4 * MIB, 4 * MIB);
  t.is(allocation(world, guest, 0, 8 * MIB), `-${8 * KIB}`);
});

test('a part that is zeroed or trimmed again is no data where this node has a copy; elsewhere it may be called data', (t) => {
  const world = new World({ copies: 2 });
  const [member, outsider] = [world.members(0)[0] as number, outsiderOf(world)];
  const guest = world.attach(member);
  world.write(guest, 0, block(MIB));
  world.zero(guest, 128 * KIB, 256 * KIB);
  world.trim(guest, 512 * KIB, 96 * KIB);
  t.is(allocation(world, guest, 0, 4 * MIB), '+128 -256 +128 -64 +448 -3072');
  const other = world.takeOver(outsider);
  t.is(allocation(world, other, 0, 4 * MIB), '+1024 -3072');
});

test('a gateway without copies asks those that have them', (t) => {
  const world = new World({ copies: 2 });
  const guest = world.attach(outsiderOf(world));
  world.write(guest, 128 * KIB, block(4 * KIB));
  t.is(allocation(world, guest, 0, 4 * MIB), '-128 +64 -3904');
});

test('beside a live holder everything counts as data, and it sees no difference', (t) => {
  const world = new World();
  const holder = world.attach(1);
  world.write(holder, 0, block(4 * KIB));
  t.is(allocation(world, world.attach(2), 0, MIB), '+1024');
});

test('a fenced session says so', (t) => {
  const world = new World();
  const former = world.attach(1);
  world.write(former, 0, block(4 * KIB));
  world.takeOver(2);
  world.clock.run(5000);
  t.is(allocation(world, former, 0, MIB), 'fenced');
});

test('a long question gets the answer for its beginning', (t) => {
  const world = new World({ sizeBytes: 2048 * MIB });
  const guest = world.attach(1);
  t.is(allocation(world, guest, 0, 2048 * MIB), `-${MAX_ALLOCATION_OBJECTS * 4 * KIB}`);
});
