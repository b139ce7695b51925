// When a guest looks stopped (H1): after a flush, without a request since, for long enough.

import test from 'ava';
import { GuestTraffic, HANDOVER_QUIET_MS } from '../../src/core/guest-traffic.ts';

const PLAIN = { isPrepared: false, flushesBefore: 0 };
const PREPARED = { isPrepared: true, flushesBefore: 0 };

/** Wrote, and flushed after that, at 100 ms. */
function stopped(): GuestTraffic {
  const traffic = new GuestTraffic();
  traffic.arrived(true, 100);
  traffic.ended(true);
  traffic.flushAnswered(traffic.flushAsked());
  return traffic;
}

test('H1: quiet is 250 ms without a request after a flush; before, it says how long to wait', (t) => {
  const traffic = stopped();
  t.like(traffic.judge(PLAIN, 150), { isQuiet: false, waitMs: HANDOVER_QUIET_MS - 50 });
  t.true(traffic.judge(PLAIN, 100 + HANDOVER_QUIET_MS).isQuiet);
});

test('H1 c: a read counts, also one that was served at once', (t) => {
  const traffic = stopped();
  traffic.touched(300);
  t.like(traffic.judge(PLAIN, 400), { isQuiet: false, waitMs: HANDOVER_QUIET_MS - 100 });
  traffic.arrived(false, 600);
  t.like(
    traffic.judge(PLAIN, 9000),
    { isQuiet: false, waitMs: 0 },
    'in flight: its answer decides',
  );
  traffic.ended(false);
  t.true(traffic.judge(PLAIN, 9000).isQuiet);
});

test('H1 b: a flush from before the other connected is not the last one', (t) => {
  const traffic = stopped();
  const since = { isPrepared: false, flushesBefore: traffic.flushes };
  t.like(traffic.judge(since, 9000), { reason: 'its guest has not flushed since' });
  traffic.flushAnswered(traffic.flushAsked());
  t.true(traffic.judge(since, 9000).isQuiet);
});

test('H1 b: a write after the flush, or while it was under way, wants another flush', (t) => {
  const later = stopped();
  later.arrived(true, 200);
  later.ended(true);
  t.like(later.judge(PLAIN, 9000), { reason: 'its guest has not flushed since' });
  const beside = new GuestTraffic();
  const asked = beside.flushAsked();
  beside.arrived(true, 100);
  beside.ended(true);
  beside.flushAnswered(asked);
  t.like(beside.judge(PLAIN, 9000), { reason: 'its guest has not flushed since' });
});

test('H1 a: what is in flight is waited for, prepared or not; prepared, nothing else is', (t) => {
  const traffic = new GuestTraffic();
  traffic.arrived(true, 100);
  t.like(traffic.judge(PREPARED, 9000), { reason: 'its guest is writing', waitMs: 0 });
  traffic.ended(true);
  t.true(traffic.judge(PREPARED, 100).isQuiet);
  t.false(traffic.judge(PLAIN, 9000).isQuiet);
});
