// Who votes, by cluster size, zones and failures (1.3).

import test from 'ava';
import fc from 'fast-check';
import { viewOf } from '../../src/core/cluster-state.ts';
import type { NodeId } from '../../src/core/ids.ts';
import type { ClusterView, Member } from '../../src/core/view.ts';
import { nextVoters, voterBar, votersWanted, voterTarget } from '../../src/core/voter-choice.ts';
import { clusterOf, member, nodeId, nodeIds } from '../fixtures.ts';

const SELF = nodeId(1);

interface Wish {
  readonly voters: readonly number[];
  readonly longDown?: readonly number[];
  readonly load?: Readonly<Record<number, number>>;
}

function viewWith(members: readonly Member[], voters: readonly number[]): ClusterView {
  const base = viewOf(clusterOf({ nodes: 1, copies: 1 }).state);
  return {
    ...base,
    members: new Map(members.map((one) => [one.node, one])),
    voters: nodeIds(...voters),
    nextVoters: [],
  };
}

function chosen(members: readonly Member[], wish: Wish): readonly number[] | undefined {
  return nextVoters(viewWith(members, wish.voters), SELF, {
    isLongDown: (node) => wish.longDown?.includes(node) ?? false,
    loadOf: (node) => wish.load?.[node] ?? 0,
  });
}

const plain = (count: number): Member[] =>
  Array.from({ length: count }, (_, i) => member({ node: i + 1 }));
const change = (members: readonly Member[], node: number, changes: Partial<Member>): Member[] =>
  members.map((one) => (one.node === node ? { ...one, ...changes } : one));

test('voters: 1, 2, 3, 5, 7 by size and zones', (t) => {
  t.deepEqual(
    [0, 1, 2, 3, 4, 5, 6, 199, 200].map((n) => votersWanted(n, 7)),
    [1, 1, 2, 3, 3, 5, 5, 5, 7],
  );
  t.is(votersWanted(1000, 6), 5);
  for (const [count, voters] of [
    [2, [1, 2]],
    [3, [1, 2, 3]],
    [5, [1, 2, 3, 4, 5]],
  ] as const) {
    t.deepEqual(chosen(plain(count), { voters: [1] }), [...voters]);
  }
  t.is(chosen(plain(1), { voters: [1] }), undefined);
  t.is(chosen(plain(4), { voters: [1, 2, 3] }), undefined);
});

test('voters: members that never were up, leave or are gone do not count; those that are out do', (t) => {
  let members = plain(5);
  t.is(voterTarget(viewWith(members, [1])), 5);
  members = change(members, 5, { state: 'joined' });
  t.is(voterTarget(viewWith(members, [1])), 3);
  members = change(members, 4, { standing: 'leaving' });
  members = change(members, 3, { standing: 'out', state: 'down' });
  t.is(voterTarget(viewWith(members, [1])), 3);
});

test('voters: zones first, then those who vote, then load, then id', (t) => {
  const zones = ['a', 'a', 'b', 'b', 'c', 'c'];
  const members = zones.map((zone, i) => member({ node: i + 1, zone })).slice(0, 4);
  t.deepEqual(chosen(members, { voters: [1, 2, 4] }), undefined, 'two zones is all there is');
  const five = zones.map((zone, i) => member({ node: i + 1, zone })).slice(0, 5);
  t.deepEqual(chosen(five, { voters: [1, 2, 4] }), [1, 2, 3, 4, 5]);
  const four = [members[0], members[1], members[2], member({ node: 9, zone: 'c' })] as Member[];
  t.deepEqual(chosen(four, { voters: [1, 2, 3] }), [1, 3, 9], 'a new zone beats a voter');
  const same = plain(6).map((one) => ({ ...one, zone: 'a' }));
  const busy = { 2: 900, 3: 10, 4: 5, 5: 7, 6: 800 };
  t.deepEqual(chosen(same, { voters: [1], load: busy }), [1, 3, 4, 5, 6]);
});

test('voters: one that is down keeps its place for a while, then a live one takes it', (t) => {
  const members = change(plain(4), 2, { state: 'down' });
  t.is(chosen(members, { voters: [1, 2, 3] }), undefined);
  t.deepEqual(chosen(members, { voters: [1, 2, 3], longDown: [2] }), [1, 3, 4]);
});

test('voters: the number never sinks because of failures', (t) => {
  const three = change(plain(3), 2, { state: 'down' });
  t.is(chosen(three, { voters: [1, 2, 3], longDown: [2] }), undefined, 'nobody could replace it');
  const isOut = change(three, 2, { standing: 'out', outBy: 'auto' });
  t.is(chosen(isOut, { voters: [1, 2, 3], longDown: [2] }), undefined, 'out is a failure, too');
  let five = change(plain(5), 4, { state: 'down' });
  five = change(five, 5, { state: 'down' });
  t.is(chosen(five, { voters: [1, 2, 3, 4, 5], longDown: [4, 5] }), undefined);
});

test('voters: of several dead ones as many are replaced as there are others', (t) => {
  const members = change(change(plain(6), 4, { state: 'down' }), 5, { state: 'down' });
  const wish = { voters: [1, 2, 3, 4, 5], longDown: [4, 5] };
  t.deepEqual(chosen(members, wish), [1, 2, 3, 4, 6]);
  t.is(chosen(members, { ...wish, voters: [1, 2, 3, 4, 6] }), undefined);
});

test('voters: a majority that is dead is not made a set', (t) => {
  let members = change(plain(5), 4, { state: 'down' });
  members = change(members, 3, { state: 'down' });
  members = change(members, 2, { state: 'down' });
  t.is(chosen(members, { voters: [1, 2, 3, 4, 5], longDown: [2, 3, 4] }), undefined);
});

test('voters: who leaves is replaced first, and the number sinks with the target', (t) => {
  t.deepEqual(
    chosen(change(plain(4), 2, { standing: 'leaving' }), { voters: [1, 2, 3] }),
    [1, 3, 4],
  );
  t.deepEqual(
    chosen(change(plain(5), 5, { standing: 'leaving' }), { voters: [1, 2, 3, 4, 5] }),
    [1, 2, 3],
    'four members have three',
  );
  t.deepEqual(chosen(change(plain(3), 1, { standing: 'leaving' }), { voters: [1, 2, 3] }), [2, 3]);
  t.deepEqual(chosen(change(plain(2), 2, { standing: 'leaving' }), { voters: [1, 2] }), [1]);
  let members = change(plain(4), 2, { standing: 'leaving' });
  members = change(members, 4, { state: 'down' });
  t.is(chosen(members, { voters: [1, 2, 3] }), undefined, 'it votes until another can');
});

test('voters: a retired one is dropped at once', (t) => {
  t.deepEqual(chosen(plain(2), { voters: [1, 2, 3] }), [1, 2]);
});

test('voters: a witness votes, before others of its zone', (t) => {
  const witness = { ...member({ node: 3, weight: 0 }), isWitness: true };
  t.deepEqual(chosen([...plain(2), witness], { voters: [1, 2] }), [1, 2, 3]);
  const many = [...plain(6), { ...witness, node: nodeId(7), zone: 'z2' }];
  t.deepEqual(chosen(many, { voters: [1] }), [1, 3, 4, 5, 7]);
});

test('voters: a change that is under way is waited for', (t) => {
  const view = { ...viewWith(plain(3), [1]), nextVoters: nodeIds(1, 2) };
  t.is(nextVoters(view, SELF, { isLongDown: () => false, loadOf: () => 0 }), undefined);
});

test('voters: wrong proposals are refused, with the reason', (t) => {
  const bar = (voters: readonly number[], next: readonly number[], members = plain(5)) =>
    voterBar(viewWith(members, voters), nodeIds(...next));
  t.regex(bar([1, 2, 3], [1, 2]) ?? '', /fewer than 3/);
  t.regex(bar([1], [1, 2, 3, 4, 5], plain(4)) ?? '', /more than 3/);
  t.regex(bar([1], []) ?? '', /no set/);
  t.regex(bar([1], [1, 1]) ?? '', /no set/);
  t.regex(bar([1], [1, 9]) ?? '', /n9 can not vote/);
  t.regex(bar([1], [1, 2], change(plain(5), 2, { state: 'down' })) ?? '', /n2 can not vote/);
  const zones = change(change(plain(5), 4, { zone: 'z1' }), 5, { zone: 'z1' });
  t.regex(bar([1, 2, 3], [1, 4, 5], zones) ?? '', /fewer than 3 zones/);
  t.is(bar([1, 2, 3], [1, 2, 3, 4, 5]), undefined);
});

test('voters: whatever happens, what is proposed is legal, and once it holds nothing more is', (t) => {
  const one = fc.record({
    state: fc.constantFrom<Member['state']>('up', 'up', 'up', 'down', 'joined'),
    standing: fc.constantFrom<Member['standing']>('in', 'in', 'in', 'out', 'leaving', 'gone'),
    zone: fc.constantFrom('a', 'b', 'c', 'd'),
    isVoter: fc.boolean(),
    isLongDown: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(one, { minLength: 1, maxLength: 9 }), (draws) => {
      const members = draws.map((draw, i) => ({ ...member({ node: i + 1 }), ...draw }));
      const voters = members.filter(({ isVoter }) => isVoter).map(({ node }) => node as number);
      if (voters.length === 0 || voters.length > 7) return;
      const longDown = members
        .filter(({ isLongDown, state }) => isLongDown && state === 'down')
        .map(({ node }) => node as number);
      const next = chosen(members, { voters, longDown });
      if (next === undefined) return;
      const before = viewWith(members, voters);
      t.is(voterBar(before, next as NodeId[]), undefined);
      t.true(next.length >= Math.min(voters.length, voterTarget(before)), 'never by failures');
      t.is(chosen(members, { voters: next, longDown }), undefined, `${voters} -> ${next}`);
    }),
  );
});
