// What is said of volumes' names is the log's word, not that of a view that may be old (C2.3).

import test from 'ava';
import {
  createVolume,
  deleteVolume,
  MAX_DELETE_TRIES,
  stillHeld,
  volumeNow,
} from '../src/admin.ts';
import type { Agreement } from '../src/agreement/agreement.ts';
import { viewOf } from '../src/core/cluster-state.ts';
import { hasCode, OperatingError } from '../src/core/errors.ts';
import type { VolumeId } from '../src/core/ids.ts';
import type { ApplyResult, EntryBody } from '../src/core/log-entry.ts';
import type { ClusterView } from '../src/core/view.ts';
import { clusterOf, entryBodies, type StateCell } from './fixtures.ts';

const SIZE = 1 << 20;

/** A node whose view stands still until it proposes or reads what is current. */
function staleNode(cell: StateCell, beforeEntry: () => void = () => {}) {
  let view: ClusterView = viewOf(cell.state);
  const catchUp = (): void => {
    view = viewOf(cell.state);
  };
  const proposed: EntryBody[] = [];
  const agreement = {
    propose: async (body: EntryBody): Promise<ApplyResult> => {
      beforeEntry();
      proposed.push(body);
      const result = cell.apply(body);
      catchUp();
      return result;
    },
    readCurrent: async () => catchUp(),
  } as unknown as Agreement;
  return { agreement, proposed, viewNow: () => view };
}

function volume(cell: StateCell, name: string): void {
  cell.apply(entryBodies.volumeCreate({ name, sizeBytes: SIZE }));
}

function drop(cell: StateCell, name: string): void {
  const found = viewOf(cell.state).volumeByName(name);
  if (found === undefined) throw new RangeError(name);
  cell.apply(entryBodies.volumeDelete({ volume: found.id, token: found.lock.token }));
}

const codeOf = async (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'done',
    (error: unknown) => (error instanceof OperatingError ? error.code : String(error)),
  );

test('create: a name that was given back elsewhere is free', async (t) => {
  const cell = clusterOf({ nodes: 3 });
  volume(cell, 'a');
  const { agreement, viewNow } = staleNode(cell);
  drop(cell, 'a');
  t.is(await createVolume(agreement, viewNow(), { name: 'a', sizeBytes: SIZE }), 2 as VolumeId);
  t.is(await codeOf(createVolume(agreement, viewNow(), { name: 'a', sizeBytes: SIZE })), 'exists');
});

test('delete: what another node deleted first is missing', async (t) => {
  const cell = clusterOf({ nodes: 3 });
  volume(cell, 'a');
  const { agreement, viewNow } = staleNode(cell);
  drop(cell, 'a');
  t.is(await codeOf(deleteVolume(agreement, viewNow, 'a')), 'missing');
});

test('delete: what was made anew under the name is meant', async (t) => {
  const cell = clusterOf({ nodes: 3 });
  volume(cell, 'a');
  const { agreement, viewNow, proposed } = staleNode(cell);
  drop(cell, 'a');
  volume(cell, 'a');
  t.is(await codeOf(deleteVolume(agreement, viewNow, 'a')), 'done');
  t.is(viewOf(cell.state).volumeByName('a'), undefined);
  t.is(proposed.length, 2);
});

test('delete: what was used and given back meanwhile is deleted all the same', async (t) => {
  const cell = clusterOf({ nodes: 3 });
  volume(cell, 'a');
  const { agreement, viewNow } = staleNode(cell);
  useOnce(cell);
  t.is(await codeOf(deleteVolume(agreement, viewNow, 'a')), 'done');
});

test('delete: who meets others every time gives up, and says so', async (t) => {
  const cell = clusterOf({ nodes: 3 });
  volume(cell, 'a');
  const { agreement, viewNow, proposed } = staleNode(cell, () => useOnce(cell));
  t.is(await codeOf(deleteVolume(agreement, viewNow, 'a')), 'busy');
  t.is(proposed.length, MAX_DELETE_TRIES);
});

test('look-up: nothing is missing before this node has caught up; without a majority nobody can say', async (t) => {
  const cell = clusterOf({ nodes: 3 });
  const { agreement, viewNow } = staleNode(cell);
  volume(cell, 'a');
  t.is((await volumeNow(agreement, viewNow, 'a')).name, 'a');
  t.is(await codeOf(volumeNow(agreement, viewNow, 'b')), 'missing');
  const cut = {
    readCurrent: () => Promise.reject(new OperatingError('no-quorum', 'nobody answers')),
  };
  t.true(hasCode(await volumeNow(cut, viewNow, 'b').catch((error) => error), 'no-quorum'));
});

/** Somebody takes the lock of volume 1 and gives it back. */
function useOnce(cell: StateCell): void {
  const { token } = viewOf(cell.state).volumeByName('a')?.lock ?? { token: 0 };
  cell.apply(entryBodies.lockAcquire({ volume: 1, token, node: 1, session: 1 }));
  cell.apply(entryBodies.lockRelease({ volume: 1, token: token + 1 }));
}

test('a volume that stays says the way out: its guest goes, or its holder that is away', (t) => {
  const cell = clusterOf({ nodes: 2 });
  cell.apply(entryBodies.volumeCreate({ name: 'disk' }));
  cell.apply(entryBodies.lockAcquire({ token: 0, node: 2 }));
  const remedyNow = (): string => {
    const view = viewOf(cell.state);
    const volume = view.volumeByName('disk');
    const refused = { code: 'held', value: 2, detail: 'in use' } as const;
    return volume === undefined ? '' : stillHeld(view, volume, refused).remedy;
  };
  t.regex(remedyNow(), /disconnect its guest/);
  cell.apply(entryBodies.nodesDown({ nodes: [[2, 1]], baseEpoch: cell.state.epoch }));
  t.regex(remedyNow(), /n2 is down.*dog vdi lock unlock disk/);
});
