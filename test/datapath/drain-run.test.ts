// A run of catch-up over many partitions: what it asks, what it copies, and what becomes of those that fail.

import test from 'ava';
import { QUIET_MS } from '../../src/core/pace.ts';
import { MIB } from '../../src/core/units.ts';
import type { CaughtUp, DrainWanted } from '../../src/datapath/catch-up.ts';
import { COPIES_AT_ONCE } from '../../src/datapath/drain-run.ts';
import { type Frame, OP, REPLY_BIT, STATUS } from '../../src/wire/frame.ts';
import {
  decodeContents,
  decodeObjectNames,
  encodeContents,
  MANY_ROWS,
} from '../../src/wire/payloads.ts';
import { PARTITIONS, World } from './world.ts';

const OBJECTS = 64;
const block = (fill: number): Uint8Array => new Uint8Array(4096).fill(fill);

/** A node that joins all partitions where it is no member; of some of them there are objects. */
function joining(written: readonly number[]) {
  const world = new World({ nodes: 4, copies: 2, minCopies: 1, sizeBytes: OBJECTS * 4 * MIB });
  const guest = world.attach(world.members(0)[0] as number);
  for (const index of written) mustBeOk(world.write(guest, index * 4 * MIB, block(index + 1)));
  // The guest has nothing more to do: copies go at full speed.
  world.clock.run(QUIET_MS + 1000);
  const id = world.nodes.find(({ id }) => !world.members(0).includes(id))?.id as number;
  const indexOf = new Map<number, number>();
  for (let index = OBJECTS - 1; index >= 0; index -= 1) {
    if (!world.members(index).includes(id as never)) indexOf.set(world.p(index), index);
  }
  for (const index of indexOf.values()) world.must(world.joinOf(id, index));
  world.clock.run(200);
  const asked = new Map<number, number>();
  const seen = { asked, change: (_frame: Frame): void => undefined };
  world.tamper = (_from, _to, frame) => {
    seen.change(frame);
    if (frame.op < REPLY_BIT) asked.set(frame.op, (asked.get(frame.op) ?? 0) + 1);
    return 'pass';
  };
  const drained = new Map<number, CaughtUp | undefined>();
  const under = { way: 0 };
  const run = (isOver = () => false, forMs = 5000): void => {
    const queue: DrainWanted[] = [...indexOf.values()].map((index) => ({
      ...world.cas(index),
      urgency: world.p(index) % 4,
    }));
    // As the actor gives them.
    queue.sort((a, b) => a.urgency - b.urgency);
    world.node(id).datapath.catchUp.drainAll(
      {
        next: () => (isOver() ? undefined : queue.shift()),
        isWanted: () => true,
        isOver,
        givenBack: ({ p }) => drained.delete(p),
        ended: ({ p }, result) => drained.set(p, result),
      },
      () => {
        under.way += 1;
      },
    );
    world.clock.run(forMs);
  };
  const isThere = (index: number): boolean =>
    world.node(id).store.row(world.volume.head, index) !== undefined;
  return { world, guest, id, indexOf, seen, drained, run, isThere, under };
}

function mustBeOk(outcome: string): void {
  if (outcome !== 'ok') throw new TypeError(outcome);
}

const WRITTEN = [0, 1, 2, 3, 4, 5, 6, 7];

test('run: partitions are asked for together, and only what differs is copied', (t) => {
  const { world, indexOf, seen, drained, run, isThere, under } = joining(WRITTEN);
  run();
  t.is(under.way, 1);
  t.true(indexOf.size > PARTITIONS / 3);
  t.is(drained.size, indexOf.size);
  t.true([...drained.values()].every((result) => result !== undefined));
  const mine = WRITTEN.filter((index) => indexOf.has(world.p(index)));
  t.true(mine.length > 1 && mine.every(isThere));
  t.true((seen.asked.get(OP.CONTENTS) ?? 0) <= 3, 'one question per source');
  t.is(seen.asked.get(OP.LIST), undefined);
  t.is(seen.asked.get(OP.CONFIRM), undefined);
  t.is(seen.asked.get(OP.FETCH), mine.length);
});

test('run: a source that does not know the question is asked as its release knows', (t) => {
  const { indexOf, seen, drained, run, world, isThere } = joining(WRITTEN);
  seen.change = (frame) => {
    if (frame.op !== OP.CONTENTS + REPLY_BIT) return;
    frame.status = STATUS.BAD;
    frame.payload = new Uint8Array(0);
  };
  run();
  t.is(drained.size, indexOf.size);
  t.true([...drained.values()].every((result) => result !== undefined));
  t.is(seen.asked.get(OP.LIST), indexOf.size);
  t.true(WRITTEN.filter((index) => indexOf.has(world.p(index))).every(isThere));
});

test('run: a partition with too many rows for one answer is listed by itself', (t) => {
  const { indexOf, seen, drained, run, world, isThere } = joining(WRITTEN);
  seen.change = (frame) => {
    if (frame.op !== OP.CONTENTS + REPLY_BIT) return;
    const { partitions } = decodeContents(frame.payload);
    const many = partitions.map((one) => (one.rows === 0 ? one : { ...one, rows: MANY_ROWS }));
    frame.payload = encodeContents({ partitions: many, rows: [] });
  };
  run();
  t.true([...drained.values()].every((result) => result !== undefined));
  const mine = WRITTEN.filter((index) => indexOf.has(world.p(index)));
  t.is(seen.asked.get(OP.LIST), new Set(mine.map((index) => world.p(index))).size);
  t.true(mine.every(isThere));
});

test('run: what a source does not confirm, or answers wrongly, is not caught up, and the rest is', (t) => {
  for (const kind of ['confirms none', 'counts wrongly', 'is silent'] as const) {
    const { indexOf, seen, drained, run, world, isThere } = joining(WRITTEN);
    const left = new Set<number>();
    seen.change = (frame) => {
      if (frame.op !== OP.CONTENTS + REPLY_BIT || left.size > 0) return;
      const { partitions, rows } = decodeContents(frame.payload);
      if (rows.length === 0) return;
      for (const { p } of partitions) left.add(p);
      if (kind === 'is silent') frame.status = STATUS.BUSY;
      if (kind === 'confirms none') frame.payload = encodeContents({ partitions: [], rows: [] });
      if (kind === 'counts wrongly')
        frame.payload = encodeContents({ partitions, rows: rows.slice(1) });
    };
    run();
    t.true(left.size > 0 && left.size < indexOf.size, kind);
    for (const [p, result] of drained) t.is(result === undefined, left.has(p), `${kind}, ${p}`);
    const mine = WRITTEN.filter((index) => indexOf.has(world.p(index)));
    for (const index of mine) t.is(isThere(index), !left.has(world.p(index)), kind);
  }
});

test('run: several objects of one partition are copied at once; the most urgent partition comes first', (t) => {
  const all = Array.from({ length: OBJECTS }, (_, index) => index);
  const { world, indexOf, seen, run } = joining(all);
  const mine = all.filter((index) => indexOf.has(world.p(index)));
  const order: number[] = [];
  let inFlight = 0;
  let most = 0;
  const later: number[] = [];
  seen.change = (frame) => {
    if (frame.op === OP.VERSIONS) {
      inFlight += 1;
      most = Math.max(most, inFlight);
      order.push(frame.partition % 4);
    }
    if (frame.op === OP.FETCH + REPLY_BIT) later.push(frame.index);
    if (frame.op === OP.FETCH + REPLY_BIT) inFlight -= 1;
  };
  run();
  t.is(later.length, mine.length);
  t.true(most > 2 && most <= COPIES_AT_ONCE, `${most} at once`);
  // They begin by urgency; of those in flight one may ask a little later than the next.
  const isByUrgency = order.every((one, at) => {
    return order.slice(at + COPIES_AT_ONCE).every((later) => later >= one);
  });
  t.true(isByUrgency, order.join(' '));
});

test('run: when it is over, what was not begun is given back', (t) => {
  const all = Array.from({ length: OBJECTS }, (_, index) => index);
  const { seen, run, drained, indexOf, under } = joining(all);
  let isOver = false;
  seen.change = (frame) => {
    if (frame.op === OP.FETCH) isOver = true;
  };
  run(() => isOver);
  t.is(under.way, 1);
  t.true(drained.size > 0 && drained.size < indexOf.size, `${drained.size} of ${indexOf.size}`);
  t.true([...drained.values()].every((result) => result !== undefined));
});

test('run: the rate holds no object: a write to one that waits for it, or is being copied, waits for that copy alone', (t) => {
  const all = Array.from({ length: OBJECTS }, (_, index) => index);
  const { world, guest, indexOf, seen, run, under } = joining(all);
  // Each object of 64 KiB takes a sixteenth of a second of it.
  world.must({ type: 'setting', key: 'recovery/rate', value: String(MIB) });
  world.clock.run(100);
  let begun: number | undefined;
  seen.change = (frame) => {
    if (frame.op === OP.VERSIONS)
      [{ index: begun } = { index: 0 }] = decodeObjectNames(frame.payload);
  };
  const since = world.clock.now();
  run(() => false, 0);
  const waited: number[] = [];
  const write = (index: number): void => {
    const before = world.clock.now();
    t.is(world.write(guest, index * 4 * MIB, block(index + 100)), 'ok');
    waited.push(world.clock.now() - before);
  };
  const mine = all.filter((index) => indexOf.has(world.p(index)));
  for (let i = 0; i < 6; i += 1) {
    begun = undefined;
    t.true(world.clock.until(() => begun !== undefined, 1000));
    write(begun as unknown as number);
    write(mine[i * 2] as number);
  }
  t.true(Math.max(...waited) < 40, `${waited.join()} ms`);
  world.clock.run(20_000);
  t.is(under.way, 1);
  const leastMs = ((mine.length - 12) * 1000) / 16;
  t.true(world.clock.now() - since > leastMs / 2);
});
