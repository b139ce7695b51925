// The duties of the leader and of each node: who acts when, one thing at a time, and never in a hot loop.

import test from 'ava';
import type { AnyStateMachine } from 'xstate';
import { RECOVERY_LOOK_MS, RECOVERY_PAUSE_MS, recoveryMachine } from '../../src/actors/recovery.ts';
import {
  REPLICATOR_LOOK_MS,
  REPLICATOR_PAUSE_MS,
  replicatorMachine,
} from '../../src/actors/replicator.ts';
import { ringMachine, TALLY_LOOK_MS, TALLY_PAUSE_MS } from '../../src/actors/ring.ts';
import { SCRUB_LOOK_MS, SCRUB_PAUSE_MS, scrubMachine } from '../../src/actors/scrub.ts';
import {
  VOTERS_FEED_LOOK_MS,
  VOTERS_LOOK_MS,
  VOTERS_PAUSE_MS,
  voterMachine,
} from '../../src/actors/voter.ts';
import { controlled, startMachine } from './hand-clock.ts';

interface Duty {
  readonly name: string;
  readonly machine: AnyStateMachine;
  readonly pauseMs: number;
  readonly lookMs: number;
  /** Everybody's duty; else the leader's. */
  readonly isEverybodys?: boolean;
}

const duties: readonly Duty[] = [
  { name: 'ring', machine: ringMachine, pauseMs: TALLY_PAUSE_MS, lookMs: TALLY_LOOK_MS },
  {
    name: 'replicator',
    machine: replicatorMachine,
    pauseMs: REPLICATOR_PAUSE_MS,
    lookMs: REPLICATOR_LOOK_MS,
  },
  { name: 'voter', machine: voterMachine, pauseMs: VOTERS_PAUSE_MS, lookMs: VOTERS_LOOK_MS },
  {
    name: 'recovery',
    machine: recoveryMachine,
    pauseMs: RECOVERY_PAUSE_MS,
    lookMs: RECOVERY_LOOK_MS,
    isEverybodys: true,
  },
  {
    name: 'scrub',
    machine: scrubMachine,
    pauseMs: SCRUB_PAUSE_MS,
    lookMs: SCRUB_LOOK_MS,
    isEverybodys: true,
  },
];

/** The machine with one effect, whatever it is called there. */
function startDuty(machine: AnyStateMachine) {
  const effect = controlled();
  const world = {
    ...{ isSuspicious: true, areFed: false },
    isDue: false,
    looks: 0,
    warnings: 0,
    settled: 0,
    words: 0,
  };
  const look = () => {
    world.looks += 1;
    return world.isDue;
  };
  const started = startMachine(machine, {
    isSuspicious: () => world.isSuspicious,
    areFed: () => world.areFed,
    verdictReady: look,
    changeDue: look,
    votersDue: look,
    workDue: look,
    proposeDown: effect.run,
    proposeChanges: effect.run,
    changeVoters: effect.run,
    work: effect.run,
    tally: () => {
      world.words += 1;
    },
    settle: () => {
      world.settled += 1;
    },
    rest: () => {},
    warn: () => {
      world.warnings += 1;
    },
  });
  const role = (name: string) => started.send({ type: 'role.changed', role: name });
  const view = () => started.send({ type: 'view.changed', epoch: 1 });
  return { ...started, effect, world, role, view };
}

const leaderDuties = duties.filter((duty) => duty.isEverybodys !== true);

for (const { name, machine } of leaderDuties) {
  test(`${name}: only a leader proposes`, async (t) => {
    const { effect, world, role, view, pass } = startDuty(machine);
    world.isDue = true;
    for (const other of ['learner', 'follower', 'candidate']) {
      await role(other);
      await view();
      await pass(10_000);
    }
    t.is(effect.starts, 0);
    await role('leader');
    await view();
    await pass(1000);
    t.is(effect.starts, 1);
  });

  test(`${name}: a proposal of a former leadership ends without effect`, async (t) => {
    const { effect, world, role, view, pass, state, errors } = startDuty(machine);
    world.isDue = true;
    await role('leader');
    await view();
    await pass(1000);
    await role('follower');
    await effect.fail();
    t.is(state(), name === 'voter' ? 'follower' : 'following');
    t.is(world.warnings, 0);
    t.deepEqual(errors, []);
  });
}

for (const { name, machine, pauseMs, lookMs, isEverybodys } of duties) {
  const begin = async () => {
    const started = startDuty(machine);
    if (isEverybodys !== true) await started.role('leader');
    return started;
  };

  test(`${name}: one thing is under way at a time, and the next follows it`, async (t) => {
    const { effect, world, view, pass } = await begin();
    world.isDue = true;
    await view();
    await pass(lookMs);
    for (let views = 0; views < 20; views += 1) await view();
    await pass(1000);
    t.is(effect.starts, 1);
    await effect.finish();
    await pass(lookMs);
    t.is(effect.starts, 2);
  });

  test(`${name}: after a failure it warns and pauses, whatever is due`, async (t) => {
    const { effect, world, view, pass } = await begin();
    world.isDue = true;
    await view();
    await pass(lookMs);
    await effect.fail();
    for (let views = 0; views < 20; views += 1) await view();
    await pass(pauseMs - 1);
    t.is(effect.starts, 1);
    t.is(world.warnings, 1);
    await pass(1 + lookMs);
    t.is(effect.starts, 2);
  });

  test(`${name}: what is not due costs one look per view, and one now and then`, async (t) => {
    const { world, view, pass, effect } = await begin();
    const before = world.looks;
    for (let views = 0; views < 10; views += 1) await view();
    t.true(world.looks - before <= 10);
    const views = world.looks;
    for (let passed = 0; passed < 10; passed += 1) await pass(lookMs);
    t.true(world.looks - views <= 10);
    t.true(world.looks - views >= 9, 'time is part of the rules');
    t.is(effect.starts, 0);
  });
}

test('voter: a view in which the voters should change is acted on at once', async (t) => {
  const { effect, world, role, view } = startDuty(voterMachine);
  await role('leader');
  world.isDue = true;
  await view();
  t.is(effect.starts, 1);
});

test('ring: every node counts claims and settles them, so that the next leader knows', async (t) => {
  const { world, send, view, role } = startDuty(ringMachine);
  const word = { subject: 2, incarnation: 1, down: true, refused: false };
  await send({ type: 'alert.received', observer: 3, ...word });
  await role('leader');
  await send({ type: 'alert.received', observer: 4, ...word });
  await view();
  t.is(world.words, 2);
  t.is(world.settled, 1);
});

test('ring: without claims nothing is looked at; the first one is looked at at once, and from then on in time', async (t) => {
  const { world, send, role, pass, effect } = startDuty(ringMachine);
  world.isSuspicious = false;
  await role('leader');
  await pass(TALLY_LOOK_MS);
  const before = world.looks;
  await pass(100 * TALLY_LOOK_MS);
  t.is(world.looks, before);
  world.isSuspicious = true;
  await send({ type: 'alert.received', observer: 3, subject: 2, incarnation: 1, down: true });
  t.is(world.looks, before + 1);
  await pass(5 * TALLY_LOOK_MS);
  t.is(world.looks, before + 6);
  world.isDue = true;
  await pass(TALLY_LOOK_MS);
  t.is(effect.starts, 1);
});

test('voter: while candidates are fed they are looked at often, from the view on that named them', async (t) => {
  const { world, role, view, pass, effect } = startDuty(voterMachine);
  await role('leader');
  world.areFed = true;
  await view();
  world.isDue = true;
  await pass(VOTERS_FEED_LOOK_MS);
  t.is(effect.starts, 1);
});
