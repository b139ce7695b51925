// The hand-over between two sessions (3.2, 3.3), on real data paths over an abstract log: when it happens, what either
// guest sees of it, and how it ends when a side dies or falls silent.

import test from 'ava';
import type { EntryBody } from '../../src/core/log-entry.ts';
import type { Gateway } from '../../src/datapath/gateway.ts';
import { OUTCOME_MS } from '../../src/datapath/handover-desk.ts';
import { HANDOVER_TIMEOUT_MS } from '../../src/datapath/standby.ts';
import { FLAG, OP, STATUS } from '../../src/wire/frame.ts';
import { World, type WorldOptions } from './world.ts';

const block = (n: number): Uint8Array => new Uint8Array(4096).fill(n);

/** Starts a write; `code` tells its end. */
function starts(gateway: Gateway, offset: number, n: number) {
  const end = { code: 'waiting', text: '' };
  gateway.write(offset, block(n), (error) => {
    end.code = error?.code ?? 'ok';
    end.text = error?.message ?? '';
  });
  return end;
}

/** Node 1 holds the volume and wrote; a client is beside it on node 2. */
function beside(options: WorldOptions = {}) {
  const world = new World(options);
  const source = world.attach(1);
  world.write(source, 0, block(1));
  const dest = world.attach(2);
  world.clock.run(100);
  return { world, source, dest };
}

/** What a stopped guest does last. */
function stops(world: World, source: Gateway): void {
  world.flush(source);
}

const prepare = (world: World, node: number): EntryBody => ({
  type: 'handoverPrepare',
  volume: world.volumeId,
  token: world.volume.lock.token,
  toNode: node as never,
});

test('a write after the source’s last flush moves the volume; the source is fenced for good (3.2)', (t) => {
  const { world, source, dest } = beside();
  const before = world.volume.lock.token;
  stops(world, source);
  t.is(world.write(dest, 0, block(2), 1000), 'ok');
  t.like(world.volume.lock, { node: 2, token: before + 1, tookOver: false });
  t.deepEqual(world.read(dest, 0, 4096), block(2));
  t.is(world.write(source, 0, block(3)), 'fenced');
  t.is(world.write(source, 0, block(3)), 'fenced');
  t.is(world.warnings.filter((text) => text.includes('second-writer')).length, 1);
  t.deepEqual(world.read(dest, 0, 4096), block(2));
});

test('H1 b: without a flush since the other connected nothing moves, however silent the guest is', (t) => {
  const world = new World();
  const source = world.attach(1);
  world.write(source, 0, block(1));
  stops(world, source);
  const dest = world.attach(2);
  world.clock.run(100);
  const write = starts(dest, 0, 2);
  world.clock.run(HANDOVER_TIMEOUT_MS + 1000);
  t.is(write.code, 'held');
  t.regex(write.text, /held by n1.*not flushed since/);
  t.is(world.write(source, 0, block(3)), 'ok');
});

test('H1 c: a guest that only reads is not quiet; forwarded reads of the other are not its own', (t) => {
  const { world, source, dest } = beside();
  stops(world, source);
  const write = starts(dest, 0, 2);
  for (let at = 0; at < 20; at += 1) {
    world.read(source, 0, 4096);
    world.clock.run(100);
  }
  t.is(write.code, 'waiting');
  for (let at = 0; at < 20 && write.code === 'waiting'; at += 1) {
    world.read(dest, 4096, 4096);
    world.clock.run(50);
  }
  t.is(write.code, 'ok');
});

test('refused after 30 s with the holder’s name; then at once, until the holder is another (3.2, 5)', (t) => {
  const { world, source, dest } = beside();
  const write = starts(dest, 0, 2);
  for (let ms = 0; ms < HANDOVER_TIMEOUT_MS + 500; ms += 100) {
    world.write(source, 0, block(3));
    world.clock.run(100);
  }
  t.is(write.code, 'held');
  t.regex(write.text, /held by n1/);
  const at = world.clock.now();
  t.is(world.write(dest, 0, block(2)), 'held');
  t.true(world.clock.now() - at < 100);
  world.takeOver(3);
  world.clock.run(100);
  const next = starts(dest, 0, 2);
  world.clock.run(1000);
  t.is(next.code, 'waiting', 'another holder: nothing is known of that one');
});

test('refused while the holder still has its ask: what is drained then stays, and its guest sees a moment’s pause', (t) => {
  const { world, source, dest } = beside();
  const write = starts(dest, 0, 2);
  while (write.code === 'waiting') {
    world.write(source, 0, block(3));
    world.clock.run(20);
  }
  t.is(write.code, 'held');
  const { token } = world.volume.lock;
  stops(world, source);
  world.clock.run(800);
  t.like(world.volume.lock, { node: 1 });
  t.is(Number(world.volume.lock.token), token + 1, 'it was drained, and declined');
  t.is(world.write(source, 0, block(4), 200), 'ok');
});

test('FLUSH beside a holder never moves the volume', (t) => {
  const { world, source, dest } = beside({ durability: 'writeback' });
  stops(world, source);
  t.is(world.flush(dest), 'ok');
  world.clock.run(2000);
  t.is(world.volume.lock.node as number, 1);
});

test('writeback: what was acknowledged and not flushed is flushed before the volume moves', (t) => {
  const { world, source, dest } = beside({ durability: 'writeback' });
  world.must(prepare(world, 2));
  world.clock.run(100);
  world.write(source, 0, block(7));
  t.true(world.nodes.some(({ store }) => store.unsynced > 0));
  const write = starts(dest, 4096, 2);
  world.clock.until(() => world.volume.lock.node === 2, 3000);
  t.true(world.nodes.every(({ store }) => store.unsynced === 0));
  world.clock.run(500);
  t.is(write.code, 'ok');
  for (const node of world.nodes) world.kill(node, 0);
  for (const node of world.nodes) world.restart(node);
  world.heal();
  t.deepEqual(world.read(world.attach(3), 0, 4096), block(7));
});

test('prepared: no flush and no silence is asked for, and nobody else is served (3.2)', (t) => {
  const { world, source, dest } = beside();
  world.must(prepare(world, 2));
  world.clock.run(100);
  const other = world.attach(3);
  const late = starts(other, 0, 9);
  world.clock.run(2000);
  t.is(late.code, 'waiting');
  t.is(world.write(source, 0, block(4)), 'ok');
  t.is(world.write(dest, 0, block(2), 500), 'ok');
  t.is(world.volume.lock.node as number, 2);
});

test('exclusive: the prepared successor is let in beside the holder, nobody else', (t) => {
  const world = new World();
  world.must({
    type: 'volumeAttach',
    volume: world.volumeId,
    token: world.volume.lock.token,
    attachMode: 'exclusive',
  });
  world.clock.run(100);
  const source = world.attach(1);
  world.write(source, 0, block(1));
  t.throws(() => world.attach(2), { message: /held by n1/ });
  world.must(prepare(world, 2));
  world.clock.run(100);
  t.throws(() => world.attach(3), { message: /held by n1/ });
  const dest = world.attach(2);
  t.deepEqual(world.read(dest, 0, 4096), block(1));
  t.is(world.write(dest, 0, block(2), 1000), 'ok');
  t.is(world.write(source, 0, block(3)), 'fenced');
});

test('cancelled while its guest writes: the same session goes on with the next token, and its guest sees nothing', (t) => {
  const { world, source } = beside();
  world.must(prepare(world, 2));
  world.clock.run(100);
  const ends = [];
  for (let n = 0; n < 8; n += 1) ends.push(starts(source, n * 4096, 10 + n));
  const { token } = world.volume.lock;
  world.must({ type: 'handoverCancel', volume: world.volumeId, token });
  for (let n = 8; n < 16; n += 1) ends.push(starts(source, n * 4096, 10 + n));
  world.clock.run(5000);
  t.deepEqual(
    ends.map(({ code }) => code),
    ends.map(() => 'ok'),
  );
  t.is(Number(source.open.token), token + 1);
  for (let n = 0; n < 16; n += 1) {
    t.deepEqual(world.read(source, n * 4096, 4096), block(10 + n));
  }
});

test('cancelled: the loss of what was acknowledged and not synced is still noticed (R8)', (t) => {
  const world = new World({ nodes: 4, durability: 'writeback' });
  const outsider = world.nodes.find(({ id }) => !world.members(0).includes(id));
  const source = world.attach(Number(outsider?.id));
  t.is(world.write(source, 0, block(1)), 'ok');
  t.is(world.flush(source), 'ok');
  t.is(world.write(source, 0, block(2)), 'ok');
  const { token } = world.volume.lock;
  world.must({ type: 'handoverCancel', volume: world.volumeId, token });
  const members = world.members(0).map((id) => world.node(id));
  for (const node of members) world.kill(node, 0);
  world.clock.run(50);
  t.is(Number(source.open.token), token + 1, 'granted again, before anything was touched');
  for (const node of members) world.restart(node);
  world.clock.run(3000);
  t.is(world.flush(source), 'cache-lost');
});

test('cancelled: a replica knows the new token before its holder does: it refuses the old one, and the same session goes on', (t) => {
  const { world, source } = beside();
  const node = world.node(1);
  const { token, session } = world.volume.lock;
  node.isLagging = true;
  world.must({ type: 'handoverCancel', volume: world.volumeId, token });
  for (const other of [2, 3]) world.apply(world.node(other));
  t.is(source.open.token, token, 'it has not heard of it');
  const refused: number[] = [];
  const taken: number[] = [];
  world.tamper = (from, to, frame, isReply) => {
    if (isReply && frame.status === STATUS.FENCED && refused.length === 0) {
      refused.push(Number(source.open.token));
    }
    if (!isReply && Number(from) === 1 && frame.op === OP.WRITE) taken.push(Number(frame.token));
    // A request of a node that knows more would have the holder learn of it in another way.
    return !isReply && Number(to) === 1 && refused.length === 0 ? 'lose' : 'pass';
  };
  const ends = [6, 7, 8, 9].map((n) => starts(source, n * 4096, n));
  world.clock.run(2000);
  t.deepEqual(
    ends.map(({ code }) => code),
    ends.map(() => 'ok'),
  );
  t.deepEqual(refused, [Number(token)], 'refused by a replica before it heard of it');
  t.true(taken.includes(token) && taken.includes(token + 1), 'written anew under the next one');
  t.like(world.volume.lock, { token: token + 1, session, node: 1 });
  t.is(Number(source.open.token), token + 1);
  t.true(node.isLagging, 'it asked, nobody told it');
  const reader = world.attach(2);
  for (const n of [6, 7, 8, 9]) {
    t.deepEqual(world.read(reader, n * 4096, 4096), block(n));
  }
  world.takeOver(3);
  world.clock.run(50);
  t.is(world.write(source, 0, block(7), 2000), 'fenced', 'the token is another session’s');
});

/** The destination's word to the log is lost: drained, and nobody completes. */
function drainedAndSilent() {
  const made = beside();
  const { world, source, dest } = made;
  world.must(prepare(world, 2));
  world.clock.run(100);
  world.node(2).datapath.holderOf(world.volumeId);
  const offered = { count: 0 };
  world.onOffer = () => {
    offered.count += 1;
    return false;
  };
  const write = starts(dest, 0, 2);
  world.clock.until(() => offered.count > 0, 5000);
  return { ...made, write, source, offered };
}

test('H4: drained, the source executes nothing under its token; its requests wait', (t) => {
  const { world, source } = drainedAndSilent();
  const waiting = starts(source, 0, 3);
  const frames: number[] = [];
  world.tamper = (from, _to, frame) => {
    if (Number(from) === 1 && [OP.WRITE, OP.ZERO].includes(frame.op as never))
      frames.push(frame.op);
    return 'pass';
  };
  const target = new Uint8Array(4096);
  t.false(source.tryRead(0, 4096, target, 0));
  world.clock.run(1000);
  t.is(waiting.code, 'waiting');
  t.deepEqual(frames, []);
});

test('3.3.6: a successor that is silent is given up; the source goes on, and the successor is too late', (t) => {
  const { world, source } = drainedAndSilent();
  const { token } = world.volume.lock;
  world.tamper = (from, to, frame) => {
    const isAsk = frame.op === OP.HANDOVER && (frame.flags & FLAG.STANDBY) === 0;
    return isAsk && Number(from) === 2 && Number(to) === 1 ? 'lose' : 'pass';
  };
  const waiting = starts(source, 0, 3);
  world.clock.run(OUTCOME_MS + 2000);
  t.is(waiting.code, 'ok');
  t.is(Number(world.volume.lock.token), token + 1);
  t.is(world.volume.lock.node as number, 1);
  const late = world.commit({
    type: 'handoverComplete',
    volume: world.volumeId,
    token,
    node: 2 as never,
    incarnation: 1 as never,
    session: 1 as never,
    dateMs: 0,
    from: '',
  });
  t.is(late.code, 'stale');
  t.deepEqual(world.read(source, 0, 4096), block(3));
});

test('3.3.6: a successor that dies is given up at once', (t) => {
  const { world, source } = drainedAndSilent();
  world.kill(world.node(2));
  world.down(world.node(2));
  const waiting = starts(source, 0, 3);
  world.clock.run(2000);
  t.is(waiting.code, 'ok');
});

test('3.3.6: a drained source that dies does not hold up its successor', (t) => {
  const { world, write } = drainedAndSilent();
  world.onOffer = undefined;
  world.kill(world.node(1));
  world.down(world.node(1));
  world.clock.run(3000);
  t.is(write.code, 'ok');
});

test('a drain that does not end is given up: the source goes on as if nobody had asked', (t) => {
  const { world, source, dest } = beside({ durability: 'writeback' });
  world.must(prepare(world, 2));
  world.clock.run(100);
  world.write(source, 0, block(1));
  world.tamper = (_from, _to, frame) => (frame.op === OP.SYNC ? 'lose' : 'pass');
  const write = starts(dest, 0, 2);
  world.clock.run(20_000);
  t.is(write.code, 'waiting');
  t.is(world.write(source, 0, block(4)), 'ok');
  world.tamper = () => 'pass';
  world.clock.run(8000);
  t.is(write.code, 'ok');
});
