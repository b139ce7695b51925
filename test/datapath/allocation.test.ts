// What a volume says of where it holds data. Method: several real data paths on one fake clock (world.ts).

import test from 'ava';
import type { GenerationId } from '../../src/core/ids.ts';
import { KIB, MIB } from '../../src/core/units.ts';
import { MAX_ALLOCATION_OBJECTS } from '../../src/datapath/allocation.ts';
import { lookUpChanges, type Shown } from '../../src/datapath/changes.ts';
import type { Gateway } from '../../src/datapath/gateway.ts';
import type { VolumeSession } from '../../src/datapath/volume-session.ts';
import { deleteLayer, rollback, snapshot } from './layers-world.ts';
import { outsiderOf, World } from './world.ts';

const block = (length: number) => new Uint8Array(length).fill(7);

/** `kind kib` as `kind<between>kib`, neighbours of one kind as one. */
function joined(extents: readonly string[], between: string): string {
  const runs: { kind: string; kib: number }[] = [];
  for (const extent of extents) {
    const [kind = '', kib] = extent.split(' ');
    const last = runs.at(-1);
    if (last?.kind === kind) last.kib += Number(kib);
    else runs.push({ kind, kib: Number(kib) });
  }
  return runs.map(({ kind, kib }) => `${kind}${between}${kib}`).join(' ');
}

/** As `+bytes` (data) and `-bytes` (nothing); or the code of the error. */
function allocation(world: World, guest: Gateway, offset: number, length: number): string {
  let said = 'waiting';
  guest.allocation(offset, length, (error, extents) => {
    const text = extents.map((one) => `${one.isAllocated ? '+' : '-'} ${one.length / KIB}`);
    said = error?.code ?? joined(text, '');
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

// ------------------------------------------------------------------------------------------ layers

/** As `depth:kib`; `?` where the layer is not known, brackets where it is zeroes. */
function layers(world: World, session: VolumeSession, length: number): string {
  let said = 'waiting';
  session.allocation(0, length, (error, extents) => {
    const text = extents.map(({ length: bytes, depth = '?', isAllocated }) => {
      return `${isAllocated ? depth : `(${depth})`} ${bytes / KIB}`;
    });
    said = error?.code ?? joined(text, ':');
  });
  world.clock.run(5000);
  return said;
}

/** As `x kib` (changed) and `= kib`; changed and zeroes now: `0`. */
function changes(world: World, before: Shown, after: Shown, length = MIB): string {
  let said = 'waiting';
  lookUpChanges(before, after, { offset: 0, length }, (error, runs) => {
    const text = runs.map((one) => {
      const kind = one.isAllocated ? 'x' : '0';
      return `${one.isChanged ? kind : '='} ${one.length / KIB}`;
    });
    said = error?.code ?? joined(text, '');
  });
  world.clock.run(5000);
  return said;
}

function opened(world: World, node: number, generation: GenerationId): VolumeSession {
  world.apply(world.node(node));
  const session = world.node(node).datapath.openSnapshot(generation);
  session.connect();
  return session;
}

function frozen(world: World): GenerationId {
  const generation = snapshot(world);
  world.clock.run(50);
  return generation;
}

test('each region is told with the layer that shows it: own, a snapshot, one below; nobody', (t) => {
  const world = new World();
  const guest = world.attach(1);
  world.write(guest, 0, block(256 * KIB));
  const first = frozen(world);
  world.write(guest, 64 * KIB, block(4 * KIB));
  const second = frozen(world);
  world.write(guest, 128 * KIB, block(4 * KIB));
  world.zero(guest, 192 * KIB, 64 * KIB);
  t.is(layers(world, guest, MIB), '3:64 2:64 1:64 (1):64 (0):768');
  t.is(layers(world, opened(world, 2, second), MIB), '2:64 1:64 2:128 (0):768');
  t.is(layers(world, opened(world, 3, first), MIB), '1:256 (0):768');
  deleteLayer(world, second);
  t.is(layers(world, guest, MIB), '3:64 2:64 1:64 (1):64 (0):768', 'a deleted one still shows');
});

test('what changed since a snapshot: writes and discards in any layer since; between any two, in both directions', (t) => {
  const world = new World();
  const guest = world.attach(1);
  world.write(guest, 0, block(256 * KIB));
  const first = frozen(world);
  world.write(guest, 64 * KIB, block(4 * KIB));
  const second = frozen(world);
  world.trim(guest, 128 * KIB, 64 * KIB);
  world.write(guest, 512 * KIB, block(64 * KIB));
  const [one, two] = [opened(world, 2, first), opened(world, 2, second)];
  t.is(changes(world, one, guest), '=64 x64 064 =320 x64 =448');
  t.is(changes(world, two, guest), '=128 064 =320 x64 =448');
  t.is(changes(world, one, two), '=64 x64 =896');
  t.is(changes(world, two, one), '=64 x64 =896');
  t.is(changes(world, guest, one), '=64 x128 =320 064 =448');
  t.is(changes(world, two, two), '=1024');
  deleteLayer(world, second);
  t.is(changes(world, one, guest), '=64 x64 064 =320 x64 =448', 'also what a deleted layer has');
  t.is(changes(world, two, guest), 'gone', 'of what is deleted nobody knows');
});

test('after a rollback what was undone is no change; what grew is one where it is written', (t) => {
  const world = new World({ sizeBytes: 4 * MIB });
  const guest = world.attach(1);
  world.write(guest, 0, block(128 * KIB));
  const first = frozen(world);
  world.write(guest, 0, block(64 * KIB));
  const second = frozen(world);
  world.write(guest, 512 * KIB, block(64 * KIB));
  rollback(world, first);
  world.clock.run(50);
  world.write(guest, 64 * KIB, block(4 * KIB));
  const [one, two] = [opened(world, 2, first), opened(world, 2, second)];
  t.is(changes(world, one, guest), '=64 x64 =896');
  t.is(changes(world, two, guest), 'x128 =896', 'what is on another branch');
  const cut: Shown = {
    volume: { ...one.volume, sizeBytes: 64 * KIB },
    allocation: (offset, length, done) => one.allocation(offset, length, done),
  };
  t.is(changes(world, cut, guest), '=64 x64 =896', 'beyond the end all data is a change');
});

test('layers and changes come from members in sync only: one that missed a write is not asked', (t) => {
  const world = new World();
  const guest = world.attach(1);
  world.write(guest, 0, block(256 * KIB));
  const first = frozen(world);
  world.kill(world.node(3), 0);
  world.down(world.node(3));
  world.clock.run(1000);
  world.write(guest, 64 * KIB, block(4 * KIB));
  world.restart(world.node(3));
  world.clock.run(1000);
  t.is(world.node(3).store.row(world.volume.head, 0), undefined, 'not caught up yet');
  const other = world.takeOver(3);
  t.is(changes(world, opened(world, 3, first), other), '=64 x64 =896');
  t.is(layers(world, other, MIB), '2:64 1:64 2:128 (0):768');
});
