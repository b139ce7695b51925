import test from 'ava';
import type { FencingToken, Version } from '../../src/core/ids.ts';
import { isPrefix, judgeWrite, longestPrefix, type WriteVerdict } from '../../src/core/version.ts';

function version(token: number, count: number): Version {
  return { token: token as FencingToken, count };
}

function judged(own: [number, number], prev: [number, number], token: number): WriteVerdict {
  return judgeWrite(version(...own), version(...prev), version(token, prev[1] + 1));
}

test('version: a write applies on its predecessor only (R1)', (t) => {
  t.is(judged([0, 0], [0, 0], 1), 'apply');
  t.is(judged([1, 4], [1, 4], 1), 'apply');
  t.is(judged([1, 4], [1, 4], 3), 'apply');
});

test('version: what is in the chain already is a duplicate (R1)', (t) => {
  t.is(judged([1, 5], [1, 4], 1), 'duplicate');
  t.is(judged([1, 9], [1, 4], 1), 'duplicate');
  t.is(judged([2, 9], [1, 4], 2), 'duplicate');
});

test('version: a replica that lacks predecessors says gap, one on another branch says diverged', (t) => {
  t.is(judged([1, 3], [1, 4], 1), 'gap');
  t.is(judged([0, 0], [1, 4], 2), 'gap');
  t.is(judged([1, 5], [1, 4], 2), 'diverged');
  t.is(judged([1, 7], [1, 4], 2), 'diverged');
  t.is(judged([2, 3], [1, 4], 1), 'diverged');
  t.is(judged([2, 5], [1, 4], 1), 'diverged');
  t.is(judged([1, 4], [2, 4], 3), 'diverged');
});

test('version: a write that does not follow its own predecessor is never applied', (t) => {
  t.is(judgeWrite(version(1, 4), version(1, 4), version(1, 6)), 'diverged');
  t.is(judgeWrite(version(2, 4), version(2, 4), version(1, 5)), 'diverged');
});

test('version: the longest of prefixes wins, and only of prefixes (I2)', (t) => {
  t.deepEqual(longestPrefix([version(1, 4), version(2, 7), version(1, 6)]), version(2, 7));
  t.deepEqual(longestPrefix([]), version(0, 0));
  const error = t.throws(() => longestPrefix([version(1, 4), version(2, 4)]));
  t.like(error, { code: 'diverged' });
  t.throws(() => longestPrefix([version(3, 4), version(2, 7)]));
  t.true(isPrefix(version(1, 4), version(1, 4)));
  t.false(isPrefix(version(3, 4), version(2, 7)));
});
