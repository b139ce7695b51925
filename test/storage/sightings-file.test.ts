// What a node saw of others' disks is kept over power losses (C1.9); what is damaged is not believed.

import test from 'ava';
import type { Incarnation, NodeId } from '../../src/core/ids.ts';
import type { Sighting } from '../../src/core/sightings.ts';
import { MAX_SIGHTINGS, SightingsFile } from '../../src/storage/sightings-file.ts';
import { CrashWorld } from './crash-world.ts';

function seen(journalSeq: number, count = 3): readonly Sighting[] {
  return Array.from({ length: count }, (_, i) => ({
    node: (i + 1) as NodeId,
    incarnation: 7 as Incarnation,
    storeGeneration: 2 ** 47 + i,
    journalSeq: journalSeq + i,
  }));
}

async function save(
  world: CrashWorld,
  file: SightingsFile,
  what: readonly Sighting[],
): Promise<void> {
  let isDone = false;
  file.save(what, () => {
    isDone = true;
  });
  await world.runUntil(() => isDone);
}

const fileOf = (world: CrashWorld) => new SightingsFile(world.disk(), world.trace());

test('sightings file: the newest is there after a power loss, with as many members as a cluster has', async (t) => {
  const world = new CrashWorld(1);
  const file = fileOf(world);
  t.deepEqual(file.load(), []);
  for (const [at, count] of [3, MAX_SIGHTINGS, 4].entries()) {
    await save(world, file, seen(100 * at, count));
    world.crash(0);
    world.restart();
    t.deepEqual(fileOf(world).load(), seen(100 * at, count));
  }
  const again = fileOf(world);
  again.load();
  await save(world, again, seen(1000));
  t.deepEqual(fileOf(world).load(), seen(1000), 'a later process goes on');
});

test('sightings file: each save closes what it opened', async (t) => {
  const world = new CrashWorld(3);
  const disk = world.disk();
  let open = 0;
  const open0 = disk.open.bind(disk);
  disk.open = (path, options) => {
    const file = open0(path, options);
    if (file === undefined) return undefined;
    open += 1;
    const close0 = file.close.bind(file);
    file.close = () => {
      open -= 1;
      close0();
    };
    return file;
  };
  const file = new SightingsFile(disk, world.trace());
  file.load();
  for (const journalSeq of [1, 2, 3]) await save(world, file, seen(journalSeq));
  t.is(open, 0);
});

test('sightings file: a save that was cut short leaves the one before', async (t) => {
  const world = new CrashWorld(2);
  const file = fileOf(world);
  file.load();
  await save(world, file, seen(1));
  file.save(seen(2));
  world.crash(1);
  world.restart();
  const found = fileOf(world).load();
  t.true([1, 2].some((journalSeq) => found[0]?.journalSeq === journalSeq));
});

test('sightings file: with any bit turned the other slot counts, or nothing', async (t) => {
  const world = new CrashWorld(3);
  const file = fileOf(world);
  file.load();
  await save(world, file, seen(1));
  await save(world, file, seen(2));
  const end = 16 + 3 * 24 + 4;
  for (let bit = 0; bit < end * 8; bit += 5) {
    const turn = (byte: number): number => byte ^ (1 << (bit % 8));
    world.damage('sightings', Math.floor(bit / 8), turn);
    t.deepEqual(fileOf(world).load(), seen(1), `bit ${bit}`);
    world.damage('sightings', Math.floor(bit / 8), turn);
  }
  t.deepEqual(fileOf(world).load(), seen(2));
});
