// The judge of C-flush is judged: what a flush covers must be there after all memory was lost, of what came later any part
// may be, block by block, and from then on it is a register again.

import test from 'ava';
import { History } from '../../sim/checkers/history.ts';

const BLOCK = 3;

function write(history: History, value: number, session: number, isForced = false): void {
  const op = history.begin({ kind: 'write', block: BLOCK, value, session, isForced });
  history.end(op, true);
}

function flush(history: History): void {
  history.endFlush(history.beginFlush(), true);
}

function read(history: History, value: number, session: number): void {
  const op = history.begin({ kind: 'read', block: BLOCK, value: 0, session });
  op.value = value;
  history.end(op, true);
}

/** 1 and 2 before the flush, 3 and 4 after it, then all memory is lost and a new session reads these values. */
function afterTheLoss(values: readonly number[]): string | undefined {
  const history = new History();
  const before = history.openSession();
  for (const value of [1, 2]) write(history, value, before);
  flush(history);
  for (const value of [3, 4]) write(history, value, before);
  read(history, 4, before);
  const wrong = history.loseCache();
  if (wrong !== undefined) return wrong;
  const after = history.openSession();
  for (const value of values) read(history, value, after);
  return history.check();
}

test('C-flush: what the flush covers, or any later write, may be there', (t) => {
  for (const value of [2, 3, 4]) t.is(afterTheLoss([value, value]), undefined, `value ${value}`);
});

test('C-flush: older than the flush, or nothing, is a violation', (t) => {
  t.regex(afterTheLoss([1]) ?? '', /C-lin/);
  t.regex(afterTheLoss([0]) ?? '', /C-lin/);
});

test('C-flush: what was found stays so', (t) => {
  t.regex(afterTheLoss([2, 4]) ?? '', /C-lin/);
  t.regex(afterTheLoss([4, 2]) ?? '', /C-lin/);
});

test('C-flush: a write that ended after the flush began is not covered, a forced one is durable', (t) => {
  const history = new History();
  const before = history.openSession();
  const asked = history.beginFlush();
  write(history, 1, before);
  history.endFlush(asked, true);
  t.is(history.loseCache(), undefined);
  const after = history.openSession();
  read(history, 0, after);
  t.is(history.check(), undefined);

  write(history, 2, after, true);
  write(history, 3, after);
  t.is(history.loseCache(), undefined);
  read(history, 0, history.openSession());
  t.regex(history.check() ?? '', /C-lin/);
});

test('C-flush: a flush that failed covers nothing; what was wrong before the loss is said', (t) => {
  const history = new History();
  const before = history.openSession();
  write(history, 1, before);
  history.endFlush(history.beginFlush(), false);
  t.is(history.loseCache(), undefined);
  read(history, 0, history.openSession());
  t.is(history.check(), undefined);

  const odd = new History();
  const session = odd.openSession();
  write(odd, 1, session);
  read(odd, 0, session);
  t.regex(odd.loseCache() ?? '', /C-lin/);
});
