// The small parts of the data path, each by its promise.

import test from 'ava';
import type { NodeId } from '../../src/core/ids.ts';
import type { Volume } from '../../src/core/view.ts';
import { planEqualise, type Table } from '../../src/datapath/equalise-plan.ts';
import { CopyFence, JoinMarks, ObjectGates } from '../../src/datapath/object-gate.ts';
import { RangeLock, type RangeTicket } from '../../src/datapath/range-lock.ts';
import { MAX_PIPES, PipeTable } from '../../src/datapath/version-pipe.ts';
import { zeroRange } from '../../src/datapath/zero-range.ts';
import type { RowImage } from '../../src/wire/payloads.ts';

function take(lock: RangeLock, offset: number, count: number, isExclusive: boolean) {
  const held: { ticket?: RangeTicket } = {};
  lock.acquire({ offset, count, isExclusive }, (ticket) => {
    held.ticket = ticket;
  });
  return held;
}

test('ranges: readers share, writers exclude, what does not overlap never waits', (t) => {
  const lock = new RangeLock();
  const [one, two] = [take(lock, 0, 10, false), take(lock, 5, 10, false)];
  const writer = take(lock, 8, 4, true);
  const apart = take(lock, 100, 1, true);
  t.truthy(one.ticket && two.ticket && apart.ticket);
  t.falsy(writer.ticket);
  lock.release(one.ticket as RangeTicket);
  t.falsy(writer.ticket);
  lock.release(two.ticket as RangeTicket);
  t.truthy(writer.ticket);
  t.false(lock.isReadable(9, 1));
  t.true(lock.isReadable(12, 1));
});

test('ranges: a reader does not overtake a writer that waits', (t) => {
  const lock = new RangeLock();
  const first = take(lock, 0, 10, false);
  const writer = take(lock, 0, 10, true);
  const late = take(lock, 0, 10, false);
  t.falsy(late.ticket);
  lock.release(first.ticket as RangeTicket);
  t.truthy(writer.ticket);
  t.falsy(late.ticket);
  lock.release(writer.ticket as RangeTicket);
  t.truthy(late.ticket);
  lock.release(late.ticket as RangeTicket);
  t.true(lock.isIdle);
});

test('gates: who waits is served in order, also when one of them takes the object again', (t) => {
  const gates = new ObjectGates();
  const served: number[] = [];
  gates.enter('a');
  gates.wait('a', () => served.push(1));
  gates.wait('a', () => {
    served.push(2);
    gates.enter('a');
  });
  gates.wait('a', () => served.push(3));
  gates.leave('a', () => served.push(0));
  t.deepEqual(served, [0, 1, 2]);
  gates.wait('a', () => served.push(4));
  gates.leave('a');
  t.deepEqual(served, [0, 1, 2, 3, 4]);
  t.false(gates.isBusy('a'));
});

test('marks count for one cfg only', (t) => {
  const marks = new JoinMarks();
  marks.set(7, 3, 'a');
  t.true(marks.isSynced(7, 3, 'a'));
  t.false(marks.isSynced(7, 4, 'a'));
  marks.set(7, 4, 'b');
  t.false(marks.isSynced(7, 4, 'a'));
});

test('a seal makes copies void and waits for commits that can not be stopped', (t) => {
  const fence = new CopyFence();
  const before = fence.sealsOf(1);
  fence.beginCommit(1);
  let isSealed = false;
  fence.seal([1, 2], () => {
    isSealed = true;
  });
  t.false(isSealed);
  t.not(fence.sealsOf(1), before);
  fence.endCommit(1);
  t.true(isSealed);
});

const row = (verToken: number, verCount: number): RowImage => ({
  generation: 1 as RowImage['generation'],
  index: 0,
  family: 1 as RowImage['family'],
  partition: 0,
  verToken,
  verCount,
  kind: 'data',
  ownLow: 1,
  ownHigh: 0,
  closed: 1,
  openLow: 1,
  openHigh: 0,
});

function plan(
  inSync: Record<number, RowImage | undefined>,
  joining: Record<number, RowImage | undefined>,
  doubtful: readonly number[] = [],
) {
  const nodes = (from: object) => Object.keys(from).map((id) => Number(id) as NodeId);
  const tables = new Map<NodeId, Table>();
  for (const [id, has] of Object.entries({ ...inSync, ...joining })) {
    tables.set(Number(id) as NodeId, new Map([[0, has]]));
  }
  const config = {
    cfg: 1 as never,
    targets: [],
    inSync: nodes(inSync),
    joining: nodes(joining),
    doubtful: doubtful as NodeId[],
  };
  const volume = { head: 1, family: 1, policy: 0 } as unknown as Volume;
  const { lists, winners } = planEqualise({ volume, p: 0, config, tables }, [0]);
  const told = [...lists].map(([node, items]) => `n${node} as n${items[0]?.source}`);
  return { told, winner: winners.get(0) };
}

test('first touch: a doubtful member has no voice, and is cut back, while a sure one is there (I12)', (t) => {
  const has = { 1: row(1, 4), 2: row(1, 5), 3: row(1, 3) };
  t.deepEqual(plan(has, {}, [2]), { told: ['n2 as n1', 'n3 as n1'], winner: 4 });
  t.is(plan(has, {}, [1, 2, 3]).winner, 5, 'nobody is sure: all are heard');
});

test('first touch: the longest prefix among I wins; shorter members and all joiners are told', (t) => {
  t.deepEqual(plan({ 1: row(1, 4), 2: row(1, 5), 3: undefined }, { 4: row(1, 9) }), {
    told: ['n1 as n2', 'n3 as n2', 'n4 as n2'],
    winner: 5,
  });
});

test('first touch: a joiner with more than I, which has nothing, is cut back to nothing', (t) => {
  t.deepEqual(plan({ 1: undefined, 2: undefined }, { 4: row(1, 1) }), {
    told: ['n4 as n1'],
    winner: 0,
  });
});

test('first touch: members of I on two histories are not touched at all (I2)', (t) => {
  t.throws(() => plan({ 1: row(1, 4), 2: row(2, 4) }, {}), { code: 'diverged' });
});

test('the table of pipes is bounded, and what is owed or busy stays', (t) => {
  const owed = new Set([0]);
  const table = new PipeTable(
    () => 0,
    (pipe) => !owed.has(pipe.index),
  );
  const first = table.get(0);
  for (let index = 1; index < MAX_PIPES + 100; index += 1) table.get(index);
  t.is(table.peek(0), first);
  t.is(table.peek(1), undefined);
});

test('a long zero is one change per object, edges are written, a trim leaves them alone', (t) => {
  const MIB = 1024 * 1024;
  for (const keepsEdges of [false, true]) {
    const seen: string[] = [];
    const queue: (() => void)[] = [];
    let outcome = 'waiting';
    zeroRange(
      {
        writeEdge: ({ index, offset, length }, done) => {
          seen.push(`edge ${index} ${offset}+${length}`);
          done(undefined);
        },
        zeroSectors: (index, { offset, count }, done) => {
          seen.push(`zero ${index} ${offset}+${count}`);
          done(undefined);
        },
        soon: (fn) => queue.push(fn),
      },
      { offset: 100, length: 9 * MIB, keepsEdges },
      (error) => {
        outcome = error?.code ?? 'ok';
      },
    );
    while (queue.length > 0) queue.shift()?.();
    t.is(outcome, 'ok');
    const zeroes = ['zero 0 4096+4190208', 'zero 1 0+4194304', 'zero 2 0+1048576'];
    const edges = ['edge 0 100+3996', 'edge 2 1048576+100'];
    t.deepEqual(seen.sort(), keepsEdges ? zeroes : [...edges, ...zeroes].sort());
  }
});
