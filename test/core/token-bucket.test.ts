// The bucket that limits a volume: never above its rate but for a burst, never below it while somebody wants.

import test from 'ava';
import fc from 'fast-check';
import { BURST_MS, TokenBucket } from '../../src/core/token-bucket.ts';

const rate = fc.integer({ min: 1, max: 100_000 });
/** Pauses between requests in ms, and their sizes. */
const demand = fc.array(
  fc.record({
    pauseMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 2000 })),
    amount: fc.integer({ min: 1, max: 5000 }),
  }),
  { minLength: 1, maxLength: 60 },
);

interface Passed {
  readonly atMs: number;
  readonly amount: number;
}

/** Each request as soon as it is asked for and may. */
function played(
  perSecond: number,
  asked: readonly { readonly pauseMs: number; readonly amount: number }[],
): Passed[] {
  const bucket = new TokenBucket(perSecond, 0);
  const passed: Passed[] = [];
  let now = 0;
  for (const { pauseMs, amount } of asked) {
    now += pauseMs;
    for (let wait = bucket.waitMs(now); wait > 0; wait = bucket.waitMs(now)) now += wait;
    bucket.take(amount, now);
    passed.push({ atMs: now, amount });
  }
  return passed;
}

test('token bucket: in any time no more passes than rate, burst and one request', (t) => {
  fc.assert(
    fc.property(rate, demand, (perSecond, asked) => {
      const passed = played(perSecond, asked);
      const burst = (perSecond * BURST_MS) / 1000;
      for (let first = 0; first < passed.length; first += 1) {
        let sum = 0;
        for (let last = first; last < passed.length; last += 1) {
          const { atMs, amount } = passed[last] as Passed;
          const ms = atMs - (passed[first] as Passed).atMs;
          // What passed before the last one was within what there was.
          if (sum > (perSecond * ms) / 1000 + burst + 1e-6) return false;
          sum += amount;
        }
      }
      return true;
    }),
  );
  t.pass();
});

test('token bucket: who always wants gets the rate', (t) => {
  fc.assert(
    fc.property(
      rate,
      fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 2 }),
      (perSecond, amounts) => {
        const passed = played(
          perSecond,
          amounts.map((amount) => ({ pauseMs: 0, amount })),
        );
        const before = amounts.slice(0, -1).reduce((sum, amount) => sum + amount, 0);
        const { atMs } = passed.at(-1) as Passed;
        // A millisecond of rounding each time that somebody waited.
        return atMs <= (before * 1000) / perSecond + passed.length;
      },
    ),
  );
  t.pass();
});

test('token bucket: a burst after a pause, and another rate at once', (t) => {
  const bucket = new TokenBucket(1000, 0);
  bucket.take(BURST_MS, 0);
  t.is(bucket.waitMs(0), 0, 'all of the burst');
  bucket.take(1, 0);
  t.is(bucket.waitMs(0), 1);
  t.is(bucket.waitMs(60_000), 0);
  bucket.take(BURST_MS + 100, 60_000);
  t.is(bucket.waitMs(60_000), 100, 'a pause of a minute is no larger burst');
  bucket.retune(100, 60_000);
  t.is(bucket.waitMs(60_000), 1000);
  bucket.retune(10_000, 60_000);
  t.is(bucket.waitMs(60_000), 10);
});
