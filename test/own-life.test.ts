// How a life is announced to the map where the map declines it: not in a loop, each turn of which is an entry of the log,
// and not for ever where another copy of the disk is in use.

import test from 'ava';
import { hasCode, OperatingError } from '../src/core/errors.ts';
import type { ApplyResult } from '../src/core/log-entry.ts';
import { DECLINED_PAUSE_MS, OwnLife } from '../src/own-life.ts';

/** A node 3 whose superblock says life 5, in a map that knows it down in life 4. */
function cell(answer: ApplyResult) {
  const world = {
    ...{ now: 0, proposed: 0, fatal: [] as Error[], rung: 0 },
    refusal: undefined as OperatingError | undefined,
    contradictor: undefined as number | undefined,
    /** What the map knows of node 3. */
    me: { node: 3, state: 'down', incarnation: 4, observers: [], addresses: ['there'] },
    onProposed: () => {},
  };
  const view = () => ({ members: new Map([[3, world.me]]), voters: [1, 2, 3], nextVoters: [] });
  const parts = {
    self: 3,
    ports: {
      clock: { now: () => world.now },
      network: { addresses: () => ['here'] },
    },
    superblock: { incarnation: 5, storeGeneration: 9, wasClean: false },
    store: { journalSequence: 7 },
    agreement: {
      catchUp: () => Promise.resolve(true),
      readCurrent: () => Promise.resolve(true),
      seenBy: () => Promise.resolve([]),
      contradictedBy: () => Promise.resolve(world.contradictor),
      propose: () => {
        world.proposed += 1;
        world.onProposed();
        return Promise.resolve(answer);
      },
    },
    desk: {
      lookForVoters: () => Promise.resolve(),
      refusalAtStart: () => {
        world.rung += 1;
        return Promise.resolve(world.refusal);
      },
    },
    prober: {},
    isRecoveryHeld: false,
    view,
    onFatal: (error: Error) => world.fatal.push(error),
  };
  return { world, life: new OwnLife(parts as never) };
}

const declined = (code: ApplyResult['code'], value: number) =>
  ({ code, value, detail: 'no' }) as ApplyResult;

test('a declined life is proposed once a minute, however often it is announced', async (t) => {
  const { world, life } = cell(declined('stale', 4));
  for (let i = 0; i < 100; i += 1) {
    const error = await t.throwsAsync(life.announce(), { instanceOf: OperatingError });
    t.true(hasCode(error, 'no-quorum'));
  }
  t.is(world.proposed, 1);
  world.now += DECLINED_PAUSE_MS;
  await t.throwsAsync(life.announce());
  t.is(world.proposed, 2);
  t.deepEqual(world.fatal, []);
});

test('a map that knows a later life than the disk does ends the process: a copy of the disk is in use', async (t) => {
  const { world, life } = cell(declined('stale', 6));
  await t.throwsAsync(life.announce());
  const [error] = world.fatal;
  t.true(error instanceof OperatingError && hasCode(error, 'refused'));
  t.regex(error?.message ?? '', /copy of the disk of n3 .* life 6, this is life 5/);
});

test('members are asked once, before anything is proposed, whether this node is wanted; a no ends it', async (t) => {
  const { world, life } = cell(declined('stale', 4));
  world.refusal = new OperatingError('locked', 'another process has the identity of n3');
  await t.throwsAsync(life.announce());
  t.is(world.proposed, 0);
  t.deepEqual(world.fatal, [world.refusal]);
  const split = cell(declined('stale', 4));
  split.world.contradictor = 1;
  await t.throwsAsync(split.life.announce());
  t.true(hasCode(split.world.fatal[0], 'diverged'), 'nor one that knows another history');
  t.is(split.world.proposed, 0);
  const wanted = cell(declined('stale', 4));
  for (let i = 0; i < 3; i += 1) await t.throwsAsync(wanted.life.announce());
  t.is(wanted.world.rung, 1);
});

test('a life that is up at another place was begun by a copy of this disk at the same time: one ends, without last words', async (t) => {
  const { world, life } = cell({ code: 'duplicate', value: 3, detail: '' } as ApplyResult);
  world.onProposed = () => {
    world.me = { ...world.me, state: 'up', incarnation: 5 };
  };
  await t.throwsAsync(life.announce());
  const [error] = world.fatal;
  t.true(hasCode(error, 'locked'));
  t.regex(error?.message ?? '', /another process has the identity of n3 at there/);
  t.false(life.maySayLast, 'they would end the other one');
  const alone = cell({ code: 'ok', value: 3, detail: '' } as ApplyResult);
  alone.world.onProposed = () => {
    alone.world.me = { ...alone.world.me, state: 'up', incarnation: 5, addresses: ['here'] };
  };
  await alone.life.announce();
  t.deepEqual(alone.world.fatal, []);
  t.true(alone.life.maySayLast);
});

test('a life that went up is not held up by an earlier no', async (t) => {
  const { world, life } = cell({ code: 'ok', value: 3, detail: '' } as ApplyResult);
  await t.throwsAsync(life.announce());
  await t.throwsAsync(life.announce());
  t.is(world.proposed, 2, 'accepted, and not applied here yet');
});
