// The trash: a deleted volume stays as it was until it is due by time that leaders counted, and no date has a say in it.

import test from 'ava';
import { hashOf, viewOf } from '../../src/core/cluster-state.ts';
import type { FencingToken, GenerationId, VolumeId } from '../../src/core/ids.ts';
import { policiesInUse } from '../../src/core/member-room.ts';
import {
  AGE_STEP_MS,
  MAX_AGE_STEP_MS,
  MAX_TRASH_MS,
  TrashWatch,
  trashMs,
  trashValue,
} from '../../src/core/trash.ts';
import { decodeState, encodeState } from '../../src/wire/state-codec.ts';
import { clusterOf, entryBodies as make, type StateCell } from '../fixtures.ts';

const DISK = 1 as VolumeId;
const KEEP_MS = 5 * AGE_STEP_MS;

function withDisk(): StateCell {
  const cell = clusterOf({ nodes: 2, copies: 2 });
  cell.apply(make.volumeCreate());
  return cell;
}

function trash(token = 0, keepMs = KEEP_MS) {
  const volume = { volume: DISK, token: token as FencingToken };
  return { type: 'volumeTrash', ...volume, keepMs, dateMs: 7 } as const;
}

const restore = (name: string) => ({ type: 'trashRestore', volume: DISK, name }) as const;
const purge = (by: 'time' | 'operator') => ({ type: 'trashPurge', volume: DISK, by }) as const;
const aged = (fromMs: number, byMs: number) => ({ type: 'aged', fromMs, byMs }) as const;

test('trash: nobody finds the volume, its name is free, its data is there; restored it is as it was', (t) => {
  const cell = withDisk();
  cell.apply({
    type: 'attributeSet',
    volume: DISK,
    key: 'k',
    value: new Uint8Array(3),
    isNew: true,
  });
  const before = cell.state.volumes.get(DISK);
  t.is(cell.apply(trash()).code, 'ok');
  const view = viewOf(cell.state);
  t.is(view.volumeByName('disk'), undefined);
  t.false(view.volumes.has(DISK));
  t.is(cell.apply(make.lockAcquire({ token: 0, node: 1 })).code, 'missing');
  t.is(
    view.volumeOfGeneration(1 as GenerationId),
    before,
    'its rows are kept, recovered, scrubbed',
  );
  t.deepEqual(view.trash.get(DISK), { volume: before, trashedMs: 7, dueAgeMs: KEEP_MS } as never);
  t.is(cell.apply(make.volumeCreate()).code, 'ok', 'another one of that name');
  t.is(cell.apply(restore('disk')).code, 'exists');
  t.is(cell.apply(restore('a/b')).code, 'refused');
  t.is(cell.apply(restore('old')).code, 'ok');
  const after = viewOf(cell.state);
  t.deepEqual({ ...after.volumeByName('old'), name: 'disk' }, { ...before });
  t.is(after.attributes.get(DISK)?.size, 1);
  t.is(after.trash.size, 0);
  t.is(cell.apply(restore('again')).code, 'missing');
});

test('trash: refused where a delete is: held, used since, protected', (t) => {
  const cell = withDisk();
  cell.apply(make.lockAcquire({ token: 0, node: 1 }));
  t.is(cell.apply(trash(1)).code, 'held');
  cell.apply(make.lockRelease({ token: 1 }));
  t.is(cell.apply(trash(0)).code, 'stale');
  cell.apply({ type: 'volumeProtect', volume: DISK, isProtected: true });
  t.is(cell.apply(trash(1)).code, 'refused');
  cell.apply({ type: 'volumeProtect', volume: DISK, isProtected: false });
  t.is(cell.apply(trash(1, 0)).code, 'refused', 'kept for no time');
  t.is(cell.apply(trash(1, MAX_TRASH_MS + 1)).code, 'refused');
  t.is(cell.apply(trash(1)).code, 'ok');
  t.is(cell.apply(trash(1)).code, 'missing');
});

test('trash: purged by time when it is due, by an operator at once; then all of it is gone', (t) => {
  const cell = withDisk();
  cell.apply(trash());
  t.is(cell.apply(purge('time')).code, 'stale');
  cell.apply(aged(0, KEEP_MS - 1));
  t.is(cell.apply(purge('time')).code, 'stale');
  t.is(cell.apply(aged(0, 1)).code, 'stale', 'counted by another leader already');
  t.is(cell.apply(aged(KEEP_MS - 1, MAX_AGE_STEP_MS + 1)).code, 'refused');
  cell.apply(aged(KEEP_MS - 1, 1));
  t.is(cell.apply(purge('time')).code, 'ok');
  const view = viewOf(cell.state);
  t.is(view.volumeOfGeneration(1 as GenerationId), undefined);
  t.is(view.generations.size, 0);
  t.is(cell.apply(purge('operator')).code, 'missing');
  const other = withDisk();
  other.apply(trash());
  t.is(other.apply(purge('operator')).code, 'ok');
});

test('trash: is in the bytes and in the hash, and so is the age', (t) => {
  const cell = withDisk();
  cell.apply({ type: 'policyCreate', copies: 1, minCopies: 1, strict: false });
  cell.apply(make.volumeCreate({ name: 'one', policy: 1 }));
  cell.apply({ ...trash(), volume: 2 as VolumeId });
  cell.apply(aged(0, 1000));
  const { state } = cell;
  const again = decodeState(encodeState(state));
  t.deepEqual(again.trash, state.trash);
  t.deepEqual(again.generations, state.generations);
  t.is(again.ageMs, 1000);
  t.is(hashOf(again), hashOf(state));
  t.not(hashOf({ ...state, ageMs: 999 }), hashOf(state));
  t.not(hashOf({ ...state, trash: new Map() }), hashOf(state));
  const policies = [...viewOf(state).policies.values()];
  t.is(policiesInUse(policies, state).length, 2, 'its copies count when a member wants to leave');
});

/** What leaders do as their clocks go on. */
function lead(cell: StateCell, watch: TrashWatch, now: number): readonly string[] {
  const entries = watch.plan(viewOf(cell.state), now);
  for (const body of entries) cell.apply(body);
  return entries.map(({ type }) => type);
}

test('trash: a leader counts while something is in it, and purges what is due', (t) => {
  const cell = withDisk();
  const watch = new TrashWatch();
  t.deepEqual(lead(cell, watch, 1e9), [], 'an empty one costs no entry');
  cell.apply(trash());
  const begun = 2e9;
  t.deepEqual(lead(cell, watch, begun), [], 'counted from the first look');
  t.deepEqual(lead(cell, watch, begun + AGE_STEP_MS - 1), []);
  for (let step = 1; step <= 5; step += 1) {
    t.deepEqual(lead(cell, watch, begun + step * AGE_STEP_MS), ['aged']);
  }
  t.is(cell.state.ageMs, KEEP_MS);
  t.deepEqual(lead(cell, watch, begun + 5 * AGE_STEP_MS + 1), ['trashPurge']);
  t.is(cell.state.trash.size, 0);
});

// 1.4: monotonic time of one process; who begins anew, or stood still, keeps longer, never shorter.
test('trash: changes of leaders and long pauses make it keep longer, never shorter', (t) => {
  const cell = withDisk();
  cell.apply(trash());
  const [one, other] = [new TrashWatch(), new TrashWatch()];
  lead(cell, one, 0);
  lead(cell, other, 5000);
  t.deepEqual(lead(cell, one, AGE_STEP_MS), ['aged']);
  t.deepEqual(lead(cell, other, 5000 + AGE_STEP_MS), [], 'that time is counted: it begins anew');
  t.is(cell.state.ageMs, AGE_STEP_MS);
  const late = 1000 * MAX_AGE_STEP_MS;
  t.deepEqual(lead(cell, other, late), ['aged']);
  t.is(cell.state.ageMs, AGE_STEP_MS + MAX_AGE_STEP_MS, 'a pause counts for an hour at most');
});

test('trash: the setting is a time, or off', (t) => {
  t.is(trashValue('7d'), String(7 * 24 * 3600 * 1000));
  t.is(trashValue('off'), '');
  t.throws(() => trashValue('0s'), { code: 'usage' });
  t.throws(() => trashValue('9999d'), { code: 'usage' });
  t.is(trashMs({ settings: new Map() }), 0);
  t.is(trashMs({ settings: new Map([['volumes/trash', '5000']]) }), 5000);
});
