// The search for an order of a block's requests, and the check by zones, judge each other: on histories that a register
// made, on the same with one answer changed, and on what a real run left behind.

import '../../sim/bans.ts';
import test from 'ava';
import { type BlockOp, History } from '../../sim/checkers/history.ts';
import {
  judgeRegister,
  MAX_REGISTER_STEPS,
  type RegisterOp,
} from '../../sim/checkers/register-search.ts';
import { play } from '../../sim/scenario.ts';
import { oneNodeLost } from '../../sim/scenarios/one-node-lost.ts';
import { SimRandom } from '../../sim/sim-random.ts';
import type { Stage } from '../../sim/stage.ts';

type Made = Pick<BlockOp, 'kind' | 'value'> & { readonly at: number; readonly outcome: Outcome };
type Outcome = 'ok' | 'error' | 'never';

/** Requests on one register, each done at one moment inside its time; some were never answered. */
function made(random: SimRandom, count: number, zeroes: boolean): readonly Made[] {
  const all: Made[] = [];
  let [content, next] = [0, 1];
  for (let i = 0; i < count; i += 1) {
    const dice = random.unit();
    const outcome = random.chance(0.15) ? random.pick(['error', 'never'] as const) : 'ok';
    const happens = outcome === 'ok' || random.chance(0.5);
    if (dice < 0.5) all.push({ kind: 'read', value: content, at: i, outcome });
    else {
      const kind = zeroes && dice < 0.6 ? 'zero' : 'write';
      const value = kind === 'write' ? next++ : 0;
      all.push({ kind, value, at: i, outcome });
      if (happens) content = value;
    }
  }
  return all;
}

/** The same as a history: each is asked a while before its moment and answered a while after it. */
function historyOf(random: SimRandom, all: readonly Made[]): History {
  const history = new History();
  history.openSession();
  const ops = new Map<Made, BlockOp>();
  const events = all.flatMap((one) => [
    { atMs: one.at - random.unit() * 3, one, isEnd: false },
    { atMs: one.at + random.unit() * 3, one, isEnd: true },
  ]);
  for (const { one, isEnd } of events.sort((a, b) => a.atMs - b.atMs)) {
    const { kind, value, outcome } = one;
    if (!isEnd) ops.set(one, history.begin({ kind, block: 7, value, session: 0 }));
    else if (outcome !== 'never') history.end(ops.get(one) as BlockOp, outcome === 'ok');
  }
  return history;
}

/** One answer of a read is another value that was written. */
function corrupted(random: SimRandom, all: readonly Made[]): readonly Made[] {
  const reads = all.filter((one) => one.kind === 'read' && one.outcome === 'ok');
  if (reads.length === 0) return all;
  const victim = random.pick(reads);
  const other = random.between(1, Math.max(1, all.length));
  return all.map((one) => (one === victim ? { ...one, value: other } : one));
}

function writesOf(history: History, block: number): readonly BlockOp[] {
  return history.opsOf(block).filter((op) => op.kind === 'write' && op.isOk);
}

test('search: what a register did has an order', (t) => {
  for (let seed = 0; seed < 400; seed += 1) {
    const random = new SimRandom(`made ${seed}`);
    const history = historyOf(random, made(random, random.between(1, 30), true));
    t.is(history.searchOrders(), undefined, `seed ${seed}`);
    t.is(history.check(), undefined, `seed ${seed}`);
  }
});

test('search and zones agree on histories with one wrong answer', (t) => {
  let wrong = 0;
  for (let seed = 0; seed < 1500; seed += 1) {
    const random = new SimRandom(`corrupted ${seed}`);
    const all = corrupted(random, made(random, random.between(2, 20), false));
    const history = historyOf(random, all);
    const bySearch = history.searchOrders();
    t.is(history.check() === undefined, bySearch === undefined, `seed ${seed}: ${bySearch}`);
    if (bySearch !== undefined) wrong += 1;
  }
  t.true(wrong > 500 && wrong < 1500, `${wrong} of them are wrong`);
});

test('search: zeroes that come back unseen by the zones are found', (t) => {
  // Written, zeroed, written again: zeroes are read after the second write was acknowledged, while a slow zeroing ends.
  const sure = (kind: 'write' | 'read', value: number, start: number, end: number) =>
    ({ kind, value, start, end, isSure: true }) as const;
  t.is(judgeRegister([sure('write', 1, 1, 2), sure('read', 0, 3, 4)]), 'wrong');
  t.is(
    judgeRegister([sure('write', 0, 1, 6), sure('write', 1, 2, 3), sure('read', 0, 4, 5)]),
    'right',
  );
  const late: RegisterOp = { kind: 'write', value: 0, start: 1, end: 2, isSure: false };
  t.is(judgeRegister([late, sure('write', 1, 3, 4), sure('read', 0, 5, 6)]), 'wrong');
  t.is(
    judgeRegister([{ ...late, end: 9 }, sure('write', 1, 3, 4), sure('read', 0, 5, 6)]),
    'right',
  );
});

test('search: what may have happened until a moment may come before a read that was asked later', (t) => {
  const ops: readonly RegisterOp[] = [
    { kind: 'write', value: 5, start: 1, end: 3, isSure: false },
    { kind: 'write', value: 0, start: 2, end: 20, isSure: true },
    { kind: 'read', value: 0, start: 4, end: 22, isSure: true },
    { kind: 'read', value: 5, start: 5, end: 21, isSure: true },
  ];
  t.is(judgeRegister(ops), 'right');
});

test('search: too many orders are undecided, which is no pass', (t) => {
  const ops: RegisterOp[] = [{ kind: 'read', value: 99, start: 100, end: 1000, isSure: true }];
  for (let i = 0; i < 24; i += 1) {
    ops.push({ kind: 'write', value: i + 1, start: i + 1, end: 900 + i, isSure: true });
    ops.push({ kind: 'read', value: i + 1, start: 200 + i, end: 800 + i, isSure: true });
  }
  t.is(judgeRegister(ops), 'undecided');
  t.true(MAX_REGISTER_STEPS > 1000);
});

test.serial('search: a real run has an order, and none when one answer is changed', async (t) => {
  t.timeout(120_000);
  const { buildNode: build } = await import('../../src/build-node.ts');
  let stage: Stage | undefined;
  const prepare = (it: Stage): void => {
    stage = it;
  };
  const { failure } = await play(oneNodeLost, { build, seed: 1, prepare });
  t.is(failure, undefined);
  const history = stage?.volumes[0]?.history;
  if (history === undefined) return t.fail('the run had a volume');
  t.true(history.acknowledgedWrites > 100);
  t.is(history.searchOrders(), undefined);
  // The last read of one block answers with what was written there first, and overwritten.
  const block = history.blocks.find((one) => writesOf(history, one).length > 3) ?? -1;
  const last = history.opsOf(block).findLast((op) => op.kind === 'read' && op.isOk);
  const first = writesOf(history, block)[0];
  if (last === undefined || first === undefined) return t.fail('a block was written and read');
  t.not(last.value, first.value);
  last.value = first.value;
  t.regex(history.searchOrders() ?? '', /C-lin: .*wrong/);
  t.regex(history.check() ?? '', /C-lin/);
  return undefined;
});
