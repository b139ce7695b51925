// What follows from what members say of their copies of one object: version and checksum decide, never votes.

import test from 'ava';
import { type CopyLook, judgeCopies, sumUsage } from '../../src/core/copy-check.ts';
import type { GenerationId, NodeId } from '../../src/core/ids.ts';

const place = { generation: 1 as GenerationId, index: 7 };

function look(change: Partial<CopyLook> = {}): CopyLook {
  return {
    ...place,
    ...{ state: 'whole', verToken: 3, verCount: 9, closed: 9, kind: 'data' },
    ...{ ownLow: 0xff, ownHigh: 0, sectors: 4, bad: [], digest: new Uint8Array(32).fill(5) },
    ...change,
  };
}

const ABSENT: Partial<CopyLook> = {
  ...{ state: 'absent', verToken: 0, verCount: 0, closed: 0, kind: 'zero', ownLow: 0 },
  digest: new Uint8Array(0),
};

function judged(...looks: readonly Partial<CopyLook>[]) {
  return judgeCopies(new Map(looks.map((one, i) => [(i + 1) as NodeId, look(one)])));
}

const problems = (...looks: readonly Partial<CopyLook>[]): string[] => {
  const verdict = judged(...looks);
  if (verdict.verdict !== 'wrong') return [verdict.verdict];
  return verdict.findings.map(({ node, problem }) => `n${node} ${problem}`);
};

test('copies: equal ones, one alone, and none anywhere', (t) => {
  t.deepEqual(problems({}, {}, {}), ['equal']);
  t.deepEqual(problems({}), ['equal']);
  t.deepEqual(problems(ABSENT, ABSENT), ['equal']);
  t.deepEqual(judgeCopies(new Map()), { verdict: 'equal' });
});

test('copies: what fails its own sums is wrong, though it were most of them', (t) => {
  const bad = { state: 'damaged', bad: [3, 8], digest: new Uint8Array(0) } as const;
  t.deepEqual(problems({}, bad, {}), ['n2 damaged']);
  t.deepEqual(problems(bad, bad, {}), ['n1 damaged', 'n2 damaged']);
  t.deepEqual(problems({ state: 'lost' }, {}), ['n1 lost']);
  t.deepEqual(problems(bad, { closed: 8 }), ['n1 damaged'], 'also beside an open one');
  const verdict = judged({}, bad);
  t.deepEqual(verdict.verdict === 'wrong' && verdict.findings[0]?.bad, [3, 8]);
});

test('copies: the lower version lacks what was acknowledged; a token counts before a count', (t) => {
  t.deepEqual(problems({}, { verCount: 8, closed: 8 }, {}), ['n2 stale']);
  t.deepEqual(problems({}, { verCount: 8, closed: 8 }, { verCount: 8, closed: 8 }), [
    'n2 stale',
    'n3 stale',
  ]);
  t.deepEqual(problems({ verToken: 4, verCount: 1, closed: 1 }, {}), ['n2 stale']);
  t.deepEqual(problems({}, ABSENT), ['n2 stale']);
});

test('copies: in use nothing can be said', (t) => {
  t.deepEqual(problems({}, { verCount: 10, closed: 9 }), ['again']);
  t.deepEqual(problems({ state: 'busy' }, {}), ['again']);
});

test('copies: of one version and each whole, but not the same: all are told, none is guessed at', (t) => {
  const others: Partial<CopyLook>[] = [
    { digest: new Uint8Array(32).fill(6) },
    { ownHigh: 1 },
    { kind: 'zero' },
  ];
  for (const other of others)
    t.deepEqual(
      problems({}, {}, other),
      ['n1', 'n2', 'n3'].map((n) => `${n} differs`),
    );
});

test('usage: the sum over members, by layer', (t) => {
  const [one, two] = [1 as GenerationId, 2 as GenerationId];
  const sums = sumUsage([
    [{ generation: one, objects: 2, bytes: 100 }],
    [],
    [
      { generation: one, objects: 1, bytes: 50 },
      { generation: two, objects: 1, bytes: 7 },
    ],
  ]);
  t.deepEqual(
    [...sums.values()],
    [
      { generation: one, objects: 3, bytes: 150 },
      { generation: two, objects: 1, bytes: 7 },
    ],
  );
});
