// The judge of guests' histories is judged: it accepts what a disk with crash semantics may do and nothing else.

import test from 'ava';
import { History } from '../../sim/checkers/history.ts';

type Step =
  | ['write' | 'zero' | 'read', string, number?]
  | ['ok', string, number?]
  | ['error', string];

/** Plays begin and end steps of requests with names on one block; sessions by the third element. */
function judge(
  steps: readonly Step[],
  sessionOf: (name: string) => number = () => 0,
): string | undefined {
  const history = new History();
  history.openSession();
  history.openSession();
  const ops = new Map<string, ReturnType<History['begin']>>();
  for (const [what, name, value] of steps) {
    const op = ops.get(name);
    if (what === 'ok' || what === 'error') {
      if (op === undefined) throw new TypeError('ends what began');
      if (value !== undefined) op.value = value;
      history.end(op, what === 'ok');
    } else {
      const session = sessionOf(name);
      ops.set(name, history.begin({ kind: what, block: 7, value: value ?? 0, session }));
    }
  }
  return history.check();
}

test('history: reads that see the last write, or one of two at once, are fine', (t) => {
  t.is(
    judge([
      ['write', 'w', 1],
      ['ok', 'w'],
      ['read', 'r'],
      ['ok', 'r', 1],
    ]),
    undefined,
  );
  t.is(
    judge([
      ['write', 'w', 1],
      ['ok', 'w'],
      ['write', 'x', 2],
      ['read', 'r'],
      ['ok', 'r', 1],
      ['read', 's'],
      ['ok', 's', 2],
      ['ok', 'x'],
    ]),
    undefined,
  );
  t.is(
    judge([
      ['read', 'r'],
      ['ok', 'r', 0],
    ]),
    undefined,
  );
});

test('history: a lost acknowledged write is seen', (t) => {
  t.regex(
    judge([
      ['write', 'w', 1],
      ['ok', 'w'],
      ['read', 'r'],
      ['ok', 'r', 0],
    ]) ?? '',
    /zeroes/,
  );
  t.regex(
    judge([
      ['write', 'w', 1],
      ['ok', 'w'],
      ['write', 'x', 2],
      ['ok', 'x'],
      ['read', 'r'],
      ['ok', 'r', 1],
    ]) ?? '',
    /C-lin/,
  );
});

test('history: a value from nowhere is seen', (t) => {
  t.regex(
    judge([
      ['read', 'r'],
      ['ok', 'r', 5],
    ]) ?? '',
    /nobody wrote/,
  );
});

test('history: an unresolved write may have happened or not, but not come and go', (t) => {
  const before: Step[] = [
    ['write', 'w', 1],
    ['ok', 'w'],
    ['write', 'x', 2],
    ['error', 'x'],
  ];
  t.is(judge([...before, ['read', 'r'], ['ok', 'r', 1], ['read', 's'], ['ok', 's', 1]]), undefined);
  t.is(judge([...before, ['read', 'r'], ['ok', 'r', 2], ['read', 's'], ['ok', 's', 2]]), undefined);
  t.regex(
    judge([...before, ['read', 'r'], ['ok', 'r', 2], ['read', 's'], ['ok', 's', 1]]) ?? '',
    /C-lin/,
  );
});

test("history: a dead session's write does not appear after the next session has looked (A11b)", (t) => {
  const steps: Step[] = [
    ['write', 'w', 1],
    ['ok', 'w'],
    ['write', 'x', 2],
    ['read', 'r'],
    ['ok', 'r', 1],
    ['read', 'r2'],
    ['ok', 'r2', 1],
    ['read', 's'],
    ['ok', 's', 2],
  ];
  const later = (name: string) => (name === 'w' || name === 'x' ? 0 : 1);
  t.regex(judge(steps, later) ?? '', /C-lin/);
});

test('history: a write issued and acknowledged under a superseded session is seen (C-writer)', (t) => {
  const steps: Step[] = [
    ['write', 'w', 1],
    ['ok', 'w'],
    ['write', 'x', 2],
    ['ok', 'x'],
  ];
  t.regex(judge(steps, (name) => (name === 'w' ? 1 : 0)) ?? '', /C-writer/);
});

test('history: zeroing counts as a write that hides what was before', (t) => {
  t.is(
    judge([
      ['write', 'w', 1],
      ['ok', 'w'],
      ['zero', 'z'],
      ['ok', 'z'],
      ['read', 'r'],
      ['ok', 'r', 0],
    ]),
    undefined,
  );
  t.regex(
    judge([
      ['write', 'w', 1],
      ['ok', 'w'],
      ['zero', 'z'],
      ['ok', 'z'],
      ['read', 'r'],
      ['ok', 'r', 1],
    ]) ?? '',
    /zeroes was written/,
  );
});
