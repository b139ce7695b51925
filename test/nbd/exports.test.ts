// The exports of a node: volumes as the map has them, their snapshots as read-only ones beside them, and what a snapshot's
// export can be compared with. A view of a real log, sessions in memory.

import test from 'ava';
import { viewOf } from '../../src/core/cluster-state.ts';
import type { VolumeId } from '../../src/core/ids.ts';
import { Exports, exportsOf } from '../../src/nbd/exports.ts';
import { clusterOf, entryBodies } from '../fixtures.ts';
import { MemoryVolume } from './memory-volume.ts';

const SIZE = 4 << 20;
const ANYBODY = { name: '', isKnown: true, mayAttach: () => true };

/** Volumes `a` and `b`; of `a` the snapshots `one` and `two`, the second grown; a third was deleted. */
function snapshotted() {
  const cell = clusterOf({ nodes: 1, copies: 1 });
  for (const name of ['a', 'b']) cell.apply(entryBodies.volumeCreate({ name, sizeBytes: SIZE }));
  const freeze = (tag: string) => {
    const { id, head, lock } = viewOf(cell.state).volumeByName('a') ?? { head: 0 as never };
    const volumes = [{ volume: id as VolumeId, head, token: lock?.token ?? (0 as never) }];
    cell.apply({ type: 'snapshot', tag, dateMs: 0, volumes });
    return head;
  };
  const gone = freeze('gone');
  freeze('two');
  const volume = viewOf(cell.state).volumeByName('a')?.id as VolumeId;
  cell.apply({ type: 'volumeGrow', volume, sizeBytes: 2 * SIZE });
  freeze('one');
  cell.apply({ type: 'snapshotDelete', generation: gone });
  const opened: string[] = [];
  const source = exportsOf({
    view: () => viewOf(cell.state),
    lookUpVolume: () => Promise.resolve(),
    openVolume: (name) => {
      opened.push(name);
      return new MemoryVolume(name, SIZE);
    },
  });
  return { source, opened };
}

test('a snapshot is an export for reading, of the size that its volume had; a deleted one is none', (t) => {
  const { source } = snapshotted();
  const readOnly = { attachMode: 'shared-read' } as const;
  t.deepEqual(source.volume('a@two'), { name: 'a@two', sizeBytes: SIZE, ...readOnly });
  t.deepEqual(source.volume('a@one'), { name: 'a@one', sizeBytes: 2 * SIZE, ...readOnly });
  for (const name of ['a@gone', 'b@two', 'a@', '@two', 'c@two']) {
    t.is(source.volume(name), undefined, name);
  }
  t.like(source.volume('a'), { name: 'a', sizeBytes: 2 * SIZE, attachMode: 'handover' });
  t.deepEqual(
    source.snapshots?.().map(({ name }) => name),
    ['a@two', 'a@one'],
    'the oldest first',
  );
});

test('the list names all; the empty name is the only volume, snapshots or not', (t) => {
  const { source } = snapshotted();
  const exports = new Exports(source);
  t.deepEqual(exports.list(ANYBODY), { names: ['a', 'a@one', 'a@two', 'b'], omitted: 0 });
  const ofA = { ...ANYBODY, mayAttach: (name: string) => name === 'a' };
  t.is(exports.find('', ofA).name, 'a');
});

test('a volume and its snapshots are compared with its snapshots, each opened once and ended with the connection', async (t) => {
  const { source, opened } = snapshotted();
  const exports = new Exports(source);
  for (const name of ['a', 'a@two']) {
    const of = exports.snapshotted(name);
    t.deepEqual([of.volume, of.tags()], ['a', ['two', 'one']], name);
    t.true(of.hasTag('one'));
    t.false(of.hasTag('gone'));
  }
  t.deepEqual(exports.snapshotted('b').tags(), []);
  const attachment = exports.attach('a');
  const before = attachment.before('a@one') as MemoryVolume;
  t.is(attachment.before('a@one'), before);
  t.deepEqual(opened, ['a', 'a@one']);
  t.is(before.connections, 1);
  await attachment.release();
  t.is(before.connections, 0);
});
