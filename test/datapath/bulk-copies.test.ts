// What bulk copies cost on the wire, and what a guest waits for. Method: data paths on one fake clock, frames counted.

import test from 'ava';
import { KIB, MAX_PAYLOAD_BYTES, MIB, REGION_BYTES } from '../../src/core/units.ts';
import { PIECES_IN_FLIGHT } from '../../src/datapath/copy-streams.ts';
import { type Frame, frameBytes, OP, REPLY_BIT } from '../../src/wire/frame.ts';
import { World } from './world.ts';

const block = (fill: number, length = 4096): Uint8Array => new Uint8Array(length).fill(fill);

/** Everything that is asked by FETCH and answered to it from here on. */
function watched(world: World) {
  const asked: Frame[] = [];
  const seen = { answeredBytes: 0, inFlight: 0, most: 0 };
  world.tamper = (_from, _to, frame) => {
    if (frame.op === OP.FETCH) {
      asked.push(frame);
      seen.inFlight += 1;
      seen.most = Math.max(seen.most, seen.inFlight);
    }
    if (frame.op === OP.FETCH + REPLY_BIT) {
      seen.inFlight -= 1;
      seen.answeredBytes += frameBytes(frame);
    }
    return 'pass';
  };
  return { asked, seen };
}

test('bulk: 8 KiB in a sparse object cost about 8 KiB on the wire', (t) => {
  const world = new World({ nodes: 4, copies: 2, minCopies: 1 });
  const guest = world.attach(world.members(0)[0] as number);
  t.is(world.write(guest, 3 * MIB, block(1, 8 * KIB)), 'ok');
  world.clock.run(1000);
  const added = world.nodes.find(({ id }) => !world.members(0).includes(id));
  world.must(world.joinOf(added?.id as number, 0));
  world.clock.run(100);
  const { asked, seen } = watched(world);
  world.promoteWhenDrained(added?.id as number, 0);
  world.clock.run(500);
  t.true(world.config(0).inSync.includes(added?.id as never));
  t.is(asked.length, 1, 'regions that nobody owns are not asked for');
  t.is(asked[0]?.count, REGION_BYTES);
  t.true(seen.answeredBytes <= 8 * KIB + 256, `${seen.answeredBytes} bytes`);
  t.is(added?.datapath.stats.bytesCopied, 8 * KIB);
});

test('bulk: a full object comes in chunks of at most 1 MiB, a few on their way at once', (t) => {
  const world = new World({ nodes: 4, copies: 2, minCopies: 1 });
  const guest = world.attach(world.members(0)[0] as number);
  t.is(world.write(guest, 0, block(1, 4 * MIB)), 'ok');
  world.clock.run(3000);
  const added = world.nodes.find(({ id }) => !world.members(0).includes(id));
  world.must(world.joinOf(added?.id as number, 0));
  world.clock.run(100);
  const { asked, seen } = watched(world);
  world.promoteWhenDrained(added?.id as number, 0);
  world.clock.run(5000);
  t.is(added?.datapath.stats.bytesCopied, 4 * MIB);
  t.true(asked.every(({ count, closed }) => count <= MAX_PAYLOAD_BYTES && closed > 0));
  t.is(seen.most, PIECES_IN_FLIGHT);
});

test('bulk: a write to an object that a joiner lacks waits for that object alone, and passes the bounds (4.6)', (t) => {
  const world = new World({ nodes: 4, copies: 2, minCopies: 1, sizeBytes: 256 * MIB });
  const guest = world.attach(world.members(0)[0] as number);
  const all = Array.from({ length: 64 }, (_, index) => index);
  const others = all.filter((index) => index > 0 && world.p(index) === world.p(0));
  t.true(others.length > 1);
  for (const index of [0, ...others]) t.is(world.write(guest, index * 4 * MIB, block(1)), 'ok');
  world.clock.run(1000);
  const added = world.nodes.find(({ id }) => !world.members(0).includes(id));
  world.must(world.joinOf(added?.id as number, 0));
  world.clock.run(100);
  const { asked } = watched(world);
  t.is(world.write(guest, 0, block(2)), 'ok');
  t.is(added?.datapath.stats.objectsCopied, 1);
  t.deepEqual([...new Set(asked.map(({ index }) => index))], [0]);
  t.true(
    asked.every(({ closed }) => closed === 0),
    'the source is told that a guest waits',
  );
  for (const index of others) t.is(added?.store.row(world.volume.head, index), undefined);
});
