// A trim in a volume that shows layers (S2a): it gives space back, and never takes any to give a part of a region back.

import test from 'ava';
import { KIB } from '../../src/core/units.ts';
import { snapshot } from './layers-world.ts';
import { World } from './world.ts';

const block = (fill: number, length: number): Uint8Array => new Uint8Array(length).fill(fill);

test('a trim of a part of a region that the head does not own leaves it; of whole regions it shows zeroes', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, 256 * KIB)), 'ok');
  snapshot(world);
  world.clock.run(50);
  // From the middle of region 0 to the middle of region 2.
  t.is(world.trim(guest, 32 * KIB, 128 * KIB), 'ok');
  const expected = block(1, 256 * KIB);
  expected.fill(0, 64 * KIB, 128 * KIB);
  t.deepEqual(world.read(guest, 0, 256 * KIB), expected);
  const { head } = world.volume;
  for (const node of world.nodes) {
    const row = node.store.row(head, 0);
    t.like(row, { kind: 'zero', ownLow: 0b10, verCount: 1 });
  }
  // What it owns it trims.
  t.is(world.write(guest, 0, block(2, 64 * KIB)), 'ok');
  t.is(world.trim(guest, 0, 4 * KIB), 'ok');
  expected.fill(2, 0, 64 * KIB).fill(0, 0, 4 * KIB);
  t.deepEqual(world.read(guest, 0, 256 * KIB), expected);
  t.is(world.zero(guest, 130 * KIB, 2 * KIB), 'ok');
  expected.fill(0, 130 * KIB, 132 * KIB);
  t.deepEqual(world.read(guest, 0, 256 * KIB), expected, 'write-zeroes is no hint');
});
