// Whose map is wrong (C2.8): a majority of the voters says it, of all members where the voters are divided; a tie is told.

import test from 'ava';
import { Auditor, judgeAudit, judgeAuditByAll } from '../../src/agreement/audit.ts';
import { OperatingError } from '../../src/core/errors.ts';
import type { NodeId } from '../../src/core/ids.ts';
import { nodeIds } from '../fixtures.ts';

test('audit: a majority of the voters judges, silent ones included in the count', (t) => {
  t.is(judgeAudit(['a', 'a', 'b'], 'b'), 'broken');
  t.is(judgeAudit(['a', 'a', 'b'], 'a'), 'right');
  t.is(judgeAudit(['a', undefined, 'b'], 'b'), 'unclear');
  t.is(judgeAudit(['a', ''], 'b'), 'unclear');
});

test('audit: where voters are divided most of the members that know judge, three at least', (t) => {
  t.is(judgeAuditByAll(['a', 'b', 'a', undefined, ''], 'b'), 'broken');
  t.is(judgeAuditByAll(['a', 'b', 'a'], 'a'), 'right');
  t.is(judgeAuditByAll(['a', 'b', 'a', 'b'], 'a'), 'unclear');
  t.is(judgeAuditByAll(['a', 'b'], 'a'), 'unclear', 'two are no majority of anything');
  t.is(judgeAuditByAll(['a', undefined], 'a'), 'unclear', 'nor is the own word alone');
});

/** n1 with what the others' states hashed to at index 10; n1's own is `a`. */
function world(hashes: Readonly<Record<number, string>>, voters: readonly NodeId[]) {
  const ended: OperatingError[] = [];
  const asked: NodeId[] = [];
  const splits: NodeId[] = [];
  const auditor = new Auditor({
    self: 1 as NodeId,
    trace: { event: () => {}, warn: () => {}, count: () => {} },
    voters: () => voters,
    members: () => nodeIds(1, 2, 3, 4),
    hashAt: () => 'a',
    ask: async (node) => {
      asked.push(node);
      const hash = hashes[node];
      if (hash === undefined) throw new OperatingError('timeout', 'silent');
      return { type: 'audit', hash };
    },
    onSplit: (node) => splits.push(node),
    onBroken: (error) => ended.push(error),
  });
  const compare = async (hash: string, index = 10): Promise<void> => {
    auditor.compare(2 as NodeId, index, hash);
    // The questions, the answers, the verdict.
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  };
  return { auditor, asked, ended, splits, compare };
}

test('audit: who differs from a majority ends, and is told to start again', async (t) => {
  const { ended, compare } = world({ 2: 'b', 3: 'b' }, nodeIds(1, 2, 3));
  await compare('b');
  t.is(ended[0]?.code, 'diverged');
  t.regex(ended[0]?.remedy ?? '', /takes the map from the others/);
});

test('audit: two voters that differ ask the other members', async (t) => {
  const { asked, auditor, ended, compare } = world({ 2: 'b', 3: 'b', 4: 'b' }, nodeIds(1, 2));
  await compare('b');
  t.is(ended.length, 1);
  t.is(auditor.disputedIndex, 0);
  t.true(asked.includes(4 as NodeId));
});

test('audit: a tie ends nobody and is told until a later point agrees', async (t) => {
  const { auditor, ended, compare } = world({ 2: 'b', 3: 'a', 4: 'b' }, nodeIds(1, 2));
  await compare('b');
  t.is(ended.length, 0);
  t.is(auditor.disputedIndex, 10);
  await compare('a', 10);
  t.is(auditor.disputedIndex, 10, 'the same point, from a friend');
  await compare('a', 20);
  t.is(auditor.disputedIndex, 0);
});

test('audit: where most say as this node does, the one that differs is told of', async (t) => {
  const { ended, splits, compare } = world({ 2: 'b', 3: 'a' }, nodeIds(1, 2, 3));
  await compare('b');
  t.deepEqual(splits, nodeIds(2));
  t.is(ended.length, 0);
});
