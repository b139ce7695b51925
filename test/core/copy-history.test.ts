// Where the copies of a partition were: each config that entries made, and from where on it is known.

import test from 'ava';
import { emptyState, viewOf } from '../../src/core/cluster-state.ts';
import { CopyHistory } from '../../src/core/copy-history.ts';
import type { PolicyId } from '../../src/core/ids.ts';
import { clusterOf, entryBodies, StateCell, settle } from '../fixtures.ts';

const WHERE = { policy: 0 as PolicyId, p: 3 };

/** A cluster that lost a node and has it back. */
function lived(): StateCell {
  const cell = clusterOf({ nodes: 3, copies: 3 });
  cell.apply(entryBodies.nodesDown({ nodes: [[3, 1]], baseEpoch: cell.state.epoch }));
  cell.apply(entryBodies.nodeUp({ node: 3, incarnation: 2 }));
  settle(cell);
  return cell;
}

test('history: each config by its entry and epoch; the last one is what the map says', (t) => {
  const { state, entries } = lived();
  const history = new CopyHistory(WHERE, emptyState());
  for (const entry of entries) history.apply(entry);
  const found = history.all;
  t.is(found[0]?.by, 'format');
  const down = found.find(({ by }) => by === 'nodesDown');
  t.false(down?.inSync.includes(3 as never));
  const last = found.at(-1);
  const now = viewOf(state).partition(WHERE.policy, WHERE.p);
  t.deepEqual([last?.cfg, last?.inSync, last?.joining], [now.cfg, now.inSync, now.joining]);
  for (let i = 1; i < found.length; i += 1) {
    t.true((found[i]?.cfg ?? 0) >= (found[i - 1]?.cfg ?? 0));
    t.true((found[i]?.index ?? 0) > (found[i - 1]?.index ?? 0));
  }
});

test('history: from a snapshot on, the rest is not known; entries that do not follow are passed over', (t) => {
  const { entries } = lived();
  const cut = entries.findIndex(({ body }) => body.type === 'nodesDown');
  const before = new StateCell();
  for (const { body } of entries.slice(0, cut)) before.apply(body);
  const history = new CopyHistory(WHERE, before.state);
  for (const entry of entries) history.apply(entry);
  t.is(history.all[0]?.by, '');
  t.is(history.all[0]?.index, cut);
  t.true(history.all.some(({ by }) => by === 'nodesDown'));
  t.false(history.all.some(({ by }) => by === 'format'));
});
