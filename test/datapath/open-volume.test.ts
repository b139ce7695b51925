// A session was opened for a volume as it was: what changes that ends it, what does not leaves it alone.

import test from 'ava';
import { viewOf } from '../../src/core/cluster-state.ts';
import type { NodeId, SessionId, VolumeId } from '../../src/core/ids.ts';
import type { Volume } from '../../src/core/view.ts';
import { OpenVolume } from '../../src/datapath/open-volume.ts';
import { clusterOf, entryBodies as make } from '../fixtures.ts';

const DISK = 1 as VolumeId;

test('a session ends when its volume gets another mode: a flush means something else from then on', (t) => {
  const cell = clusterOf({ nodes: 1, copies: 1 });
  cell.apply(make.volumeCreate());
  const volume = cell.state.volumes.get(DISK) as Volume;
  const open = new OpenVolume(
    { sessionId: 1 as SessionId, volume },
    { onWant: () => undefined, whenIndex: (_index, fn) => fn() },
  );
  cell.apply({ type: 'volumeRename', volume: DISK, former: 'disk', name: 'web' });
  open.judge(viewOf(cell.state), 1 as NodeId);
  t.is(open.state, 'none', 'a name is nothing to a session');
  const sizeBytes = 2 * volume.sizeBytes;
  cell.apply({ type: 'volumeGrow', volume: DISK, sizeBytes });
  open.judge(viewOf(cell.state), 1 as NodeId);
  t.like(open.now, { name: 'web', sizeBytes }, 'the next connection sees that');
  t.is(open.state, 'none');
  const { token } = volume.lock;
  cell.apply({ type: 'volumeDurability', volume: DISK, token, durability: 'writeback' });
  open.judge(viewOf(cell.state), 1 as NodeId);
  t.is(open.state, 'lost');
  t.like(open.error, { code: 'gone', remedy: 'attach it again' });
});
