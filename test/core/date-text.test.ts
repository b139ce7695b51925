// Dates that are counted by hand agree with those of the platform.

import test from 'ava';
import fc from 'fast-check';
import { utcText } from '../../src/core/date-text.ts';

test('every moment reads as the platform writes it, and no moment reads as nothing', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 253_402_300_799_999 }), (ms) => {
      const iso = new Date(ms).toISOString();
      return utcText(ms) === `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;
    }),
  );
  t.is(utcText(0), '');
  t.is(utcText(Date.UTC(2028, 1, 29)), '2028-02-29 00:00:00 UTC');
  t.is(utcText(Number.NaN), '');
});
