// A volume moves to another number of copies while its guest works (S8). Method: several real data paths on one fake clock
// (world.ts); what the copy does not get, or gets too late, is chosen by tampering with its frames.

import test, { type ExecutionContext } from 'ava';
import type { GenerationId } from '../../src/core/ids.ts';
import { partitionKey } from '../../src/core/ids.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { RECOVERY_ENABLED_KEY } from '../../src/core/recovery-settings.ts';
import { KIB, MIB } from '../../src/core/units.ts';
import type { Gateway } from '../../src/datapath/gateway.ts';
import { dataRuns } from '../../src/datapath/volume-copier.ts';
import { COPY_PATIENCE_MS } from '../../src/datapath/volume-mover.ts';
import { OP } from '../../src/wire/frame.ts';
import { PARTITIONS, World, type WorldOptions } from './world.ts';

const SECTOR = 4096;

function block(fill: number, length = SECTOR): Uint8Array {
  return new Uint8Array(length).fill(fill);
}

/** What a sector is filled with; a code of an error, or 'mixed'. */
function fillAt(world: World, gateway: Gateway, offset: number): number | string {
  const bytes = world.read(gateway, offset, SECTOR);
  if (typeof bytes === 'string') return bytes;
  return bytes.every((byte) => byte === bytes[0]) ? (bytes[0] as number) : 'mixed';
}

/** A copy that was counted goes no further, until it may again. */
function pause(world: World, isPaused: boolean): void {
  const value = isPaused ? 'no' : 'yes';
  world.must({ type: 'setting', key: RECOVERY_ENABLED_KEY, value });
}

/** The copy of a move, with the change that it gets from now on; nothing of it is copied yet. */
function copying(world: World, copies: number): GenerationId {
  pause(world, true);
  world.move(copies);
  const { datapath } = world.node(world.volume.lock.node);
  const isCopying = (): boolean => datapath.moves()[0]?.reason === 'recovery is paused';
  if (!world.clock.until(isCopying, 20_000)) throw new RangeError('it does not copy');
  return generationOf(world);
}

/** Four nodes, two objects, sectors in some regions of both. */
function filled(options: WorldOptions = {}) {
  const world = new World({ nodes: 4, ...options });
  const guest = world.attach(1);
  for (let at = 0; at < 8; at += 1) world.write(guest, at * MIB + at * 64 * KIB, block(at + 1));
  return { world, guest };
}

function generationOf(world: World): GenerationId {
  return (world.view.moves.get(world.volumeId)?.generation ?? 0) as GenerationId;
}

/** What the recovery actors do after an entry that ended a generation. */
function dropDeleted(world: World): void {
  for (let round = 0; round < 4; round += 1) {
    for (const { datapath } of world.nodes) datapath.surplus.dropDeleted(() => undefined);
    world.clock.run(200);
  }
}

/** Rows of object `index` of a generation, by node. */
function rowsOf(world: World, generation: number, index: number) {
  return world.nodes.map(({ store }) => store.row(generation, index));
}

/** All members of I have the same table, and nobody else has a row of the volume. */
function areCopiesEqual(t: ExecutionContext, world: World, index: number): void {
  const { policy, family, head } = world.volume;
  const p = partitionOf(family, index, PARTITIONS);
  const { inSync } = world.view.partition(policy, p);
  const tables = inSync.map((id) => world.node(id).store.describe(partitionKey(policy, p)));
  for (const table of tables) t.is(table, tables[0] as string);
  for (const { id, store } of world.nodes) {
    t.is(store.row(head, index) !== undefined, inSync.includes(id), `n${id}, object ${index}`);
  }
}

test('a volume moves to fewer copies and to more, its bytes stay, the former copies go', (t) => {
  const { world, guest } = filled();
  for (const copies of [1, 2, 4]) {
    const former = world.volume.head;
    t.true(world.move(copies));
    t.true(world.hasMoved(copies), `${copies} copies`);
    for (let at = 0; at < 8; at += 1) {
      t.is(fillAt(world, guest, at * MIB + at * 64 * KIB), at + 1);
    }
    t.is(world.write(guest, copies * SECTOR, block(100 + copies)), 'ok', 'the session goes on');
    world.clock.run(1000);
    for (const index of [0, 1]) areCopiesEqual(t, world, index);
    dropDeleted(world);
    for (const { store } of world.nodes) t.is(store.row(former, 0), undefined);
  }
  t.is(fillAt(world, guest, SECTOR), 101);
  t.deepEqual(world.warnings, []);
});

test('while it moves each change is on all of both write sets when the guest hears of it', (t) => {
  const { world, guest } = filled();
  const copy = copying(world, 2);
  t.is(world.write(guest, 0, block(50)), 'ok');
  const { policy, family } = world.view.volumeOfGeneration(copy) ?? world.volume;
  const { inSync } = world.view.partition(policy, partitionOf(family, 0, PARTITIONS));
  t.is(inSync.length, 2);
  for (const id of inSync) t.true((world.node(id).store.row(copy, 0)?.verCount ?? 0) > 0, `n${id}`);
  for (const id of world.members(0))
    t.is(world.node(id).store.row(world.volume.head, 0)?.verCount, 5);
});

test('writes, zeroes and trims under way are in the copy, whatever it has copied by then', (t) => {
  for (let seed = 1; seed <= 12; seed += 1) {
    const { world, guest } = filled({ seed });
    const expected = new Map<number, number>();
    let left = 0;
    t.true(world.move(seed % 2 === 0 ? 1 : 2));
    for (let i = 0; i < 60; i += 1) {
      const sector = world.random.below(12) * 16 + world.random.below(2);
      const kind = world.random.below(4);
      left += 1;
      const done = (error: unknown): void => {
        t.is(error, undefined);
        left -= 1;
      };
      if (kind === 0) guest.trim(sector * SECTOR, SECTOR, done);
      else if (kind === 1) guest.writeZeroes(sector * SECTOR, SECTOR, done);
      else guest.write(sector * SECTOR, block(10 + i), done);
      expected.set(sector, kind < 2 ? 0 : 10 + i);
      world.clock.run(world.random.below(8));
    }
    t.true(world.hasMoved(seed % 2 === 0 ? 1 : 2), `seed ${seed}`);
    world.clock.until(() => left === 0, 20_000);
    t.is(left, 0);
    for (const [sector, fill] of expected) {
      t.deepEqual(
        world.read(guest, sector * SECTOR, SECTOR),
        block(fill),
        `seed ${seed}, ${sector}`,
      );
    }
    world.clock.run(1000);
    for (const index of [0, 1]) areCopiesEqual(t, world, index);
  }
});

test('what is not there is not copied: holes and zeroes stay holes', (t) => {
  const world = new World({ nodes: 4, sizeBytes: 64 * MIB });
  const guest = world.attach(1);
  t.is(world.write(guest, 20 * MIB + 5 * SECTOR, block(7)), 'ok');
  t.is(world.write(guest, 30 * MIB, block(0)), 'ok', 'zeroes that were written');
  t.true(world.move(2));
  t.true(world.hasMoved(2));
  const found = Array.from({ length: 16 }, (_, index) => index).filter((index) => {
    return rowsOf(world, world.volume.head, index).some((row) => row !== undefined);
  });
  t.deepEqual(found, [5]);
  t.deepEqual(
    dataRuns(new Uint8Array([...block(0), ...block(1, 8192), ...block(0), ...block(2)])),
    [
      { offset: 4096, count: 8192 },
      { offset: 16384, count: 4096 },
    ],
  );
});

// Method: the first write of an object that the holder has no copy of is on its way when the move begins, and no member has
// it when the others are counted.
test('what went to the head alone before the move began is waited for before anything is counted', (t) => {
  const world = new World({ nodes: 4, sizeBytes: 64 * MIB });
  const guest = world.attach(1);
  t.is(world.write(guest, 0, block(1)), 'ok');
  const index = Array.from({ length: 16 }, (_, at) => at).find(
    (at) => !world.members(at).some((id) => id === 1),
  );
  const offset = (index as number) * 4 * MIB;
  const { head } = world.volume;
  world.tamper = (_from, _to, frame) =>
    (frame.op & 127) === OP.WRITE && frame.generation === head ? 'lose' : 'pass';
  let answer = '';
  guest.write(offset, block(5), (error) => {
    answer = error?.code ?? 'ok';
  });
  world.clock.run(100);
  pause(world, true);
  t.true(world.move(2));
  world.clock.run(3000);
  t.is(answer, '');
  world.tamper = () => 'pass';
  t.true(world.clock.until(() => answer === 'ok', 20_000));
  pause(world, false);
  t.true(world.hasMoved(2));
  t.is(fillAt(world, guest, offset), 5);
});

// Method: the pieces of the copy hang, so the ranges of the head that they hold do.
test('a piece of the copy that hangs keeps no writer of its range waiting for long', (t) => {
  const { world, guest } = filled();
  const first = copying(world, 2);
  world.tamper = (_from, _to, frame, isReply) =>
    !isReply && frame.op === OP.WRITE && frame.generation === first ? 'lose' : 'pass';
  pause(world, false);
  world.clock.run(1000);
  const before = world.clock.now();
  t.is(world.write(guest, 0, block(50), 60_000), 'ok');
  t.true(world.clock.now() - before <= COPY_PATIENCE_MS + 1000);
  t.true(world.hasMoved(2));
  t.is(fillAt(world, guest, 0), 50);
});

test('the guest does not suffer from new copies that do not answer: the head is enough, the copy begins anew', (t) => {
  const { world, guest } = filled();
  const first = copying(world, 2);
  // Nothing is written to the first copy any more.
  world.tamper = (_from, _to, frame, isReply) =>
    !isReply && frame.op === OP.WRITE && frame.generation === first ? 'lose' : 'pass';
  const before = world.clock.now();
  t.is(world.write(guest, 0, block(50), 60_000), 'ok');
  t.true(world.clock.now() - before <= COPY_PATIENCE_MS + 1000);
  pause(world, false);
  t.true(world.hasMoved(2));
  t.true(world.volume.head > first, 'not by the copy that missed a write');
  t.is(fillAt(world, guest, 0), 50);
});

// Method: the log's word is kept from the holder, who asked for it. Its guest's writes may not be answered by the former
// copies alone then.
test('once the log was asked to make the copy the head, only the log gives it up', (t) => {
  const { world, guest } = filled();
  const holder = world.node(1);
  t.true(world.move(2));
  world.clock.until(() => holder.datapath.moves()[0]?.stage === 'finishing', 20_000);
  holder.isLagging = true;
  t.true(
    world.clock.until(() => world.view.moves.size === 0, 20_000),
    'decided',
  );
  let answer = '';
  guest.write(0, block(60), (error) => {
    answer = error?.code ?? 'ok';
  });
  world.clock.run(COPY_PATIENCE_MS * 2);
  holder.isLagging = false;
  world.apply(holder);
  world.clock.until(() => answer !== '', 20_000);
  t.is(answer, 'ok');
  t.is(fillAt(world, guest, 0), 60);
  t.is(world.read(world.takeOver(2), 0, SECTOR).toString(), block(60).toString());
});

test('the holder dies: the next one begins anew in a fresh generation, and every answered write is there', (t) => {
  for (let seed = 1; seed <= 10; seed += 1) {
    const { world, guest } = filled({ seed });
    const first = copying(world, 2);
    pause(world, false);
    world.clock.run(world.random.below(6));
    let isAnswered = false;
    guest.write(0, block(70), (error) => {
      isAnswered = error === undefined;
    });
    world.clock.run(world.random.below(10));
    world.kill(world.node(1));
    world.down(world.node(1));
    const next = world.attach(2);
    const seen = fillAt(world, next, 0);
    if (isAnswered) t.is(seen, 70, `seed ${seed}`);
    world.restart(world.node(1));
    world.heal();
    t.true(world.hasMoved(2), `seed ${seed}`);
    t.not(world.volume.head, first);
    t.is(fillAt(world, next, 0), seen, `seed ${seed}: what was read is stable`);
    for (let at = 1; at < 8; at += 1) {
      t.is(fillAt(world, next, at * MIB + at * 64 * KIB), at + 1);
    }
  }
});

test('the log decides two moves before the holder hears of the first: it goes on with the second', (t) => {
  const { world, guest } = filled();
  const holder = world.node(1);
  t.true(world.move(2));
  world.clock.until(() => holder.datapath.moves()[0]?.stage === 'finishing', 20_000);
  holder.isLagging = true;
  t.true(world.clock.until(() => world.view.moves.size === 0, 20_000));
  t.true(world.move(4));
  holder.isLagging = false;
  // As after a pull: one new view for all of it.
  holder.views.set(world.view);
  t.true(world.hasMoved(4));
  t.is(fillAt(world, guest, MIB + 64 * KIB), 2);
});

test('the lock is granted again while it moves: what the copy alone took is not answered, and is not lost', (t) => {
  const { world, guest } = filled();
  const { head } = world.volume;
  const copy = copying(world, 2);
  world.tamper = (_from, _to, frame, isReply) => {
    return !isReply && frame.op === OP.WRITE && frame.generation === head ? 'lose' : 'pass';
  };
  let code = 'waiting';
  guest.write(0, block(60), (error) => {
    code = error?.code ?? 'ok';
  });
  const countOfCopy = () => Math.max(...rowsOf(world, copy, 0).map((row) => row?.verCount ?? 0));
  t.true(
    world.clock.until(() => countOfCopy() > 0, 2000),
    'the copy has it, the head has not',
  );
  const { token } = world.volume.lock;
  world.must({ type: 'handoverCancel', volume: world.volumeId, token });
  t.true(world.clock.until(() => Number(guest.open.token) === token + 1, 2000));
  world.clock.run(1000);
  t.is(code, 'waiting', 'a new token begins another copy: this one’s word counts no more');
  t.not(generationOf(world), 0, 'it moves still');
  world.tamper = () => 'pass';
  world.clock.run(2000);
  t.is(code, 'ok');
  t.is(fillAt(world, guest, 0), 60);
  t.is(fillAt(world, world.takeOver(2), 0), 60);
});

test('cancelled in the middle: the volume stays, and the copy goes', (t) => {
  const { world, guest } = filled();
  const copy = copying(world, 2);
  const { token } = world.volume.lock;
  let answer = '';
  guest.write(0, block(80), (error) => {
    answer = error?.code ?? 'ok';
  });
  world.must({ type: 'moveCancel', volume: world.volumeId, token });
  world.clock.until(() => answer !== '', 20_000);
  t.is(answer, 'ok');
  world.clock.run(2000);
  dropDeleted(world);
  for (const { store } of world.nodes) t.is(store.row(copy, 0), undefined);
  t.is(world.node(1).datapath.moves().length, 0);
  t.is(fillAt(world, guest, 0), 80);
});

test('writeback: what a flush covered before the move is on the disks of the new copies after it', (t) => {
  for (let seed = 1; seed <= 6; seed += 1) {
    const { world, guest } = filled({ seed, durability: 'writeback' });
    t.is(world.flush(guest), 'ok');
    t.true(world.move(2));
    let isFlushed = false;
    world.clock.run(world.random.below(80));
    guest.write(0, block(90), () => {
      guest.flush((error) => {
        isFlushed = error === undefined;
      });
    });
    t.true(world.hasMoved(2));
    world.clock.until(() => isFlushed, 20_000);
    t.true(isFlushed);
    for (const node of world.nodes) world.kill(node, 0);
    for (const node of world.nodes) world.restart(node);
    world.heal();
    const next = world.attach(3);
    t.is(fillAt(world, next, 0), 90, `seed ${seed}`);
    for (let at = 1; at < 8; at += 1) {
      t.is(fillAt(world, next, at * MIB + at * 64 * KIB), at + 1);
    }
  }
});

test('no room for the new copies: the guest is told nothing of it, and the move ends when there is room', (t) => {
  const { world, guest } = filled({ copies: 1, minCopies: 1 });
  const holders = [...world.members(0), ...world.members(1)];
  const others = world.nodes.filter(({ id }) => !holders.includes(id));
  t.true(others.length > 0);
  for (const { store } of others) store.isFull = true;
  t.true(world.move(4));
  for (let at = 0; at < 6; at += 1) {
    t.is(world.write(guest, at * SECTOR, block(20 + at), 30_000), 'ok');
    world.clock.run(4000);
  }
  t.is(world.view.moves.size, 1);
  t.true(world.warnings.some((line) => /move\.dropped/.test(line)));
  for (const { store } of others) store.isFull = false;
  t.true(world.hasMoved(4, 120_000));
  for (let at = 0; at < 6; at += 1) t.is(fillAt(world, guest, at * SECTOR), 20 + at);
  for (const index of [0, 1]) areCopiesEqual(t, world, index);
});

test('too few of the new copies could be written: the move waits and says so, the guest does not', (t) => {
  const { world, guest } = filled({ copies: 2, minCopies: 1 });
  for (const id of [3, 4]) {
    world.kill(world.node(id));
    world.down(world.node(id));
  }
  world.clock.run(100);
  t.is(world.write(guest, 0, block(30)), 'ok');
  t.true(world.move(4));
  world.clock.run(3000);
  const [status] = world.node(1).datapath.moves();
  t.is(status?.stage, 'waiting');
  t.regex(status?.reason ?? '', /2 of 4 copies could be written, writes need 3/);
  t.is(world.write(guest, 0, block(31)), 'ok');
  for (const id of [3, 4]) world.restart(world.node(id));
  world.heal();
  t.true(world.hasMoved(4));
  t.is(fillAt(world, guest, 0), 31);
});

test('nobody holds the volume: who is kept for its copy lets go as soon as a guest wants to write elsewhere', (t) => {
  const { world, guest } = filled();
  guest.disconnect().catch(() => undefined);
  world.clock.run(2000);
  t.is(world.volume.lock.state, 'free');
  t.true(world.move(2));
  const keeper = world.node(2).datapath.openVolume(world.volume);
  keeper.keep();
  world.clock.until(() => keeper.isHolder, 5000);
  t.true(keeper.isHolder);
  const other = world.attach(3);
  t.is(world.write(other, 0, block(40)), 'ok', 'not refused after a while');
  t.is(world.volume.lock.node as number, 3);
  t.true(world.hasMoved(2));
  t.is(fillAt(world, other, 0), 40);
  t.false(world.node(3).datapath.openVolume(world.volume).letGo(), 'it has a guest');
});
