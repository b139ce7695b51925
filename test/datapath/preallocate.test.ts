// Thick space (dog vdi preallocate) on real data paths: every sector has bytes of its own on every copy, what was there
// stays, and a guest that writes meanwhile loses nothing.

import test from 'ava';
import { getSum } from '../../src/core/checksum.ts';
import { MIB, OBJECT_BYTES, SECTOR_BYTES, SECTORS_PER_OBJECT } from '../../src/core/units.ts';
import type { Gateway } from '../../src/datapath/gateway.ts';
import { World } from './world.ts';

const SIZE = 8 * MIB;
const block = (fill: number): Uint8Array => new Uint8Array(SECTOR_BYTES).fill(fill);

/** Sectors with bytes of their own on a node. */
function owned(world: World, id: number): number {
  let count = 0;
  for (let index = 0; index < SIZE / OBJECT_BYTES; index += 1) {
    world.node(id).store.readSums(world.volume.head, index, (sums) => {
      for (let at = 0; at < SECTORS_PER_OBJECT; at += 1)
        if (sums && getSum(sums, at) !== 0) count += 1;
    });
  }
  world.clock.run(10);
  return count;
}

function preallocate(
  world: World,
  gateway: Gateway,
  meanwhile: () => void = () => undefined,
): string {
  let told = 'waiting';
  gateway.preallocate(0, SIZE, (error) => {
    told = error?.code ?? 'ok';
  });
  meanwhile();
  world.clock.run(20_000);
  return told;
}

test('preallocate: all sectors of all copies have bytes; what was there is there', (t) => {
  const world = new World();
  const guest = world.attach(1);
  world.write(guest, 3 * SECTOR_BYTES, block(7));
  world.write(guest, OBJECT_BYTES + SECTOR_BYTES, block(8));
  t.is(owned(world, 2), 2);
  t.is(preallocate(world, guest), 'ok');
  for (const id of [1, 2, 3]) t.is(owned(world, id), SIZE / SECTOR_BYTES, `n${id}`);
  t.deepEqual(world.read(guest, 3 * SECTOR_BYTES, SECTOR_BYTES), block(7));
  t.deepEqual(world.read(guest, OBJECT_BYTES + SECTOR_BYTES, SECTOR_BYTES), block(8));
  t.deepEqual(world.read(guest, 0, SECTOR_BYTES), block(0));
});

test('preallocate: a second time nothing is written; what was discarded is written again', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(preallocate(world, guest), 'ok');
  const versions = () =>
    [0, 1].map((index) => world.node(2).store.row(world.volume.head, index)?.verCount);
  const before = versions();
  t.is(preallocate(world, guest), 'ok');
  t.deepEqual(versions(), before);
  guest.trim(0, 256 * 1024, () => undefined);
  world.clock.run(1000);
  t.is(owned(world, 2), SIZE / SECTOR_BYTES - 64);
  t.is(preallocate(world, guest), 'ok');
  t.is(owned(world, 2), SIZE / SECTOR_BYTES);
});

test('preallocate: a write of the guest that is under way, or comes meanwhile, is never undone', (t) => {
  const world = new World();
  const guest = world.attach(1);
  for (let at = 8; at < 16; at += 1) world.write(guest, at * 128 * SECTOR_BYTES, block(1));
  const ended: string[] = [];
  const write = (at: number, fill: number): void => {
    guest.write(at * 128 * SECTOR_BYTES, block(fill), (error) => ended.push(error?.code ?? 'ok'));
  };
  // Under way: they have their ranges, and nothing of them is on any copy yet.
  for (let at = 0; at < 8; at += 1) write(at, 2);
  const told = preallocate(world, guest, () => {
    for (let at = 8; at < 16; at += 1) write(at, 2);
  });
  t.is(told, 'ok');
  t.deepEqual(ended, new Array(16).fill('ok'));
  for (let at = 0; at < 16; at += 1) {
    t.deepEqual(world.read(guest, at * 128 * SECTOR_BYTES, SECTOR_BYTES), block(2), `${at}`);
  }
  for (const id of [1, 2, 3]) t.is(owned(world, id), SIZE / SECTOR_BYTES, `n${id}`);
});
