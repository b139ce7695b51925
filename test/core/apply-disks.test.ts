import test from 'ava';
import { MAX_FAILURE } from '../../src/core/apply-disks.ts';
import { hashOf } from '../../src/core/cluster-state.ts';
import type { Incarnation } from '../../src/core/ids.ts';
import { clusterOf, configAt, entryBodies, nodeId } from '../fixtures.ts';

const life = (incarnation: number) => incarnation as Incarnation;
const failed = (node: number, incarnation: number, reason: string) =>
  ({ type: 'nodeFailed', node: nodeId(node), incarnation: life(incarnation), reason }) as const;

test('disks: who says that it ends is down at once, with its cause, and leaves the in-sync sets', (t) => {
  const cell = clusterOf({ nodes: 3 });
  const { epoch } = cell.state;
  t.is(cell.apply(failed(3, 1, 'io: EROFS on journal')).code, 'ok');
  const member = cell.state.members.get(nodeId(3));
  t.is(member?.state, 'down');
  t.is(member?.failure, 'io: EROFS on journal');
  t.is<number, number>(cell.state.epoch, epoch + 1);
  t.deepEqual<readonly number[], number[]>(configAt(cell, 0).inSync, [1, 2]);
});

test('disks: the cause may come after the verdict of the others, and goes with the next life', (t) => {
  const cell = clusterOf({ nodes: 3 });
  cell.apply(entryBodies.nodesDown({ nodes: [[3, 1]], baseEpoch: cell.state.epoch }));
  const { epoch } = cell.state;
  t.is(cell.apply(failed(3, 1, 'io: EIO')).code, 'ok');
  t.is(cell.state.epoch, epoch, 'nothing else changes');
  t.is(cell.state.members.get(nodeId(3))?.failure, 'io: EIO');
  cell.apply(entryBodies.nodeUp({ node: 3, incarnation: 2 }));
  t.is(cell.state.members.get(nodeId(3))?.failure, '');
  t.is(cell.apply(failed(3, 1, 'io: EIO')).code, 'stale', 'a word of the former life');
  t.is(cell.state.members.get(nodeId(3))?.state, 'up');
});

test('disks: a failure of nobody is refused, a long one is cut', (t) => {
  const cell = clusterOf({ nodes: 3 });
  t.is(cell.apply(failed(9, 1, 'io: EIO')).code, 'missing');
  cell.apply(failed(3, 1, 'x'.repeat(MAX_FAILURE + 1)));
  t.is(cell.state.members.get(nodeId(3))?.failure.length, MAX_FAILURE);
});

test('disks: a level of space is of the life that is up, and moves no epoch', (t) => {
  const cell = clusterOf({ nodes: 3 });
  const { epoch } = cell.state;
  const space = (incarnation: number, level: 'ok' | 'nearfull' | 'full') =>
    ({ type: 'nodeSpace', node: nodeId(2), incarnation: life(incarnation), level }) as const;
  const before = hashOf(cell.state);
  t.is(cell.apply(space(2, 'full')).code, 'stale');
  t.is(cell.apply(space(1, 'full')).value, 1);
  t.is(cell.apply(space(1, 'full')).value, 0);
  t.is(cell.state.members.get(nodeId(2))?.space, 'full');
  t.is(cell.state.epoch, epoch);
  t.not(hashOf(cell.state), before);
  cell.apply(entryBodies.nodeUp({ node: 2, incarnation: 2 }));
  t.is(cell.state.members.get(nodeId(2))?.space, 'full', 'a restart frees nothing');
});
