// The lock of one session, in each state: what wishes, views, ends of sessions and refusals lead to.

import test from 'ava';
import { createActor, setup } from 'xstate';
import {
  LOCK_PAUSE_MS,
  LOCK_SETTLE_MS,
  type LockVerdict,
  vdiLockMachine,
} from '../../src/actors/vdi-lock.ts';
import type { FencingToken, MapIndex, NodeId, SessionId } from '../../src/core/ids.ts';
import { FakeClock } from '../datapath/fake-clock.ts';
import { controlled, settle, under } from './hand-clock.ts';

const grant = (token: number) => ({
  token: token as FencingToken,
  grantedAt: token as MapIndex,
  tookOver: false,
});
const mine = (token: number): LockVerdict => ({ kind: 'mine', grant: grant(token) });
const live = (holder: number): LockVerdict => ({ kind: 'live', holder: holder as NodeId });

/** A lock actor below a parent that counts how often it was told the end. */
function lockOf(first: LockVerdict) {
  const clock = new FakeClock();
  const log: string[] = [];
  const acquire = controlled();
  const takeOver = controlled();
  const release = controlled();
  const complete = controlled();
  let verdict = first;
  const parent = setup({ actors: { lock: vdiLockMachine } }).createMachine({
    invoke: {
      src: 'lock',
      id: 'lock',
      input: {
        id: 1 as SessionId,
        judge: () => verdict,
        acquire: acquire.run,
        takeOver: takeOver.run,
        complete: (token) => {
          log.push(`complete ${token}`);
          return complete.run();
        },
        release: (token) => {
          log.push(`release ${token}`);
          return release.run();
        },
        session: {
          granted: ({ token }) => log.push(`granted ${token}`),
          standby: (holder) => log.push(`standby ${holder}`),
          idle: () => log.push('idle'),
          lost: () => log.push('lost'),
        },
      },
    },
    on: { 'lock.ended': { actions: () => log.push('ended') } },
  });
  const root = createActor(parent, under(clock)).start();
  const child = () => root.getSnapshot().children.lock;
  return {
    log,
    acquire,
    takeOver,
    release,
    complete,
    judged: (next: LockVerdict) => {
      verdict = next;
    },
    send: async (type: 'lock.wanted' | 'session.drained' | 'view.changed') => {
      child()?.send({ type } as never);
      await settle();
    },
    offer: async (token: number) => {
      child()?.send({ type: 'lock.offered', token } as never);
      await settle();
    },
    view: async (next: LockVerdict) => {
      verdict = next;
      child()?.send({ type: 'view.changed' } as never);
      await settle();
    },
    pass: async (ms: number) => {
      clock.run(ms);
      await settle();
    },
    state: () => child()?.getSnapshot().value ?? 'over',
  };
}

test('vdi-lock: connecting takes nothing, the first wish acquires', async (t) => {
  const lock = lockOf({ kind: 'free' });
  await lock.send('view.changed');
  t.is(lock.acquire.starts, 0);
  await lock.send('lock.wanted');
  t.is(lock.acquire.starts, 1);
  lock.judged(mine(7));
  await lock.acquire.finish();
  t.deepEqual(lock.log, ['granted 7']);
});

test('vdi-lock: a dead holder is taken over from, a live one never', async (t) => {
  const dead = lockOf({ kind: 'dead' });
  await dead.send('lock.wanted');
  t.is(dead.takeOver.starts, 1);
  const beside = lockOf(live(2));
  await beside.send('lock.wanted');
  await beside.pass(60_000);
  t.is(beside.takeOver.starts + beside.acquire.starts, 0);
  t.deepEqual(beside.log, ['standby 2']);
});

test('vdi-lock: a proposal that failed is tried again after a pause, not at once', async (t) => {
  const lock = lockOf({ kind: 'free' });
  await lock.send('lock.wanted');
  await lock.acquire.fail();
  t.is(lock.acquire.starts, 1);
  await lock.send('lock.wanted');
  await lock.pass(LOCK_PAUSE_MS - 1);
  t.is(lock.acquire.starts, 1, 'a wish does not shorten the pause');
  await lock.pass(1);
  t.is(lock.acquire.starts, 2);
});

test('vdi-lock: beside a sibling that still releases the wish waits, and is heard when it is gone', async (t) => {
  const lock = lockOf({ kind: 'sibling' });
  await lock.send('lock.wanted');
  await lock.pass(LOCK_PAUSE_MS * 5);
  t.is(lock.acquire.starts, 0);
  lock.judged({ kind: 'free' });
  await lock.pass(LOCK_PAUSE_MS);
  t.is(lock.acquire.starts, 1);
});

test('vdi-lock: a standby whose holder dies is idle again, and takes over at the next wish', async (t) => {
  const lock = lockOf(live(2));
  await lock.send('lock.wanted');
  await lock.view({ kind: 'dead' });
  t.deepEqual(lock.log, ['standby 2', 'idle']);
  t.is(lock.takeOver.starts, 0, 'nobody waits');
  await lock.send('lock.wanted');
  t.is(lock.takeOver.starts, 1);
});

test('vdi-lock: each new holder is told to a standby, so that no wish waits for ever', async (t) => {
  const lock = lockOf(live(2));
  await lock.send('lock.wanted');
  // The cell saw first that n2 is not the holder any more, and asked again.
  lock.judged(live(3));
  await lock.send('lock.wanted');
  t.is(lock.log.at(-1), 'standby 3');
  await lock.view(live(4));
  t.is(lock.log.at(-1), 'standby 4');
});

test('vdi-lock: an overtaken holder is lost, and its actor over', async (t) => {
  const lock = lockOf(mine(7));
  await lock.send('lock.wanted');
  await lock.view(mine(7));
  t.is(lock.state(), 'held');
  await lock.view(live(2));
  t.deepEqual(lock.log, ['granted 7', 'lost', 'ended']);
});

test('vdi-lock: a holder whose hand-over was cancelled is told its new token, and gives that one back', async (t) => {
  const lock = lockOf(mine(7));
  await lock.send('lock.wanted');
  await lock.view(mine(8));
  t.deepEqual(lock.log, ['granted 7', 'granted 8']);
  await lock.send('session.drained');
  t.deepEqual(lock.log.slice(2), ['release 8']);
});

test('vdi-lock: a standby completes under the token that the holder was drained under, whatever the map says now', async (t) => {
  const lock = lockOf(live(2));
  await lock.send('lock.wanted');
  await lock.offer(7);
  t.deepEqual(lock.log, ['standby 2', 'complete 7']);
  await lock.offer(7);
  t.is(lock.complete.starts, 1, 'one at a time');
  lock.judged(mine(8));
  await lock.complete.finish();
  t.is(lock.log.at(-1), 'granted 8');
});

test('vdi-lock: too late to complete, it is standby again, and hears the next offer', async (t) => {
  const lock = lockOf(live(2));
  await lock.send('lock.wanted');
  await lock.offer(7);
  await lock.complete.finish();
  t.deepEqual(lock.log, ['standby 2', 'complete 7', 'standby 2']);
  await lock.offer(8);
  t.is(lock.log.at(-1), 'complete 8');
  await lock.complete.fail();
  t.is(lock.state(), 'pausing', 'nobody decided: not at once again');
});

test('vdi-lock: a session drained while it completes gives back what it gets', async (t) => {
  const lock = lockOf(live(2));
  await lock.send('lock.wanted');
  await lock.offer(7);
  await lock.send('session.drained');
  await lock.view(mine(8));
  t.is(lock.log.at(-1), 'release 8');
});

test('vdi-lock: what is offered to nobody who stands by is not taken', async (t) => {
  const lock = lockOf(mine(7));
  await lock.offer(3);
  await lock.send('lock.wanted');
  await lock.offer(3);
  t.deepEqual(lock.log, ['granted 7']);
});

test('vdi-lock: a drained holder gives its token back, and tries again while that fails', async (t) => {
  const lock = lockOf(mine(7));
  await lock.send('lock.wanted');
  await lock.send('session.drained');
  await lock.release.fail();
  await lock.pass(LOCK_PAUSE_MS);
  t.deepEqual(lock.log, ['granted 7', 'release 7', 'release 7']);
  await lock.release.finish();
  t.deepEqual(lock.log.slice(3), ['ended']);
});

test('vdi-lock: what is not held any more is not released again', async (t) => {
  const lock = lockOf(mine(7));
  await lock.send('lock.wanted');
  await lock.send('session.drained');
  lock.judged({ kind: 'free' });
  await lock.release.fail();
  await lock.pass(LOCK_PAUSE_MS);
  t.is(lock.release.starts, 1);
  t.is(lock.log.at(-1), 'ended');
});

for (const from of ['idle', 'standby', 'pausing'] as const) {
  test(`vdi-lock: a session drained in ${from} has nothing to give back and ends at once`, async (t) => {
    const lock = lockOf(from === 'standby' ? live(2) : { kind: 'sibling' });
    if (from !== 'idle') await lock.send('lock.wanted');
    t.is(lock.state(), from);
    await lock.send('session.drained');
    t.is(lock.log.at(-1), 'ended');
    t.is(lock.release.starts, 0);
  });
}

for (const way of ['free', 'dead'] as const) {
  test(`vdi-lock: a session drained while it asks for a ${way} lock gives back what it gets`, async (t) => {
    const lock = lockOf({ kind: way });
    await lock.send('lock.wanted');
    await lock.send('session.drained');
    t.is(lock.state(), 'unsure');
    await lock.view(mine(9));
    t.deepEqual(lock.log, ['release 9']);
    await lock.release.finish();
    t.deepEqual(lock.log, ['release 9', 'ended']);
  });
}

test('vdi-lock: a drained session waits for its grant a bounded time, however many views come', async (t) => {
  const lock = lockOf({ kind: 'free' });
  await lock.send('lock.wanted');
  await lock.send('session.drained');
  for (let passed = 0; passed < LOCK_SETTLE_MS; passed += 500) {
    await lock.view({ kind: 'free' });
    await lock.pass(500);
  }
  t.deepEqual(lock.log, ['ended']);
});

for (const where of ['unsure', 'releasing', 'releasePausing'] as const) {
  test(`vdi-lock: a wish that comes while it is ${where} is the next session's`, async (t) => {
    const lock = lockOf(where === 'unsure' ? { kind: 'free' } : mine(7));
    await lock.send('lock.wanted');
    await lock.send('session.drained');
    if (where === 'releasePausing') await lock.release.fail();
    t.is(lock.state(), where);
    const starts = lock.release.starts;
    await lock.send('lock.wanted');
    t.is(lock.state(), where);
    t.is(lock.release.starts, starts);
    t.false(lock.log.includes('ended'));
  });
}

test('vdi-lock: a volume deleted under a session that never asked ends it', async (t) => {
  const lock = lockOf({ kind: 'free' });
  await lock.view({ kind: 'gone' });
  t.deepEqual(lock.log, ['lost', 'ended']);
});

test('vdi-lock: a deleted volume ends the session wherever it waits', async (t) => {
  for (const first of [live(2), { kind: 'sibling' }, { kind: 'free' }] as const) {
    const lock = lockOf(first);
    await lock.send('lock.wanted');
    await lock.view({ kind: 'gone' });
    if (first.kind === 'free') await lock.acquire.fail();
    await lock.pass(LOCK_PAUSE_MS);
    t.deepEqual(lock.log.slice(-2), ['lost', 'ended'], first.kind);
  }
});
