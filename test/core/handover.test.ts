// The log's word on hand-overs: one holder at each index (H2), the token rises with every grant, cancelling included (A6).

import test from 'ava';
import { hashOf, viewOf } from '../../src/core/cluster-state.ts';
import type {
  FencingToken,
  GenerationId,
  Incarnation,
  NodeId,
  SessionId,
  VolumeId,
} from '../../src/core/ids.ts';
import type { LogEntry } from '../../src/core/log-entry.ts';
import { decodeEntry, encodeEntry } from '../../src/wire/entry-codec.ts';
import { decodeState, encodeState } from '../../src/wire/state-codec.ts';
import { clusterOf, entryBodies, type StateCell } from '../fixtures.ts';

const VOLUME = 1 as VolumeId;
const cas = (token: number) => ({ volume: VOLUME, token: token as FencingToken });
const prepare = (token: number, node: number) =>
  ({ type: 'handoverPrepare', ...cas(token), toNode: node as NodeId }) as const;
const cancel = (token: number) => ({ type: 'handoverCancel', ...cas(token) }) as const;
const complete = (token: number, node: number, incarnation = 1) =>
  ({
    type: 'handoverComplete',
    ...cas(token),
    node: node as NodeId,
    incarnation: incarnation as Incarnation,
    session: 7 as SessionId,
    dateMs: 5,
    from: 'qemu',
  }) as const;

/** Node 2 holds `disk` under token 1. */
function held(): StateCell {
  const cell = clusterOf({ nodes: 3 });
  cell.apply(entryBodies.volumeCreate());
  cell.apply(entryBodies.lockAcquire({ token: 0, node: 2 }));
  return cell;
}

function lockOf(cell: StateCell) {
  const lock = viewOf(cell.state).volumeByName('disk')?.lock;
  if (lock === undefined) throw new RangeError('no disk');
  return lock;
}

test('complete: the lock goes to the asking session with the next token, and without a barrier', (t) => {
  const cell = held();
  t.like(cell.apply(complete(1, 3)), { code: 'ok', value: 2 });
  t.like(lockOf(cell), { node: 3, session: 7, token: 2, tookOver: false, from: 'qemu' });
  t.is(cell.apply(complete(1, 3)).code, 'duplicate');
  t.is(cell.apply(complete(1, 1)).code, 'stale');
});

test('complete: also after the drained holder died, for it had nothing in flight; not of a free lock', (t) => {
  const cell = held();
  cell.apply(entryBodies.nodesDown({ nodes: [[2, 1]], baseEpoch: cell.state.epoch }));
  t.is(cell.apply(complete(1, 3, 2)).code, 'refused', 'that life of the taker is not up');
  t.is(cell.apply(complete(1, 3)).code, 'ok');
  const free = held();
  free.apply(entryBodies.lockRelease({ token: 1 }));
  t.is(free.apply(complete(1, 3)).code, 'stale');
});

test('cancel: the same session goes on with the next token; who was told that it is drained is too late', (t) => {
  const cell = held();
  t.like(cell.apply(cancel(1)), { code: 'ok', value: 2 });
  t.like(lockOf(cell), { node: 2, session: 1, token: 2, state: 'held' });
  t.is(lockOf(cell).grantedAt, cell.state.index);
  t.is(cell.apply(complete(1, 3)).code, 'stale');
  t.is(cell.apply(cancel(1)).code, 'stale');
});

test('cancel: what a takeover owes is still owed; a dead or free holder is not revived', (t) => {
  const cell = held();
  cell.apply(entryBodies.nodesDown({ nodes: [[2, 1]], baseEpoch: cell.state.epoch }));
  t.is(cell.apply(cancel(1)).code, 'refused');
  cell.apply(entryBodies.takeover({ token: 1, node: 3 }));
  cell.apply(cancel(2));
  t.like(lockOf(cell), { node: 3, token: 3, tookOver: true });
  cell.apply(entryBodies.lockRelease({ token: 3 }));
  t.is(cell.apply(cancel(3)).code, 'refused');
});

test('prepare: names a member that is up, beside a holder that lives; every grant and release ends it', (t) => {
  const cell = held();
  t.is(cell.apply(prepare(0, 3)).code, 'stale');
  t.is(cell.apply(prepare(1, 2)).code, 'refused', 'it holds it already');
  t.is(cell.apply(prepare(1, 9)).code, 'refused');
  t.is(cell.apply(prepare(1, 3)).code, 'ok');
  t.like(lockOf(cell), { node: 2, token: 1, next: 3 });
  t.is(cell.apply(prepare(1, 3)).code, 'duplicate');
  t.is(cell.apply(prepare(1, 1)).code, 'ok', 'another one takes its place');
  cell.apply(complete(1, 1));
  t.is(lockOf(cell).next as number, 0);
  cell.apply(prepare(2, 3));
  cell.apply(cancel(2));
  t.is(lockOf(cell).next as number, 0);
  cell.apply(prepare(3, 3));
  cell.apply(entryBodies.lockRelease({ token: 3 }));
  t.is(lockOf(cell).next as number, 0);
  t.is(cell.apply(prepare(3, 3)).code, 'refused', 'nobody holds it');
});

test('entries and states keep it all; a lock without a successor hashes as it did before there were any', (t) => {
  const cell = held();
  const before = hashOf(cell.state);
  cell.apply(prepare(1, 3));
  t.not(hashOf(cell.state), before);
  t.deepEqual(decodeState(encodeState(cell.state)).volumes, cell.state.volumes);
  cell.apply(complete(1, 3));
  cell.apply(cancel(2));
  for (const entry of cell.entries as readonly LogEntry[]) {
    t.deepEqual(decodeEntry(encodeEntry(entry)), entry);
  }
});

test('the end of a hold: the same session with the next token, so that a late snapshot freezes nothing (S4)', (t) => {
  const cell = held();
  cell.apply(prepare(1, 3));
  const holdEnd = (token: number) => ({ type: 'holdEnd', ...cas(token) }) as const;
  const before = lockOf(cell);
  t.like(cell.apply(holdEnd(1)), { code: 'ok', value: 2 });
  t.like(lockOf(cell), { node: 2, session: before.session, token: 2, next: 3, tookOver: false });
  t.is(cell.apply(holdEnd(1)).code, 'stale');
  const volumes = [{ ...cas(1), head: 1 as GenerationId }];
  t.is(cell.apply({ type: 'snapshot', volumes, tag: 'late', dateMs: 0 }).code, 'stale');
  cell.apply(entryBodies.lockRelease({ token: 2 }));
  t.is(cell.apply(holdEnd(2)).code, 'refused', 'nobody holds it');
});
