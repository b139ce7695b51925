// One line for all members: what it promises in sum does not shrink while anything is under way.

import test from 'ava';
import { sumOf } from '../../src/api/recovery-routes.ts';
import type { RecoveryTask } from '../../src/core/recovery-progress.ts';

function taskOf(options: Partial<RecoveryTask>): RecoveryTask {
  return {
    ...{ kind: 'repair', startedMs: 1000, endedMs: 0, isHeld: false, isCounted: true },
    ...{ partitions: 10, partitionsDone: 0, partitionsGone: 0, totalBytes: 100, doneBytes: 0 },
    ...{ bytesPerSecond: 0, leftMs: 0, failures: [], incomplete: 0 },
    ...options,
  };
}

const done = { partitionsDone: 10, doneBytes: 100 };

test('sum: a task that ends beside another one stays in the total', (t) => {
  const slow = taskOf({ partitions: 40, totalBytes: 900, partitionsDone: 5, doneBytes: 50 });
  const before = sumOf([slow, taskOf({})]);
  const after = sumOf([slow, taskOf({ ...done, endedMs: 2000 })]);
  t.like(before, { tasks: 2, partitions: 50, totalBytes: 1000, partitionsDone: 5, doneBytes: 50 });
  t.like(after, { tasks: 1, partitions: 50, totalBytes: 1000, partitionsDone: 15, doneBytes: 150 });
});

test('sum: what ended before the round began is not part of it; a chain of overlaps is', (t) => {
  const running = taskOf({ startedMs: 5000 });
  const old = taskOf({ ...done, startedMs: 1000, endedMs: 2000 });
  const first = taskOf({ ...done, startedMs: 3000, endedMs: 4500 });
  const second = taskOf({ ...done, startedMs: 4000, endedMs: 6000 });
  t.like(sumOf([running, old]), { partitions: 10 });
  t.like(sumOf([running, old, first]), { partitions: 10 });
  t.like(sumOf([running, old, first, second]), { tasks: 1, partitions: 30, partitionsDone: 20 });
});

test('sum: damaged objects of a task that ended are told until all is over', (t) => {
  const ended = taskOf({ ...done, endedMs: 2000, incomplete: 3 });
  t.like(sumOf([taskOf({}), ended]), { incompleteObjects: 3 });
  t.like(sumOf([ended]), { tasks: 0, partitions: 0, totalBytes: 0, leftMs: 0 });
});
