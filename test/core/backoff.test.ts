import test from 'ava';
import { backoffMs } from '../../src/core/backoff.ts';

test('a pause doubles from its minimum and stays at its maximum', (t) => {
  const pauses = [0, 1, 2, 3, 4, 5].map((failures) => backoffMs(failures, 10, 150));
  t.deepEqual(pauses, [10, 20, 40, 80, 150, 150]);
});

test('however many failures there were, the pause is a number', (t) => {
  t.is(backoffMs(Number.MAX_SAFE_INTEGER, 10, 1000), 1000);
  t.is(backoffMs(1e9, 1, Number.MAX_VALUE), 2 ** 20);
});
