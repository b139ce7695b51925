// The loop of the simulator: order of events, promises, pauses, guards, and the hash.

import test from 'ava';
import { SimClock } from '../../sim/sim-clock.ts';
import { SimProcess } from '../../sim/sim-process.ts';
import { SimRandom } from '../../sim/sim-random.ts';
import { World } from '../../sim/world.ts';

function life(seed = 1) {
  const world = new World(seed);
  const process = new SimProcess(world, 'node-1');
  process.onCrash = (error) => world.fail('crashed', error);
  const clock = new SimClock(world, process, { offsetMs: 1000, rate: 1 });
  return { world, process, clock };
}

test.serial(
  'world: events run by time, and of one instant in the order of their making',
  async (t) => {
    const { world, clock } = life();
    const seen: string[] = [];
    clock.setTimer(2, () => seen.push('c'));
    clock.setTimer(1, () => {
      seen.push('a');
      clock.soon(() => seen.push('soon'));
    });
    clock.setTimer(1, () => seen.push('b'));
    await world.run({ seconds: 1 });
    t.deepEqual(seen, ['a', 'b', 'soon', 'c']);
    t.is(world.nowMs, 1000);
  },
);

test.serial(
  'world: all promises that an event set off are done before the next event',
  async (t) => {
    const { world, clock } = life();
    const seen: string[] = [];
    clock.setTimer(1, () => {
      void (async () => {
        for (let i = 0; i < 5; i += 1) await undefined;
        seen.push('promise');
      })();
    });
    clock.setTimer(1, () => seen.push('event'));
    await world.run({ seconds: 1 });
    t.deepEqual(seen, ['promise', 'event']);
  },
);

test.serial('world: a dead process hears nothing, a paused one late and in order', async (t) => {
  const { world, process, clock } = life();
  const seen: number[] = [];
  for (const ms of [1, 2, 3]) clock.setTimer(ms, () => seen.push(ms, world.nowMs));
  process.pause(50);
  await world.runUntil(() => world.nowMs >= 50, 100);
  await world.run({ seconds: 0.01 });
  t.deepEqual(seen, [1, 50, 2, 50, 3, 50]);
  clock.setTimer(1, () => seen.push(-1));
  process.end();
  await world.run({ seconds: 1 });
  t.is(seen.length, 6);
});

test.serial('world: a cleared timer does not run, also when a pause moved it', async (t) => {
  const { world, process, clock } = life();
  let ran = 0;
  const timer = clock.setTimer(1, () => {
    ran += 1;
  });
  process.pause(10);
  await world.run({ seconds: 0.005 });
  clock.clearTimer(timer);
  await world.run({ seconds: 1 });
  t.is(ran, 0);
  t.is(process.timerCount, 0);
});

test.serial(
  'world: ambient time and chance are refused inside events, and fail the run',
  async (t) => {
    const banned: [string, () => unknown][] = [
      ['Date.now', () => Date.now()],
      ['new Date()', () => new Date()],
      ['Math.random', () => Math.random()],
      ['setTimeout', () => setTimeout(() => {}, 1)],
      ['queueMicrotask', () => queueMicrotask(() => {})],
      ['performance.now', () => performance.now()],
      ['crypto.randomUUID', () => crypto.randomUUID()],
    ];
    for (const [name, call] of banned) {
      const { world, clock } = life();
      clock.setTimer(1, () => {
        try {
          call();
        } catch {
          // Swallowed as a library might: the run fails all the same.
        }
      });
      const error = await t.throwsAsync(world.run({ seconds: 1 }));
      t.is(error?.message, `banned calls in simulated code: ${name}`);
    }
    t.is(typeof Date.now(), 'number');
  },
);

test.serial(
  'world: what an event throws, and a rejection that nobody hears, fail the run',
  async (t) => {
    const { world, clock } = life();
    clock.setTimer(1, () => {
      throw new TypeError('boom');
    });
    await t.throwsAsync(world.run({ seconds: 1 }), { message: 'crashed' });
  },
);

test.serial('world: a wait that takes too long fails with its name', async (t) => {
  const { world } = life();
  const never = new Promise<void>(() => {});
  const error = await t.throwsAsync(world.wait('the answer', never, { seconds: 1 }));
  t.is(error?.message, 'the answer: not done within 1 s');
});

test.serial('world: the hash depends on what was noted, when and by whom', (t) => {
  const hashes = [
    (world: World) => world.note('a', 'x', ''),
    (world: World) => world.note('b', 'x', ''),
    (world: World) => world.noteDelivery('a', 'data', Uint8Array.of(1)),
    (world: World) => world.noteDelivery('a', 'data', Uint8Array.of(2)),
  ].map((act) => {
    const world = new World(1);
    act(world);
    return world.hash;
  });
  t.is(new Set(hashes).size, hashes.length);
});

test.serial('random: a fork depends on its labels only, not on what others drew', (t) => {
  const one = new SimRandom('x');
  const other = new SimRandom('x');
  other.u32();
  const draws = (random: SimRandom) => Array.from({ length: 5 }, () => random.u32());
  t.deepEqual(draws(one.fork('a')), draws(other.fork('a')));
  t.notDeepEqual(draws(one.fork('a')), draws(new SimRandom('x').fork('b')));
  const mean = Array.from({ length: 10000 }, () => one.unit()).reduce((a, b) => a + b) / 10000;
  t.true(Math.abs(mean - 0.5) < 0.02, `mean ${mean}`);
});
