// What an operator or time decides of a member, entry by entry: out, in, leaving, gone, lost, weight; and invites.

import test from 'ava';
import { hashOf, viewOf } from '../../src/core/cluster-state.ts';
import type { Incarnation, PeerKey, VolumeId } from '../../src/core/ids.ts';
import { inviteValue } from '../../src/core/invite.ts';
import type { EntryBody } from '../../src/core/log-entry.ts';
import { ringOf } from '../../src/core/ring-change.ts';
import type { OutReason } from '../../src/core/view.ts';
import { decodeState, encodeState } from '../../src/wire/state-codec.ts';
import {
  casOf,
  clusterOf,
  configAt,
  entryBodies,
  nodeId,
  nodeIds,
  type StateCell,
  settle,
} from '../fixtures.ts';

const P = 8;
const SECRET = 'ab'.repeat(32);

const out = (node: number, reason: OutReason = 'operator', incarnation = 1): EntryBody => ({
  type: 'nodeOut',
  node: nodeId(node),
  incarnation: incarnation as Incarnation,
  reason,
});
const back = (node: number, incarnation = 1): EntryBody => ({
  type: 'nodeIn',
  node: nodeId(node),
  incarnation: incarnation as Incarnation,
  reason: 'operator',
});
const leave = (node: number): EntryBody => ({ type: 'nodeLeave', node: nodeId(node) });
const gone = (node: number): EntryBody => ({ type: 'nodeGone', node: nodeId(node) });
const lost = (node: number): EntryBody => ({ type: 'nodeLost', node: nodeId(node), by: 'test' });
const outdated = (node: number, incarnation: number, journalSeq: number): EntryBody => ({
  type: 'nodeOutdated',
  node: nodeId(node),
  incarnation: incarnation as Incarnation,
  storeGeneration: 1,
  journalSeq,
});
const weigh = (node: number, weight: number, zone = `z${node}`): EntryBody => ({
  type: 'nodeWeight',
  node: nodeId(node),
  weight,
  zone,
});

function down(cell: StateCell, ...nodes: number[]): void {
  const baseEpoch = cell.state.epoch;
  const life = (node: number) =>
    [node, cell.state.members.get(nodeId(node))?.incarnation ?? 0] as const;
  cell.apply(entryBodies.nodesDown({ nodes: nodes.map(life), baseEpoch }));
}

function everyPartition(_cell: StateCell, check: (p: number) => boolean): boolean {
  return Array.from({ length: P }, (_, p) => p).every(check);
}

const standingOf = (cell: StateCell, node: number) =>
  cell.state.members.get(nodeId(node))?.standing;

test('life: a drain takes the member off the ring at once and leaves it in every in-sync set', (t) => {
  const cell = clusterOf({ nodes: 4, copies: 2 });
  const held = Array.from({ length: P }, (_, p) => configAt(cell, p).inSync);
  const { epoch } = cell.state;
  t.is(cell.apply(leave(2)).code, 'ok');
  t.is<number, number>(cell.state.epoch, epoch + 1, 'A5');
  t.deepEqual(
    Array.from({ length: P }, (_, p) => configAt(cell, p).inSync),
    held,
    'nobody left an in-sync set by it',
  );
  t.true(everyPartition(cell, (p) => !configAt(cell, p).targets.includes(nodeId(2))));
  t.is(cell.apply(gone(2)).code, 'stale', 'it holds copies still');
  settle(cell);
  t.true(everyPartition(cell, (p) => !configAt(cell, p).inSync.includes(nodeId(2))));
  t.is(cell.apply(gone(2)).code, 'ok');
  t.is(standingOf(cell, 2), 'gone');
  t.is(cell.apply(leave(2)).code, 'exists');
});

test('life: a drained voter votes on until the log says otherwise', (t) => {
  const cell = clusterOf({ nodes: 4, copies: 2 });
  cell.apply({ type: 'votersJoint', old: nodeIds(1), next: nodeIds(1, 2, 3) });
  cell.apply({ type: 'votersFinal', old: nodeIds(1), next: nodeIds(1, 2, 3) });
  cell.apply(leave(2));
  settle(cell);
  t.is(cell.apply(gone(2)).code, 'stale');
  cell.apply({ type: 'votersJoint', old: nodeIds(1, 2, 3), next: nodeIds(1, 3, 4) });
  t.is(cell.apply(gone(2)).code, 'stale', 'it counts in the joint phase');
  cell.apply({ type: 'votersFinal', old: nodeIds(1, 2, 3), next: nodeIds(1, 3, 4) });
  t.is(cell.apply(gone(2)).code, 'ok');
});

test('life: an undrain is a ring change back', (t) => {
  const cell = clusterOf({ nodes: 3, copies: 2 });
  const before = Array.from({ length: P }, (_, p) => configAt(cell, p).targets);
  cell.apply(leave(3));
  t.is(cell.apply(back(3, 2)).code, 'stale', 'another life');
  t.is(cell.apply(back(3)).code, 'ok');
  t.deepEqual(
    Array.from({ length: P }, (_, p) => configAt(cell, p).targets),
    before,
  );
  t.is(cell.apply(back(3)).code, 'exists');
});

test('life: nobody leaves where the rest could not take writes (1.5)', (t) => {
  const cell = clusterOf({ nodes: 2, copies: 2 });
  for (const body of [leave(2), out(2), weigh(2, 0)]) {
    const { code, detail } = cell.apply(body);
    t.is(code, 'refused', body.type);
    t.regex(detail, /1 members would be left to hold data, 2 copies need at least 2/);
  }
  t.is(cell.apply({ ...policyOne, policy: 0 as never }).code, 'ok');
  t.is(cell.apply(leave(2)).code, 'ok', 'fewer copies make room');
});

const policyOne = {
  type: 'policyChange',
  policy: 0 as never,
  copies: 1,
  minCopies: 1,
  strict: false,
} as const;

test('life: fewer copies leave every set as it is until it is released; other minCopies raise cfg', (t) => {
  const cell = clusterOf({ nodes: 3, copies: 3 });
  const before = Array.from({ length: P }, (_, p) => configAt(cell, p));
  t.is(cell.apply(policyOne).code, 'ok');
  for (const [p, old] of before.entries()) {
    const now = configAt(cell, p);
    t.deepEqual(now.inSync, old.inSync);
    t.is<number, number>(now.cfg, old.cfg + 1);
    t.is(now.targets.length, 1);
  }
  settle(cell);
  t.true(everyPartition(cell, (p) => configAt(cell, p).inSync.length === 1));
  t.is(cell.apply({ ...policyOne, policy: 7 as never }).code, 'missing');
  t.is(cell.apply({ ...policyOne, minCopies: 2 }).code, 'refused');
});

test('life: out by time needs a member that is down and room for all copies elsewhere', (t) => {
  const cell = clusterOf({ nodes: 4, copies: 3 });
  t.is(cell.apply(out(4, 'auto')).code, 'stale', 'it is up');
  down(cell, 4);
  t.is(cell.apply(out(4, 'auto', 2)).code, 'stale', 'another life');
  t.is(cell.apply(out(4, 'auto')).code, 'ok');
  t.true(everyPartition(cell, (p) => !configAt(cell, p).targets.includes(nodeId(4))));
  down(cell, 3);
  t.is(cell.apply(out(3, 'auto')).code, 'refused', 'two members can not hold three copies');
  t.is(cell.apply(out(3)).code, 'ok', 'an operator may give it up: writes go on');
});

test('life: out never takes a copy out of an in-sync set (I6)', (t) => {
  const cell = clusterOf({ nodes: 6, copies: 3, minCopies: 2 });
  down(cell, 1, 2);
  const held = Array.from({ length: P }, (_, p) => configAt(cell, p).inSync);
  cell.apply(out(1, 'auto'));
  cell.apply(out(2, 'auto'));
  t.deepEqual(
    Array.from({ length: P }, (_, p) => configAt(cell, p).inSync),
    held,
  );
});

test('life: what time called out is back with its next life; what an operator did is not', (t) => {
  const cell = clusterOf({ nodes: 5, copies: 2 });
  down(cell, 4, 5);
  cell.apply(out(4, 'auto'));
  cell.apply(out(5));
  cell.apply(entryBodies.nodeUp({ node: 4, incarnation: 2 }));
  cell.apply(entryBodies.nodeUp({ node: 5, incarnation: 2 }));
  t.is(standingOf(cell, 4), 'in');
  t.is(standingOf(cell, 5), 'out');
  t.true(ringOf(cell.state.members.values()).nodes.includes(nodeId(4)));
  t.false(ringOf(cell.state.members.values()).nodes.includes(nodeId(5)));
  t.is(cell.apply(back(5, 2)).code, 'ok');
  t.true(ringOf(cell.state.members.values()).nodes.includes(nodeId(5)));
});

test('life: a lost id leaves every set that has another member, below minCopies, too, and stays away (I6, A7)', (t) => {
  const cell = clusterOf({ nodes: 3, copies: 3 });
  t.is(cell.apply(lost(3)).code, 'refused', 'it is up');
  down(cell, 2, 3);
  t.true(everyPartition(cell, (p) => configAt(cell, p).inSync.length === 3));
  t.is(cell.apply(lost(3)).code, 'ok');
  t.is(cell.apply(lost(2)).code, 'ok');
  t.true(everyPartition(cell, (p) => configAt(cell, p).inSync.join() === '1'));
  t.deepEqual([...cell.state.members.keys()], nodeIds(1));
  t.is(cell.state.retired.get(nodeId(3))?.how, 'lost');
  t.is(viewOf(cell.state).memberByKey('peer-3' as PeerKey), undefined);
  const again = cell.apply(entryBodies.nodeJoin({ peer: 3 }));
  t.is(again.code, 'refused');
  t.regex(again.detail, /n3 was retired for good/);
  t.is(cell.apply(entryBodies.nodeUp({ node: 3, incarnation: 9 })).code, 'missing');
  t.is(cell.apply(entryBodies.nodeJoin({ peer: 9 })).value, 4, 'ids are not reused');
});

test('life: the only member of a set keeps it, lost or not', (t) => {
  const cell = clusterOf({ nodes: 3, copies: 1 });
  const p = Array.from({ length: P }, (_, i) => i).find(
    (i) => configAt(cell, i).inSync[0] === nodeId(3),
  );
  if (p === undefined) return t.fail('n3 holds nothing');
  down(cell, 3);
  cell.apply(lost(3));
  t.deepEqual(configAt(cell, p).inSync, nodeIds(3));
  t.false(configAt(cell, p).targets.includes(nodeId(3)));
});

test('life: the only voter is not forgotten', (t) => {
  const cell = clusterOf({ nodes: 3, copies: 2 });
  down(cell, 1);
  t.is(cell.apply(lost(1)).code, 'refused');
});

test('life: weight 0 holds nothing, a witness never does', (t) => {
  const cell = clusterOf({ nodes: 3, copies: 2 });
  t.is(cell.apply(weigh(3, 0)).code, 'ok');
  t.true(everyPartition(cell, (p) => !configAt(cell, p).targets.includes(nodeId(3))));
  t.is(cell.apply(weigh(3, 2)).code, 'ok');
  t.true(ringOf(cell.state.members.values()).nodes.includes(nodeId(3)));
  t.is(cell.apply(weigh(3, 65)).code, 'refused');
  t.is(cell.apply(weigh(3, 1, 'z'.repeat(65))).code, 'refused');
  cell.apply(invite('a'));
  t.is(cell.apply(admit({ peer: 4, weight: 0, isWitness: true })).code, 'ok');
  t.is(cell.apply(weigh(4, 1)).code, 'refused');
});

function invite(
  id: string,
  changes: { expiresMs?: number; isSingleUse?: boolean } = {},
): EntryBody {
  const value = inviteValue({
    hash: SECRET,
    expiresMs: changes.expiresMs ?? 0,
    isSingleUse: changes.isSingleUse ?? false,
    madeMs: 1,
  });
  return { type: 'setting', key: `invite/${id}`, value };
}

function admit(options: {
  peer: number;
  inviteId?: string;
  secretHash?: string;
  dateMs?: number;
  weight?: number;
  isWitness?: boolean;
}): EntryBody {
  return {
    ...entryBodies.nodeJoin({ peer: options.peer, weight: options.weight ?? 1 }),
    type: 'nodeAdmit',
    isWitness: options.isWitness ?? false,
    inviteId: options.inviteId ?? 'a',
    secretHash: options.secretHash ?? SECRET,
    dateMs: options.dateMs ?? 1000,
  };
}

test('life: an invite opens the door with its secret, until it ends, is revoked, or is used up', (t) => {
  const cell = clusterOf({ nodes: 1, copies: 1 });
  t.is(cell.apply(admit({ peer: 2 })).code, 'refused', 'never made');
  cell.apply(invite('a'));
  t.is(cell.apply(admit({ peer: 2, secretHash: 'cd'.repeat(32) })).code, 'refused');
  t.is(cell.apply(admit({ peer: 2 })).value, 2);
  t.is(cell.apply(admit({ peer: 3 })).value, 3, 'reusable');
  cell.apply({ type: 'setting', key: 'invite/a', value: '' });
  t.is(cell.apply(admit({ peer: 4 })).code, 'refused', 'revoked');
  cell.apply(invite('b', { expiresMs: 5000 }));
  t.regex(
    cell.apply(admit({ peer: 4, inviteId: 'b', dateMs: 5000 })).detail,
    /the token has expired/,
  );
  t.is(cell.apply(admit({ peer: 4, inviteId: 'b', dateMs: 4999 })).code, 'ok');
});

test('life: a single-use invite serves one identity, which may knock again', (t) => {
  const cell = clusterOf({ nodes: 1, copies: 1 });
  cell.apply(invite('a', { isSingleUse: true }));
  t.is(cell.apply(admit({ peer: 2 })).value, 2);
  t.is(cell.apply(admit({ peer: 2 })).value, 2, 'the same one, whose answer was lost');
  t.is(cell.apply(admit({ peer: 3 })).code, 'refused');
  t.is(cell.state.members.size, 2);
});

test('life: a value of 64 digits alone is an older reusable invite', (t) => {
  const cell = clusterOf({ nodes: 1, copies: 1 });
  cell.apply({ type: 'setting', key: 'invite/a', value: SECRET });
  t.is(cell.apply(admit({ peer: 2, dateMs: 2 ** 40 })).code, 'ok');
});

test('life: a joiner that leaves before its promotion is promoted or not, and released', (t) => {
  const cell = clusterOf({ nodes: 3, copies: 2 });
  const p = Array.from({ length: P }, (_, i) => i).find(
    (i) => !configAt(cell, i).inSync.includes(nodeId(3)),
  );
  if (p === undefined) return t.fail('n3 is everywhere');
  cell.apply(entryBodies.isrJoin({ partitions: [casOf(cell, p)], node: 3 }));
  cell.apply(leave(3));
  settle(cell);
  t.is(cell.apply(gone(3)).code, 'stale', 'it joins still');
  cell.apply(entryBodies.isrAbort({ partitions: [casOf(cell, p)], node: 3 }));
  t.is(cell.apply(gone(3)).code, 'ok');
});

test('outdated: who came up with less than was seen of its disk is retired as if lost, also while it is up (C1.9)', (t) => {
  const cell = clusterOf({ nodes: 3, partitions: P });
  const up = { node: 3, incarnation: 2, storeGeneration: 1, journalSeq: 50 };
  t.is(cell.apply(entryBodies.nodeUp(up)).code, 'ok');
  t.is(cell.apply(outdated(3, 1, 60)).code, 'stale', 'of another life');
  t.is(cell.apply(outdated(3, 2, 50)).code, 'stale', 'it had as much');
  t.is(cell.apply({ ...outdated(3, 2, 60), storeGeneration: 2 } as EntryBody).code, 'stale');
  t.is(cell.apply(outdated(9, 2, 60)).code, 'missing');
  t.is(cell.apply(outdated(3, 2, 51)).code, 'ok');
  t.false(cell.state.members.has(nodeId(3)));
  t.is(cell.state.retired.get(nodeId(3))?.how, 'outdated');
  for (let p = 0; p < P; p += 1) t.false(configAt(cell, p).inSync.includes(nodeId(3)));
  t.is(cell.apply(entryBodies.nodeUp({ ...up, incarnation: 3 })).code, 'missing');
});

test('outdated: the only voter is not retired', (t) => {
  const cell = clusterOf({ nodes: 1, partitions: P, copies: 1 });
  t.is(cell.apply(outdated(1, 1, 999)).code, 'refused');
});

test('a member that is called down keeps the names of those who observed it, until it is up again (C1.9)', (t) => {
  const cell = clusterOf({ nodes: 4, partitions: P });
  const observers = () => cell.state.members.get(nodeId(3))?.observers;
  t.deepEqual(observers(), []);
  const before = hashOf(cell.state);
  cell.apply(entryBodies.nodesDown({ nodes: [[3, 1]], baseEpoch: cell.state.epoch }));
  t.deepEqual(observers(), nodeIds(1, 2, 4));
  t.not(hashOf(cell.state), before);
  t.deepEqual(
    decodeState(encodeState(cell.state)).members.get(nodeId(3))?.observers,
    nodeIds(1, 2, 4),
  );
  cell.apply(entryBodies.nodeUp({ node: 3, incarnation: 2 }));
  t.deepEqual(observers(), []);
});

test('room: the policy of a deleted volume bars nobody', (t) => {
  const cell = clusterOf({ nodes: 4, copies: 2, partitions: P });
  cell.apply({ type: 'policyCreate', copies: 4, minCopies: 4, strict: false });
  cell.apply(entryBodies.volumeCreate({ name: 'wide', policy: 1 }));
  down(cell, 4);
  t.is(cell.apply(out(4)).code, 'refused');
  const token = cell.state.volumes.get(1 as VolumeId)?.lock.token ?? 0;
  t.is(cell.apply(entryBodies.volumeDelete({ volume: 1, token })).code, 'ok');
  t.is(cell.apply(out(4)).code, 'ok');
});
