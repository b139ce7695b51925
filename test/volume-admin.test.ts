// What operators do with one volume is decided about the volume that the name stands for when the log says so.

import test from 'ava';
import { MAX_LOCK_TRIES } from '../src/admin.ts';
import { viewOf } from '../src/core/cluster-state.ts';
import { OperatingError } from '../src/core/errors.ts';
import type { ApplyResult, EntryBody } from '../src/core/log-entry.ts';
import type { ClusterView } from '../src/core/view.ts';
import { volumeAdmin } from '../src/volume-admin.ts';
import { clusterOf, entryBodies as make, type StateCell } from './fixtures.ts';

const BYTES = new TextEncoder().encode('anna');

/** A node whose view stands still until it proposes or reads what is current. */
function nodeOf(cell: StateCell, beforeEntry: () => void = () => {}) {
  let view: ClusterView = viewOf(cell.state);
  const proposed: string[] = [];
  const admin = volumeAdmin(
    {
      propose: async (body: EntryBody): Promise<ApplyResult> => {
        beforeEntry();
        proposed.push(body.type);
        const result = cell.apply(body);
        view = viewOf(cell.state);
        return result;
      },
      readCurrent: async () => {
        view = viewOf(cell.state);
      },
    },
    () => view,
    () => 1000,
  );
  return { admin, proposed };
}

function withDisk(): StateCell {
  const cell = clusterOf({ nodes: 2, copies: 2 });
  cell.apply(make.volumeCreate());
  return cell;
}

const codeOf = async (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'done',
    (error: unknown) => (error instanceof OperatingError ? error.code : String(error)),
  );

test('rename: not while a guest has it, unless that is said; a dead holder bars nothing', async (t) => {
  const cell = withDisk();
  cell.apply(make.lockAcquire({ token: 0, node: 1 }));
  const { admin, proposed } = nodeOf(cell);
  t.is(await codeOf(admin.rename('disk', 'web')), 'held');
  t.deepEqual(proposed, []);
  t.is(await codeOf(admin.rename('disk', 'web', { force: true })), 'done');
  cell.apply(make.nodesDown({ nodes: [[1, 1]], baseEpoch: cell.state.epoch }));
  t.is(await codeOf(nodeOf(cell).admin.rename('web', 'blue')), 'done');
  t.is(await codeOf(nodeOf(cell).admin.rename('web', 'red')), 'missing');
  t.is(await codeOf(nodeOf(cell).admin.rename('blue', 'a b')), 'usage');
  cell.apply(make.volumeCreate({ name: 'red' }));
  t.is(await codeOf(nodeOf(cell).admin.rename('blue', 'red')), 'exists');
});

// Two operators rename at once: the second one meant a volume that is called otherwise by then.
test('rename: of a volume that was renamed meanwhile the name is missing; of one made anew it is that', async (t) => {
  const cell = withDisk();
  let steps = 0;
  const { admin } = nodeOf(cell, () => {
    steps += 1;
    if (steps > 1) return;
    cell.apply({ type: 'volumeRename', volume: 1 as never, former: 'disk', name: 'web' });
  });
  t.is(await codeOf(admin.rename('disk', 'blue')), 'missing');
  t.is(viewOf(cell.state).volumeByName('web')?.id, 1 as never);
});

test('one that is renamed away and made anew before each entry: busy, not for ever', async (t) => {
  const cell = withDisk();
  let round = 0;
  const { admin, proposed } = nodeOf(cell, () => {
    const volume = viewOf(cell.state).volumeByName('disk')?.id;
    round += 1;
    if (volume === undefined) return;
    cell.apply({ type: 'volumeRename', volume, former: 'disk', name: `gone${round}` });
    cell.apply(make.volumeCreate());
  });
  t.is(await codeOf(admin.rename('disk', 'web')), 'busy');
  t.is(proposed.length, MAX_LOCK_TRIES);
});

test('protect, attributes: what is there, what is missing, what is no key', async (t) => {
  const cell = withDisk();
  const { admin } = nodeOf(cell);
  t.is(await codeOf(admin.protect('disk', true)), 'done');
  t.true(viewOf(cell.state).volumeByName('disk')?.isProtected);
  t.is(await codeOf(admin.protect('none', true)), 'missing');
  t.is(await codeOf(admin.setAttribute('disk', 'owner', BYTES, true)), 'done');
  t.is(await codeOf(admin.setAttribute('disk', 'owner', BYTES, true)), 'exists');
  t.is(await codeOf(admin.setAttribute('disk', 'owner', BYTES, false)), 'done');
  t.is(await codeOf(admin.setAttribute('disk', '', BYTES, false)), 'usage');
  t.is(await codeOf(admin.setAttribute('none', 'owner', BYTES, false)), 'missing');
  t.deepEqual([...(await admin.attributes('disk'))], [['owner', BYTES]]);
  t.is(await codeOf(admin.removeAttribute('disk', 'none')), 'missing');
  t.is(await codeOf(admin.removeAttribute('disk', 'owner')), 'done');
  t.is((await admin.attributes('disk')).size, 0);
  t.is(await codeOf(admin.attributes('none')), 'missing');
});

test('attributes: are read as the log has them, not as this node has heard (C2.3)', async (t) => {
  const cell = withDisk();
  const [one, other] = [nodeOf(cell).admin, nodeOf(cell).admin];
  await one.setAttribute('disk', 'owner', BYTES, true);
  t.deepEqual((await other.attributes('disk')).get('owner'), BYTES);
});
