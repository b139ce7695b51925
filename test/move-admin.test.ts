// What an operator is told of a move is the log's word (C2.3): others use, move and delete the volume in between.

import test from 'ava';
import { deleteVolume } from '../src/admin.ts';
import { viewOf } from '../src/core/cluster-state.ts';
import { OperatingError } from '../src/core/errors.ts';
import type { VolumeId } from '../src/core/ids.ts';
import type { EntryBody } from '../src/core/log-entry.ts';
import type { ClusterView } from '../src/core/view.ts';
import { cancelMove, MAX_MOVE_TRIES, moveVolume } from '../src/move-admin.ts';
import { clusterOf, entryBodies as make, type StateCell } from './fixtures.ts';

/** A node whose view moves on when it proposes; `before` happens elsewhere right before each entry. */
function nodeOn(cell: StateCell, before: (tries: number) => void = () => {}) {
  let view: ClusterView = viewOf(cell.state);
  let tries = 0;
  const proposed: EntryBody['type'][] = [];
  const agreement = {
    propose: async (body: EntryBody) => {
      before(tries);
      tries += 1;
      proposed.push(body.type);
      const result = cell.apply(body);
      view = viewOf(cell.state);
      return result;
    },
    readCurrent: async () => {
      view = viewOf(cell.state);
    },
  };
  return { agreement, proposed, viewNow: () => view };
}

function withDisk(): StateCell {
  const cell = clusterOf({ nodes: 4, copies: 3 });
  cell.apply(make.volumeCreate());
  return cell;
}

const codeOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    (answer) => String(answer),
    (error: unknown) => (error instanceof OperatingError ? error.code : String(error)),
  );

test('a guest takes the lock in between: the move begins under its token', async (t) => {
  const cell = withDisk();
  const { agreement, proposed, viewNow } = nodeOn(cell, (tries) => {
    if (tries === 1) cell.apply(make.lockAcquire({ token: 0, node: 2 }));
  });
  t.is(await codeOf(moveVolume(agreement, viewNow, 'disk', { copies: 2 })), 'begun');
  t.deepEqual(proposed, ['policyCreate', 'moveStart', 'moveStart']);
  t.is(cell.state.moves.get(1 as VolumeId)?.token as number, 1);
});

test('another operator was quicker: with the same wish it is under way, with another one it turns', async (t) => {
  const cell = withDisk();
  cell.apply({ type: 'policyCreate', copies: 2, minCopies: 2, strict: false });
  const elsewhere = (policy: number) => (tries: number) => {
    if (tries === 0) cell.apply(make.moveStart({ token: 0, policy }));
  };
  const first = nodeOn(cell, elsewhere(1));
  t.is(await codeOf(moveVolume(first.agreement, first.viewNow, 'disk', { copies: 2 })), 'moving');
  const second = nodeOn(cell);
  t.is(await codeOf(moveVolume(second.agreement, second.viewNow, 'disk', { copies: 1 })), 'begun');
  t.is(
    cell.state.policies.get(cell.state.moves.get(1 as VolumeId)?.policy as never)?.policy.copies,
    1,
  );
});

test('it is over when the cancel comes: there is nothing to cancel', async (t) => {
  const cell = withDisk();
  cell.apply({ type: 'policyCreate', copies: 2, minCopies: 2, strict: false });
  cell.apply(make.lockAcquire({ token: 0, node: 2 }));
  cell.apply(make.moveStart({ token: 1, policy: 1 }));
  const { agreement, viewNow } = nodeOn(cell, () => {
    cell.apply(make.volumeMove({ token: 1, head: 2 }));
  });
  t.is(await codeOf(cancelMove(agreement, viewNow, 'disk')), 'same');
  t.is(cell.state.volumes.get(1 as VolumeId)?.policy as number, 1, 'it has moved');
  const later = nodeOn(cell);
  t.is(await codeOf(cancelMove(later.agreement, later.viewNow, 'disk')), 'same');
  t.is(await codeOf(cancelMove(later.agreement, later.viewNow, 'none')), 'missing');
});

test('used by others again and again: the command gives up and says so', async (t) => {
  const cell = withDisk();
  cell.apply({ type: 'policyCreate', copies: 2, minCopies: 2, strict: false });
  let token = 0;
  const { agreement, proposed, viewNow } = nodeOn(cell, () => {
    cell.apply(make.lockAcquire({ token, node: 2 }));
    token += 1;
    cell.apply(make.lockRelease({ token }));
  });
  t.is(await codeOf(moveVolume(agreement, viewNow, 'disk', { copies: 2 })), 'busy');
  t.is(proposed.length, MAX_MOVE_TRIES);
});

test('a delete asks a holder that only copies to let go, and never one with a guest', async (t) => {
  const cell = withDisk();
  cell.apply({ type: 'policyCreate', copies: 2, minCopies: 2, strict: false });
  cell.apply(make.moveStart({ token: 0, policy: 1 }));
  cell.apply(make.lockAcquire({ token: 0, node: 2 }));
  const { agreement, viewNow } = nodeOn(cell);
  t.is(await codeOf(deleteVolume(agreement, viewNow, 'disk', async () => false)), 'held');
  const letGo = async (): Promise<boolean> => {
    cell.apply(make.lockRelease({ token: 1 }));
    await agreement.readCurrent();
    return true;
  };
  t.is(await codeOf(deleteVolume(agreement, viewNow, 'disk', letGo)), 'undefined');
  t.is(cell.state.volumes.size + cell.state.moves.size, 0);
});
