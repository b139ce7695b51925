// A round of catch-up: promotions are lists, and a pause ends it.

import test from 'ava';
import { CatchUpRound, PROMOTE_MOST } from '../src/catch-up-round.ts';
import { viewOf } from '../src/core/cluster-state.ts';
import type { EntryBody } from '../src/core/log-entry.ts';
import { RECOVERY_ENABLED_KEY } from '../src/core/recovery-settings.ts';
import type { CatchUp, DrainOrders } from '../src/datapath/catch-up.ts';
import { FakeClock } from './datapath/fake-clock.ts';
import { casOf, clusterOf, entryBodies, nodeId } from './fixtures.ts';

const P = 1024;

/** A node that joins all partitions, and a catch-up that copies at once. */
function joining(onDrained: (drained: number) => void = () => undefined) {
  const cell = clusterOf({ nodes: 3, partitions: P, copies: 3, minCopies: 1 });
  const all = () => Array.from({ length: P }, (_, p) => casOf(cell, p));
  cell.apply(entryBodies.isrShrink({ partitions: all(), node: 3 }));
  cell.apply(entryBodies.isrJoin({ partitions: all(), node: 3, incarnation: 1 }));
  const proposed: EntryBody[] = [];
  let view = viewOf(cell.state);
  const agreement = {
    propose: async (body: EntryBody) => {
      proposed.push(body);
      const result = cell.apply(body);
      view = viewOf(cell.state);
      return result;
    },
  };
  let drained = 0;
  const catchUp = {
    run: async (orders: DrainOrders) => {
      for (let where = orders.next(); where !== undefined; where = orders.next()) {
        drained += 1;
        onDrained(drained);
        if (drained === 10) cell.apply({ type: 'setting', key: 'x', value: 'y' });
        const { policy, p, cfg } = where;
        const source = nodeId(1);
        const found = { policy, p, cfg, source, sourceApplied: view.index };
        orders.ended(where, orders.isWanted(where) ? found : undefined);
        await Promise.resolve();
      }
    },
  };
  const round = new CatchUpRound({
    ...{ self: nodeId(3), clock: new FakeClock(), agreement: agreement as never },
    trace: { event: () => undefined, warn: () => undefined, count: () => undefined },
    incarnation: () => 1 as never,
    view: () => view,
  });
  const pause = (): void => {
    cell.apply({ type: 'setting', key: RECOVERY_ENABLED_KEY, value: 'no' });
    view = viewOf(cell.state);
  };
  return {
    run: () => round.run(catchUp as unknown as CatchUp, {}),
    cell,
    proposed,
    pause,
    drained: () => drained,
  };
}

test('round: thousands of partitions are promoted by few entries of the log', async (t) => {
  const made = joining();
  await made.run();
  t.is(made.drained(), P);
  t.is(made.cell.state.policies.get(0 as never)?.explicit.size, 0, 'all are in sync');
  const lists = made.proposed.map((body) =>
    body.type === 'isrPromote' ? body.partitions.length : 0,
  );
  t.true(lists.length <= 24, `${lists.length} entries: ${lists.join()}`);
  t.true(Math.max(...lists) <= PROMOTE_MOST);
});

test('round: a pause ends it, and what was caught up before is promoted', async (t) => {
  const made = joining((drained) => {
    if (drained === 100) made.pause();
  });
  await made.run();
  t.is(made.drained(), 100);
  t.is(made.cell.state.policies.get(0 as never)?.explicit.size, P - 99);
});
