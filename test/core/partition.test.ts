import test from 'ava';
import type { FamilyId } from '../../src/core/ids.ts';
import {
  abort,
  dropDown,
  isPartitionCount,
  join,
  MAX_WRITE_SET,
  partitionOf,
  promote,
  purgeBar,
  release,
  shrink,
  writeSetOf,
} from '../../src/core/partition.ts';
import { isAcknowledged, planWrite, withAnswer } from '../../src/core/write-plan.ts';
import { nodeId, nodeIds, partitionConfig } from '../fixtures.ts';

const rule = { minCopies: 2, isLive: () => true };
const without = (...dead: number[]) => ({
  minCopies: 2,
  isLive: (node: number) => !dead.includes(node),
});

test('partition: an object has one partition, and a volume spreads over all', (t) => {
  const seen = new Set<number>();
  for (let index = 0; index < 1000; index += 1) seen.add(partitionOf(7 as FamilyId, index, 64));
  t.is(seen.size, 64);
  t.is(partitionOf(7 as FamilyId, 17, 4096), partitionOf(7 as FamilyId, 17, 4096));
  t.deepEqual([0, 1, 3, 4096, 65536, 131072, 1.5].map(isPartitionCount), [
    false,
    true,
    false,
    true,
    true,
    false,
    false,
  ]);
});

test('partition: joining members are no copies (R3, I6)', (t) => {
  const config = partitionConfig({ inSync: [1, 2], joining: [3] });
  t.is(typeof shrink(config, nodeId(1), rule), 'string');
  t.like(shrink(partitionConfig({ inSync: [1, 2, 3] }), nodeId(1), rule), {
    cfg: 2,
    inSync: [2, 3],
  });
  t.is(typeof shrink(partitionConfig({ inSync: [1, 2, 3] }), nodeId(1), without(2)), 'string');
  t.is(
    typeof shrink(partitionConfig({ inSync: [1] }), nodeId(1), { ...rule, minCopies: 0 }),
    'string',
    'A7',
  );
});

test('partition: a joiner goes by abort, or in by promotion from a member (A8)', (t) => {
  const config = partitionConfig({ cfg: 5, targets: [1, 2, 3], inSync: [1, 2], joining: [3] });
  t.like(abort(config, nodeId(3)), { cfg: 6, joining: [] });
  t.is(typeof abort(config, nodeId(2)), 'string');
  t.like(promote(config, nodeId(3), nodeId(1)), { cfg: 6, inSync: [1, 2, 3], joining: [] });
  t.is(typeof promote(config, nodeId(3), nodeId(3)), 'string');
  t.is(typeof promote(config, nodeId(4), nodeId(1)), 'string');
  t.is(typeof join(config, nodeId(1)), 'string');
  t.is(typeof join(config, nodeId(3)), 'string');
  t.is(typeof join(partitionConfig({ inSync: [] }), nodeId(3)), 'string', 'nobody to copy from');
  const full = partitionConfig({ inSync: Array.from({ length: MAX_WRITE_SET }, (_, i) => i + 1) });
  t.is(typeof join(full, nodeId(99)), 'string');
});

test('partition: copies outside T go only when all of T is in sync and enough stay live (I5)', (t) => {
  const config = partitionConfig({ targets: [2, 3], inSync: [1, 2, 3] });
  t.like(release(config, nodeId(1), rule), { inSync: [2, 3] });
  t.is(typeof release(config, nodeId(2), rule), 'string');
  t.is(typeof release(config, nodeId(1), without(3)), 'string');
  t.is(
    typeof release(partitionConfig({ targets: [2, 3], inSync: [1, 2] }), nodeId(1), rule),
    'string',
  );
  t.is(
    typeof release(partitionConfig({ targets: [], inSync: [1, 2, 3] }), nodeId(1), rule),
    'string',
  );
  t.is(purgeBar(partitionConfig({ inSync: [2, 3] }), nodeId(1)), undefined);
  t.is(typeof purgeBar(partitionConfig({ inSync: [2, 3], joining: [4] }), nodeId(1)), 'string');
  t.is(typeof purgeBar(partitionConfig({ targets: [1, 2], inSync: [2, 3] }), nodeId(1)), 'string');
});

test('partition: the down leave J always and I where enough stay (1.4)', (t) => {
  const config = partitionConfig({ cfg: 3, inSync: [1, 2], joining: [3] });
  const down = new Set(nodeIds(2, 3));
  t.like(dropDown(config, down, without(2, 3)), { cfg: 4, inSync: [1, 2], joining: [] });
  t.like(dropDown(config, down, { ...without(2, 3), minCopies: 1 }), { cfg: 4, inSync: [1] });
  t.is(dropDown(config, new Set(nodeIds(9)), rule), undefined);
});

test('write plan: all of I and J confirm, under one config, or nothing is acknowledged (R3)', (t) => {
  const plan = planWrite(partitionConfig({ inSync: [2, 5], joining: [3] }), rule, rule.isLive);
  t.deepEqual(plan.members, nodeIds(2, 3, 5));
  let answers = withAnswer(plan, 0, nodeId(2));
  answers = withAnswer(plan, answers, nodeId(5));
  answers = withAnswer(plan, answers, nodeId(9));
  t.false(isAcknowledged(plan, answers), 'the joiner is missing');
  t.true(isAcknowledged(plan, withAnswer(plan, answers, nodeId(3))));
  t.deepEqual(writeSetOf(partitionConfig({ inSync: [1] })), nodeIds(1));
});

test('write plan: fewer than minCopies live is halted, joiners or not (I6)', (t) => {
  const config = partitionConfig({ inSync: [1, 2], joining: [3] });
  const plan = planWrite(config, rule, without(2).isLive);
  t.regex(plan.halted ?? '', /1 of 2/);
  t.false(isAcknowledged(plan, plan.allBits));
  const empty = planWrite(partitionConfig({ inSync: [] }), { minCopies: 1 }, rule.isLive);
  t.truthy(empty.halted);
  t.false(isAcknowledged(empty, 0));
});

test('write plan: a full write set still fits its bits', (t) => {
  const inSync = Array.from({ length: MAX_WRITE_SET }, (_, i) => i + 1);
  const plan = planWrite(partitionConfig({ inSync }), rule, rule.isLive);
  let answers = 0;
  for (const node of plan.members) {
    t.false(isAcknowledged(plan, answers));
    answers = withAnswer(plan, answers, node);
  }
  t.true(isAcknowledged(plan, answers));
});
