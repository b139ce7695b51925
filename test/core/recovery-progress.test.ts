import test from 'ava';
import fc from 'fast-check';
import { viewOf } from '../../src/core/cluster-state.ts';
import { partitionKey } from '../../src/core/ids.ts';
import {
  MAX_ENDED_TASKS,
  MAX_TASKS,
  RecoveryProgress,
  type RecoveryTask,
} from '../../src/core/recovery-progress.ts';
import { RECOVERY_ENABLED_KEY } from '../../src/core/recovery-settings.ts';
import {
  casOf,
  clusterOf,
  configAt,
  entryBodies,
  nodeId,
  policyId,
  type StateCell,
} from '../fixtures.ts';

const P = 8;
const POLICY = policyId(0);
const SELF = nodeId(3);

function shrink(cell: StateCell, ...partitions: number[]): void {
  cell.apply(entryBodies.isrShrink({ partitions: partitions.map((p) => casOf(cell, p)), node: 3 }));
}

function join(cell: StateCell, p: number): void {
  const partitions = [casOf(cell, p)];
  cell.apply(entryBodies.isrJoin({ partitions, node: 3, incarnation: 1 }));
}

function promote(cell: StateCell, p: number): void {
  if (!configAt(cell, p).joining.includes(SELF)) join(cell, p);
  const partitions = [casOf(cell, p)];
  cell.apply(entryBodies.isrPromote({ partitions, node: 3, source: 1, incarnation: 1 }));
}

const keyOf = (p: number) => partitionKey(POLICY, p);
const where = (p: number) => ({ policy: POLICY, p });
const oid = { generation: 1 as never, index: 7 };

function honest(task: RecoveryTask): string | undefined {
  if (task.doneBytes > task.totalBytes) return `${task.doneBytes} of ${task.totalBytes} bytes`;
  if (task.partitionsDone + task.partitionsGone > task.partitions)
    return 'more partitions than there are';
  const isOver = task.endedMs > 0;
  if (isOver && task.failures.length > 0) return 'over though an object failed';
  if (isOver !== (task.partitionsDone + task.partitionsGone === task.partitions))
    return 'over too early or too late';
  if (!isOver && task.totalBytes > 0 && task.doneBytes === task.totalBytes && task.isCounted) {
    return 'all bytes are done though a partition is not';
  }
  return undefined;
}

test('progress: a total is fixed when it is counted; a partition counts in full when the map has it in sync', (t) => {
  const cell = clusterOf({ nodes: 3, partitions: P });
  const progress = new RecoveryProgress(SELF, (key) => key === keyOf(1));
  let now = 0;
  const follow = () => progress.follow(viewOf(cell.state), { now, dateMs: 1_000_000 + now });
  follow();
  t.deepEqual(progress.tell(now), []);
  shrink(cell, 1, 2, 3);
  follow();
  t.deepEqual([...progress.uncounted].sort(), [1, 2, 3].map(keyOf));
  t.deepEqual(
    progress.tell(now).map(({ kind, partitions }) => `${kind} ${partitions}`),
    ['catch-up 1', 'repair 2'],
  );
  progress.counted(keyOf(2), 1000);
  t.false(progress.tell(now)[1]?.isCounted);
  progress.counted(keyOf(3), 3000);
  progress.counted(keyOf(3), 9999);
  t.like(progress.tell(now)[1], { isCounted: true, totalBytes: 4000, doneBytes: 0 });
  now += 1000;
  progress.moved(where(3), 1, 2, now);
  now += 1000;
  t.like(progress.tell(now)[1], { doneBytes: 1500, bytesPerSecond: 750, leftMs: 3334 });
  progress.moved(where(3), 2, 2, now);
  t.is(progress.tell(now)[1]?.doneBytes, 2999, 'not all before the promotion');
  progress.moved(where(3), 1, 2, now);
  t.is(
    progress.tell(now)[1]?.doneBytes,
    2999,
    'a copy that is made again takes nothing back, and adds nothing',
  );
  promote(cell, 3);
  promote(cell, 2);
  follow();
  const [first, ended] = progress.tell(now);
  t.is(first?.kind, 'catch-up');
  t.like(ended, {
    endedMs: 1_002_000,
    doneBytes: 4000,
    partitionsDone: 2,
    leftMs: 0,
    bytesPerSecond: 0,
  });
});

test('progress: while an object failed its task is not done, and names it; what is lacking later is a further task', (t) => {
  const cell = clusterOf({ nodes: 3, partitions: P });
  const progress = new RecoveryProgress(SELF, () => false);
  const follow = () => progress.follow(viewOf(cell.state), { now: 0, dateMs: 5 });
  shrink(cell, 1, 2);
  follow();
  for (const p of [1, 2]) progress.counted(keyOf(p), 10);
  progress.failed(where(1), oid, 'no source answers');
  progress.moved(where(1), 9, 9, 0);
  promote(cell, 2);
  follow();
  const [task] = progress.tell(0);
  t.like(task, { endedMs: 0, doneBytes: 19, totalBytes: 20 });
  t.deepEqual(task?.failures, [{ ...where(1), ...oid, reason: 'no source answers' }]);
  shrink(cell, 5);
  follow();
  t.deepEqual(
    progress.tell(0).map(({ partitions }) => partitions),
    [2, 1],
  );
  promote(cell, 1);
  follow();
  t.is(progress.tell(0).find(({ partitions }) => partitions === 2)?.endedMs, 5);
});

test('progress: a pause is told', (t) => {
  const cell = clusterOf({ nodes: 3, partitions: P });
  const progress = new RecoveryProgress(SELF, () => false);
  shrink(cell, 1);
  cell.apply({ type: 'setting', key: RECOVERY_ENABLED_KEY, value: 'no' });
  progress.follow(viewOf(cell.state), { now: 0, dateMs: 5 });
  t.true(progress.tell(0)[0]?.isHeld);
});

test('progress: nobody knows how long a pause lasts', (t) => {
  const cell = clusterOf({ nodes: 3, partitions: P });
  const progress = new RecoveryProgress(SELF, () => false);
  const follow = () => progress.follow(viewOf(cell.state), { now: 0, dateMs: 5 });
  shrink(cell, 1);
  follow();
  progress.counted(partitionKey(policyId(0), 1), 1000);
  progress.moved({ policy: policyId(0), p: 1 }, 1, 2, 1000);
  t.true((progress.tell(1000)[0]?.leftMs ?? 0) > 0);
  cell.apply({ type: 'setting', key: RECOVERY_ENABLED_KEY, value: 'no' });
  follow();
  t.is(progress.tell(1000)[0]?.leftMs, 0);
});

type Step = readonly [
  'shrink' | 'join' | 'promote' | 'count' | 'move' | 'fail' | 'look',
  number,
  number,
];

test('progress: never above its total, never over while a partition of it is not, whatever happens in whatever order', (t) => {
  const step: fc.Arbitrary<Step> = fc.tuple(
    fc.constantFrom('shrink', 'join', 'promote', 'count', 'move', 'fail', 'look'),
    fc.integer({ min: 0, max: P - 1 }),
    fc.integer({ min: 0, max: 1000 }),
  );
  const property = fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
    const cell = clusterOf({ nodes: 3, partitions: P });
    const progress = new RecoveryProgress(SELF, (key) => key % 3 === 0);
    let now = 0;
    for (const [what, p, n] of steps) {
      now += n;
      if (what === 'shrink') shrink(cell, p);
      if (what === 'join') join(cell, p);
      if (what === 'promote') promote(cell, p);
      if (what === 'count') progress.counted(keyOf(p), n);
      if (what === 'move') progress.moved(where(p), n % 7, n % 5, now);
      if (what === 'fail') progress.failed(where(p), oid, 'x');
      if (what === 'look') progress.follow(viewOf(cell.state), { now, dateMs: now + 1 });
      const told = progress.tell(now);
      t.true(told.length <= MAX_TASKS + MAX_ENDED_TASKS);
      for (const task of told) t.is(honest(task), undefined);
    }
  });
  fc.assert(property, { numRuns: 200 });
});
