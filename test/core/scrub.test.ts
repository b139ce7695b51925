import test from 'ava';
import fc from 'fast-check';
import {
  afterPartition,
  afterRun,
  dueKind,
  freshMemo,
  lateKinds,
  withRun,
} from '../../src/core/scrub.ts';

const PERIODS = { lightMs: 100, deepMs: 700 };

test('scrub: progress never goes back, never above its total, and no partition counts twice', (t) => {
  fc.assert(
    fc.property(
      fc.nat(1000),
      fc.array(fc.tuple(fc.nat(20), fc.nat(300)), { maxLength: 60 }),
      (total, steps) => {
        let memo = withRun(freshMemo(0), 'deep', total, 5);
        const seen = new Set<number>();
        let sum = 0;
        for (const [position, bytes] of steps) {
          const before = memo.run?.doneBytes ?? 0;
          const isNew = position > (memo.run?.position ?? -1);
          memo = afterPartition(memo, position, bytes);
          const done = memo.run?.doneBytes ?? 0;
          if (isNew) {
            if (seen.has(position)) return false;
            seen.add(position);
            sum += bytes;
          }
          const isRight = done === Math.min(total, sum) && done >= before && done <= total;
          if (!isRight || memo.run?.totalBytes !== total) return false;
        }
        return true;
      },
    ),
  );
  t.pass();
});

test('scrub: what is due, what is late, and what a pause stops', (t) => {
  const memo = freshMemo(1000);
  t.is(dueKind(memo, PERIODS, 1099), undefined);
  t.is(dueKind(memo, PERIODS, 1100), 'light');
  t.is(dueKind(memo, PERIODS, 1700), 'deep');
  t.is(dueKind({ ...memo, isPaused: true }, PERIODS, 9999), undefined);
  const running = withRun(memo, 'light', 10, 1100);
  t.is(dueKind(running, PERIODS, 1700), 'light');
  t.is(dueKind({ ...running, isPaused: true }, PERIODS, 1700), undefined);
  const done = afterRun(running, 1150);
  t.deepEqual([done.lightMs, done.deepMs, done.run], [1150, 1000, undefined]);
  t.deepEqual(lateKinds(done, PERIODS, 1350), []);
  t.deepEqual(lateKinds(done, PERIODS, 1351), ['light']);
  t.deepEqual(lateKinds(done, PERIODS, 2401), ['light', 'deep']);
  const never = { lightMs: Number.POSITIVE_INFINITY, deepMs: Number.POSITIVE_INFINITY };
  t.is(dueKind(memo, never, 1e12), undefined);
  t.deepEqual(lateKinds(memo, never, 1e12), []);
});
