// Mode writeback through the data path (R5, R8): what a flush waits for and what it makes true, FUA, what happens when
// members forget, how a session hears of it, and how a doubtful member becomes sure again.

import test from 'ava';
import type { Gateway } from '../../src/datapath/gateway.ts';
import { OP } from '../../src/wire/frame.ts';
import { World, type WorldNode, type WorldOptions } from './world.ts';

const SECTOR = 4096;

function block(tag: number): Uint8Array {
  return new Uint8Array(SECTOR).fill(tag);
}

function tagAt(world: World, gateway: Gateway): number | string | undefined {
  const bytes = world.read(gateway, 0, SECTOR);
  return typeof bytes === 'string' ? bytes : bytes[0];
}

function writeback(options: WorldOptions = {}): World {
  return new World({ ...options, durability: 'writeback' });
}

/** Counts SYNC requests on their way. */
function countSyncs(world: World): () => number {
  let count = 0;
  world.tamper = (_from, _to, frame, isReply) => {
    if (!isReply && frame.op === OP.SYNC) count += 1;
    return 'pass';
  };
  return () => count;
}

function powerCut(world: World, nodes: readonly WorldNode[], kept = 0): void {
  for (const node of nodes) world.kill(node, kept);
}

test('writeback: acknowledged when received; durable with the flush, on all members', (t) => {
  const world = writeback();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  t.is(world.flush(guest), 'ok');
  t.is(world.write(guest, 0, block(2)), 'ok');
  t.true(world.nodes.some((node) => node.store.unsynced > 0));
  const syncs = countSyncs(world);
  t.is(world.flush(guest), 'ok');
  t.true(syncs() > 0);
  for (const node of world.nodes) t.is(node.store.unsynced, 0);
  powerCut(world, world.nodes);
  for (const node of world.nodes) world.restart(node);
  world.heal();
  t.is(tagAt(world, world.attach(2)), 2);
});

test('writeback: a flush without anything unsynced asks nobody; a first one asks for everything', (t) => {
  const world = writeback();
  const guest = world.attach(1);
  const syncs = countSyncs(world);
  t.is(world.flush(guest), 'ok', 'takes the lock');
  t.true(guest.isHolder);
  t.true(syncs() > 0, '3.1: every partition counts as unsynced');
  const first = syncs();
  t.is(world.flush(guest), 'ok');
  t.is(syncs(), first);
});

test('durable: a flush asks nobody', (t) => {
  const world = new World();
  const guest = world.attach(1);
  const syncs = countSyncs(world);
  t.is(world.write(guest, 0, block(1)), 'ok');
  t.is(world.flush(guest), 'ok');
  t.is(syncs(), 0);
});

test('writeback: FUA is durable when acknowledged, alone', (t) => {
  const world = writeback();
  const guest = world.attach(1);
  t.is(world.flush(guest), 'ok');
  let outcome = '';
  guest.write(
    0,
    block(7),
    (error) => {
      outcome = error?.code ?? 'ok';
    },
    true,
  );
  world.clock.until(() => outcome !== '', 1000);
  t.is(outcome, 'ok');
  powerCut(world, world.nodes);
  for (const node of world.nodes) world.restart(node);
  world.heal();
  t.is(tagAt(world, world.attach(2)), 7);
});

test('writeback: a flush waits for a member that is dead, until it is shrunk away', (t) => {
  const world = writeback();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  const victim = world.node(world.members(0).find((id) => id !== 1) as number);
  world.kill(victim);
  t.is(world.flush(guest, 3000), 'waiting');
  world.down(victim);
  t.is(world.flush(guest), 'ok');
});

test('writeback: one member forgets; it is doubtful, made equal by the touch, and nothing is missed', (t) => {
  for (let seed = 1; seed <= 15; seed += 1) {
    const world = writeback({ seed });
    const guest = world.attach(1);
    t.is(world.flush(guest), 'ok');
    t.is(world.write(guest, 0, block(1)), 'ok');
    const victim = world.node(2 + (seed % 2));
    // Back before anybody missed it: still a member of I, with nothing of what it confirmed.
    world.kill(victim, 0);
    guest.write(0, block(2), () => {});
    world.restart(victim);
    t.deepEqual(world.config(0).doubtful, [victim.id], `seed ${seed}`);
    world.clock.run(2000);
    t.is(world.write(guest, SECTOR, block(3)), 'ok', `seed ${seed}`);
    t.is(world.flush(guest), 'ok', `seed ${seed}`);
    t.true(world.heal(), `seed ${seed}`);
    t.deepEqual(world.config(0).doubtful, []);
    const [first, ...others] = world.tables(0);
    for (const other of others) t.is(other, first as string, `seed ${seed}`);
    t.is(tagAt(world, guest), 2, `seed ${seed}`);
  }
});

test('writeback: all members forget, the gateway lives: cache-lost, and a clean next session', (t) => {
  const world = writeback({ nodes: 4 });
  const outsider = world.nodes.find(({ id }) => !world.members(0).includes(id)) as WorldNode;
  const guest = world.attach(outsider.id);
  t.is(world.write(guest, 0, block(1)), 'ok');
  t.is(world.flush(guest), 'ok');
  t.is(world.write(guest, 0, block(2)), 'ok');
  const members = world.members(0).map((id) => world.node(id));
  powerCut(world, members);
  for (const node of members) world.restart(node);
  world.clock.run(3000);
  t.is(world.write(guest, 0, block(3)), 'cache-lost');
  t.is(world.flush(guest), 'cache-lost');
  const losses = outsider.datapath.cacheLosses.all.map(({ volume }) => volume);
  t.deepEqual(losses, [world.volume.id], 'health tells of it');
  world.heal();
  const next = world.attach(outsider.id);
  t.is(tagAt(world, next), 1, 'all that was flushed');
  t.is(world.write(next, 0, block(4)), 'ok');
  t.is(world.flush(next), 'ok');
});

test('writeback: all members forget nothing that was flushed: the session goes on', (t) => {
  const world = writeback({ nodes: 4 });
  const outsider = world.nodes.find(({ id }) => !world.members(0).includes(id)) as WorldNode;
  const guest = world.attach(outsider.id);
  t.is(world.write(guest, 0, block(1)), 'ok');
  t.is(world.flush(guest), 'ok');
  const members = world.members(0).map((id) => world.node(id));
  powerCut(world, members);
  for (const node of members) world.restart(node);
  t.true(world.heal());
  t.is(world.write(guest, 0, block(3)), 'ok');
  t.is(tagAt(world, guest), 3);
});

test('writeback: a doubtful member answers no reads', (t) => {
  const world = writeback();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  for (const id of [2, 3]) {
    world.kill(world.node(id), 0);
    world.restart(world.node(id));
  }
  const answers: number[] = [];
  world.tamper = (from, _to, frame, isReply) => {
    if (isReply && frame.op === OP.READ + 128 && frame.status === 0) answers.push(from);
    return 'pass';
  };
  const reader = world.node(2);
  world.kill(world.node(1), 100);
  world.restart(world.node(1));
  t.deepEqual(world.config(0).doubtful, [1, 2, 3]);
  const next = world.attach(reader.id);
  t.is(world.read(next, 0, SECTOR, 2000), 'waiting', 'nobody is sure');
  t.deepEqual(answers, []);
  t.true(world.heal());
  t.is(tagAt(world, world.attach(3)), 1, 'the longest of all of I');
});

test('writeback: closes go out with the flush, not before', (t) => {
  const world = writeback();
  const guest = world.attach(1);
  t.is(world.flush(guest), 'ok');
  t.is(world.write(guest, 0, block(1)), 'ok');
  world.clock.run(500);
  const rows = () => world.node(1).store.rowsOf(world.keyOf(0));
  t.is(rows()[0]?.closed, 0, 'R6: closed means synced');
  t.is(world.flush(guest), 'ok');
  world.clock.run(1000);
  t.is(rows()[0]?.closed, rows()[0]?.verCount);
});

test('writeback: who never flushes is flushed in the background; who leaves, at the end', async (t) => {
  const world = writeback();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  const syncs = countSyncs(world);
  world.clock.run(10_000);
  t.true(syncs() > 0);
  t.is(world.write(guest, 0, block(2)), 'ok');
  const before = syncs();
  guest.disconnect().catch(() => {});
  world.clock.run(1000);
  t.true(syncs() > before);
});

test('writeback: the flush of a standby is done by the holder', (t) => {
  const world = writeback();
  const holder = world.attach(1);
  t.is(world.write(holder, 0, block(1)), 'ok');
  const standby = world.attach(2);
  t.is(tagAt(world, standby), 1);
  t.is(world.flush(standby), 'ok');
  t.true(holder.isHolder);
  for (const node of world.nodes) t.is(node.store.unsynced, 0);
});

test('writeback: a flush on one connection covers what the others heard acknowledged (NBD, CAN_MULTI_CONN)', (t) => {
  const world = writeback();
  const first = world.attach(1);
  const second = world.attach(1);
  t.is(world.flush(second), 'ok', 'takes the lock');
  t.is(world.write(first, 0, block(3)), 'ok');
  t.true(world.nodes.some((node) => node.store.unsynced > 0));
  t.is(world.flush(second), 'ok');
  for (const node of world.nodes) t.is(node.store.unsynced, 0);
  powerCut(world, world.nodes);
  for (const node of world.nodes) world.restart(node);
  world.heal();
  t.is(tagAt(world, world.attach(2)), 3);
});
