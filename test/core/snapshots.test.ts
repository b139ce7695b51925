// S4, S5: what the log says of snapshots, clones, rollbacks and sizes, and of those who come too late.

import test from 'ava';
import { viewOf } from '../../src/core/cluster-state.ts';
import { ancestry, MAX_DEPTH, NO_LIMIT } from '../../src/core/generations.ts';
import type { FencingToken, GenerationId, VolumeId } from '../../src/core/ids.ts';
import type { EntryBody } from '../../src/core/log-entry.ts';
import { parseVolumeName } from '../../src/core/snapshot-name.ts';
import { MIB } from '../../src/core/units.ts';
import { clusterOf, entryBodies as make, type StateCell } from '../fixtures.ts';

const DISK = 1 as VolumeId;
const gen = (id: number): GenerationId => id as GenerationId;
const cas = (volume: number, token: number, head: number) => ({
  volume: volume as VolumeId,
  token: token as FencingToken,
  head: gen(head),
});

function withDisks(...names: string[]): StateCell {
  const cell = clusterOf({ nodes: 2, copies: 2 });
  for (const name of names) cell.apply(make.volumeCreate({ name }));
  return cell;
}

function snapshot(tag: string, ...volumes: ReturnType<typeof cas>[]): EntryBody {
  return { type: 'snapshot', volumes, tag, dateMs: 1000 };
}

function clone(name: string, from: ReturnType<typeof cas>): EntryBody {
  const more = { attachMode: 'handover', isDeep: false, dateMs: 2000 } as const;
  const how = { durability: 'durable', ...more } as const;
  return { type: 'volumeClone', from, name, ...how };
}

test('snapshot: the head is frozen at that index, the volume writes to a new one, its holder stays', (t) => {
  const cell = withDisks('disk');
  cell.apply(make.lockAcquire({ token: 0, node: 1 }));
  t.like(cell.apply(snapshot('monday', cas(1, 1, 1))), { code: 'ok', value: 2 });
  const view = viewOf(cell.state);
  const at = cell.state.index;
  const frozen = { state: 'frozen', frozenAt: at, name: 'disk', tag: 'monday', createdMs: 1000 };
  t.like(view.generations.get(gen(1)), { ...frozen, sizeBytes: 64 * MIB, volume: 1 });
  t.like(view.generations.get(gen(2)), { state: 'head', parent: 1, limitBytes: NO_LIMIT });
  t.like(view.volumes.get(DISK), { head: 2, lock: { token: 1, state: 'held' } });
  t.is(view.volumeOfGeneration(gen(2)), view.volumes.get(DISK));
});

test('snapshot: of several volumes at one instant: all, or none', (t) => {
  const cell = withDisks('a', 'b', 'c');
  t.is(cell.apply(snapshot('x', cas(1, 0, 1), cas(2, 0, 2), cas(3, 1, 3))).code, 'stale');
  t.is(viewOf(cell.state).volumes.get(DISK)?.head, gen(1), 'a takeover of c excludes all');
  t.is(cell.apply(snapshot('x', cas(1, 0, 1), cas(9, 0, 9))).code, 'missing');
  t.is(cell.apply(snapshot('x', cas(1, 0, 1), cas(1, 0, 1))).code, 'refused', 'named twice');
  t.is(cell.apply(snapshot('x')).code, 'refused', 'of nothing');
  t.like(cell.apply(snapshot('x', cas(3, 0, 3), cas(1, 0, 1))), { code: 'ok', value: 4 });
  const heads = [...viewOf(cell.state).volumes.values()].map(({ head }) => head);
  t.deepEqual(heads, [gen(5), gen(2), gen(4)], 'in the order of the list');
  t.is(cell.apply(snapshot('x', cas(2, 0, 2), cas(1, 0, 5))).code, 'exists', 'a@x');
  t.is(viewOf(cell.state).volumes.get(2 as VolumeId)?.head, gen(2));
  t.is(cell.apply(snapshot('y', cas(1, 0, 1))).code, 'stale', 'another head');
  t.is(cell.apply(snapshot('a/b', cas(2, 0, 2))).code, 'refused');
});

test('snapshot: not of a volume that moves to other copies, nor below the deepest layer', (t) => {
  const cell = withDisks('disk');
  cell.apply({ type: 'policyCreate', copies: 1, minCopies: 1, strict: false });
  cell.apply(make.moveStart({ token: 0, policy: 1 }));
  t.is(cell.apply(snapshot('x', cas(1, 0, 1))).code, 'refused');
  t.is(cell.apply(clone('c', cas(1, 0, 1))).code, 'refused');
  t.is(cell.apply({ type: 'volumeGrow', volume: DISK, sizeBytes: 128 * MIB }).code, 'refused');
  const deep = withDisks('deep');
  let head = 1;
  for (let at = 1; at < MAX_DEPTH; at += 1)
    head = deep.apply(snapshot(`s${at}`, cas(1, 0, head))).value;
  t.is(head, MAX_DEPTH);
  t.like(deep.apply(snapshot('last', cas(1, 0, head))), { code: 'full' });
  t.is(deep.apply(clone('c', cas(1, 0, head))).code, 'full');
  t.is(deep.apply(clone('c', cas(0, 0, 7))).code, 'ok', 'of an early one there is room');
  t.is(ancestry(viewOf(deep.state), gen(head)).length, MAX_DEPTH);
});

test('clone: of a snapshot; of a volume, whose head is frozen by the same step and named by nobody', (t) => {
  const cell = withDisks('disk');
  cell.apply(snapshot('gold', cas(1, 0, 1)));
  t.like(cell.apply(clone('one', cas(0, 0, 1))), { code: 'ok', value: 2 });
  const view = viewOf(cell.state);
  t.like(view.volumeByName('one'), { family: 1, policy: 0, sizeBytes: 64 * MIB, head: 3 });
  t.is(view.generations.get(gen(3))?.parent, gen(1));
  t.is(cell.apply(clone('two', cas(1, 1, 2))).code, 'stale', 'another token');
  t.is(cell.apply(clone('two', cas(1, 0, 2))).code, 'ok');
  const after = viewOf(cell.state);
  t.like(after.generations.get(gen(2)), { state: 'deleted', frozenAt: cell.state.index, tag: '' });
  t.is(after.generations.get(after.volumeByName('disk')?.head ?? gen(0))?.parent, gen(2));
  t.is(after.generations.get(after.volumeByName('two')?.head ?? gen(0))?.parent, gen(2));
  t.is(after.generations.get(gen(2))?.sizeBytes, 64 * MIB, 'where it lies has to be known');
  t.is(cell.apply(clone('one', cas(0, 0, 1))).code, 'exists');
  t.is(cell.apply(clone('three', cas(0, 0, 99))).code, 'missing');
});

test('rollback: a new head below the snapshot, the former one is gone; not while somebody has the volume', (t) => {
  const cell = withDisks('disk', 'other');
  cell.apply(snapshot('good', cas(1, 0, 1)));
  cell.apply({ type: 'volumeGrow', volume: DISK, sizeBytes: 128 * MIB });
  const back = { type: 'rollback', volume: DISK, generation: gen(1) } as const;
  const [none, first] = [0 as FencingToken, 1 as FencingToken];
  t.is(cell.apply({ ...back, volume: 2 as VolumeId, token: none }).code, 'missing', "another's");
  cell.apply(make.lockAcquire({ token: 0, node: 1 }));
  t.is(cell.apply({ ...back, token: first }).code, 'held');
  cell.apply(make.lockRelease({ token: 1 }));
  t.is(cell.apply({ ...back, token: none }).code, 'stale');
  cell.apply({ type: 'volumeProtect', volume: DISK, isProtected: true });
  t.is(cell.apply({ ...back, token: first }).code, 'refused');
  cell.apply({ type: 'volumeProtect', volume: DISK, isProtected: false });
  t.is(cell.apply({ ...back, token: first }).code, 'ok');
  const view = viewOf(cell.state);
  const { head, sizeBytes } = view.volumes.get(DISK) ?? { head: gen(0), sizeBytes: 0 };
  t.is(sizeBytes, 64 * MIB, 'as large as it was');
  t.is(view.generations.get(head)?.parent, gen(1));
  t.false(view.generations.has(gen(3)), 'what was written since');
  t.is(view.generations.get(gen(1))?.tag, 'good', 'it can be rolled back again');
});

test('rollback to what was prepared in a clone: the volume is that, its own snapshots stay its own', (t) => {
  const cell = withDisks('disk', 'other');
  cell.apply(snapshot('base', cas(1, 0, 1)));
  cell.apply(clone('disk.next', cas(1, 0, 1)));
  const next = viewOf(cell.state).volumeByName('disk.next');
  cell.apply({ type: 'volumeGrow', volume: next?.id ?? DISK, sizeBytes: 128 * MIB });
  cell.apply(snapshot('good', cas(next?.id ?? 0, 0, next?.head ?? 0)));
  const [none, generation] = [0 as FencingToken, next?.head ?? gen(0)];
  const other = { type: 'rollback', volume: 2 as VolumeId, token: none, generation } as const;
  t.is(cell.apply(other).code, 'missing', 'of another family');
  t.is(cell.apply({ ...other, volume: DISK }).code, 'ok');
  const view = viewOf(cell.state);
  const { head, sizeBytes, name } = view.volumes.get(DISK) ?? {
    head: gen(0),
    sizeBytes: 0,
    name: '',
  };
  t.deepEqual([name, sizeBytes], ['disk', 128 * MIB]);
  t.is(view.generations.get(head)?.parent, generation);
  t.is(view.generations.get(gen(1))?.name, 'disk', 'the base is there');
});

test('delete: of a snapshot and of its volume in any order; a protected one stays; a second delete finds nothing', (t) => {
  const cell = withDisks('disk');
  cell.apply(snapshot('a', cas(1, 0, 1)));
  const drop = { type: 'snapshotDelete', generation: gen(1) } as const;
  cell.apply({ type: 'snapshotProtect', generation: gen(1), isProtected: true });
  t.is(cell.apply(drop).code, 'refused');
  cell.apply({ type: 'snapshotProtect', generation: gen(1), isProtected: false });
  t.is(cell.apply(make.volumeDelete({ token: 0 })).code, 'ok');
  t.is(cell.apply(make.volumeCreate({ name: 'disk' })).code, 'exists', 'disk@a is there');
  t.is(cell.apply(clone('disk', cas(0, 0, 1))).code, 'ok', 'a clone takes its place');
  t.is(cell.apply(drop).code, 'ok');
  t.is(cell.apply(drop).code, 'missing');
  t.is(cell.apply({ ...drop, generation: gen(3) }).code, 'missing', 'a head is no snapshot');
});

test('rename: snapshots are called after their volume', (t) => {
  const cell = withDisks('disk');
  cell.apply(snapshot('a', cas(1, 0, 1)));
  cell.apply({ type: 'volumeRename', volume: DISK, former: 'disk', name: 'web' });
  t.is(viewOf(cell.state).generations.get(gen(1))?.name, 'web');
  t.is(cell.apply(make.volumeCreate({ name: 'disk' })).code, 'ok');
});

test('reclaimed: what lay below lies below the parent, with the least of the limits', (t) => {
  const cell = withDisks('disk');
  cell.apply(snapshot('a', cas(1, 0, 1)));
  const shrink = { type: 'volumeShrink', volume: DISK, token: 0 as FencingToken } as const;
  cell.apply({ ...shrink, sizeBytes: 8 * MIB });
  cell.apply({ type: 'volumeGrow', volume: DISK, sizeBytes: 64 * MIB });
  cell.apply({ ...shrink, sizeBytes: 16 * MIB });
  const gone = (id: number) =>
    cell.apply({ type: 'generationReclaimed', generation: gen(id) }).code;
  t.is(gone(1), 'refused', 'a snapshot');
  t.is(gone(4), 'refused', 'a head');
  t.is(gone(3), 'ok');
  t.is(gone(3), 'duplicate');
  const view = viewOf(cell.state);
  t.like(
    view.generations.get(gen(4)),
    { parent: 2, limitBytes: 8 * MIB },
    'not 16 MiB: it was cut there',
  );
  t.deepEqual(
    ancestry(view, gen(4)).map(({ limitBytes }) => limitBytes),
    [NO_LIMIT, 8 * MIB, 8 * MIB],
  );
});

test('size: grows under a guest, shrinks without one; what is no size', (t) => {
  const cell = withDisks('disk');
  cell.apply(make.lockAcquire({ token: 0, node: 1 }));
  const grow = (sizeBytes: number) =>
    cell.apply({ type: 'volumeGrow', volume: DISK, sizeBytes }).code;
  const shrink = (token: number, sizeBytes: number) =>
    cell.apply({ type: 'volumeShrink', volume: DISK, token: token as FencingToken, sizeBytes })
      .code;
  t.is(grow(128 * MIB), 'ok');
  t.is(grow(128 * MIB), 'duplicate');
  t.is(grow(64 * MIB), 'stale', 'growing never shrinks');
  t.is(grow(2 ** 50), 'refused');
  t.is(shrink(1, 64 * MIB), 'held');
  cell.apply(make.lockRelease({ token: 1 }));
  t.is(shrink(0, 64 * MIB), 'stale');
  t.is(shrink(1, 64 * MIB + 512), 'refused', 'inside of a sector');
  t.is(shrink(1, 256 * MIB), 'stale', 'shrinking never grows');
  t.is(shrink(1, 64 * MIB), 'ok');
  t.is(viewOf(cell.state).volumes.get(DISK)?.sizeBytes, 64 * MIB);
});

test('names: a volume, or a volume and a tag', (t) => {
  t.deepEqual(parseVolumeName('disk'), { name: 'disk' });
  t.deepEqual(parseVolumeName('disk@monday'), { name: 'disk', tag: 'monday' });
  for (const bad of ['', '@x', 'disk@', 'a@b@c', 'disk@a b', `disk@${'t'.repeat(129)}`]) {
    t.throws(() => parseVolumeName(bad), { code: 'usage' }, bad);
  }
});

test('a deep clone moves into a family of its own from the first moment on, and shows its source until then', (t) => {
  const cell = withDisks('disk');
  cell.apply(snapshot('gold', cas(1, 0, 1)));
  t.like(cell.apply({ ...clone('web', cas(1, 0, 1)), isDeep: true } as EntryBody), {
    code: 'ok',
    value: 2,
  });
  const view = viewOf(cell.state);
  const web = view.volumeByName('web');
  const move = view.moves.get(2 as VolumeId);
  t.like(web, { family: 1, policy: 0, head: 3 } as never);
  t.like(view.generations.get(gen(3)), { parent: 1, state: 'head' } as never);
  t.like(move, { family: 2, policy: 0, generation: 4, token: 0 } as never);
  t.like(view.generations.get(gen(4)), { parent: 0, family: 2 } as never);
  cell.apply(make.lockAcquire({ volume: 2, token: 0, node: 1 }));
  t.is(
    viewOf(cell.state).moves.get(2 as VolumeId)?.generation,
    5 as never,
    'each session begins it anew',
  );
  const moved = {
    type: 'volumeMove',
    volume: 2 as VolumeId,
    token: 1 as FencingToken,
    head: gen(5),
  } as const;
  t.is(cell.apply(moved).code, 'ok');
  const after = viewOf(cell.state);
  t.is(after.generations.get(gen(3)), undefined);
  t.is(after.volumeByName('web')?.head, gen(5));
  t.is(cell.apply({ type: 'snapshotDelete', generation: gen(1) }).code, 'ok');
});
