// Scrubs of one partition (PROTOCOL 4.10). Method: damage and differences in the stores of world.ts that no guest reads.

import test from 'ava';
import { partitionKey } from '../../src/core/ids.ts';
import { SECTOR_BYTES } from '../../src/core/units.ts';
import type { Pace, PartitionScrub } from '../../src/datapath/scrub-partition.ts';
import { World } from './world.ts';

const block = (fill: number): Uint8Array => new Uint8Array(SECTOR_BYTES).fill(fill);

function written() {
  const world = new World();
  const guest = world.attach(1);
  for (let i = 0; i < 8; i += 1) world.write(guest, i * SECTOR_BYTES, block(i + 1));
  return { world, guest };
}

/** Runs a scrub of the partition of object 0 on a node; the clock goes on meanwhile. */
async function scrub(world: World, id: number, kind: 'light' | 'deep', pace: Partial<Pace> = {}) {
  const { scrubber } = world.node(id).datapath;
  const spent: number[] = [];
  const whole: Pace = {
    isStopped: () => false,
    spend: async (bytes) => {
      spent.push(bytes);
    },
    ...pace,
  };
  let result: PartitionScrub | undefined;
  const key = partitionKey(world.volume.policy, world.p(0));
  const run = kind === 'deep' ? scrubber.deep(key, whole) : scrubber.light(key, whole);
  run.then((found) => {
    result = found;
  });
  for (let i = 0; i < 3000 && result === undefined; i += 1) {
    world.clock.run(2);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { ...(result as PartitionScrub), spentBytes: spent.reduce((a, b) => a + b, 0) };
}

test('deep: rot that nobody reads is found and healed; every byte with a sum is paid for', async (t) => {
  const { world } = written();
  world.clock.run(1000);
  world.node(2).store.rot(world.volume.head, 0, 6);
  const found = await scrub(world, 2, 'deep');
  t.deepEqual(found, { skipped: 0, badSectors: 1, spentBytes: 8 * SECTOR_BYTES });
  world.clock.run(500);
  t.is((await scrub(world, 2, 'deep')).badSectors, 0);
  t.is(world.node(2).store.suspects.size, 0);
});

test('deep: open objects are left for the next run, a stop ends it between two pieces', async (t) => {
  const { world, guest } = written();
  world.clock.run(1000);
  t.is(world.write(guest, 0, block(9)), 'ok');
  t.is((await scrub(world, 1, 'deep')).skipped, 1);
  world.clock.run(1000);
  let pieces = 0;
  const isStopped = (): boolean => pieces > 2;
  const spend = async (): Promise<void> => {
    pieces += 1;
  };
  await scrub(world, 1, 'deep', { isStopped, spend });
  t.is(pieces, 3);
});

test('light: equal copies are equal; a copy with other bytes of right sums at one version is told, not touched', async (t) => {
  const { world } = written();
  world.clock.run(1000);
  await scrub(world, 1, 'light');
  t.is(world.node(1).datapath.scrubber.differenceCount, 0);
  world.node(2).store.forge(world.volume.head, 0, 3);
  await scrub(world, 1, 'light');
  const [difference] = world.node(1).datapath.scrubber.differences(9);
  t.deepEqual([difference?.what, difference?.peer, difference?.index], ['sums', 2 as never, 0]);
  t.is(world.node(1).store.suspects.size + world.node(2).store.suspects.size, 0);
});

test('light: a copy that fails its own sums loses: it is healed, nothing is told', async (t) => {
  const { world } = written();
  world.clock.run(1000);
  world.node(2).store.forge(world.volume.head, 0, 3);
  world.node(2).store.rot(world.volume.head, 0, 3);
  await scrub(world, 1, 'light');
  world.clock.run(1000);
  t.is(world.node(1).datapath.scrubber.differenceCount, 0);
  const [first, ...others] = world.tables(0);
  for (const other of others) t.is(other, first as string);
});

test('light: a row that one member lacks is told as another version', async (t) => {
  const { world } = written();
  world.clock.run(1000);
  world.node(1).store.drop({ generation: world.volume.head, index: 0 }, () => {});
  world.clock.run(100);
  await scrub(world, 1, 'light');
  t.is(world.node(1).datapath.scrubber.differences(9)[0]?.what, 'version');
});
