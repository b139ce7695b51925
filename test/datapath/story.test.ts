// Stories of the data path (PROTOCOL 3.2, 3.4, 4.2-4.6), one per promise. Method: several real data paths on one fake
// clock (world.ts); each story breaks something at a chosen moment and then reads.

import test from 'ava';
import { MIB } from '../../src/core/units.ts';
import { HANDOVER_TIMEOUT_MS } from '../../src/datapath/standby.ts';
import { OP, STATUS } from '../../src/wire/frame.ts';
import { outsiderOf, World } from './world.ts';

const block = (fill: number, length = 4096): Uint8Array => new Uint8Array(length).fill(fill);

test('a write is on every member of the in-sync set, equal, when it is acknowledged (I1, I2)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 8192, block(7)), 'ok');
  const [first, ...others] = world.tables(0);
  t.regex(first as string, /\(1,1\) 2:/);
  for (const other of others) t.is(other, first as string);
  t.deepEqual(world.read(guest, 8192, 4096), block(7));
});

test('an unaligned write changes its bytes only, a hole reads as zeroes', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 4096, block(1, 8192)), 'ok');
  t.is(world.write(guest, 5000, block(9, 5000)), 'ok');
  const expected = new Uint8Array(16384);
  expected.fill(1, 4096, 12288);
  expected.fill(9, 5000, 10000);
  t.deepEqual(world.read(guest, 0, 16384), expected);
});

test('a request across objects and above 1 MiB is several writes with one answer (R2)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  const data = Uint8Array.from({ length: 3 * MIB }, (_, i) => i % 251);
  t.is(world.write(guest, 3 * MIB - 100, data), 'ok');
  t.deepEqual(world.read(guest, 3 * MIB - 100, 3 * MIB), data);
});

test('zeroes and trims are versioned writes; a trim leaves partial sectors alone', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(5, 5 * MIB)), 'ok');
  t.is(world.zero(guest, 100, 5 * MIB - 200), 'ok');
  const after = world.read(guest, 0, 5 * MIB) as Uint8Array;
  t.deepEqual([after[99], after[100], after[5 * MIB - 101], after[5 * MIB - 100]], [5, 0, 0, 5]);
  t.is(world.write(guest, 0, block(6, 16384)), 'ok');
  t.is(world.trim(guest, 100, 12000), 'ok');
  const trimmed = world.read(guest, 0, 16384) as Uint8Array;
  t.deepEqual([trimmed[4095], trimmed[4096], trimmed[8191], trimmed[8192]], [6, 0, 0, 6]);
  const [first, ...others] = world.tables(0);
  for (const other of others) t.is(other, first as string);
});

test('a replica that dies in mid-write holds it back until the map shrinks the set, then it is acknowledged (4.3, R3)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  world.kill(world.node(3));
  t.is(world.write(guest, 0, block(2), 2000), 'waiting');
  world.down(world.node(3));
  world.clock.run(2000);
  t.deepEqual(world.config(0).inSync, [1, 2]);
  t.deepEqual(world.read(guest, 0, 4096), block(2));
});

// Method: node 2 confirms under the old cfg while the holder already knows the next one, and no frame under the next one
// reaches node 2. Had the late confirmation counted, the write would be acknowledged.
test('a confirmation given under another cfg does not count (R3)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  world.kill(world.node(3));
  let outcome = '';
  guest.write(0, block(2), (error) => {
    outcome = error?.code ?? 'ok';
  });
  world.clock.endTick();
  world.down(world.node(3));
  world.apply(world.node(1));
  const { cfg } = world.config(0);
  world.tamper = (_from, _to, frame) =>
    frame.op === OP.WRITE && frame.cfg === cfg ? 'lose' : 'pass';
  world.clock.run(1000);
  t.is(world.node(2).store.row(world.volume.head, 0)?.verCount, 2, 'node 2 took the first frame');
  t.is(outcome, '');
  world.tamper = () => 'pass';
  world.clock.run(3000);
  t.is(outcome, 'ok');
});

test('below minCopies live members a write waits, and is acknowledged when a member is back (I6)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  for (const id of [2, 3]) {
    world.kill(world.node(id));
    world.down(world.node(id));
  }
  t.is(world.write(guest, 0, block(2), 5000), 'waiting');
  world.restart(world.node(2));
  world.restart(world.node(3));
  world.clock.run(5000);
  t.deepEqual(world.read(guest, 0, 4096), block(2));
  t.is(world.write(guest, 4096, block(3)), 'ok');
});

test('a lost frame is sent again in order, a lost answer is confirmed as a duplicate (R1, R2)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  let lost = 0;
  world.tamper = (_from, _to, frame) => {
    const isWrite = (frame.op & 127) === OP.WRITE;
    if (!isWrite || lost >= 12 || world.random.below(2) === 0) return 'pass';
    lost += 1;
    return 'lose';
  };
  const codes: string[] = [];
  for (let i = 0; i < 16; i += 1) {
    guest.write(i * 4096, block(i + 10), (error) => codes.push(error?.code ?? 'ok'));
  }
  world.clock.run(20_000);
  t.is(lost, 12);
  t.deepEqual(codes, Array(16).fill('ok'));
  const [first, ...others] = world.tables(0);
  for (const other of others) t.is(other, first as string);
});

test('a gateway that dies in mid-write leaves one history: what the next holder reads is stable and equal (4.3, 4.5)', (t) => {
  for (let seed = 1; seed <= 10; seed += 1) {
    const world = new World({ seed });
    const guest = world.attach(1);
    t.is(world.write(guest, 0, block(1)), 'ok');
    guest.write(0, block(2), () => {});
    guest.write(4096, block(3), () => {});
    world.clock.run(world.random.below(60) / 10);
    world.kill(world.node(1));
    world.down(world.node(1));
    const next = world.attach(2);
    const seen = world.read(next, 0, 8192) as Uint8Array;
    t.true(seen[0] === 1 || seen[0] === 2, `seed ${seed}`);
    const [first, second] = world.tables(0);
    t.is(first, second, `seed ${seed}`);
    world.clock.run(1000);
    t.deepEqual(world.read(world.attach(2), 0, 8192), seen);
  }
});

test('after the barrier no write of an unaware old holder is acknowledged or changes a byte (A11)', (t) => {
  const world = new World();
  const zombie = world.attach(1);
  t.is(world.write(zombie, 0, block(1)), 'ok');
  world.node(1).isLagging = true;
  const next = world.takeOver(2);
  t.deepEqual(world.read(next, 0, 4096), block(1));
  t.is(world.write(zombie, 0, block(66)), 'fenced');
  t.is(world.write(zombie, 0, block(67)), 'fenced', 'for good');
  t.deepEqual(world.read(next, 0, 4096), block(1));
  t.is(world.write(next, 0, block(2)), 'ok');
  t.deepEqual(world.read(next, 0, 4096), block(2));
});

// Method: the old holder's node is no replica, so no SEAL reaches it and only the replicas can stop it.
test('an old holder on a node that hears nothing is refused by the replicas (F1, A11)', (t) => {
  const world = new World({ nodes: 5 });
  const zombie = world.attach(outsiderOf(world));
  t.is(world.write(zombie, 0, block(1)), 'ok');
  world.node(outsiderOf(world)).isLagging = true;
  const next = world.takeOver(world.members(0)[0] as number);
  t.deepEqual(world.read(next, 0, 4096), block(1));
  t.is(world.write(zombie, 0, block(66)), 'fenced');
  t.deepEqual(world.read(next, 0, 4096), block(1));
  t.is(world.write(next, 0, block(2)), 'ok');
  const [first, ...others] = world.tables(0);
  for (const other of others) t.is(other, first as string);
});

// Method: a member is added while the holder's node hears nothing. Without F2 the old members would confirm the old
// write set, and the new member would lack an acknowledged write.
test('a holder that does not know the new member is told STALE and writes to it, too (F2, I1, I3)', (t) => {
  const world = new World({ nodes: 5, copies: 2, minCopies: 1 });
  const outsider = outsiderOf(world);
  const guest = world.attach(outsider);
  t.is(world.write(guest, 0, block(1)), 'ok');
  world.node(outsider).isLagging = true;
  const added = world.nodes.find(({ id }) => id !== outsider && !world.members(0).includes(id));
  world.must(world.joinOf(added?.id as number, 0));
  world.clock.run(100);
  world.promoteWhenDrained(added?.id as number, 0);
  world.clock.run(500);
  t.is(world.config(0).inSync.length, 3);
  t.is(world.write(guest, 0, block(2)), 'ok');
  t.is(added?.store.row(world.volume.head, 0)?.verCount, 2);
  const tables = world.tables(0);
  t.is(tables.length, 3);
  for (const table of tables) t.is(table, tables[0] as string);
});

test('a read waits for an overlapping write in flight, another one does not (3.5)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, 65536)), 'ok');
  world.tamper = (_from, _to, frame) => (frame.op === OP.WRITE ? 'lose' : 'pass');
  guest.write(4096, block(2), () => {});
  t.is(world.read(guest, 0, 8192, 500), 'waiting');
  t.deepEqual(world.read(guest, 8192, 4096, 500), block(1));
  world.tamper = () => 'pass';
  world.clock.run(3000);
  t.deepEqual(world.read(guest, 4096, 4096), block(2));
});

// Method: nobody drains; only the write itself can bring the joiner what it lacks.
test('a write to a stack that a joiner lacks recovers that stack, then is acknowledged (4.6 step 4)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, 65536)), 'ok');
  world.kill(world.node(3));
  world.down(world.node(3));
  t.is(world.write(guest, 0, block(2)), 'ok');
  world.restart(world.node(3));
  world.clock.run(100);
  world.must(world.joinOf(3, 0));
  world.clock.run(100);
  t.is(world.write(guest, 4096, block(3)), 'ok');
  const [first, second] = world.tables(0);
  t.is(first, second);
  t.is(world.node(3).store.describe(world.keyOf(0)), first as string);
});

test('writes that come while their stack is recovered wait behind it, in order (4.6 step 4)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, 65536)), 'ok');
  world.kill(world.node(3));
  world.down(world.node(3));
  t.is(world.write(guest, 0, block(2)), 'ok');
  world.restart(world.node(3));
  world.clock.run(100);
  world.must(world.joinOf(3, 0));
  world.clock.run(100);
  const codes: string[] = [];
  let refused = 0;
  world.tamper = (_from, _to, frame, isReply) => {
    if (isReply && frame.op === OP.WRITE + 128 && frame.status !== STATUS.OK) refused += 1;
    return 'pass';
  };
  for (let i = 0; i < 10; i += 1) {
    guest.write((i + 1) * 4096, block(i), (error) => codes.push(error?.code ?? 'ok'));
  }
  world.clock.run(1000);
  t.deepEqual(codes, Array(10).fill('ok'));
  t.is(refused, 0);
  t.is(world.node(3).store.describe(world.keyOf(0)), world.tables(0)[0] as string);
});

test('a holder that learns of a newer token stops before any replica tells it', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  let outcome = '';
  world.tamper = (_from, _to, frame) => ((frame.op & 127) === OP.WRITE ? 'lose' : 'pass');
  guest.write(0, block(2), (error) => {
    outcome = error?.code ?? 'ok';
  });
  world.takeOver(3);
  world.clock.until(() => outcome !== '', 10_000);
  t.is(outcome, 'fenced');
  t.is(guest.open.state, 'lost');
  let flushed = '';
  guest.flush((error) => {
    flushed = error?.code ?? 'ok';
  });
  t.is(flushed, 'fenced');
});

test('beside a live holder reads come from it; writes wait, then are refused with its name (3.2)', (t) => {
  const world = new World();
  const holder = world.attach(1);
  t.is(world.write(holder, 0, block(1)), 'ok');
  const standby = world.attach(2);
  t.deepEqual(world.read(standby, 0, 4096), block(1));
  let text = '';
  standby.write(0, block(2), (error) => {
    text = `${error?.code} ${error?.message}`;
  });
  world.clock.run(HANDOVER_TIMEOUT_MS - 1000);
  t.is(text, '', 'the holder may be about to let go');
  world.clock.run(2000);
  t.regex(text, /^held .*held by n1/);
  t.is(world.write(holder, 0, block(3)), 'ok');
  t.deepEqual(world.read(standby, 0, 4096), block(3));
  let isReleased = false;
  holder.disconnect().then(() => {
    isReleased = true;
  });
  world.clock.run(1000);
  t.is(world.volume.lock.state, 'free');
  t.is(world.write(standby, 0, block(4)), 'ok', 'a free lock is acquired by the next write');
  t.deepEqual(world.read(standby, 0, 4096), block(4));
  t.false(isReleased, 'promises do not settle inside the clock');
});

test('a write that comes while the former holder still lets go waits for the lock and is done (3.2)', (t) => {
  const world = new World();
  const holder = world.attach(1);
  t.is(world.write(holder, 0, block(1)), 'ok');
  const next = world.attach(2);
  t.deepEqual(world.read(next, 0, 4096), block(1), 'a standby');
  const outcomes: string[] = [];
  const write = (n: number) =>
    next.write(n * 4096, block(n), (error) => outcomes.push(error?.code ?? 'ok'));
  for (const n of [2, 3, 4]) write(n);
  void holder.disconnect();
  world.clock.until(() => outcomes.length === 3, HANDOVER_TIMEOUT_MS / 2);
  t.deepEqual(outcomes, ['ok', 'ok', 'ok']);
  t.deepEqual(world.read(next, 3 * 4096, 4096), block(3));
});

test('a disconnect closes what is open, so that the next first touch finds nothing to settle (R6)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  void guest.disconnect();
  world.clock.run(2000);
  t.is(world.volume.lock.state, 'free');
  for (const id of world.members(0)) {
    const row = world.node(id).store.row(world.volume.head, 0);
    t.is(row?.closed, row?.verCount);
  }
  let equalised = 0;
  world.tamper = (_from, _to, frame) => {
    if (frame.op === OP.EQUALISE) equalised += 1;
    return 'pass';
  };
  t.deepEqual(world.read(world.attach(2), 0, 4096), block(1));
  t.is(equalised, 0);
});

test('after 200 ms of silence the writes of an object are closed everywhere (R6)', (t) => {
  const world = new World();
  const guest = world.attach(2);
  t.is(world.write(guest, 0, block(1)), 'ok');
  t.is(world.write(guest, 0, block(2)), 'ok');
  world.clock.run(1000);
  for (const id of world.members(0)) {
    t.is(world.node(id).store.row(world.volume.head, 0)?.closed, 2);
  }
});

test('a returning node misses nothing: it catches up beside a writing guest and is promoted equal (4.6)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, 65536)), 'ok');
  world.kill(world.node(3));
  world.down(world.node(3));
  t.is(world.write(guest, 4096, block(2)), 'ok');
  t.is(world.write(guest, 5 * MIB, block(3)), 'ok');
  world.restart(world.node(3));
  let writes = 0;
  const again = (error: unknown): void => {
    if (error !== undefined || writes >= 200) return;
    writes += 1;
    guest.write((writes % 32) * 4096, block(writes), again);
  };
  again(undefined);
  t.true(world.heal());
  world.clock.run(3000);
  t.is(writes, 200);
  for (const index of [0, 1]) {
    const [first, ...others] = world.tables(index);
    t.is(others.length, 2);
    for (const other of others) t.is(other, first as string);
  }
});

test('a damaged own copy is read from the next member, all damaged is an error, never old data (4.10)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  world.node(1).store.rot(world.volume.head, 0, 0);
  t.deepEqual(world.read(guest, 0, 4096), block(1));
  for (const id of [2, 3]) world.node(id).store.rot(world.volume.head, 0, 0);
  t.is(world.read(guest, 0, 4096), 'corrupt');
});

test('a full member is answered by ENOSPC before a number, and the hanging number stays (R2, 4.9)', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  world.node(2).store.isFull = true;
  t.is(world.write(guest, 0, block(2), 20_000), 'no-space');
  t.is(world.write(guest, 4096, block(3)), 'no-space');
  world.node(2).store.isFull = false;
  world.clock.run(3000);
  t.deepEqual(world.read(guest, 0, 4096), block(2), 'the number was never withdrawn');
  t.is(world.write(guest, 4096, block(4)), 'ok');
  const [first, ...others] = world.tables(0);
  for (const other of others) t.is(other, first as string);
});

test('a replica whose journal is full delays writes, nothing fails', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  for (const { store } of world.nodes) store.isBusy = true;
  const codes: string[] = [];
  for (let i = 0; i < 20; i += 1) {
    guest.write(i * 4096, block(i), (error) => codes.push(error?.code ?? 'ok'));
  }
  world.clock.run(300);
  for (const { store } of world.nodes) store.isBusy = false;
  world.clock.run(5000);
  t.deepEqual(codes, Array(20).fill('ok'));
  t.deepEqual(world.warnings, []);
});

test('reads that are not in memory are answered, too', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1, 100_000)), 'ok');
  for (const { store } of world.nodes) store.readsCold = true;
  t.deepEqual(world.read(guest, 5000, 60_000), block(1, 60_000));
  world.node(1).store.rot(world.volume.head, 0, 2);
  t.deepEqual(world.read(guest, 5000, 60_000), block(1, 60_000));
});

test('a gateway that is no member of the partition reads and writes through the others', (t) => {
  const world = new World({ nodes: 5 });
  const outside = world.nodes.find((node) => !world.members(0).includes(node.id));
  const guest = world.attach(outside?.id as number);
  t.is(world.write(guest, 1000, block(8, 5000)), 'ok');
  t.deepEqual(world.read(guest, 1000, 5000), block(8, 5000));
});

test('one node with one copy works the same way', (t) => {
  const world = new World({ nodes: 1, copies: 1 });
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(3)), 'ok');
  t.deepEqual(world.read(guest, 0, 4096), block(3));
  world.kill(world.node(1));
  world.restart(world.node(1));
  world.clock.run(100);
  t.deepEqual(world.read(world.attach(1), 0, 4096), block(3));
});

test('a deleted volume fails its sessions with gone, and its rows are dropped', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  void guest.disconnect();
  world.clock.run(2000);
  world.must({ type: 'volumeDelete', volume: world.volumeId, token: world.volume.lock.token });
  world.clock.run(100);
  let left = -1;
  world.node(2).datapath.surplus.dropDeleted((_error, dropped) => {
    left = dropped;
  });
  world.clock.run(100);
  t.is(left, 1);
  t.is(world.node(2).store.objectCount, 0);
});

test('garbage from a peer is refused, whatever it says', (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  const { datapath } = world.node(2);
  for (const op of [0, 1, 2, 3, 4, 16, 17, 18, 19, 20, 21, 32, 33, 34, 35, 36, 99]) {
    for (let i = 0; i < 50; i += 1) {
      const bytes = world.random.bytes(world.random.below(100));
      let status = -1;
      const frame = {
        op,
        status: 0,
        flags: world.random.below(256) & ~8,
        requestId: 1,
        generation: world.random.below(3),
        index: world.random.below(3),
        offset: world.random.below(2 ** 23),
        count: world.random.below(2 ** 23),
        cfg: world.random.below(4),
        partition: world.random.below(20),
        mapIndex: world.random.below(8),
        token: world.random.below(3),
        verToken: 0,
        verCount: world.random.below(3),
        closed: 5,
        volume: world.random.below(3),
        sums: bytes,
        payload: bytes,
      };
      datapath.handleFrame(3 as never, frame as never, (reply) => {
        status = reply.status;
      });
      world.clock.run(50);
      t.not(status, -1);
      if (op !== OP.READ && op !== OP.ZERO && op !== OP.CONFIRM) t.not(status, STATUS.OK + 100);
    }
  }
});
