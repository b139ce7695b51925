import test from 'ava';
import fc from 'fast-check';
import {
  ADAPT_MS,
  BURST_MS,
  FLOOR_RATE,
  Pace,
  QUIET_MS,
  START_RATE,
  STRAINED,
} from '../../src/core/pace.ts';
import { CALM, GuestStrain, LONGEST_MS, LOOK_MS, STRAIN_HOLDS_MS } from '../../src/core/strain.ts';
import { KIB, MIB } from '../../src/core/units.ts';

test('pace: without guests there is no limit; an operator sets one', (t) => {
  const pace = new Pace();
  t.is(pace.rate(5, undefined), Number.POSITIVE_INFINITY);
  t.is(pace.spend(100 * MIB, 5, undefined), 0);
  t.is(pace.rate(5, 10 * MIB), 10 * MIB);
});

test('pace: what guests can not go on without is held back by an operator only', (t) => {
  const pace = new Pace();
  for (let now = 0; now < 20 * ADAPT_MS; now += ADAPT_MS) pace.hear(STRAINED + 1, now);
  const now = 20 * ADAPT_MS;
  t.is(pace.rate(now, undefined), FLOOR_RATE);
  t.is(pace.spend(100 * MIB, now, undefined, true), 0);
  t.is(pace.spend(MIB, now, undefined), 0, 'nor is it charged to others');
  t.true(pace.spend(MIB, now, undefined) > 100);
  t.is(pace.spend(MIB, now, undefined, true), 0, 'nor do others hold it back');
  t.true(pace.spend(MIB, now, undefined) > 400, 'and they still wait');
  t.true(pace.spend(10 * MIB, now, MIB, true) > 0);
});

test('pace: beside suffering guests the rate sinks to the floor, beside calm ones it rises again, unused it does not', (t) => {
  const pace = new Pace();
  let now = 0;
  const hear = (strain: number, times: number) => {
    for (let i = 0; i < times; i += 1) {
      now += ADAPT_MS;
      pace.spend(MIB * 50, now, undefined);
      pace.hear(strain, now);
    }
    return pace.rate(now, undefined);
  };
  pace.hear(CALM, now);
  t.is(pace.rate(now, undefined), START_RATE);
  t.is(hear(STRAINED + 1, 20), FLOOR_RATE);
  t.true(hear(CALM, 40) > 4 * START_RATE);
  const high = pace.rate(now, undefined);
  for (let i = 0; i < 60; i += 1) {
    now += ADAPT_MS;
    pace.hear(CALM, now);
  }
  t.true(pace.rate(now, undefined) < high, 'a rate that nobody uses is not kept for a burst');
  now += QUIET_MS + 1;
  t.is(pace.rate(now, undefined), Number.POSITIVE_INFINITY);
  pace.hear(CALM, now);
  t.is(pace.rate(now, undefined), START_RATE, 'a guest that begins finds a moderate rate');
});

test('pace: over any time no more is granted than the rate, plus a burst', (t) => {
  const property = fc.property(
    fc.array(fc.tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 1, max: 1024 })), {
      minLength: 1,
      maxLength: 100,
    }),
    (steps) => {
      const rate = 10 * MIB;
      const pace = new Pace();
      let now = 1000;
      let granted = 0;
      let lastMs = now;
      for (const [ms, kib] of steps) {
        now += ms;
        const at = now + pace.spend(kib * KIB, now, rate);
        t.true(at >= lastMs - BURST_MS);
        lastMs = Math.max(lastMs, at);
        // What was granted before this one has had its time.
        t.true(granted <= ((at - 1000 + BURST_MS) * rate) / 1000 + 1);
        granted += kib * KIB;
      }
    },
  );
  fc.assert(property);
});

/** Requests of one latency for a time; returns the strain at its end. */
function requests(strain: GuestStrain, from: number, forMs: number, ms: number, isCalm: boolean) {
  let told = 0;
  for (let at = from; at < from + forMs; at += 2) {
    strain.note(ms, 4 * KIB, at);
    told = strain.own(at, isCalm);
  }
  return told;
}

test('strain: what is seen without recovery is calm; twice the latency beside it is twice the number', (t) => {
  const strain = new GuestStrain();
  t.is(strain.own(0, true), 0, 'no guest');
  t.is(requests(strain, 0, 20 * LOOK_MS, 3, true), CALM);
  const told = requests(strain, 20 * LOOK_MS, 2 * LOOK_MS, 6, false);
  t.true(Math.abs(told - 2 * CALM) <= 1, `${told}`);
});

test('strain: a guest that does little is judged late, one that ended is forgotten', (t) => {
  const strain = new GuestStrain();
  strain.note(5, KIB, 0);
  t.is(strain.own(LOOK_MS, true), 0);
  t.is(strain.own(LONGEST_MS, true), CALM);
  t.is(strain.own(LONGEST_MS + STRAIN_HOLDS_MS + 1, true), 0);
});

test('strain: the last requests of a guest that is gone are no news for who asks much later', (t) => {
  const strain = new GuestStrain();
  strain.note(5, 4096, 0);
  t.is(strain.own(10 * LONGEST_MS, true), 0);
  strain.note(5, 4096, 10 * LONGEST_MS);
  t.is(strain.own(11 * LONGEST_MS, true), CALM, 'what comes then counts alone');
});

test('strain: large requests are judged among themselves', (t) => {
  const strain = new GuestStrain();
  let now = 0;
  for (; now < 2000; now += 2) {
    strain.note(1, 4 * KIB, now);
    strain.note(40, MIB, now);
  }
  t.is(strain.own(now, true), CALM);
});

test('strain: a replica passes on what gateways said, for a while', (t) => {
  const strain = new GuestStrain();
  strain.hear(77, 0);
  t.is(strain.own(1, true), 0);
  t.is(strain.served(1, true), 77);
  t.is(strain.served(STRAIN_HOLDS_MS + 1, true), 0);
});
