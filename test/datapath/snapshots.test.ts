// Frozen generations in the data path (S2, S3): what was acknowledged before is in the snapshot, what comes after goes to
// the new head, whatever breaks in between; copies of a layer are equal everywhere.

import test, { type ExecutionContext } from 'ava';
import type { ChangedRun } from '../../src/core/changed-regions.ts';
import type { GenerationId } from '../../src/core/ids.ts';
import { KIB } from '../../src/core/units.ts';
import { lookUpChanges } from '../../src/datapath/changes.ts';
import type { VolumeSession } from '../../src/datapath/volume-session.ts';
import { OP, STATUS } from '../../src/wire/frame.ts';
import { deleteLayer, snapshot } from './layers-world.ts';
import { World, type WorldNode } from './world.ts';

/** Steps of a workload that a node may take before it learns of an entry: 20 ms, at no more than 5 ms each. */
const LEARNING_STEPS = 40;

const block = (fill: number, length = 4096): Uint8Array => new Uint8Array(length).fill(fill);

/** What a session shows; the code of its error, or 'waiting'. */
function readOf(world: World, session: VolumeSession, offset: number, length: number) {
  const target = new Uint8Array(length);
  let outcome = '';
  session.read(offset, length, target, 0, (error) => {
    outcome = error?.code ?? 'ok';
  });
  world.clock.until(() => outcome !== '', 20_000);
  return outcome === 'ok' ? target : outcome || 'waiting';
}

function opened(world: World, node: number, generation: GenerationId): VolumeSession {
  // Its node has to know of it first.
  world.apply(world.node(node));
  const session = world.node(node).datapath.openSnapshot(generation);
  session.connect();
  return session;
}

/** A snapshot of which all nodes know, as after the drain of its holder. */
function snapshotKnown(world: World): GenerationId {
  const frozen = snapshot(world);
  world.clock.run(50);
  return frozen;
}

/** Rows and bytes of one layer of object `index` on a node, as text. */
function layerOf(node: WorldNode, generation: GenerationId, index: number): string {
  const row = node.store.row(generation, index);
  if (row === undefined) return 'nothing';
  const { verToken, verCount, ownLow, ownHigh } = row;
  return `(${verToken},${verCount}) ${ownLow} ${ownHigh} ${node.store.bytesOf(generation, index)}`;
}

test('a snapshot shows what was acknowledged before it, the volume what came after (S1, S2)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, 256 * KIB)), 'ok');
  const frozen = snapshotKnown(world);
  t.is(world.write(guest, 4096, block(2)), 'ok');
  const expected = block(1, 256 * KIB);
  for (const node of [1, 2, 3]) {
    t.deepEqual(readOf(world, opened(world, node, frozen), 0, 256 * KIB), expected);
  }
  expected.fill(2, 4096, 8192);
  t.deepEqual(world.read(guest, 0, 256 * KIB), expected);
  const { head } = world.volume;
  t.not(head, frozen);
  const [first, ...others] = world.nodes.map((node) => layerOf(node, head, 0));
  t.regex(first as string, /^\(1,1\) 1 0 /, 'one region of 64');
  for (const other of others) t.is(other, first as string);
});

test('who writes a frozen generation is told so, and its write goes to the new head (S3)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, 8192)), 'ok');
  // The holder is the last to learn of it.
  world.node(1).isLagging = true;
  const frozen = snapshot(world);
  world.clock.run(100);
  let refused = 0;
  world.tamper = (_from, _to, frame, isReply) => {
    if (isReply && frame.status === STATUS.FROZEN) refused += 1;
    return 'pass';
  };
  t.is(world.write(guest, 0, block(2)), 'ok');
  t.true(refused > 0);
  const reader = opened(world, 2, frozen);
  t.deepEqual(readOf(world, reader, 4096, 4096), block(1));
  const seen = readOf(world, reader, 0, 4096) as Uint8Array;
  t.true(seen[0] === 1 || seen[0] === 2, 'it was under way: old or new, but one of them');
  t.deepEqual(world.read(guest, 0, 4096), block(2));
  for (const node of [2, 3]) {
    t.is(layerOf(world.node(node), frozen, 0), layerOf(world.node(1), frozen, 0));
  }
});

test('zeroes into what was never written in the head hide what shows through (S2a)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, 256 * KIB)), 'ok');
  const frozen = snapshotKnown(world);
  t.is(world.zero(guest, 60 * KIB, 8 * KIB), 'ok');
  const expected = block(1, 256 * KIB);
  expected.fill(0, 60 * KIB, 68 * KIB);
  t.deepEqual(world.read(guest, 0, 256 * KIB), expected);
  t.deepEqual(readOf(world, opened(world, 3, frozen), 0, 256 * KIB), block(1, 256 * KIB));
});

test('a joiner has the whole stack before it takes a write to the head (4.6 step 4)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, 256 * KIB)), 'ok');
  world.kill(world.node(3), 0);
  world.down(world.node(3));
  world.clock.run(1000);
  // What it never saw: a layer, and another one below it.
  t.is(world.write(guest, 128 * KIB, block(5, 64 * KIB)), 'ok');
  const frozen = snapshot(world);
  world.restart(world.node(3));
  world.clock.run(1000);
  world.must(world.joinOf(3, 0));
  world.clock.run(50);
  t.is(world.write(guest, 130 * KIB, block(6, 4096)), 'ok');
  const { head } = world.volume;
  t.is(layerOf(world.node(3), head, 0), layerOf(world.node(1), head, 0));
  t.is(layerOf(world.node(3), frozen, 0), layerOf(world.node(1), frozen, 0));
});

test('a snapshot of a volume whose holder died is made equal by whoever reads it (S3)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, 8192)), 'ok');
  // One replica alone has the last write.
  world.tamper = (_from, to, frame, isReply) => {
    return !isReply && to === 3 && frame.op === OP.WRITE ? 'lose' : 'pass';
  };
  guest.write(0, block(2), () => {});
  world.clock.run(20);
  world.kill(world.node(1));
  world.down(world.node(1));
  world.tamper = () => 'pass';
  const frozen = snapshot(world);
  world.clock.run(200);
  const reader = opened(world, 3, frozen);
  t.deepEqual(readOf(world, reader, 4096, 4096), block(1));
  const first = readOf(world, reader, 0, 4096);
  t.deepEqual(first, block(2), 'the longest prefix wins');
  t.deepEqual(readOf(world, opened(world, 2, frozen), 0, 4096), first);
  t.is(layerOf(world.node(3), frozen, 0), layerOf(world.node(2), frozen, 0));
});

test('a deleted snapshot is read by nobody, and still shows through', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, 8192)), 'ok');
  const frozen = snapshot(world);
  const reader = opened(world, 2, frozen);
  t.deepEqual(readOf(world, reader, 0, 4096), block(1));
  deleteLayer(world, frozen);
  world.clock.run(200);
  t.is(readOf(world, reader, 0, 4096), 'gone');
  let told = '';
  reader.read(0, 4096, new Uint8Array(4096), 0, (error) => {
    told = error?.message ?? '';
  });
  world.clock.run(10);
  t.regex(told, /^snapshot .* was deleted by an operator$/);
  t.throws(() => world.node(2).datapath.openSnapshot(frozen), { code: 'missing' });
  t.deepEqual(world.read(guest, 4096, 4096), block(1));
});

test('nobody writes a snapshot', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  const reader = opened(world, 2, snapshot(world));
  const codes: (string | undefined)[] = [];
  reader.write(0, block(2), (error) => codes.push(error?.code));
  reader.writeZeroes(0, 4096, (error) => codes.push(error?.code));
  reader.trim(0, 4096, (error) => codes.push(error?.code));
  reader.flush((error) => codes.push(error?.code));
  t.deepEqual(codes, ['held', 'held', 'held', undefined]);
});

/** What all nodes drop, until they find no more. */
function reclaim(world: World): number {
  let all = 0;
  for (let round = 0; round < 4; round += 1) {
    for (const { datapath } of world.nodes) {
      datapath.surplus.dropDeleted((_error, dropped) => {
        all += dropped;
      });
    }
    world.clock.run(100);
  }
  return all;
}

test('rows of a deleted layer go when nothing of them shows any more, and not before (S6)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, 128 * KIB)), 'ok');
  const frozen = snapshotKnown(world);
  t.is(world.write(guest, 0, block(2, 64 * KIB)), 'ok');
  t.is(world.write(guest, 64 * KIB, block(3)), 'ok');
  world.clock.run(1000);
  t.is(reclaim(world), 0, 'a snapshot keeps its rows');
  deleteLayer(world, frozen);
  world.clock.run(100);
  t.is(reclaim(world), 3, 'the head owns both regions, on each of three nodes');
  for (const node of world.nodes) t.is(node.store.row(frozen, 0), undefined);
  const expected = block(1, 128 * KIB);
  expected.fill(2, 0, 64 * KIB).fill(3, 64 * KIB, 68 * KIB);
  t.deepEqual(world.read(guest, 0, 128 * KIB), expected);
});

test('what the head does not own keeps the row of a deleted layer, open rows hide nothing (S6)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, 128 * KIB)), 'ok');
  const frozen = snapshotKnown(world);
  t.is(world.write(guest, 0, block(2, 64 * KIB)), 'ok');
  deleteLayer(world, frozen);
  world.clock.run(1000);
  t.is(reclaim(world), 0);
  // Acknowledged, and not closed yet.
  t.is(world.write(guest, 64 * KIB, block(3, 64 * KIB)), 'ok');
  let dropped = 0;
  for (const { datapath } of world.nodes) {
    datapath.surplus.dropDeleted((_error, count) => {
      dropped += count;
    });
  }
  t.is(dropped, 0);
  world.clock.run(1000);
  t.is(reclaim(world), 3);
  const expected = block(2, 128 * KIB).fill(3, 64 * KIB);
  t.deepEqual(world.read(guest, 0, 128 * KIB), expected);
});

/** What a promise came to, on the clock of the world. */
async function outcomeOf<T>(world: World, promise: Promise<T>, ms = 20_000): Promise<T | string> {
  let outcome: T | string | undefined;
  promise.then(
    (value) => {
      outcome = value;
    },
    (error: { code: string }) => {
      outcome = error.code;
    },
  );
  for (let at = 0; at < ms && outcome === undefined; at += 10) {
    world.clock.run(10);
    await Promise.resolve();
    await Promise.resolve();
  }
  return outcome ?? 'waiting';
}

test('a holder that is asked to hold still lets its writes end, and goes on in the new head (S4)', async (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, 8192)), 'ok');
  const answers: string[] = [];
  guest.write(0, block(2), (error) => answers.push(error?.code ?? 'first'));
  // From another node: the holder is asked over the wire.
  const held = await outcomeOf(world, world.node(2).datapath.hold(world.volumeId));
  t.deepEqual(answers, ['first'], 'what was issued is acknowledged');
  t.deepEqual(held, {
    volume: world.volumeId,
    token: world.volume.lock.token,
    head: world.volume.head,
  });
  guest.write(4096, block(3), (error) => answers.push(error?.code ?? 'second'));
  world.clock.run(500);
  t.deepEqual(answers, ['first'], 'nothing is issued while it holds still');
  const frozen = snapshot(world);
  world.clock.run(500);
  t.deepEqual(answers, ['first', 'second']);
  const reader = opened(world, 3, frozen);
  t.deepEqual(readOf(world, reader, 0, 4096), block(2));
  t.deepEqual(readOf(world, reader, 4096, 4096), block(1));
  t.deepEqual(world.read(guest, 4096, 4096), block(3));
});

test('a holder whose writes do not end refuses, and goes on; so does one of which nothing comes (S4)', async (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  world.tamper = (_from, to) => (to === 3 ? 'lose' : 'pass');
  let answer = '';
  guest.write(0, block(2), (error) => {
    answer = error?.code ?? 'ok';
  });
  t.is(await outcomeOf(world, world.node(1).datapath.hold(world.volumeId)), 'busy');
  world.tamper = () => 'pass';
  world.clock.run(7000);
  t.is(answer, 'ok');
  const held = await outcomeOf(world, world.node(1).datapath.hold(world.volumeId));
  t.not(held, 'busy');
  t.is(
    await outcomeOf(world, world.node(1).datapath.hold(world.volumeId)),
    'busy',
    'one at a time',
  );
  const before = world.clock.now();
  t.is(world.write(guest, 0, block(3)), 'ok', 'nothing was committed: it goes on');
  t.true(world.clock.now() - before < 6000);
  t.is(await outcomeOf(world, world.node(2).datapath.hold(99 as never)), 'missing');
});

test('nobody is asked for a volume that nobody has', async (t) => {
  const world = new World();
  const { lock, head } = world.volume;
  const held = await outcomeOf(world, world.node(3).datapath.hold(world.volumeId));
  t.deepEqual(held, { volume: world.volumeId, token: lock.token, head });
});

/** Between two blocks of a workload: some share a region, some do not. */
const STRIDE = 20 * KIB;
/** Seeds whose images are compared with each other. */
const COMPARED_SEEDS = 4;

interface Image {
  readonly session: VolumeSession;
  readonly bytes: Uint8Array;
}

/** S7: each byte that differs is told as changed. Returns how many regions of two different images are called the same. */
function sameRegions(t: ExecutionContext, world: World, before: Image, after: Image): number {
  let told: readonly ChangedRun[] = [];
  const range = { offset: 0, length: after.bytes.length };
  lookUpChanges(before.session, after.session, range, (error, runs) => {
    t.is(error, undefined);
    told = runs;
  });
  world.clock.until(() => told.length > 0, 20_000);
  let at = 0;
  let same = 0;
  for (const { length, isChanged } of told) {
    const [one, other] = [before, after].map(({ bytes }) => bytes.subarray(at, at + length));
    if (!isChanged) {
      t.is(Buffer.compare(one as Uint8Array, other as Uint8Array), 0, `at ${at}`);
      if (before !== after) same += length / (64 * KIB);
    }
    at += length;
  }
  t.is(at, after.bytes.length);
  return same;
}

test('snapshots under writes, with kills: each holds what was acknowledged, copies agree, and differences are told', (t) => {
  t.timeout(120_000);
  let snapshots = 0;
  let same = 0;
  for (let seed = 1; seed <= 12; seed += 1) {
    const world = new World({ seed });
    const guest = world.attach(1);
    const blocks = 24;
    // Per block: the last write that was acknowledged, and the last that was begun.
    const acked = new Uint8Array(blocks);
    const begun = new Uint8Array(blocks);
    t.is(world.write(guest, 0, new Uint8Array(blocks * STRIDE)), 'ok');
    const taken: { frozen: GenerationId; low: Uint8Array; high: number }[] = [];
    const images: Image[] = [];
    for (let i = 1; i < 120; i += 1) {
      const at = world.random.below(blocks);
      if (begun[at] === acked[at]) {
        begun[at] = i;
        const done = (error: unknown): void => {
          if (error === undefined) acked[at] = i;
        };
        guest.write(at * STRIDE, block(i), done);
      }
      if (world.random.below(30) === 0 && taken.length < 5) {
        const frozen = snapshot(world);
        taken.push({ frozen, low: acked.slice(), high: i + LEARNING_STEPS });
      }
      if (i === 60) world.kill(world.node(3));
      if (i === 62) world.down(world.node(3));
      world.clock.run(world.random.below(6));
    }
    world.clock.run(5000);
    t.deepEqual(acked, begun, `seed ${seed}: all was answered`);
    for (const { frozen, low, high } of taken) {
      snapshots += 1;
      const reader = opened(world, 2, frozen);
      const seen = readOf(world, reader, 0, blocks * STRIDE) as Uint8Array;
      for (let at = 0; at < blocks; at += 1) {
        const value = seen[at * STRIDE] as number;
        // Writes under way are in it or not, and those that the holder issues before it learns of it.
        t.true(value >= (low[at] as number), `seed ${seed}, block ${at}: ${value} < ${low[at]}`);
        t.true(value <= high, `seed ${seed}, block ${at}: ${value} > ${high}`);
      }
      t.is(layerOf(world.node(2), frozen, 0), layerOf(world.node(1), frozen, 0), `seed ${seed}`);
      images.push({ session: reader, bytes: seen });
    }
    const { head } = world.volume;
    t.is(layerOf(world.node(2), head, 0), layerOf(world.node(1), head, 0), `seed ${seed}`);
    const now = world.read(guest, 0, blocks * STRIDE) as Uint8Array;
    for (let at = 0; at < blocks; at += 1) t.is(now[at * STRIDE], acked[at]);
    images.push({ session: guest, bytes: now });
    if (seed > COMPARED_SEEDS) continue;
    // Each with the next, in both directions, and the first with all.
    const pairs = images.flatMap((one, i) => [
      [images[i + 1] ?? one, one] as const,
      [one, images[i + 1] ?? one] as const,
      [images[0] ?? one, one] as const,
    ]);
    for (const [before, after] of pairs) same += sameRegions(t, world, before, after);
  }
  t.true(snapshots > 20, `${snapshots}`);
  t.true(same > 0, 'not all is called changed');
});

test('a volume that shows a snapshot moves with all that it shows (S8), and says where there is data (S7)', async (t) => {
  const world = new World({ nodes: 4 });
  const guest = world.attach(1);
  t.is(world.write(guest, 64 * KIB, block(1, 128 * KIB)), 'ok');
  snapshotKnown(world);
  t.is(world.write(guest, 4 * 1024 * KIB, block(2)), 'ok');
  const expected = new Uint8Array(8 * 1024 * KIB);
  expected.fill(1, 64 * KIB, 192 * KIB).fill(2, 4096 * KIB, 4096 * KIB + 4096);
  let extents: readonly { readonly length: number; readonly isAllocated: boolean }[] = [];
  guest.allocation(0, 256 * KIB, (_error, found) => {
    extents = found;
  });
  world.clock.run(1000);
  t.deepEqual(
    extents.map(({ length, isAllocated }) => [length / KIB, isAllocated]),
    [
      [64, false],
      [128, true],
      [64, false],
    ],
  );
  t.true(world.move(2));
  t.true(world.hasMoved(2));
  const seen = world.read(guest, 0, expected.length) as Uint8Array;
  const firstBad = seen.findIndex((byte, i) => byte !== expected[i]);
  t.is(firstBad, -1);
});
