// Short outages (PROTOCOL 4.7): a member that was away copies what changed meanwhile, and no more; whoever does not know
// what changed from the beginning says so, and whole objects are copied. Method: data paths on one fake clock.

import test, { type ExecutionContext } from 'ava';
import { partitionKey } from '../../src/core/ids.ts';
import { KIB, MIB, REGION_BYTES } from '../../src/core/units.ts';
import type { Gateway } from '../../src/datapath/gateway.ts';
import { OP } from '../../src/wire/frame.ts';
import { World, type WorldNode } from './world.ts';

const SIZE = 8 * MIB;
const block = (fill: number, length = 4096): Uint8Array => new Uint8Array(length).fill(fill);

/** A full volume, all closed. */
function filled(
  t: ExecutionContext,
  options: ConstructorParameters<typeof World>[0] = {},
): {
  world: World;
  guest: Gateway;
} {
  const world = new World(options);
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, SIZE)), 'ok');
  world.clock.run(1000);
  return { world, guest };
}

function leave(world: World, node: WorldNode): void {
  world.kill(node);
  world.down(node);
  world.clock.run(100);
}

function isEverywhereEqual(t: ExecutionContext, world: World, copies = 3): void {
  for (const index of [0, 1]) {
    const tables = world.tables(index);
    t.is(tables.length, copies);
    t.is(new Set(tables).size, 1, `object ${index} is equal on all`);
  }
}

const copied = (node: WorldNode): number => node.datapath.stats.bytesCopied;

test('a member that was away copies the regions that changed, nothing else', (t) => {
  const { world, guest } = filled(t);
  const away = world.node(3);
  leave(world, away);
  t.is(world.write(guest, 5 * REGION_BYTES, block(2)), 'ok');
  t.is(world.write(guest, 5 * REGION_BYTES + 8192, block(3)), 'ok');
  t.is(world.write(guest, 64 * REGION_BYTES - 4096, block(4, 8192)), 'ok', 'in both objects');
  t.is(world.zero(guest, 70 * REGION_BYTES, 16 * KIB), 'ok');
  world.clock.run(1000);
  world.restart(away);
  t.true(world.heal());
  isEverywhereEqual(t, world);
  t.is(away.datapath.stats.objectsCopied, 2);
  t.is(copied(away), 4 * REGION_BYTES - 16 * KIB, 'what was zeroed needs no bytes');
  t.is(away.store.patches, 2, 'and no object is written as a whole');
});

test('nothing changed: nothing is copied', (t) => {
  const { world } = filled(t);
  leave(world, world.node(3));
  world.restart(world.node(3));
  t.true(world.heal());
  isEverywhereEqual(t, world);
  t.is(copied(world.node(3)), 0);
});

test('an object that was first written meanwhile is copied whole, without its holes', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  leave(world, world.node(3));
  t.is(world.write(guest, 6 * MIB, block(2, 12 * KIB)), 'ok');
  world.clock.run(1000);
  world.restart(world.node(3));
  t.true(world.heal());
  isEverywhereEqual(t, world);
  t.is(copied(world.node(3)), 12 * KIB);
});

// Method: node 3 has two writes that nobody else got, for the holder dies at once; the next holder drops them.
test('what the absent member alone has is open there, and goes', (t) => {
  const { world, guest } = filled(t);
  world.tamper = (_from, to, frame) => (frame.op === OP.WRITE && to !== 3 ? 'lose' : 'pass');
  guest.write(20 * REGION_BYTES, block(7), () => {});
  guest.write(21 * REGION_BYTES, block(8), () => {});
  const versionOf = () => world.node(3).store.row(world.volume.head, 0)?.verCount ?? 0;
  const before = versionOf();
  t.true(world.clock.until(() => versionOf() === before + 2, 1000));
  world.kill(world.node(1), 0);
  world.kill(world.node(3), Number.MAX_SAFE_INTEGER);
  world.tamper = () => 'pass';
  world.restart(world.node(1));
  world.down(world.node(3));
  world.clock.run(100);
  const next = world.attach(2);
  t.is(world.write(next, 40 * REGION_BYTES, block(9)), 'ok');
  world.clock.run(1000);
  world.restart(world.node(3));
  t.true(world.heal());
  isEverywhereEqual(t, world);
  const bytes = world.read(next, 20 * REGION_BYTES, 4096);
  t.deepEqual(bytes, world.read(next, 0, 4096), 'as it was filled');
});

// Method: two writes reach node 2 and the holder; the answer of node 3, which dies, never comes. They are acknowledged
// without it and closed before it returns.
test('what was under way when the member left counts as changed (4.3)', (t) => {
  const { world, guest } = filled(t);
  world.tamper = (_from, to, frame) => (frame.op === OP.WRITE && to === 3 ? 'lose' : 'pass');
  let answered = 0;
  for (const region of [3, 4]) guest.write(region * REGION_BYTES, block(5), () => (answered += 1));
  world.clock.run(200);
  t.is(answered, 0);
  world.kill(world.node(3));
  world.tamper = () => 'pass';
  world.down(world.node(3));
  world.clock.run(2000);
  t.is(answered, 2);
  world.restart(world.node(3));
  t.true(world.heal());
  isEverywhereEqual(t, world);
  t.is(copied(world.node(3)), 2 * REGION_BYTES);
});

/** Two blocks of object 0 are written while node 3 is away; both others restart in between. */
function survivorsRestart(t: ExecutionContext, keepsOutages: boolean): World {
  const { world, guest } = filled(t);
  for (const { store } of world.nodes) store.keepsOutages = keepsOutages;
  leave(world, world.node(3));
  t.is(world.write(guest, 0, block(2)), 'ok');
  world.clock.run(1000);
  for (const id of [1, 2]) {
    world.kill(world.node(id), Number.MAX_SAFE_INTEGER);
    world.restart(world.node(id));
    world.clock.run(200);
  }
  const next = world.attach(2);
  t.is(world.write(next, 9 * REGION_BYTES, block(3)), 'ok');
  t.is(world.trim(next, 11 * REGION_BYTES, REGION_BYTES), 'ok');
  world.clock.run(1000);
  return world;
}

test('members that restarted since know what was kept: regions are copied', (t) => {
  const world = survivorsRestart(t, true);
  world.restart(world.node(3));
  t.true(world.heal());
  isEverywhereEqual(t, world);
  t.is(copied(world.node(3)), 2 * REGION_BYTES, 'what was trimmed needs no bytes');
});

// Method: the survivors restart while node 3 joins and has half of it; the join is given up, and tried again.
test('members that restart while it joins know what it missed before and since', (t) => {
  const { world, guest } = filled(t);
  for (const { store } of world.nodes) store.keepsOutages = true;
  const away = world.node(3);
  leave(world, away);
  t.is(world.write(guest, 0, block(2)), 'ok');
  world.clock.run(1000);
  world.restart(away);
  world.clock.run(100);
  world.must(world.joinOf(3, 0));
  world.clock.run(100);
  // Reaches the joiner never: it is not closed when both others restart.
  world.tamper = (_from, to, frame) => (frame.op === OP.WRITE && to === 3 ? 'lose' : 'pass');
  guest.write(7 * REGION_BYTES, block(4), () => {});
  world.clock.run(100);
  for (const id of [1, 2]) {
    world.kill(world.node(id), Number.MAX_SAFE_INTEGER);
    world.restart(world.node(id));
  }
  world.clock.run(200);
  leave(world, away);
  world.tamper = () => 'pass';
  const next = world.attach(2);
  t.is(world.write(next, 9 * REGION_BYTES, block(5)), 'ok');
  world.clock.run(1000);
  world.restart(away);
  t.true(world.heal());
  isEverywhereEqual(t, world);
  t.is(copied(away), 3 * REGION_BYTES, 'regions 0, 7 and 9 of object 0');
});

// Method: the copies are compared. One region was written meanwhile, and one was trimmed.
test('members that restarted since and kept nothing: regions that differ are copied, nothing else', (t) => {
  const world = survivorsRestart(t, false);
  world.restart(world.node(3));
  t.true(world.heal());
  isEverywhereEqual(t, world);
  t.is(copied(world.node(3)), 2 * REGION_BYTES);
});

/** A full volume whose closes no crash outlives: what was killed has all of it open again. */
function reopening(t: ExecutionContext): { world: World; guest: Gateway } {
  const world = new World();
  for (const { store } of world.nodes)
    Object.assign(store, { keepsCloses: false, keepsOutages: true });
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, SIZE)), 'ok');
  world.clock.run(1000);
  return { world, guest };
}

function killAndRestart(world: World, ids: readonly number[]): void {
  for (const id of ids) world.kill(world.node(id), Number.MAX_SAFE_INTEGER);
  for (const id of ids) world.restart(world.node(id));
  world.clock.run(200);
}

const openRows = ({ store }: WorldNode, world: World): number =>
  store
    .rowsOf(partitionKey(world.volume.policy, world.p(0)))
    .filter((row) => row.closed < row.verCount).length;

// Method: one region is written while node 3 is away, then both others are killed: all they have is open again.
test('what is open at the source after a kill is compared: only what differs is copied', (t) => {
  const { world, guest } = reopening(t);
  leave(world, world.node(3));
  t.is(world.write(guest, 5 * REGION_BYTES, block(2)), 'ok');
  world.clock.run(1000);
  killAndRestart(world, [1, 2]);
  t.true(openRows(world.node(1), world) > 0 && openRows(world.node(2), world) > 0);
  world.restart(world.node(3));
  t.true(world.heal());
  isEverywhereEqual(t, world);
  t.is(copied(world.node(3)), REGION_BYTES);
});

// Method: as above, but everything is open when node 3 leaves, so all of it is noted; a session closes it later.
test('what was open when the member left is compared: only what differs is copied', (t) => {
  const { world } = reopening(t);
  killAndRestart(world, [1, 2, 3]);
  leave(world, world.node(3));
  const next = world.attach(2);
  t.is(world.write(next, 6 * REGION_BYTES, block(3)), 'ok');
  t.is(world.write(next, 4 * MIB + 7 * REGION_BYTES, block(4)), 'ok');
  world.clock.run(1000);
  t.is(openRows(world.node(1), world), 0);
  world.restart(world.node(3));
  t.true(world.heal());
  isEverywhereEqual(t, world);
  t.is(copied(world.node(3)), 2 * REGION_BYTES);
});

// Method: node 3 dies with two regions of its own that nobody else has: the source is equal in all others that are open.
test('what is open here is compared, and what nobody else has goes', (t) => {
  const { world, guest } = reopening(t);
  world.tamper = (_from, to, frame) => (frame.op === OP.WRITE && to !== 3 ? 'lose' : 'pass');
  const versionOf = () => world.node(3).store.row(world.volume.head, 0)?.verCount ?? 0;
  const before = versionOf();
  for (const region of [20, 40]) guest.write(region * REGION_BYTES, block(7), () => {});
  t.true(world.clock.until(() => versionOf() === before + 2, 1000));
  world.kill(world.node(1), 0);
  world.kill(world.node(3), Number.MAX_SAFE_INTEGER);
  world.tamper = () => 'pass';
  world.restart(world.node(1));
  world.down(world.node(3));
  world.clock.run(100);
  const next = world.attach(2);
  t.is(world.write(next, 9 * REGION_BYTES, block(9)), 'ok');
  world.clock.run(1000);
  t.is(openRows(world.node(3), world), 1);
  world.restart(world.node(3));
  t.true(world.heal());
  isEverywhereEqual(t, world);
  t.is(copied(world.node(3)), 2 * REGION_BYTES, 'regions 9 and 40; 20 had reached node 1');
});

test('a region that is damaged at the source is equal to nothing; a damaged own one is fetched', (t) => {
  const world = survivorsRestart(t, false);
  const { head } = world.volume;
  for (const id of [1, 2]) world.node(id).store.rot(head, 0, (20 * REGION_BYTES) / 4096);
  world.node(3).store.rot(head, 0, (30 * REGION_BYTES) / 4096);
  world.restart(world.node(3));
  world.heal();
  const [sector] = [(30 * REGION_BYTES) / 4096];
  t.is(copied(world.node(3)), 4 * REGION_BYTES - 4096, 'all but the sector that is right nowhere');
  let bad: readonly number[] = [sector as number];
  world.node(3).store.check(head, 0, { offset: 30 * REGION_BYTES, count: 4096 }, (found) => {
    bad = found.bad;
  });
  world.clock.run(10);
  t.deepEqual(bad, []);
});

// Method: node 3 leaves, then node 2, both while one live member is enough; node 2 returns first, and is
// alone when node 3 returns.
test('a member that came into the set later has no notes (since): copies are compared', (t) => {
  const { world, guest } = filled(t, { minCopies: 1 });
  leave(world, world.node(3));
  t.is(world.write(guest, 0, block(2)), 'ok');
  world.clock.run(1000);
  leave(world, world.node(2));
  t.is(world.write(guest, REGION_BYTES, block(3)), 'ok');
  world.clock.run(1000);
  world.restart(world.node(2));
  t.true(world.clock.until(() => world.view.members.get(world.node(2).id)?.state === 'up', 1000));
  while (!world.config(0).inSync.includes(world.node(2).id)) {
    world.healOnce();
    world.clock.run(50);
  }
  t.is(copied(world.node(2)), REGION_BYTES, 'node 1 knew what node 2 missed');
  t.is(world.write(guest, 2 * REGION_BYTES, block(4)), 'ok');
  world.clock.run(1000);
  leave(world, world.node(1));
  world.restart(world.node(3));
  t.false(world.heal(), 'node 1 is still away');
  isEverywhereEqual(t, world, 2);
  t.is(copied(world.node(3)), 3 * REGION_BYTES, 'by comparing');
});

// Method: node 3 returns, joins, has copied one of two objects when it dies again; more is written; it returns once more.
test('a join that is given up loses no notes, and what is written meanwhile counts', (t) => {
  const { world, guest } = filled(t);
  leave(world, world.node(3));
  t.is(world.write(guest, 0, block(2)), 'ok');
  t.is(world.write(guest, 4 * MIB, block(3)), 'ok');
  world.clock.run(1000);
  world.restart(world.node(3));
  world.clock.run(100);
  world.must(world.joinOf(3, 0));
  world.clock.run(100);
  // This write goes to the joiner, too, which first recovers the object.
  t.is(world.write(guest, 7 * REGION_BYTES, block(4)), 'ok');
  t.true(copied(world.node(3)) <= 2 * REGION_BYTES);
  world.clock.run(1000);
  leave(world, world.node(3));
  t.is(world.write(guest, 9 * REGION_BYTES, block(5)), 'ok');
  world.clock.run(1000);
  world.restart(world.node(3));
  t.true(world.heal());
  isEverywhereEqual(t, world);
  t.is(copied(world.node(3)), 2 * REGION_BYTES, 'region 9 of object 0 and 0 of object 1');
});

test('what a touch makes equal meanwhile counts as changed', (t) => {
  for (let seed = 1; seed <= 8; seed += 1) {
    const { world, guest } = filled(t, { seed, nodes: 4 });
    const [, second, third] = world.config(0).inSync as unknown as [number, number, number];
    leave(world, world.node(third));
    // Reaches one of the two others only; the holder goes.
    world.tamper = (_from, to, frame) => (frame.op === OP.WRITE && to !== second ? 'lose' : 'pass');
    guest.write(11 * REGION_BYTES, block(6), () => {});
    world.clock.run(100);
    world.tamper = () => 'pass';
    const next = world.takeOver(second);
    t.is(world.write(next, 12 * REGION_BYTES, block(7)), 'ok');
    world.clock.run(1000);
    world.restart(world.node(third));
    t.true(world.heal(200));
    const tables = world.tables(0);
    t.is(new Set(tables).size, 1, `seed ${seed}`);
  }
});

test('a touch that makes a member equal copies what differs, nothing else', (t) => {
  const { world, guest } = filled(t);
  let fetched = 0;
  // Reaches node 2 only; the holder goes.
  world.tamper = (_from, to, frame, isReply) => {
    if (frame.op === OP.FETCH && !isReply) fetched += frame.count;
    return frame.op === OP.WRITE && !isReply && to !== 2 ? 'lose' : 'pass';
  };
  guest.write(11 * REGION_BYTES, block(6), () => {});
  world.clock.run(100);
  const counts = () => world.nodes.map(({ store }) => store.row(world.volume.head, 0)?.verCount);
  const before = counts();
  world.tamper = (_from, _to, frame, isReply) => {
    if (frame.op === OP.FETCH && !isReply) fetched += frame.count;
    return 'pass';
  };
  const next = world.takeOver(3);
  t.is(world.write(next, 12 * REGION_BYTES, block(7)), 'ok');
  world.clock.run(1000);
  t.true(new Set(before).size > 1, 'one was ahead');
  isEverywhereEqual(t, world);
  t.true(fetched > 0 && fetched <= 2 * REGION_BYTES, `${fetched} bytes`);
});
