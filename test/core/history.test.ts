import test from 'ava';
import { areOtherHistories, historyKey } from '../../src/core/history.ts';

const state = (index: number, ...marks: readonly (readonly [number, number])[]) => ({
  index: index as never,
  settings: new Map([
    ['out-after', '1'],
    ...marks.map(([term, at]) => [historyKey(term), String(at)] as const),
  ]),
});

test('who knows more than the recovery went on from, and nothing of it, is of another history, whoever asks', (t) => {
  const forced = state(200, [7, 100]);
  t.true(areOtherHistories(state(101), forced));
  t.true(areOtherHistories(forced, state(101)));
  t.false(areOtherHistories(state(100), forced), 'all that it knows is part of it');
  t.false(areOtherHistories(state(150, [7, 100]), forced));
  t.false(areOtherHistories(state(50), state(200)), 'nothing was forced');
});

test('two recoveries from one log are two histories', (t) => {
  t.true(areOtherHistories(state(110, [7, 100]), state(120, [8, 100])));
  t.true(areOtherHistories(state(300, [7, 100]), state(400, [7, 100], [9, 250])));
  t.false(areOtherHistories(state(240, [7, 100]), state(400, [7, 100], [9, 250])));
});
