// Damage of copies (PROTOCOL 4.10): what is bad on one member is served and repaired from another at the same version;
// what is bad on all is an error for exactly those sectors. Method: rot and lost files in the stores of world.ts.

import test from 'ava';
import { MIB, SECTOR_BYTES, SECTORS_PER_OBJECT } from '../../src/core/units.ts';
import { fetchRange } from '../../src/datapath/fetch-range.ts';
import { FLAG, type Frame, OP } from '../../src/wire/frame.ts';
import { World } from './world.ts';

const block = (fill: number, length = SECTOR_BYTES): Uint8Array =>
  new Uint8Array(length).fill(fill);

/** Sectors of object 0 that fail on a node; 'lost' when its file is gone. */
function damage(world: World, id: number): readonly number[] | 'lost' {
  let found: readonly number[] | 'lost' = [-1];
  const { store } = world.node(id);
  store.check(world.volume.head, 0, { offset: 0, count: 4 * MIB }, ({ isLost, bad }) => {
    found = isLost ? 'lost' : bad;
  });
  world.clock.run(5);
  return found;
}

function rowOf(world: World, id: number) {
  return world.node(id).store.row(world.volume.head, 0);
}

/** A guest on node 1 that has written sectors 0 to 15; closed. */
function written() {
  const world = new World();
  const guest = world.attach(1);
  for (let i = 0; i < 16; i += 1) world.write(guest, i * SECTOR_BYTES, block(i + 1));
  world.clock.run(1000);
  return { world, guest };
}

test('a bad sector is served from another member and healed at the same version (R4, I8)', (t) => {
  const { world, guest } = written();
  const before = world.tables(0);
  world.node(1).store.rot(world.volume.head, 0, 3);
  t.deepEqual(world.read(guest, 3 * SECTOR_BYTES, SECTOR_BYTES), block(4));
  world.clock.run(500);
  t.deepEqual(damage(world, 1), []);
  t.deepEqual(world.tables(0), before);
  t.is(world.node(1).store.suspects.size, 0);
  t.is(world.node(1).datapath.repairer.sectorsRepaired, 1);
});

test('a copy on a node that is no gateway is healed as well, when it is asked', (t) => {
  const { world } = written();
  world.node(2).store.rot(world.volume.head, 0, 7);
  t.deepEqual(damage(world, 2), [7]);
  world.clock.run(500);
  t.deepEqual(damage(world, 2), []);
});

test('a lost file is copied as a whole at the same version, open stays open (I9)', (t) => {
  const { world, guest } = written();
  const opened = world.write(guest, 0, block(9));
  t.is(opened, 'ok');
  const before = world.tables(0);
  const { closed } = rowOf(world, 1) as { closed: number };
  world.node(1).store.lose(world.volume.head, 0);
  world.clock.run(100);
  t.deepEqual(damage(world, 1), []);
  t.deepEqual(world.tables(0), before);
  t.true((rowOf(world, 1)?.closed ?? 99) <= Math.max(closed, rowOf(world, 2)?.closed ?? 0));
  t.deepEqual(world.read(guest, 0, SECTOR_BYTES), block(9));
});

// Method: the other members never get the last write, so their version is older: nothing may be taken from them.
test('nothing is repaired from a copy of another version, and it is once they are equal', (t) => {
  const { world, guest } = written();
  world.tamper = (_from, _to, frame, isReply) =>
    frame.op === OP.WRITE && !isReply ? 'lose' : 'pass';
  guest.write(0, block(77), () => {});
  world.clock.run(50);
  t.is(rowOf(world, 1)?.verCount, 17);
  t.is(rowOf(world, 2)?.verCount, 16);
  world.node(1).store.lose(world.volume.head, 0);
  world.clock.run(300);
  t.is(damage(world, 1), 'lost');
  t.is(rowOf(world, 1)?.verCount, 17);
  world.tamper = () => 'pass';
  world.clock.run(10_000);
  t.deepEqual(damage(world, 1), []);
  t.deepEqual(world.read(guest, 0, SECTOR_BYTES), block(77));
  const [first, ...others] = world.tables(0);
  for (const other of others) t.is(other, first as string);
});

test('no sector is repaired from a copy of another version: the write that made the difference would be undone', (t) => {
  const { world, guest } = written();
  world.tamper = (_from, _to, frame, isReply) =>
    frame.op === OP.WRITE && !isReply ? 'lose' : 'pass';
  guest.write(0, block(77), () => {});
  world.clock.run(50);
  t.is(rowOf(world, 1)?.verCount, 17);
  for (const sector of [0, 5]) world.node(1).store.rot(world.volume.head, 0, sector);
  // Another member has it; and this tells node 1 of its damage.
  t.deepEqual(world.read(guest, 5 * SECTOR_BYTES, SECTOR_BYTES), block(6));
  world.clock.run(300);
  t.deepEqual(damage(world, 1), [0, 5]);
  world.tamper = () => 'pass';
  world.clock.run(10_000);
  t.deepEqual(damage(world, 1), []);
  t.deepEqual(world.read(guest, 0, SECTOR_BYTES), block(77));
  const [first, ...others] = world.tables(0);
  for (const other of others) t.is(other, first as string);
});

test('sectors that are bad on different members are all read, and all healed', (t) => {
  const { world, guest } = written();
  for (const id of [1, 2, 3]) world.node(id).store.rot(world.volume.head, 0, id);
  const expected = new Uint8Array(16 * SECTOR_BYTES);
  for (let i = 0; i < 16; i += 1) expected.fill(i + 1, i * SECTOR_BYTES, (i + 1) * SECTOR_BYTES);
  t.deepEqual(world.read(guest, 0, 16 * SECTOR_BYTES), expected);
  world.clock.run(2000);
  for (const id of [1, 2, 3]) t.deepEqual(damage(world, id), []);
});

test('beside the holder, too: what no copy has is an error at once, and is not asked for again and again (3.2, 4.10)', (t) => {
  const { world } = written();
  const standby = world.attach(2);
  for (const id of [1, 2, 3]) world.node(id).store.rot(world.volume.head, 0, 5);
  let asks = 0;
  world.tamper = (_from, _to, frame, isReply) => {
    if (!isReply && frame.op === OP.READ && (frame.flags & FLAG.STANDBY) !== 0) asks += 1;
    return 'pass';
  };
  t.is(world.read(standby, 5 * SECTOR_BYTES, SECTOR_BYTES), 'corrupt');
  t.is(asks, 1);
  t.deepEqual(world.read(standby, 6 * SECTOR_BYTES, SECTOR_BYTES), block(7));
});

test('a sector that is bad on all members is an error for it alone, told, and healed by an overwrite', (t) => {
  const { world, guest } = written();
  for (const id of [1, 2, 3]) world.node(id).store.rot(world.volume.head, 0, 5);
  t.is(world.read(guest, 5 * SECTOR_BYTES, SECTOR_BYTES), 'corrupt');
  t.is(world.read(guest, 0, 16 * SECTOR_BYTES), 'corrupt');
  t.deepEqual(world.read(guest, 6 * SECTOR_BYTES, SECTOR_BYTES), block(7));
  world.clock.run(1000);
  for (const id of [1, 2, 3]) {
    t.deepEqual(world.node(id).datapath.repairer.unhealed(9)[0]?.lost, [5], `node ${id}`);
  }
  t.is(world.write(guest, 5 * SECTOR_BYTES, block(60)), 'ok');
  t.deepEqual(world.read(guest, 5 * SECTOR_BYTES, SECTOR_BYTES), block(60));
  world.clock.run(60_000);
  for (const id of [1, 2, 3]) t.is(world.node(id).store.suspects.size, 0, `node ${id}`);
});

test('a lost file comes back but for the sector that nobody has', (t) => {
  const { world, guest } = written();
  world.node(1).store.lose(world.volume.head, 0);
  for (const id of [2, 3]) world.node(id).store.rot(world.volume.head, 0, 5);
  world.clock.run(5000);
  t.deepEqual(damage(world, 1), [5]);
  t.deepEqual(world.read(guest, 4 * SECTOR_BYTES, SECTOR_BYTES), block(5));
  t.is(world.read(guest, 5 * SECTOR_BYTES, SECTOR_BYTES), 'corrupt');
});

test('the only copy lost its file: every sector is told, what is written anew is right, and with all of it the alarm ends', (t) => {
  const world = new World({ nodes: 1, copies: 1 });
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, 16 * SECTOR_BYTES)), 'ok');
  world.clock.run(1000);
  const { store, datapath } = world.node(1);
  const lost = () => datapath.repairer.unhealed(9)[0]?.lost ?? [];
  store.lose(world.volume.head, 0);
  world.clock.run(1000);
  t.is(lost().length, SECTORS_PER_OBJECT, 'told by sector, not as a repair that waits for others');
  t.is(world.write(guest, 0, block(2, 16 * SECTOR_BYTES)), 'ok');
  world.clock.run(60_000);
  t.deepEqual([lost().length, lost()[0]], [SECTORS_PER_OBJECT - 16, 16]);
  t.deepEqual(world.read(guest, 0, 16 * SECTOR_BYTES), block(2, 16 * SECTOR_BYTES));
  for (let at = 0; at < 4 * MIB; at += MIB) t.is(world.write(guest, at, block(3, MIB)), 'ok');
  world.clock.run(60_000);
  t.is(store.suspects.size, 0);
  t.is(datapath.repairer.damagedCount, 0);
});

test('what a source sends is checked: wrong bytes are taken as its damage, another version as a change (I8)', (t) => {
  const { world } = written();
  const version = { token: rowOf(world, 1)?.verToken as never, count: 16 };
  const range = { offset: 0, count: SECTOR_BYTES };
  const told: string[] = [];
  const order = {
    generation: world.volume.head,
    index: 0,
    p: world.p(0),
    cfg: world.config(0).cfg,
    version,
    sources: [world.node(2).id],
    isValid: () => true,
  };
  const ask = (change: (reply: Frame) => void): void => {
    const parts = {
      views: world.node(1).views,
      streams: world.node(1).datapath.streams,
      ask: (_node: unknown, frame: Frame, _ms: number, done: (reply: Frame) => void) => {
        world.node(2).datapath.handleFrame(world.node(1).id, frame, (reply) => {
          change(reply);
          done(reply);
        });
      },
    };
    fetchRange(parts as never, order, range, (error, { pieces, lost }) => {
      told.push(`${error?.code} ${pieces.length} ${lost.join()}`);
    });
    world.clock.run(50);
  };
  ask(() => {});
  ask((reply) => {
    reply.payload = reply.payload.map((byte) => byte ^ 1);
  });
  ask((reply) => {
    reply.verCount += 1;
  });
  t.deepEqual(told, ['undefined 1 ', 'undefined 0 0', 'changed 0 ']);
});

test('a returning node gets its copy from a source with a bad sector, but for that sector (4.6)', (t) => {
  const world = new World({ copies: 2, nodes: 2, minCopies: 1 });
  const guest = world.attach(1);
  for (let i = 0; i < 8; i += 1) world.write(guest, i * SECTOR_BYTES, block(i + 1));
  world.clock.run(1000);
  world.kill(world.node(2));
  world.down(world.node(2));
  t.is(world.write(guest, 0, block(50)), 'ok');
  world.clock.run(1000);
  world.node(1).store.rot(world.volume.head, 0, 2);
  world.restart(world.node(2));
  t.true(world.heal());
  t.deepEqual(damage(world, 1), [2]);
  t.deepEqual(damage(world, 2), [2]);
  t.deepEqual(world.read(guest, 0, SECTOR_BYTES), block(50));
});

// Method: the last write reaches its gateway's own copy alone; then that copy rots while its node is away. The version that
// wins the next touch is the damaged one.
test('the copy that is ahead by a write without an answer is damaged: the others keep what they have right (I1)', (t) => {
  const { world, guest } = written();
  world.tamper = (_from, _to, frame) => (frame.op === OP.WRITE ? 'lose' : 'pass');
  t.is(world.write(guest, 5 * SECTOR_BYTES, block(99), 50), 'waiting');
  t.is(rowOf(world, 1)?.verCount, (rowOf(world, 2)?.verCount ?? 0) + 1);
  world.kill(world.node(1));
  world.tamper = () => 'pass';
  world.restart(world.node(1));
  for (const sector of [3, 5]) world.node(1).store.rot(world.volume.head, 0, sector);
  const next = world.attach(2);
  t.deepEqual(world.read(next, 3 * SECTOR_BYTES, SECTOR_BYTES), block(4));
  t.deepEqual(world.read(next, 5 * SECTOR_BYTES, SECTOR_BYTES), block(6));
  world.clock.run(2000);
  for (const id of [1, 2, 3]) t.deepEqual(damage(world, id), [], `node ${id}`);
  const [first, ...others] = world.tables(0);
  for (const other of others) t.is(other, first as string);
});
