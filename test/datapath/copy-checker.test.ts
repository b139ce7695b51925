// All copies of a volume compared (dog vdi check), on real data paths: what a look finds without changing anything, what is
// repaired, what is only told; and what the layers of a family hold.

import test from 'ava';
import { ancestry } from '../../src/core/generations.ts';
import { REGION_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import { type CheckedSlice, CopyChecker, HEAL_WAIT_MS } from '../../src/datapath/copy-checker.ts';
import { World } from './world.ts';

const block = (fill: number): Uint8Array => new Uint8Array(SECTOR_BYTES).fill(fill);

/** Eight sectors in object 0, one in object 1; closed. */
function written() {
  const world = new World();
  const guest = world.attach(1);
  for (let i = 0; i < 8; i += 1) world.write(guest, i * SECTOR_BYTES, block(i + 1));
  world.write(guest, 4 * 1024 * 1024, block(9));
  world.clock.run(1000);
  return { world, guest };
}

/** Runs what waits on the world's clock. */
async function waitFor<T>(world: World, work: Promise<T>): Promise<T> {
  let result: { readonly value: T } | undefined;
  work.then((value) => {
    result = { value };
  });
  for (let i = 0; i < 20_000 && result === undefined; i += 1) {
    world.clock.run(2);
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (result === undefined) throw new RangeError('it does not end');
  return result.value;
}

function check(world: World, heals: boolean, id = 1): Promise<CheckedSlice> {
  const { datapath } = world.node(id);
  const { family, policy, head } = world.volume;
  const layers = ancestry(world.view, head).map(({ generation }) => generation);
  const checker = new CopyChecker({ clock: world.clock }, datapath.looks);
  const slice = { from: 0, count: 2, heals };
  return waitFor(world, checker.check({ family, policy, layers }, slice));
}

const CLEAN = { objects: 2, copies: 6, bytes: 27 * SECTOR_BYTES, busy: 0, unasked: 0, next: 2 };

test('check: equal copies are equal, asked by any node', async (t) => {
  const { world } = written();
  t.deepEqual(await check(world, false), { ...CLEAN, findings: [] });
  t.deepEqual(await check(world, true, 2), { ...CLEAN, findings: [] });
});

test('check -n: a byte that rotted is found on its node, again and again, and nothing is changed', async (t) => {
  const { world } = written();
  world.node(2).store.rot(world.volume.head, 0, 6);
  const found = { generation: world.volume.head, index: 0, node: 2, problem: 'damaged', bad: [6] };
  for (let times = 0; times < 2; times += 1) {
    const { findings } = await check(world, false);
    t.deepEqual(findings as unknown, [{ ...found, isRepaired: false }]);
    t.is(world.node(2).store.suspects.size, 0);
  }
});

test('check: what is damaged is repaired from another copy, and looked at again', async (t) => {
  const { world, guest } = written();
  world.node(2).store.rot(world.volume.head, 0, 6);
  world.node(3).store.rot(world.volume.head, 1, 0);
  const { findings } = await check(world, true);
  t.deepEqual(
    findings.map(({ index, node, problem, isRepaired }) => [index, node, problem, isRepaired]),
    [
      [0, 2, 'damaged', true],
      [1, 3, 'damaged', true],
    ] as unknown[],
  );
  t.deepEqual(await check(world, false), { ...CLEAN, findings: [] });
  t.deepEqual(world.read(guest, 6 * SECTOR_BYTES, SECTOR_BYTES), block(7));
});

test('check: a sector that no copy has right is not waited for', async (t) => {
  const { world } = written();
  for (const id of [1, 2, 3]) world.node(id).store.rot(world.volume.head, 0, 2);
  const before = world.clock.now();
  const { findings } = await check(world, true);
  t.deepEqual(
    findings.map(({ bad, isRepaired }) => [bad, isRepaired]),
    [1, 2, 3].map(() => [[2], false]) as unknown[],
  );
  t.true(world.clock.now() - before < HEAL_WAIT_MS);
});

test('check: other bytes under their right sum are told of all copies, and left alone', async (t) => {
  const { world } = written();
  world.node(3).store.forge(world.volume.head, 0, 4);
  const { findings } = await check(world, true);
  t.deepEqual(
    findings.map(({ node, problem, isRepaired }) => [node, problem, isRepaired]),
    [1, 2, 3].map((node) => [node, 'differs', false]) as unknown[],
  );
});

test('check: what is being written is looked at until it is closed; who is away is counted', async (t) => {
  const { world, guest } = written();
  world.write(guest, 0, block(77));
  const { busy, findings } = await check(world, false);
  t.deepEqual([busy, findings], [0, []]);
  world.kill(world.node(3));
  const seen = await check(world, false);
  t.deepEqual([seen.unasked, seen.copies, seen.findings], [2, 4, []]);
});

test('usage: regions with data by layer, one copy of each', async (t) => {
  const { world } = written();
  const { family, policy, head } = world.volume;
  for (const id of [1, 3]) {
    const usage = await waitFor(world, world.node(id).datapath.looks.usage({ family, policy }));
    t.deepEqual([...usage.values()] as unknown, [
      { generation: head, objects: 2, bytes: 2 * REGION_BYTES },
    ]);
  }
});
