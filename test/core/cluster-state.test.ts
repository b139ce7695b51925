import test from 'ava';
import { applyEntry, emptyState, hashOf, viewOf } from '../../src/core/cluster-state.ts';
import type {
  FencingToken,
  GenerationId,
  Incarnation,
  MapIndex,
  PeerKey,
  VolumeId,
} from '../../src/core/ids.ts';
import type { EntryBody } from '../../src/core/log-entry.ts';
import {
  CLUSTER_ID,
  casOf,
  clusterOf,
  configAt,
  entryBodies,
  NO_ORIGIN,
  nodeId,
  nodeIds,
  policyId,
  StateCell,
} from '../fixtures.ts';

const P = 8;

function inSyncOf(cell: StateCell): number[][] {
  return Array.from({ length: P }, (_, p) => [...configAt(cell, p).inSync]);
}

test('state: nothing but a format is accepted first, and only once', (t) => {
  const cell = new StateCell();
  t.is(cell.apply(entryBodies.nodeJoin({ peer: 1 })).code, 'refused');
  t.is(cell.apply({ type: 'noop' }).code, 'ok');
  t.is(cell.apply(entryBodies.format()).code, 'ok');
  t.is(cell.apply(entryBodies.format()).code, 'exists');
  t.is(cell.state.clusterId, CLUSTER_ID);
});

test('state: an entry that is not the next one changes nothing', (t) => {
  const cell = clusterOf({ nodes: 1 });
  const entry = { index: (cell.state.index + 2) as MapIndex, term: 1, origin: NO_ORIGIN };
  const { state, result } = applyEntry(cell.state, { ...entry, body: { type: 'noop' } });
  t.is(state, cell.state);
  t.is(result.code, 'refused');
});

test('state: formats that no version can serve are refused', (t) => {
  for (const bad of [{ partitions: 3 }, { partitions: 131072 }, { copies: 0 }, { copies: 17 }]) {
    t.is(new StateCell().apply(entryBodies.format(bad)).code, 'refused', JSON.stringify(bad));
  }
  t.is(new StateCell().apply(entryBodies.format({ copies: 2, minCopies: 3 })).code, 'refused');
  t.is(new StateCell().apply({ ...entryBodies.format(), hashVersion: 2 }).code, 'refused');
});

test('state: the first member up is the first in-sync set, later ones wait for a promotion (A7, A8)', (t) => {
  const cell = new StateCell();
  cell.apply(entryBodies.format());
  t.deepEqual(inSyncOf(cell), new Array(P).fill([]));
  cell.apply(entryBodies.nodeJoin({ peer: 1 }));
  t.deepEqual(inSyncOf(cell), new Array(P).fill([]), 'a member that was never up holds nothing');
  cell.apply(entryBodies.nodeUp({ node: 1, incarnation: 1 }));
  t.deepEqual(inSyncOf(cell), new Array(P).fill([1]));
  t.is<number, number>(configAt(cell, 0).cfg, 2, 'the set changed, so cfg rose (I11)');
  cell.apply(entryBodies.nodeJoin({ peer: 2 }));
  cell.apply(entryBodies.nodeUp({ node: 2, incarnation: 1 }));
  t.deepEqual(inSyncOf(cell), new Array(P).fill([1]), 'T changed, I did not');
  t.is<number, number>(configAt(cell, 0).cfg, 2, 'and cfg did not');
  t.deepEqual(new Set(configAt(cell, 0).targets), new Set([1, 2]));
  t.is([...viewOf(cell.state).explicitPartitions(policyId(0))].length, P);
});

test('state: joining twice gives one id; ids start at 1; the first member votes', (t) => {
  const cell = clusterOf({ nodes: 3 });
  t.is(cell.apply(entryBodies.nodeJoin({ peer: 2 })).value, 2);
  t.is(cell.state.members.size, 3);
  t.deepEqual(cell.state.voters, nodeIds(1));
  t.is(viewOf(cell.state).memberByKey('peer-3' as PeerKey)?.node, nodeId(3));
});

test('state: a policy is found again, and a new one starts with the live part of T', (t) => {
  const cell = clusterOf({ nodes: 3 });
  const policy = { type: 'policyCreate', copies: 2, minCopies: 1, strict: false } as const;
  t.is(cell.apply({ ...policy, copies: 3, minCopies: 2 }).value, 0);
  const { epoch } = cell.state;
  cell.apply(entryBodies.nodesDown({ nodes: [[3, 1]], baseEpoch: epoch }));
  t.is(cell.apply(policy).value, 1);
  t.is(cell.apply(policy).value, 1);
  for (let p = 0; p < P; p += 1) {
    const config = configAt(cell, p, 1);
    t.is(config.targets.length, 2);
    t.deepEqual(config.inSync, config.targets.filter((node) => node !== 3).sort());
  }
});

test('state: down leaves every set that keeps minCopies live ones, and no other (1.4, I6)', (t) => {
  const cell = clusterOf({ nodes: 3 });
  t.deepEqual(inSyncOf(cell), new Array(P).fill([1, 2, 3]));
  const before = configAt(cell, 0).cfg;
  cell.apply(entryBodies.nodesDown({ nodes: [[2, 1]], baseEpoch: cell.state.epoch }));
  t.deepEqual(inSyncOf(cell), new Array(P).fill([1, 3]));
  t.is<number, number>(configAt(cell, 0).cfg, before + 1);
  cell.apply(entryBodies.nodesDown({ nodes: [[3, 1]], baseEpoch: cell.state.epoch }));
  t.deepEqual(inSyncOf(cell), new Array(P).fill([1, 3]), 'one live copy is below minCopies');
  t.deepEqual(new Set(configAt(cell, 0).targets), new Set([1, 2, 3]), 'down is not out');
});

test('state: two that go down at once are both kept where one alone would be left', (t) => {
  const cell = clusterOf({ nodes: 3 });
  cell.apply(
    entryBodies.nodesDown({
      nodes: [
        [2, 1],
        [3, 1],
      ],
      baseEpoch: cell.state.epoch,
    }),
  );
  t.deepEqual(inSyncOf(cell), new Array(P).fill([1, 2, 3]));
});

test('state: an outdated verdict does nothing (C1.6)', (t) => {
  const cell = clusterOf({ nodes: 3 });
  const { epoch } = cell.state;
  t.is(cell.apply(entryBodies.nodesDown({ nodes: [[2, 1]], baseEpoch: epoch - 1 })).code, 'stale');
  t.is(
    cell.apply(
      entryBodies.nodesDown({
        nodes: [
          [1, 1],
          [2, 9],
        ],
        baseEpoch: epoch,
      }),
    ).code,
    'stale',
  );
  t.is(cell.apply(entryBodies.nodesDown({ nodes: [[7, 1]], baseEpoch: epoch })).code, 'missing');
  t.is(cell.apply(entryBodies.nodesDown({ nodes: [], baseEpoch: epoch })).code, 'refused');
  t.deepEqual(inSyncOf(cell), new Array(P).fill([1, 2, 3]));
  t.is(cell.state.epoch, epoch);
});

test('state: a restart that nobody noticed keeps I and leaves J', (t) => {
  const cell = clusterOf({ nodes: 4, copies: 3 });
  const spare = nodeId(4);
  const p = Array.from({ length: P }, (_, i) => i).find((i) => {
    return !configAt(cell, i).inSync.includes(spare);
  });
  if (p === undefined) return t.fail('no partition without n4');
  cell.apply(entryBodies.isrJoin({ partitions: [casOf(cell, p)], node: 4 }));
  t.deepEqual(configAt(cell, p).joining, [spare]);
  const { cfg, inSync } = configAt(cell, p);
  cell.apply(entryBodies.nodeUp({ node: 4, incarnation: 2 }));
  t.deepEqual(configAt(cell, p).joining, []);
  t.is<number, number>(configAt(cell, p).cfg, cfg + 1);
  t.deepEqual(configAt(cell, p).inSync, inSync);
  cell.apply(entryBodies.nodeUp({ node: inSync[0] as number, incarnation: 2 }));
  t.deepEqual(configAt(cell, p).inSync, inSync);
  t.is<number, number>(configAt(cell, p).cfg, cfg + 1);
});

test('state: an incarnation only rises, also across down', (t) => {
  const cell = clusterOf({ nodes: 3 });
  t.is(cell.apply(entryBodies.nodeUp({ node: 2, incarnation: 1 })).code, 'stale');
  cell.apply(entryBodies.nodesDown({ nodes: [[2, 1]], baseEpoch: cell.state.epoch }));
  t.is(cell.apply(entryBodies.nodeUp({ node: 2, incarnation: 1 })).code, 'stale');
  const { epoch } = cell.state;
  t.is(cell.apply(entryBodies.nodeUp({ node: 2, incarnation: 2 })).code, 'ok');
  t.is<number, number>(cell.state.epoch, epoch + 1, 'the epoch rose (A5)');
  t.deepEqual(inSyncOf(cell), new Array(P).fill([1, 3]), 'up is not in sync');
});

test('state: a replaced disk, or an older image of the disk, is not taken back', (t) => {
  const cell = clusterOf({ nodes: 3 });
  const next = { node: 2, incarnation: 2, journalSeq: 70 };
  t.is(cell.apply(entryBodies.nodeUp({ ...next, storeGeneration: 9 })).code, 'refused');
  t.is(cell.apply(entryBodies.nodeUp(next)).code, 'ok');
  t.is(cell.apply(entryBodies.nodeUp({ ...next, incarnation: 3, journalSeq: 69 })).code, 'refused');
  t.is(cell.apply(entryBodies.nodeUp({ ...next, incarnation: 3, journalSeq: 70 })).code, 'ok');
});

test('state: locks follow a life that goes on, not a restart (C4.2)', (t) => {
  const cell = clusterOf({ nodes: 2 });
  cell.apply(entryBodies.volumeCreate());
  cell.apply(entryBodies.lockAcquire({ token: 0, node: 2 }));
  const lock = () => viewOf(cell.state).volumeByName('disk')?.lock;
  cell.apply(entryBodies.nodesDown({ nodes: [[2, 1]], baseEpoch: cell.state.epoch }));
  t.is(cell.apply(entryBodies.nodeUp({ node: 2, incarnation: 3, continues: 2 })).code, 'stale');
  t.is(cell.apply(entryBodies.nodeUp({ node: 2, incarnation: 2, continues: 1 })).code, 'ok');
  t.like(lock(), { state: 'held', token: 1, incarnation: 2 });
  cell.apply(entryBodies.nodeUp({ node: 2, incarnation: 3 }));
  t.like(lock(), { state: 'held', token: 1, incarnation: 2 });
});

test('state: a joiner enters by promotion from a member only (A8)', (t) => {
  const cell = clusterOf({ nodes: 2, copies: 2, settled: false });
  const promote = (source: number, incarnation = 1) =>
    cell.apply(
      entryBodies.isrPromote({ partitions: [casOf(cell, 0)], node: 2, source, incarnation }),
    );
  t.is(promote(1).code, 'stale', 'not joining');
  const old = casOf(cell, 0);
  t.is(
    cell.apply(entryBodies.isrJoin({ partitions: [old], node: 2, incarnation: 9 })).code,
    'stale',
  );
  t.is(cell.apply(entryBodies.isrJoin({ partitions: [old], node: 2 })).value, 1);
  t.is(cell.apply(entryBodies.isrPromote({ partitions: [old], node: 2, source: 1 })).code, 'stale');
  t.is(promote(2).code, 'stale', 'a joiner is no source');
  t.is(promote(1, 2).code, 'stale', 'another life');
  t.is(promote(1).code, 'ok');
  t.deepEqual(configAt(cell, 0).inSync, nodeIds(1, 2));
});

test('state: of a list, the elements that fit apply (4.4)', (t) => {
  const cell = clusterOf({ nodes: 2, copies: 2, settled: false });
  const partitions = [casOf(cell, 0), { ...casOf(cell, 1), cfg: casOf(cell, 1).cfg + 1 }] as const;
  const wild = { ...casOf(cell, 2), p: 4711 };
  const list = [...partitions, wild, casOf(cell, 3)] as never;
  t.is(cell.apply(entryBodies.isrJoin({ partitions: list, node: 2 })).value, 2);
  t.deepEqual(configAt(cell, 0).joining, nodeIds(2));
  t.deepEqual(configAt(cell, 1).joining, []);
  t.deepEqual(configAt(cell, 3).joining, nodeIds(2));
});

test('state: shrink needs minCopies live others, release needs all of T (I6, I5)', (t) => {
  const cell = clusterOf({ nodes: 3 });
  const shrink = (node: number) =>
    cell.apply(entryBodies.isrShrink({ partitions: [casOf(cell, 0)], node }));
  t.is(cell.apply(entryBodies.isrRelease({ partitions: [casOf(cell, 0)], node: 3 })).code, 'stale');
  t.is(shrink(3).code, 'ok', 'a slow member goes while two stay');
  t.is(shrink(2).code, 'stale');
  t.deepEqual(configAt(cell, 0).inSync, nodeIds(1, 2));
});

test('state: a ring change moves by join, promote, release; only then may copies go (I5)', (t) => {
  const cell = clusterOf({ nodes: 3 });
  cell.apply(entryBodies.nodeJoin({ peer: 4 }));
  cell.apply(entryBodies.nodeUp({ node: 4, incarnation: 1 }));
  const p = Array.from({ length: P }, (_, i) => i).find((i) => {
    return configAt(cell, i).targets.includes(nodeId(4));
  });
  if (p === undefined) return t.fail('n4 gets nothing');
  const left = [1, 2, 3].find(
    (node) => !configAt(cell, p).targets.includes(nodeId(node)),
  ) as number;
  const purge = () =>
    cell.apply(entryBodies.purge({ partitions: [casOf(cell, p)], node: left })).code;
  const release = () =>
    cell.apply(entryBodies.isrRelease({ partitions: [casOf(cell, p)], node: left })).code;
  t.deepEqual(configAt(cell, p).inSync, nodeIds(1, 2, 3));
  t.is(release(), 'stale');
  t.is(purge(), 'stale');
  cell.apply(entryBodies.isrJoin({ partitions: [casOf(cell, p)], node: 4 }));
  t.is(release(), 'stale');
  const source = configAt(cell, p).inSync[0] as number;
  cell.apply(entryBodies.isrPromote({ partitions: [casOf(cell, p)], node: 4, source }));
  t.is(purge(), 'stale');
  t.is(release(), 'ok');
  const { cfg } = configAt(cell, p);
  t.is(purge(), 'ok');
  t.is(configAt(cell, p).cfg, cfg, 'a purge changes nothing');
  t.false(cell.state.policies.get(policyId(0))?.explicit.has(p));
});

test('state: volumes get ids that are never used again (I11)', (t) => {
  const cell = clusterOf({ nodes: 1 });
  t.is(cell.apply(entryBodies.volumeCreate()).value, 1);
  t.like(cell.apply(entryBodies.volumeCreate()), { code: 'exists', value: 1 });
  t.is(cell.apply(entryBodies.volumeCreate({ name: 'a/b' })).code, 'refused');
  t.is(cell.apply(entryBodies.volumeCreate({ name: 'c', sizeBytes: 100 })).code, 'refused');
  t.is(cell.apply(entryBodies.volumeCreate({ name: 'c', policy: 5 })).code, 'missing');
  t.is(cell.apply(entryBodies.volumeDelete({ token: 0 })).code, 'ok');
  t.is(cell.apply(entryBodies.volumeDelete({ token: 0 })).code, 'missing');
  t.is(cell.apply(entryBodies.volumeCreate()).value, 2);
  const view = viewOf(cell.state);
  t.is(view.lastGeneration, 2 as GenerationId);
  t.is(view.volumeOfGeneration(1 as GenerationId), undefined);
  t.is(view.volumeOfGeneration(2 as GenerationId)?.name, 'disk');
});

test('state: a volume in use is not deleted, and the answer names the holder', (t) => {
  const cell = clusterOf({ nodes: 2 });
  cell.apply(entryBodies.volumeCreate());
  cell.apply(entryBodies.lockAcquire({ token: 0, node: 2 }));
  const result = cell.apply(entryBodies.volumeDelete({ token: 1 }));
  t.like(result, { code: 'held', value: 2 });
  t.regex(result.detail, /n2/);
  cell.apply(entryBodies.lockRelease({ token: 1 }));
  t.is(cell.apply(entryBodies.volumeDelete({ token: 0 })).code, 'stale');
  t.is(cell.apply(entryBodies.volumeDelete({ token: 1 })).code, 'ok');
});

test('state: a volume whose holder is over can be removed: ended for sure, or by an operator’s word, not just away', (t) => {
  const held = (): StateCell => {
    const cell = clusterOf({ nodes: 2 });
    cell.apply(entryBodies.volumeCreate());
    cell.apply(entryBodies.lockAcquire({ token: 0, node: 2 }));
    cell.apply(entryBodies.nodesDown({ nodes: [[2, 1]], baseEpoch: cell.state.epoch }));
    return cell;
  };
  const trash = { type: 'volumeTrash', volume: 1 as VolumeId, dateMs: 0, keepMs: 60_000 } as const;
  const trashed = (token: number) => ({ ...trash, token: token as FencingToken });
  const away = held();
  t.is(away.apply(entryBodies.volumeDelete({ token: 1 })).code, 'held', 'it may live, and write');
  t.is(away.apply(trashed(1)).code, 'held');

  for (const remove of [entryBodies.volumeDelete({ token: 1 }), trashed(1)]) {
    const same = held();
    t.is(same.apply(entryBodies.nodeUp({ node: 2, incarnation: 2, continues: 1 })).code, 'ok');
    t.is(same.apply(remove).code, 'held', 'the same process goes on');
    const other = held();
    t.is(other.apply(entryBodies.nodeUp({ node: 2, incarnation: 2 })).code, 'ok');
    t.is(other.apply(remove).code, 'ok', 'that process has ended');
  }
  for (const remove of [entryBodies.volumeDelete({ token: 2 }), trashed(2)]) {
    const broken = held();
    const tokenOf = { volume: 1 as VolumeId, token: 1 as FencingToken };
    t.is(broken.apply({ type: 'lockBreak', ...tokenOf, by: 'ann' }).code, 'ok');
    t.is(broken.apply(remove).code, 'ok', 'an operator said so');
  }
});

test('state: one holder at a time, and the token rises with each grant (A6)', (t) => {
  const cell = clusterOf({ nodes: 3 });
  cell.apply(entryBodies.volumeCreate());
  const lock = () => viewOf(cell.state).volumeByName('disk')?.lock;
  t.is(cell.apply(entryBodies.lockAcquire({ token: 5, node: 1 })).code, 'stale');
  t.is(cell.apply(entryBodies.lockAcquire({ token: 0, node: 1, incarnation: 7 })).code, 'refused');
  t.like(cell.apply(entryBodies.lockAcquire({ token: 0, node: 1 })), { code: 'ok', value: 1 });
  t.like(lock(), { state: 'held', node: 1, tookOver: false, grantedAt: cell.state.index });
  t.like(cell.apply(entryBodies.lockAcquire({ token: 0, node: 1 })), {
    code: 'duplicate',
    value: 1,
  });
  t.like(cell.apply(entryBodies.lockAcquire({ token: 1, node: 2 })), { code: 'held', value: 1 });
  t.is(cell.apply(entryBodies.lockAcquire({ token: 1, node: 1, session: 2 })).code, 'held');
  t.is(cell.apply(entryBodies.takeover({ token: 1, node: 2 })).code, 'held', 'a live holder stays');
  t.is(cell.apply(entryBodies.lockRelease({ token: 0 })).code, 'stale');
  t.is(cell.apply(entryBodies.lockRelease({ token: 1 })).code, 'ok');
  t.is(cell.apply(entryBodies.takeover({ token: 1, node: 2 })).code, 'refused', 'free: acquire');
  t.like(cell.apply(entryBodies.lockAcquire({ token: 1, node: 2 })), { code: 'ok', value: 2 });
});

test('state: a dead holder is taken over, and so is a restarted one (3.1)', (t) => {
  const cell = clusterOf({ nodes: 3 });
  cell.apply(entryBodies.volumeCreate());
  cell.apply(entryBodies.lockAcquire({ token: 0, node: 1 }));
  cell.apply(entryBodies.nodesDown({ nodes: [[1, 1]], baseEpoch: cell.state.epoch }));
  t.is(cell.apply(entryBodies.takeover({ token: 0, node: 2 })).code, 'stale');
  t.like(cell.apply(entryBodies.takeover({ token: 1, node: 2 })), { code: 'ok', value: 2 });
  t.like(viewOf(cell.state).volumeByName('disk')?.lock, { node: 2, tookOver: true });
  cell.apply(entryBodies.nodeUp({ node: 2, incarnation: 2 }));
  t.like(cell.apply(entryBodies.takeover({ token: 2, node: 2, incarnation: 2 })), { value: 3 });
  t.is(cell.apply(entryBodies.takeover({ token: 3, node: 3 })).code, 'held');
  t.is(cell.apply(entryBodies.takeover({ token: 3, node: 3, force: true })).value, 4);
});

test('state: a repeated proposal is answered, not applied twice (C2.5)', (t) => {
  const cell = clusterOf({ nodes: 2 });
  const origin = (counter: number, incarnation = 1) => {
    return { node: nodeId(2), incarnation: incarnation as Incarnation, counter };
  };
  t.like(cell.apply(entryBodies.volumeCreate({ name: 'a' }), origin(1)), { code: 'ok', value: 1 });
  t.like(cell.apply(entryBodies.volumeCreate({ name: 'a' }), origin(1)), {
    code: 'duplicate',
    value: 1,
  });
  t.is(cell.apply(entryBodies.volumeDelete({ token: 0 }), origin(2)).code, 'ok');
  t.is(cell.apply(entryBodies.volumeCreate({ name: 'a' }), origin(1)).code, 'duplicate');
  t.is(cell.state.volumes.size, 0, 'the volume did not come back');
  t.is(cell.apply(entryBodies.volumeDelete({ token: 0 }), origin(3)).code, 'missing');
  t.is(
    cell.apply(entryBodies.volumeDelete({ token: 0 }), origin(3)).code,
    'missing',
    'a refusal, too',
  );
  t.is(cell.apply(entryBodies.volumeCreate({ name: 'b' }), origin(100)).code, 'ok');
  t.is(
    cell.apply(entryBodies.volumeCreate({ name: 'c' }), origin(36)).code,
    'stale',
    'out of the window',
  );
  t.is(cell.apply(entryBodies.volumeCreate({ name: 'c' }), origin(37)).code, 'ok');
  t.is(cell.apply(entryBodies.volumeCreate({ name: 'd' }), origin(1, 2)).code, 'ok', 'a new life');
  t.is(cell.apply(entryBodies.volumeCreate({ name: 'e' }), origin(101)).code, 'stale');
});

test('state: voters change through a joint phase, one change at a time (A9)', (t) => {
  const cell = clusterOf({ nodes: 3 });
  const change = { old: nodeIds(1), next: nodeIds(3, 1, 2) };
  t.is(cell.apply({ type: 'votersFinal', ...change }).code, 'stale');
  t.is(cell.apply({ type: 'votersJoint', ...change, next: nodeIds(1, 1) }).code, 'refused');
  t.is(cell.apply({ type: 'votersJoint', ...change, old: nodeIds(2) }).code, 'stale');
  t.is(cell.apply({ type: 'votersJoint', ...change }).code, 'ok');
  t.deepEqual(viewOf(cell.state).voters, nodeIds(1));
  t.deepEqual(viewOf(cell.state).nextVoters, nodeIds(1, 2, 3));
  t.is(cell.apply({ type: 'votersJoint', ...change }).code, 'refused');
  t.is(cell.apply({ type: 'votersFinal', ...change }).code, 'ok');
  t.deepEqual(viewOf(cell.state).voters, nodeIds(1, 2, 3));
});

test('state: the oldest invite makes room, other settings are bounded', (t) => {
  const cell = clusterOf({ nodes: 1 });
  for (let i = 0; i < 65; i += 1) cell.apply({ type: 'setting', key: `invite/${i}`, value: 'x' });
  t.false(cell.state.settings.has('invite/0'));
  t.true(cell.state.settings.has('invite/64'));
  for (let i = 0; i < 256; i += 1) cell.apply({ type: 'setting', key: `k${i}`, value: 'x' });
  t.is(cell.apply({ type: 'setting', key: 'one more', value: 'x' }).code, 'full');
  t.is(cell.apply({ type: 'setting', key: 'k1', value: '' }).code, 'ok');
  t.is(cell.apply({ type: 'setting', key: 'one more', value: 'x' }).code, 'ok');
});

test('state: an audit point is kept and only moves on', (t) => {
  const cell = clusterOf({ nodes: 1 });
  const at = cell.state.index;
  const stateHash = hashOf(cell.state);
  t.is(cell.apply({ type: 'audit', atIndex: at, stateHash }).code, 'ok');
  t.deepEqual(viewOf(cell.state).audit, { atIndex: at, stateHash });
  t.is(cell.apply({ type: 'audit', atIndex: at, stateHash: '' }).code, 'stale');
  t.is(cell.apply({ type: 'audit', atIndex: 9999 as MapIndex, stateHash: '' }).code, 'stale');
});

test('state: a view does not change when the state moves on', (t) => {
  const cell = clusterOf({ nodes: 3 });
  const view = viewOf(cell.state);
  const before = view.partition(policyId(0), 0);
  cell.apply(entryBodies.nodesDown({ nodes: [[2, 1]], baseEpoch: cell.state.epoch }));
  t.deepEqual(view.partition(policyId(0), 0), before);
  t.is(view.members.get(nodeId(2))?.state, 'up');
  const after = viewOf(cell.state);
  t.is(after.partition(policyId(0), 0), after.partition(policyId(0), 0), 'cached');
  t.deepEqual(after.partition(policyId(0), 0).inSync, nodeIds(1, 3));
  t.is<number, number>(after.partition(policyId(9), 0).cfg, 0);
  t.is<number, number>(after.partition(policyId(0), 99).cfg, 0);
  t.is<number, number>(viewOf(emptyState()).index, 0);
});

// Method: pairs of states at one index that differ in one thing only; each thing decides how later entries apply.
test('state: the hash sees every part of the state (A4)', (t) => {
  const base = () => {
    const cell = clusterOf({ nodes: 2, copies: 2 });
    cell.apply(entryBodies.volumeCreate());
    return cell;
  };
  const origin = { node: nodeId(1), incarnation: 1 as Incarnation, counter: 1 };
  const hashes = [
    [{ type: 'noop' }],
    [{ type: 'setting', key: 'a', value: 'x' }],
    [{ type: 'setting', key: 'a', value: 'y' }],
    [entryBodies.volumeCreate({ name: 'b' })],
    [entryBodies.volumeDelete({ token: 0 })],
    [entryBodies.lockAcquire({ token: 0, node: 1 })],
    [entryBodies.lockAcquire({ token: 0, node: 1, session: 2 })],
    [entryBodies.nodeJoin({ peer: 7 })],
    [entryBodies.nodeUp({ node: 2, incarnation: 2 })],
    [{ type: 'votersJoint', old: nodeIds(1), next: nodeIds(1, 2) }],
    [{ type: 'policyCreate', copies: 1, minCopies: 1, strict: false }],
    [{ type: 'policyCreate', copies: 1, minCopies: 1, strict: true }],
  ].map((bodies) => {
    const cell = base();
    cell.apply(bodies[0] as EntryBody);
    return hashOf(cell.state);
  });
  const counted = base();
  counted.apply({ type: 'setting', key: 'a', value: 'x' }, origin);
  hashes.push(hashOf(counted.state));
  t.is(new Set(hashes).size, hashes.length);
});
