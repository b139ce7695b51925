// Limits of a volume on real data paths over an abstract log and a simulated clock: what passes in a second, what is not
// held back, and that they change while requests wait.

import test from 'ava';
import type { VolumeRates } from '../../src/core/view.ts';
import type { RateKind } from '../../src/core/volume-rates.ts';
import type { Gateway } from '../../src/datapath/gateway.ts';
import { RateLimit } from '../../src/datapath/rate-limit.ts';
import { FakeClock } from './fake-clock.ts';
import { World } from './world.ts';

const BLOCK = 4096;

function limit(world: World, kind: RateKind, perSecond: number): void {
  world.must({ type: 'volumeRate', volume: world.volumeId, kind, perSecond });
  world.clock.run(100);
}

/** As many requests at once as `depth`, again and again; `done` counts those that ended. */
function load(gateway: Gateway, depth: number, bytes = BLOCK) {
  const seen = { done: 0, errors: new Set<string>(), isOver: false };
  let at = 0;
  const next = (): void => {
    if (seen.isOver) return;
    at += 1;
    const offset = ((at * bytes) % (1024 * 1024)) - ((at * bytes) % bytes);
    const ended = (error?: { code: string }): void => {
      if (error === undefined) seen.done += 1;
      else {
        seen.errors.add(error.code);
        return;
      }
      next();
    };
    if (at % 3 === 0) gateway.read(offset, bytes, new Uint8Array(bytes), 0, ended);
    else gateway.write(offset, new Uint8Array(bytes).fill(at % 251), ended);
  };
  for (let one = 0; one < depth; one += 1) next();
  return seen;
}

/** How many end in ten seconds, after one in which the burst is used up. */
function inTenSeconds(world: World, seen: { readonly done: number }): number {
  world.clock.run(1000);
  const before = seen.done;
  world.clock.run(10_000);
  return seen.done - before;
}

test('limits: reads and writes together pass at the rate; a fast read passes no quicker', (t) => {
  const world = new World();
  const gateway = world.attach(1);
  world.write(gateway, 0, new Uint8Array(BLOCK).fill(1));
  t.true(gateway.tryRead(0, BLOCK, new Uint8Array(BLOCK), 0));
  limit(world, 'iops', 50);
  t.false(gateway.tryRead(0, BLOCK, new Uint8Array(BLOCK), 0), 'it asks for its turn');
  const seen = load(gateway, 16);
  const done = inTenSeconds(world, seen);
  t.true(done >= 495 && done <= 505, `${done}`);
  t.is(seen.errors.size, 0);
});

test('limits: bytes, whatever the size of a request', (t) => {
  const world = new World();
  const gateway = world.attach(1);
  world.write(gateway, 0, new Uint8Array(BLOCK).fill(1));
  limit(world, 'bandwidth', 1024 * 1024);
  const seen = load(gateway, 8, 65_536);
  const done = inTenSeconds(world, seen) * 65_536;
  t.true(Math.abs(done - 10 * 1024 * 1024) <= 0.02 * 10 * 1024 * 1024, `${done}`);
});

test('limits: they change, and go, under requests that wait', (t) => {
  const world = new World();
  const gateway = world.attach(1);
  world.write(gateway, 0, new Uint8Array(BLOCK).fill(1));
  limit(world, 'iops', 1);
  const seen = load(gateway, 8);
  world.clock.run(3000);
  t.true(seen.done <= 5, `${seen.done}`);
  limit(world, 'iops', 100);
  const done = inTenSeconds(world, seen);
  t.true(done >= 980 && done <= 1020, `${done}`);
  limit(world, 'iops', 1);
  world.clock.run(10);
  limit(world, 'iops', 0);
  const before = seen.done;
  world.clock.run(1000);
  t.true(seen.done - before > 300, `nothing is held back any more: ${seen.done - before}`);
  t.true(gateway.tryRead(0, BLOCK, new Uint8Array(BLOCK), 0));
});

test('limits: who waits for a turn loses no patience, and hears of the end of the session', (t) => {
  const world = new World();
  const gateway = world.attach(1);
  world.write(gateway, 0, new Uint8Array(BLOCK).fill(1));
  world.must({ type: 'volumeOptions', volume: world.volumeId, ioTimeoutMs: 1000 });
  limit(world, 'iops', 1);
  const seen = load(gateway, 6);
  world.clock.run(4500);
  t.is(seen.errors.size, 0, 'three of them waited for longer than the io-timeout');
  t.true(seen.done >= 4);
  gateway.open.lost('a replica knows a newer token of this volume');
  world.clock.run(1);
  t.deepEqual([...seen.errors], ['fenced']);
  t.is(gateway.inFlight, 0);
});

test('limits: a snapshot does not wait for requests that have no turn', (t) => {
  const world = new World();
  const gateway = world.attach(1);
  world.write(gateway, 0, new Uint8Array(BLOCK).fill(1));
  limit(world, 'iops', 1);
  load(gateway, 32);
  world.clock.run(1500);
  let head: unknown = 'waiting';
  gateway.hold(world.volume.lock.token, (held) => {
    head = held;
  });
  world.clock.run(1000);
  t.is(head, world.volume.head as never);
});

test('limits: in order, and what is asked for meanwhile comes after', (t) => {
  const clock = new FakeClock();
  const rates: VolumeRates = { iops: 10, bytesPerSecond: 0 };
  const limits = new RateLimit(clock, rates);
  const passed: number[] = [];
  const pass = (n: number): void => {
    limits.pass(0, () => {
      passed.push(n);
      if (n < 10) pass(n + 10);
    });
  };
  for (let n = 1; n <= 5; n += 1) pass(n);
  clock.run(2000);
  const firsts = passed.filter((n) => n <= 5);
  t.deepEqual(firsts, [1, 2, 3, 4, 5]);
  t.true(passed.indexOf(14) > passed.indexOf(5));
  t.is(passed.length, 10);
  limits.end();
  pass(99);
  t.is(passed.at(-1), 99);
});
