// The checkers of views, movement, convergence and blocks see what they are for.

import test from 'ava';
import { checkClosedCopies } from '../../sim/checkers/copies.ts';
import {
  checkBytesCopied,
  checkJoinMoves,
  checkLeaveMoves,
  checkOutageCopies,
  checkSamePlacements,
  checkShare,
  objectsGained,
} from '../../sim/checkers/movement.ts';
import { ViewChecker } from '../../sim/checkers/views.ts';
import { BLOCK_BYTES, blockValue, fillBlock } from '../../sim/guest-block.ts';
import type { NodeId } from '../../src/core/ids.ts';
import type { ClusterView } from '../../src/core/view.ts';
import type { ObjectStore } from '../../src/storage/store-types.ts';

interface ViewOptions {
  readonly index?: number;
  readonly epoch?: number;
  readonly inSync?: readonly number[];
  readonly cfg?: number;
  readonly state?: string;
  readonly targets?: readonly number[];
  readonly voters?: readonly number[];
  readonly members?: readonly number[];
  readonly retired?: readonly number[];
}

function view({
  index = 1,
  epoch = 1,
  inSync = [1, 2, 3],
  cfg = 1,
  state = 'up',
  targets = [1, 2, 3],
  voters = [1],
  members = [1],
  retired = [],
}: ViewOptions): ClusterView {
  const config = { cfg, targets, inSync, joining: [], doubtful: [] };
  return {
    index,
    epoch,
    partitions: 1,
    members: new Map(
      members.map((node) => [node, { node, state, standing: 'in', weight: 1, zone: 'z' }]),
    ),
    retired: new Map(retired.map((node) => [node, { node }])),
    voters,
    policies: new Map([[0, { id: 0, copies: 3, minCopies: 2, strict: false }]]),
    volumes: new Map(),
    partition: () => config,
  } as unknown as ClusterView;
}

function judge(...steps: readonly [string, ViewOptions, string?][]): string | undefined {
  const checker = new ViewChecker();
  for (const [node, options, hash] of steps) {
    const wrong = checker.note(node, view(options), hash ?? `hash of ${options.index}`);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

test('views: an ordinary life is fine', (t) => {
  t.is(
    judge(
      ['a', { index: 1 }],
      ['b', { index: 1 }],
      ['a', { index: 2, cfg: 2, inSync: [1, 2] }],
      ['b', { index: 2, cfg: 2, inSync: [1, 2] }],
    ),
    undefined,
  );
});

test('views: two contents of one index, epoch or cfg are seen (A4, A5, I11)', (t) => {
  t.regex(judge(['a', { index: 1 }, 'x'], ['b', { index: 1 }, 'y']) ?? '', /^A4/);
  t.regex(judge(['a', { index: 1 }], ['b', { index: 2, state: 'down' }]) ?? '', /^A5/);
  t.regex(judge(['a', { index: 1 }], ['b', { index: 2, inSync: [1, 2] }]) ?? '', /^I11/);
});

test('views: an index that falls, an empty or too small in-sync set are seen (A10, A7, I6)', (t) => {
  t.regex(judge(['a', { index: 2 }], ['a', { index: 1 }]) ?? '', /^A10/);
  t.regex(judge(['a', { index: 1 }], ['a', { index: 2, cfg: 2, inSync: [] }]) ?? '', /^A7/);
  t.regex(judge(['a', { index: 1 }], ['a', { index: 2, cfg: 2, inSync: [1] }]) ?? '', /^I6/);
  t.regex(
    judge(['a', { index: 1, cfg: 5 }], ['a', { index: 2, cfg: 4, inSync: [1, 2] }]) ?? '',
    /^I11/,
  );
});

test('views: a release before the successors are in sync, and voters that sink, are seen (I5, 1.3)', (t) => {
  const all = { members: [1, 2, 3, 4], targets: [1, 2, 4] };
  const step = (inSync: readonly number[], more = {}) =>
    judge(
      ['a', { ...all, index: 1, inSync: [1, 2, 3], voters: [1, 2, 3] }],
      ['a', { ...all, index: 2, cfg: 2, inSync, voters: [1, 2, 3], epoch: 2, ...more }],
    );
  t.regex(step([1, 2]) ?? '', /^I5/);
  t.is(step([1, 2, 3, 4]), undefined);
  t.regex(step([1, 2, 3, 4], { voters: [1, 2] }) ?? '', /^1.3: voters 1,2,3 sank to 1,2/);
  const three = { members: [1, 2], retired: [3], voters: [1, 2] };
  t.is(step([1, 2, 4], three), undefined, 'one was forgotten');
  t.is(step([1], { ...three, retired: [2, 3], members: [1], voters: [1] }), undefined);
  t.regex(step([1]) ?? '', /^I6/);
});

test('movement: only the newcomer may appear, and only for one that makes room', (t) => {
  const ids = (...nodes: number[]) => nodes as unknown as NodeId[];
  const joined = 4 as NodeId;
  t.is(checkJoinMoves([ids(1, 2), ids(2, 3)], [ids(4, 2), ids(2, 3)], joined), undefined);
  t.regex(checkJoinMoves([ids(1, 2)], [ids(1, 3)], joined) ?? '', /^C-ring/);
  t.regex(checkJoinMoves([ids(1, 2)], [ids(1)], joined) ?? '', /^C-ring/);
  const even = Array.from({ length: 32 }, (_, p) => (p % 2 === 0 ? ids(4, 1) : ids(1, 2)));
  t.is(checkShare(even, joined, 0.25), undefined);
  t.regex(checkShare(even, joined, 0.01) ?? '', /^C-ring/);
});

test('movement: who leaves makes room for one newcomer, nothing else moves; the same members, the same places', (t) => {
  const ids = (...nodes: number[]) => nodes as unknown as NodeId[];
  const left = 2 as NodeId;
  t.is(checkLeaveMoves([ids(1, 2), ids(1, 3)], [ids(1, 4), ids(1, 3)], left), undefined);
  t.is(checkLeaveMoves([ids(1, 2)], [ids(1)], left), undefined, 'nobody is left to take it');
  t.regex(checkLeaveMoves([ids(1, 3)], [ids(1, 4)], left) ?? '', /^C-ring/, 'it held nothing');
  t.regex(checkLeaveMoves([ids(1, 2)], [ids(4, 3)], left) ?? '', /^C-ring/, 'node 1 went, too');
  t.regex(checkLeaveMoves([ids(1, 3)], [ids(1, 3, 4)], left) ?? '', /^C-ring/);
  t.is(checkSamePlacements([ids(1, 2)], [ids(2, 1)]), undefined);
  t.regex(checkSamePlacements([ids(1, 2)], [ids(1, 3)]) ?? '', /^C-ring/);
  const gained = objectsGained(
    [ids(1, 2), ids(1, 2)],
    [ids(1, 4), ids(1, 2)],
    4 as NodeId,
    () => 3,
  );
  t.is(gained, 3);
  const copied = (bytes: number) => checkBytesCopied([{ name: 'n', objectsGained: gained, bytes }]);
  t.is(copied(3 * 4 * 2 ** 20), undefined);
  t.regex(copied(3.4 * 4 * 2 ** 20) ?? '', /^C-move: n copied/);
});

test('copies: what one member has as closed all sure ones of the in-sync set have', (t) => {
  const row = (verCount: number, closed: number) => ({ generation: 5, index: 0, verCount, closed });
  const replica = (node: number, rows: readonly ReturnType<typeof row>[]) => ({
    name: `n${node}`,
    node,
    store: { rowsOf: () => rows, row: () => rows[0] } as unknown as ObjectStore,
  });
  const seen = (durability = 'durable', doubtful: number[] = []) => {
    const config = { targets: [1, 2], inSync: [1, 2], joining: [3], doubtful, cfg: 1 };
    return {
      partitions: 1,
      policies: new Map([[0, { id: 0 }]]),
      partition: () => config,
      generations: new Map([[5, { state: 'head' }]]),
      volumeOfGeneration: () => ({ durability }),
    } as unknown as ClusterView;
  };
  const all = [replica(1, [row(5, 4)]), replica(2, [row(4, 3)])];
  t.is(checkClosedCopies(seen(), all), undefined);
  const short = [replica(1, [row(5, 5)]), replica(2, [row(4, 3)])];
  t.regex(
    checkClosedCopies(seen(), short) ?? '',
    /^partition 0\/0: I1: n1 has object .* closed up to 5, n2 has 4/,
  );
  t.regex(checkClosedCopies(seen(), [replica(1, [row(1, 1)]), replica(2, [])]) ?? '', /n2 has 0/);
  t.is(checkClosedCopies(seen('writeback'), short), undefined, 'judged by R8');
  t.is(checkClosedCopies(seen('durable', [2]), short), undefined, 'a doubtful one');
  t.is(checkClosedCopies(seen(), [replica(1, [row(1, 1)]), replica(3, [])]), undefined, 'a joiner');
});

test('movement: an outage costs the regions that changed, a tenth more at most', (t) => {
  const changedBlocks = [0, 1, 15, 16, 160];
  const copied = (bytes: number): string | undefined =>
    checkOutageCopies({ name: 'n', bytes, changedBlocks, blockBytes: 4096 });
  t.is(copied(3 * 65536), undefined, 'regions 0, 1 and 10');
  t.is(copied(3.2 * 65536), undefined);
  t.regex(copied(4 * 65536) ?? '', /^C-move: n copied 262144 bytes, 3 regions/);
});

test("blocks: zeroes are 0, a block tells its value, anything else is nobody's", (t) => {
  const bytes = new Uint8Array(BLOCK_BYTES * 2);
  fillBlock(bytes, BLOCK_BYTES, { volume: 1, block: 9, value: 77 });
  t.is(blockValue(bytes, 0, { volume: 1, block: 8 }), 0);
  t.is(blockValue(bytes, BLOCK_BYTES, { volume: 1, block: 9 }), 77);
  t.is(blockValue(bytes, BLOCK_BYTES, { volume: 1, block: 8 }), undefined, 'misdirected');
  t.is(blockValue(bytes, BLOCK_BYTES, { volume: 2, block: 9 }), undefined, 'of another volume');
  bytes[BLOCK_BYTES * 2 - 1] = 1;
  t.is(blockValue(bytes, BLOCK_BYTES, { volume: 1, block: 9 }), undefined, 'torn');
  bytes[5] = 1;
  t.is(blockValue(bytes, 0, { volume: 1, block: 8 }), undefined, 'not quite zeroes');
});
