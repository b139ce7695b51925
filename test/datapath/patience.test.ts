// Option io-timeout (3.5): the guest is told after so long, once, and nothing that goes on refers to its bytes.

import test from 'ava';
import { viewOf } from '../../src/core/cluster-state.ts';
import type { VolumeId } from '../../src/core/ids.ts';
import type { LockState } from '../../src/datapath/open-volume.ts';
import { ownTarget, withinMs } from '../../src/datapath/patience.ts';
import { waitReason } from '../../src/datapath/wait-reason.ts';
import { clusterOf, entryBodies, nodeId, settle } from '../fixtures.ts';
import { FakeClock } from './fake-clock.ts';

function heard() {
  const codes: string[] = [];
  return { codes, done: (error?: { code: string }) => void codes.push(error?.code ?? 'ok') };
}

test('io-timeout: an answer in time is the answer; later the guest hears of the time-out, once', (t) => {
  const clock = new FakeClock();
  const early = heard();
  withinMs(clock, 100, early.done)(undefined);
  const late = heard();
  const answer = withinMs(clock, 100, late.done);
  clock.run(99);
  t.deepEqual(late.codes, []);
  clock.run(1);
  answer(undefined);
  t.deepEqual(early.codes, ['ok']);
  t.deepEqual(late.codes, ['timeout']);
});

test('io-timeout: the error says what was in the way when time was up', (t) => {
  const clock = new FakeClock();
  let reason = 'n2 holds disk';
  const said: string[] = [];
  withinMs(
    clock,
    100,
    (error) => void said.push(error?.message ?? ''),
    () => reason,
  );
  reason = '1 of 2 needed copies are live';
  clock.run(100);
  t.regex(said[0] ?? '', /io-timeout of 100 ms: 1 of 2 needed copies are live$/);
});

test('io-timeout: the reason is the lock, or the first partition without enough copies', (t) => {
  const cell = clusterOf({ nodes: 3 });
  cell.apply(entryBodies.volumeCreate());
  settle(cell);
  const range = { offset: 0, length: 4096 };
  const reasonOf = (state: LockState) => {
    const view = viewOf(cell.state);
    const volume = view.volumes.get(1 as VolumeId);
    if (volume === undefined) throw new RangeError('no volume');
    return waitReason({ volume, state, holder: nodeId(2), error: undefined }, view, range);
  };
  t.is(reasonOf('held'), '');
  t.regex(reasonOf('standby'), /^n2 holds /);
  t.regex(reasonOf('asked'), /^the lock of .* a quorum/);
  cell.apply(
    entryBodies.nodesDown({
      nodes: [
        [2, 1],
        [3, 1],
      ],
      baseEpoch: cell.state.epoch,
    }),
  );
  t.regex(reasonOf('held'), /short of copies: 1 of 2 needed copies are live/);
});

test('io-timeout: none: the guest waits, and gets what comes', (t) => {
  const clock = new FakeClock();
  const none = heard();
  const answer = withinMs(clock, 0, none.done);
  t.is(answer, none.done as never);
  clock.run(1_000_000);
  t.deepEqual(none.codes, []);
});

test('io-timeout: what is read too late stays away from the bytes of the guest', (t) => {
  const clock = new FakeClock();
  const guest = { target: new Uint8Array(8), at: 2, length: 4 };
  const said = heard();
  const own = ownTarget(100, guest, said.done);
  const answer = withinMs(clock, 100, own.done);
  clock.run(100);
  own.target.fill(7, own.at, own.at + 4);
  answer(undefined);
  t.deepEqual([...guest.target], [0, 0, 0, 0, 0, 0, 0, 0]);
  t.deepEqual(said.codes, ['timeout']);

  const again = ownTarget(100, guest, said.done);
  again.target.fill(7, again.at, again.at + 4);
  withinMs(clock, 100, again.done)(undefined);
  t.deepEqual([...guest.target], [0, 0, 7, 7, 7, 7, 0, 0]);
  t.is(ownTarget(0, guest, said.done).target, guest.target, 'no copy without the option');
});
