// Holding still for a snapshot (S4): who lets its writes end, who can not be asked, and what makes a late entry void.

import test from 'ava';
import type { FencingToken, SessionId } from '../../src/core/ids.ts';
import { FREEZE_OUTCOME_MS } from '../../src/datapath/freeze-desk.ts';
import type { HeldVolume } from '../../src/datapath/hold-volume.ts';
import { World } from './world.ts';

const DATA = new Uint8Array(4096).fill(1);

/** What node 2 is told when it asks for the holder's stillness: what the entry compares, or the code of the refusal. */
async function held(world: World): Promise<HeldVolume | string> {
  let answer: HeldVolume | string | undefined;
  world
    .node(2)
    .datapath.hold(world.volumeId)
    .then(
      (found) => {
        answer = found;
      },
      (error: { code: string }) => {
        answer = error.code;
      },
    );
  for (let i = 0; i < 20 && answer === undefined; i += 1) {
    world.clock.run(500);
    await Promise.resolve();
  }
  return answer ?? 'waiting';
}

test('a holder that is told nothing goes on with another token; the entry then freezes nothing', async (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, DATA), 'ok');
  const found = (await held(world)) as HeldVolume;
  t.is(found.head, world.volume.head);
  let outcome = '';
  guest.write(4096, DATA, (error) => {
    outcome = error?.code ?? 'ok';
  });
  world.clock.run(FREEZE_OUTCOME_MS - 2000);
  t.is(outcome, '', 'it waits for the outcome');
  world.clock.run(4000);
  t.is(outcome, 'ok');
  t.is(world.volume.lock.token - found.token, 1);
  const late = { type: 'snapshot', volumes: [found], tag: 'late', dateMs: 0 } as const;
  t.is(world.commit(late).code, 'stale');
  t.is(world.volume.head, found.head);
});

test('a holder that is called down may live: no snapshot, until an operator took its lock and all copies know', async (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, DATA), 'ok');
  world.down(world.node(1));
  world.clock.run(50);
  t.is(await held(world), 'unreachable');
  const { token } = world.volume.lock;
  world.must({ type: 'lockBreak', volume: world.volumeId, token, by: 'test' });
  world.clock.run(50);
  const found = (await held(world)) as HeldVolume;
  t.like(found, { volume: world.volumeId, token: (token + 1) as FencingToken });
});

test('unlocked, but parts have no copy that is known to know of it: no snapshot', async (t) => {
  const world = new World({ nodes: 4, copies: 2 });
  const guest = world.attach(1);
  t.is(world.write(guest, 0, DATA), 'ok');
  const { token } = world.volume.lock;
  world.must({ type: 'lockBreak', volume: world.volumeId, token, by: 'test' });
  world.clock.run(50);
  world.tamper = () => 'lose';
  t.is(await held(world), 'unreachable');
  world.tamper = () => 'pass';
  t.is(typeof (await held(world)), 'object');
});

test('a holder that has let go, which the map does not know yet, says so: that is no silence', async (t) => {
  const world = new World();
  const { id: node, incarnation } = world.node(1);
  const claim = { volume: world.volumeId, token: 0 as FencingToken, node, incarnation };
  world.must({ type: 'lockAcquire', ...claim, session: 77 as SessionId, dateMs: 0, from: 'x' });
  world.clock.run(50);
  t.is(await held(world), 'changed');
});
