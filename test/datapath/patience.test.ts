// Option io-timeout (3.5): the guest is told after so long, once, and nothing that goes on refers to its bytes.

import test from 'ava';
import { ownTarget, withinMs } from '../../src/datapath/patience.ts';
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
