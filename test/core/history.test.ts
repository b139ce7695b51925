import test from 'ava';
import { historyKey, leftBehind } from '../../src/core/history.ts';

const state = (index: number, ...marks: readonly (readonly [number, number])[]) => ({
  index: index as never,
  settings: new Map([
    ['out-after', '1'],
    ...marks.map(([term, at]) => [historyKey(term), String(at)] as const),
  ]),
});

test('who knows more than the recovery went on from, and nothing of it, is of another history, whoever asks', (t) => {
  const forced = state(200, [7, 100]);
  t.is(leftBehind(state(101), forced), 'ours');
  t.is(leftBehind(forced, state(101)), 'theirs');
  t.is(leftBehind(state(100), forced), undefined, 'all that it knows is part of it');
  t.is(leftBehind(state(150, [7, 100]), forced), undefined);
  t.is(leftBehind(state(50), state(200)), undefined, 'nothing was forced');
});

test('two recoveries from one log are two histories', (t) => {
  t.not(leftBehind(state(110, [7, 100]), state(120, [8, 100])), undefined);
  t.is(leftBehind(state(300, [7, 100]), state(400, [7, 100], [9, 250])), 'ours');
  t.is(leftBehind(state(240, [7, 100]), state(400, [7, 100], [9, 250])), undefined);
});
