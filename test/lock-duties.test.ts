// What the lock actors ask the log for, and the sweep of grants whose session is gone.

import test from 'ava';
import type { Agreement } from '../src/agreement/agreement.ts';
import { viewOf } from '../src/core/cluster-state.ts';
import { hasCode, OperatingError } from '../src/core/errors.ts';
import type { Incarnation, NodeId, SessionId, VolumeId } from '../src/core/ids.ts';
import type { EntryBody } from '../src/core/log-entry.ts';
import type { OpenVolume } from '../src/datapath/open-volume.ts';
import { LockDuties, SWEEP_PAUSE_MS } from '../src/lock-duties.ts';
import { settle } from './actors/hand-clock.ts';
import { FakeClock } from './datapath/fake-clock.ts';
import { clusterOf, entryBodies } from './fixtures.ts';

const session = 5 as SessionId;

/** Node 1 of three, with volumes 1 and 2; the log answers at once unless it is down. */
function world() {
  const cell = clusterOf({ nodes: 3, partitions: 1, settled: false });
  for (const name of ['disk', 'disk2']) cell.apply(entryBodies.volumeCreate({ name }));
  const clock = new FakeClock();
  const log = { isDown: false, proposed: [] as EntryBody[], counts: 0 };
  const agreement = {
    propose: async (body: EntryBody) => {
      log.proposed.push(body);
      if (log.isDown) throw new OperatingError('no-quorum', 'nobody decides');
      return cell.apply(body);
    },
  } as unknown as Agreement;
  const duties = new LockDuties({
    self: 1 as NodeId,
    incarnation: () => 1 as Incarnation,
    clock,
    trace: {
      event: () => {},
      warn: () => {},
      count: () => {
        log.counts += 1;
      },
    },
    agreement,
    view: () => viewOf(cell.state),
  });
  const released: number[] = [];
  const open = (id = session) => {
    const volume = viewOf(cell.state).volumes.get(1 as VolumeId);
    duties.add({
      sessionId: id,
      volume,
      from: 'test',
      released: () => released.push(id),
    } as unknown as OpenVolume);
    return duties.inputOf(id);
  };
  const held = (volume: number, node = 1, id: number = session) =>
    cell.apply(entryBodies.lockAcquire({ volume, node, session: id, token: tokenOf(volume) }));
  const tokenOf = (volume: number) =>
    Number(viewOf(cell.state).volumes.get(volume as VolumeId)?.lock.token);
  const stateOf = (volume: number) =>
    viewOf(cell.state).volumes.get(volume as VolumeId)?.lock.state;
  const pass = async (ms: number) => {
    clock.run(ms);
    await settle();
  };
  return { cell, duties, log, released, open, held, tokenOf, stateOf, pass };
}

test('lock duties: a free lock is acquired and judged mine, with a token that rose (A6)', async (t) => {
  const { open, tokenOf } = world();
  const input = open();
  t.is(input.judge().kind, 'free');
  const before = tokenOf(1);
  await input.acquire();
  const verdict = input.judge();
  t.true(verdict.kind === 'mine' && verdict.grant.token === before + 1 && !verdict.grant.tookOver);
});

test('lock duties: a live holder is live, a dead one is taken over from with a barrier owed', async (t) => {
  const { open, held, cell } = world();
  const input = open();
  held(1, 2);
  t.like(input.judge(), { kind: 'live', holder: 2 });
  cell.apply(entryBodies.nodesDown({ nodes: [[2, 1]], baseEpoch: cell.state.epoch }));
  t.is(input.judge().kind, 'dead');
  await input.takeOver();
  const verdict = input.judge();
  t.true(verdict.kind === 'mine' && verdict.grant.tookOver);
});

test('lock duties: a deleted volume is gone, another session of this life a sibling', (t) => {
  const { open, held, cell, tokenOf } = world();
  const input = open();
  held(1, 1, 6);
  t.is(input.judge().kind, 'sibling');
  cell.apply(entryBodies.lockRelease({ token: tokenOf(1) }));
  cell.apply(entryBodies.volumeDelete({ token: tokenOf(1) }));
  t.is(input.judge().kind, 'gone');
});

test('lock duties: a node that the map calls down asks for no lock: it would be refused without end', async (t) => {
  const { open, cell, log } = world();
  const input = open();
  cell.apply(entryBodies.nodesDown({ nodes: [[1, 1]], baseEpoch: cell.state.epoch }));
  await t.throwsAsync(input.acquire());
  await t.throwsAsync(input.takeOver());
  t.is(log.proposed.length, 0);
});

test('lock duties: what the log refuses is a failure, so that its actor pauses', async (t) => {
  const { open } = world();
  const error = await t.throwsAsync(open().takeOver());
  t.true(hasCode(error, 'refused'), 'a free lock is acquired, not taken over');
});

test('lock duties: a grant whose session is gone is given back, one of a session that lives is not', async (t) => {
  const { duties, open, held, stateOf } = world();
  open();
  held(1);
  held(2, 1, 99);
  duties.sweep();
  await settle();
  t.is(stateOf(1), 'held');
  t.is(stateOf(2), 'free');
});

test('lock duties: the locks of others are not swept', async (t) => {
  const { duties, held, log } = world();
  held(1, 2);
  duties.sweep();
  t.is(log.proposed.length, 0);
});

test('lock duties: two volumes with one token are two locks', async (t) => {
  const { duties, held, stateOf, tokenOf, log } = world();
  held(1, 1, 98);
  held(2, 1, 99);
  t.is(tokenOf(1), tokenOf(2));
  duties.sweep();
  duties.sweep();
  t.is(log.proposed.length, 2, 'each once');
  await settle();
  t.deepEqual([stateOf(1), stateOf(2)], ['free', 'free']);
});

test('lock duties: giving back is tried again while no view comes, and no more once it stopped', async (t) => {
  const { duties, held, stateOf, log, pass } = world();
  held(1, 1, 98);
  held(2, 1, 99);
  log.isDown = true;
  duties.sweep();
  await settle();
  await pass(SWEEP_PAUSE_MS);
  t.is(log.proposed.length, 4);
  log.isDown = false;
  await pass(SWEEP_PAUSE_MS);
  t.deepEqual([stateOf(1), stateOf(2)], ['free', 'free']);
  held(1, 1, 98);
  log.isDown = true;
  duties.sweep();
  await settle();
  const before = log.proposed.length;
  duties.stop();
  await pass(10 * SWEEP_PAUSE_MS);
  t.is(log.proposed.length, before);
});

test('lock duties: the end of an actor tells its session and sweeps what it left', async (t) => {
  const { duties, open, held, released, stateOf } = world();
  open();
  held(1);
  duties.ended(session);
  await settle();
  t.deepEqual(released, [session]);
  t.false(duties.has(session));
  t.is(stateOf(1), 'free');
});

test('lock duties: an orderly end gives back all locks of this life, also while one fails', async (t) => {
  const { duties, held, stateOf, open, log } = world();
  open();
  held(1);
  held(2, 2);
  await duties.releaseAll(1000);
  t.is(stateOf(1), 'free');
  t.is(stateOf(2), 'held', "it is another node's");
  held(1);
  log.isDown = true;
  await t.notThrowsAsync(duties.releaseAll(1000));
});
