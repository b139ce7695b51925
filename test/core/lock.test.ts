// The log's word on locks: who holds what since when from where, attach modes, and locks that an operator breaks.

import test from 'ava';
import { viewOf } from '../../src/core/cluster-state.ts';
import type { FencingToken, VolumeId } from '../../src/core/ids.ts';
import { holderText, isHolderDead, isSuperseded } from '../../src/core/lock.ts';
import type { AttachMode } from '../../src/core/view.ts';
import { decodeEntry, encodeEntry } from '../../src/wire/entry-codec.ts';
import { decodeState, encodeState } from '../../src/wire/state-codec.ts';
import { clusterOf, entryBodies, type StateCell, volumeLock } from '../fixtures.ts';

const NOON = Date.UTC(2026, 10, 23, 12, 0, 0);
const DISK = { volume: 1 as VolumeId };

const tokenOf = (token: number) => ({ ...DISK, token: token as FencingToken });
const attach = (token: number, attachMode: AttachMode) =>
  ({ type: 'volumeAttach', ...tokenOf(token), attachMode }) as const;
const broken = (token: number) => ({ type: 'lockBreak', ...tokenOf(token), by: 'ann' }) as const;

function held(): StateCell {
  const cell = clusterOf({ nodes: 3 });
  cell.apply(entryBodies.volumeCreate());
  cell.apply({ ...entryBodies.lockAcquire({ token: 0, node: 2 }), dateMs: NOON, from: '10.0.0.7' });
  return cell;
}

function diskOf(cell: StateCell) {
  const volume = viewOf(cell.state).volumeByName('disk');
  if (volume === undefined) throw new RangeError('no disk');
  return volume;
}

test('a grant notes since when and from where; who is refused hears of both', (t) => {
  const cell = held();
  t.like(diskOf(cell).lock, { sinceMs: NOON, from: '10.0.0.7' });
  const { code, detail } = cell.apply(entryBodies.lockAcquire({ token: 1, node: 1 }));
  t.is(code, 'held');
  t.regex(detail, /n2 since 2026-11-23 12:00:00 UTC, attached from 10\.0\.0\.7/);
  t.is(
    holderText(volumeLock({ node: diskOf(cell).lock.node })),
    'n2',
    'what nobody noted is left out',
  );
});

test('a text about where a client came from is bounded, whatever the proposer says', (t) => {
  const cell = clusterOf({ nodes: 2 });
  cell.apply(entryBodies.volumeCreate());
  cell.apply({ ...entryBodies.lockAcquire({ token: 0, node: 1 }), from: 'x'.repeat(500) });
  t.is(diskOf(cell).lock.from.length, 120);
});

test('the attach mode changes while nobody holds the volume, or its holder is dead; else the holder is named', (t) => {
  const cell = held();
  const refused = cell.apply(attach(1, 'exclusive'));
  t.like(refused, { code: 'held', value: 2 });
  t.regex(refused.detail, /n2 since/);
  t.is(diskOf(cell).attachMode, 'handover');
  cell.apply(entryBodies.lockRelease({ token: 1 }));
  t.is(cell.apply(attach(0, 'exclusive')).code, 'stale', 'somebody used it since');
  t.is(cell.apply(attach(1, 'exclusive')).code, 'ok');
  t.is(diskOf(cell).attachMode, 'exclusive');
  cell.apply(entryBodies.lockAcquire({ token: 1, node: 2 }));
  cell.apply(entryBodies.nodesDown({ nodes: [[2, 1]], baseEpoch: cell.state.epoch }));
  t.is(cell.apply(attach(2, 'shared-read')).code, 'ok');
  t.is(cell.apply({ ...attach(2, 'handover'), volume: 9 as VolumeId }).code, 'missing');
});

test('exclusive: the lock of a live holder is not to be had by anybody; that of a dead one is', (t) => {
  const cell = clusterOf({ nodes: 3 });
  cell.apply({ ...entryBodies.volumeCreate(), attachMode: 'exclusive' });
  cell.apply(entryBodies.lockAcquire({ token: 0, node: 2 }));
  t.is(cell.apply(entryBodies.lockAcquire({ token: 1, node: 1 })).code, 'held');
  t.is(cell.apply(entryBodies.takeover({ token: 1, node: 1 })).code, 'held');
  cell.apply(entryBodies.nodesDown({ nodes: [[2, 1]], baseEpoch: cell.state.epoch }));
  t.is(cell.apply(entryBodies.takeover({ token: 1, node: 1 })).code, 'ok');
});

test('a broken lock has another token and a dead holder: it is taken over, with the barrier', (t) => {
  const cell = held();
  t.is(cell.apply(broken(0)).code, 'stale');
  t.like(cell.apply(broken(1)), { code: 'ok', value: 2 });
  const { lock } = diskOf(cell);
  t.true(isSuperseded(lock));
  t.true(isHolderDead(viewOf(cell.state), lock));
  t.is(
    cell.apply(entryBodies.lockRelease({ token: 1 })).code,
    'stale',
    'the old holder gives nothing back',
  );
  t.is(
    cell.apply(entryBodies.lockAcquire({ token: 2, node: 1 })).code,
    'held',
    'never without a barrier',
  );
  t.like(cell.apply(entryBodies.takeover({ token: 2, node: 1 })), { code: 'ok', value: 3 });
  t.true(diskOf(cell).lock.tookOver);
  cell.apply(entryBodies.lockRelease({ token: 3 }));
  t.is(cell.apply(broken(3)).code, 'duplicate', 'a free lock is nobody’s');
});

test('entries and states keep it all; claims from before they noted anything are read as such', (t) => {
  const cell = held();
  cell.apply(broken(1));
  t.deepEqual(decodeState(encodeState(cell.state)).volumes, cell.state.volumes);
  const entry = cell.entries.find(({ body }) => body.type === 'lockAcquire');
  if (entry === undefined) throw new RangeError('no claim');
  const bytes = encodeEntry(entry);
  t.deepEqual(decodeEntry(bytes), entry);
  // As tag 80 has it: the same fields but for the date (6 bytes) and the text (4 and 8).
  const former = bytes.slice(0, bytes.length - 18);
  const at = former.lastIndexOf(83, former.length - 21);
  former[at] = 80;
  t.deepEqual(decodeEntry(former).body, { ...entry.body, dateMs: 0, from: '' });
});
