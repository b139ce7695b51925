// Snapshots, clones and sizes are decided about volumes as their holders say they are, and anew when that has changed.

import test from 'ava';
import { MAX_LOCK_TRIES } from '../src/admin.ts';
import { viewOf } from '../src/core/cluster-state.ts';
import { OperatingError } from '../src/core/errors.ts';
import type { FencingToken, VolumeId } from '../src/core/ids.ts';
import type { EntryBody } from '../src/core/log-entry.ts';
import { snapshotNamed, treeOf } from '../src/core/snapshots.ts';
import { MIB } from '../src/core/units.ts';
import { layerAdmin, MAX_HOLD_TRIES } from '../src/layer-admin.ts';
import { clusterOf, entryBodies as make, type StateCell } from './fixtures.ts';

function deskOf(cell: StateCell, hooks: { held?: () => void; hold?: () => Promise<void> } = {}) {
  const viewNow = () => viewOf(cell.state);
  const holds: number[] = [];
  const admin = layerAdmin({
    agreement: {
      propose: async (body: EntryBody) => cell.apply(body),
      readCurrent: async () => {},
    },
    viewNow,
    hold: async (id: VolumeId) => {
      holds.push(id);
      await hooks.hold?.();
      const volume = viewNow().volumes.get(id);
      if (volume === undefined) throw new OperatingError('missing', 'none');
      const cas = { volume: id, token: volume.lock.token, head: volume.head };
      hooks.held?.();
      return cas;
    },
    clock: {
      date: () => 1000,
      setTimer: (_ms, fn) => {
        queueMicrotask(fn);
        return { timer: Symbol() } as never;
      },
    },
  });
  return { admin, holds };
}

function withDisks(...names: string[]): StateCell {
  const cell = clusterOf({ nodes: 2, copies: 2 });
  for (const name of names) cell.apply(make.volumeCreate({ name }));
  return cell;
}

const codeOf = async (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'done',
    (error: unknown) => (error instanceof OperatingError ? error.code : String(error)),
  );

test('snapshot: every holder holds still, then one entry for all', async (t) => {
  const cell = withDisks('a', 'b', 'c');
  const { admin, holds } = deskOf(cell);
  t.deepEqual(await admin.snapshot(['c', 'a'], 'x'), [3, 1]);
  t.deepEqual(holds.sort(), [1, 3]);
  t.is(snapshotNamed(viewOf(cell.state), 'c', 'x')?.createdMs, 1000);
  t.is(snapshotNamed(viewOf(cell.state), 'b', 'x'), undefined);
  holds.length = 0;
  t.is(await codeOf(admin.snapshot(['b', 'a'], 'x')), 'exists');
  t.deepEqual(holds, [], 'no guest is held up for what can not be');
  t.is(await codeOf(admin.snapshot(['a', 'a'], 'y')), 'usage');
  t.is(await codeOf(admin.snapshot([], 'y')), 'usage');
  t.is(await codeOf(admin.snapshot(['a'], 'y@z')), 'usage');
  t.is(await codeOf(admin.snapshot(['a', 'none'], 'y')), 'missing');
  t.is(snapshotNamed(viewOf(cell.state), 'a', 'y'), undefined, 'all or none');
});

test('snapshot, clone: a holder that has just let go is asked again, with a bound', async (t) => {
  const cell = withDisks('a');
  let gone = 2;
  const hold = async (): Promise<void> => {
    gone -= 1;
    if (gone >= 0) throw new OperatingError('changed', 'n1 has a no more');
  };
  const { admin, holds } = deskOf(cell, { hold });
  t.deepEqual(await admin.snapshot(['a'], 'x'), [1]);
  t.is(holds.length, 3);
  gone = MAX_HOLD_TRIES - 1;
  await admin.clone('a', 'b');
  gone = MAX_HOLD_TRIES;
  t.is(await codeOf(admin.snapshot(['a'], 'y')), 'changed');
  t.is(snapshotNamed(viewOf(cell.state), 'a', 'y'), undefined);
});

test('snapshot: taken over between the hold and the entry: held anew; again and again: busy', async (t) => {
  const cell = withDisks('a');
  let token = 0;
  const taken = (): void => {
    cell.apply(
      token === 0
        ? make.lockAcquire({ token, node: 1 })
        : make.takeover({ token, node: 1 + (token % 2), force: true }),
    );
    token += 1;
  };
  let isFirst = true;
  const { admin, holds } = deskOf(cell, {
    held: () => {
      if (isFirst) taken();
      isFirst = false;
    },
  });
  t.deepEqual(await admin.snapshot(['a'], 'x'), [1]);
  t.is(holds.length, 2);
  const restless = deskOf(cell, { held: taken });
  t.is(await codeOf(restless.admin.snapshot(['a'], 'y')), 'busy');
  t.is(restless.holds.length, MAX_LOCK_TRIES);
});

test('snapshot: one volume that can not hold still ends the waiting of the others', async (t) => {
  const cell = withDisks('a', 'b');
  cell.apply(make.lockAcquire({ token: 0, node: 1 }));
  let isFirst = true;
  const { admin } = deskOf(cell, {
    hold: async () => {
      if (!isFirst) throw new OperatingError('busy', 'writes did not end');
      isFirst = false;
    },
  });
  t.is(await codeOf(admin.snapshot(['a', 'b'], 'x')), 'busy');
  t.like(viewOf(cell.state).volumeByName('a')?.lock, {
    state: 'held',
    token: 2 as FencingToken,
  });
  t.is(viewOf(cell.state).volumeByName('b')?.lock.state, 'free', 'nobody waits for it');
});

test('snapshot: writes that do not end: it is refused, and nothing has changed', async (t) => {
  const cell = withDisks('a', 'b');
  const index = cell.state.index;
  const { admin } = deskOf(cell, {
    hold: async () => {
      throw new OperatingError('busy', 'writes did not end');
    },
  });
  t.is(await codeOf(admin.snapshot(['a', 'b'], 'x')), 'busy');
  t.is(cell.state.index, index);
});

test('clone: of a snapshot, of a volume; as its source unless said', async (t) => {
  const cell = withDisks('gold');
  cell.apply({
    type: 'volumeAttach',
    volume: 1 as VolumeId,
    token: 0 as never,
    attachMode: 'exclusive',
  });
  const { admin, holds } = deskOf(cell);
  await admin.snapshot(['gold'], 'v1');
  holds.length = 0;
  await admin.clone('gold@v1', 'one');
  t.deepEqual(holds, [], 'a snapshot has no holder');
  await admin.clone('gold', 'two', { mode: 'writeback', attachMode: 'handover' });
  t.deepEqual(holds, [1]);
  const view = viewOf(cell.state);
  t.like(view.volumeByName('one'), { durability: 'durable', attachMode: 'exclusive' });
  t.like(view.volumeByName('two'), { durability: 'writeback', attachMode: 'handover' });
  t.is(await codeOf(admin.clone('gold@v1', 'one')), 'exists');
  t.is(await codeOf(admin.clone('gold@v9', 'new')), 'missing');
  t.is(await codeOf(admin.clone('none', 'new')), 'missing');
  t.is(await codeOf(admin.clone('gold@', 'new')), 'usage');
});

test('rollback, delete, protect of snapshots', async (t) => {
  const cell = withDisks('disk');
  const { admin } = deskOf(cell);
  await admin.snapshot(['disk'], 'x');
  await admin.resize('disk', 128 * MIB);
  cell.apply(make.lockAcquire({ token: 0, node: 1 }));
  t.is(await codeOf(admin.rollback('disk', 'x')), 'held');
  cell.apply(make.lockRelease({ token: 1 }));
  t.is(await codeOf(admin.rollback('disk', 'none')), 'missing');
  t.is(await codeOf(admin.rollback('disk', 'x')), 'done');
  t.is(viewOf(cell.state).volumeByName('disk')?.sizeBytes, 64 * MIB);
  await admin.protectSnapshot('disk', 'x', true);
  t.is(await codeOf(admin.deleteSnapshot('disk', 'x')), 'refused');
  await admin.protectSnapshot('disk', 'x', false);
  t.is(await codeOf(admin.deleteSnapshot('disk', 'x')), 'done');
  t.is(await codeOf(admin.deleteSnapshot('disk', 'x')), 'missing');
});

test('resize: larger under a guest, smaller without one, cut at sectors only', async (t) => {
  const cell = withDisks('disk');
  const { admin } = deskOf(cell);
  cell.apply(make.lockAcquire({ token: 0, node: 1 }));
  t.is(await codeOf(admin.resize('disk', 128 * MIB)), 'done');
  t.is(await codeOf(admin.resize('disk', 128 * MIB)), 'done', 'twice is once');
  t.is(await codeOf(admin.resize('disk', 64 * MIB)), 'held');
  cell.apply(make.lockRelease({ token: 1 }));
  t.is(await codeOf(admin.resize('disk', 64 * MIB + 512)), 'usage');
  t.is(await codeOf(admin.resize('disk', 64 * MIB)), 'done');
  t.is(await codeOf(admin.resize('disk', 0)), 'usage');
  t.is(await codeOf(admin.resize('none', MIB)), 'missing');
});

test('tree: roots first, each layer before those below it', async (t) => {
  const cell = withDisks('gold', 'other');
  const { admin } = deskOf(cell);
  await admin.snapshot(['gold'], 'v1');
  await admin.clone('gold@v1', 'one');
  const view = viewOf(cell.state);
  const rows = treeOf(view, ({ name }) => name === 'gold');
  t.deepEqual(
    rows.map(({ layer, depth }) => [layer.id, depth]),
    [
      [1, 0],
      [3, 1],
      [4, 1],
    ] as never,
  );
  t.is(treeOf(view, () => true).length, 4);
});
