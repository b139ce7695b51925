// The driver between reducer and disk: nothing is acted on before it is synced, and nothing happens after the stop.

import test from 'ava';
import { RaftDriver, SPLIT_SHOWN_MS } from '../../src/agreement/raft-driver.ts';
import type { MapIndex, NodeId } from '../../src/core/ids.ts';
import { invariant } from '../../src/core/invariant.ts';
import type { LogEntry } from '../../src/core/log-entry.ts';
import { NO_BASE } from '../../src/core/raft/state.ts';
import type { LogAppend, RaftLog } from '../../src/storage/raft-log.ts';
import { FakeClock, SeededRandom } from '../datapath/fake-clock.ts';
import { clusterOf, NO_ORIGIN } from '../fixtures.ts';

const noop = { type: 'noop' } as const;

/** The sole voter of a cluster, or a node that only learns, on a log whose syncs the test ends. */
function loneVoter(self = 1) {
  const clock = new FakeClock();
  const entries = [...clusterOf({ nodes: 1, partitions: 1, settled: false }).entries];
  const pending: (() => void)[] = [];
  const log = {
    hardState: { term: 1, vote: 0 },
    base: NO_BASE,
    isMuted: false,
    entries,
    commit: entries.length,
    append: (append: LogAppend, done: () => void) => {
      pending.push(() => {
        entries.push(...append.entries);
        invariant((append.commit ?? log.commit) >= log.commit, 'the commit index never falls');
        log.commit = append.commit ?? log.commit;
        done();
      });
    },
  };
  const seen = { commits: [] as number[], roles: [] as string[] };
  const driver = new RaftDriver({
    self: self as NodeId,
    log: log as unknown as RaftLog,
    clock,
    random: new SeededRandom(1),
    trace: { event: () => {}, warn: () => {}, count: () => {} },
    send: () => {},
    onCommitted: () => seen.commits.push(log.commit),
    onRole: (role) => seen.roles.push(role),
    onSnapshotNeeded: () => {},
  });
  const sync = (): void => {
    for (const done of pending.splice(0)) done();
  };
  const syncAll = (): void => {
    while (pending.length > 0) sync();
  };
  return { driver, clock, log, pending, seen, sync, syncAll };
}

test('raft-driver: a sole voter leads once its vote is synced, not before (C2.1)', (t) => {
  const { driver, clock, seen, syncAll } = loneVoter();
  driver.start();
  clock.run(60_000);
  t.not(driver.role, 'leader');
  syncAll();
  t.is(driver.role, 'leader');
  t.is(seen.roles.at(-1), 'leader');
});

test('raft-driver: an entry is acted on after its commit index is synced, and one sync covers many (C2.9)', (t) => {
  const { driver, log, pending, seen, sync, syncAll } = loneVoter();
  driver.start();
  syncAll();
  const before = seen.commits.length;
  for (let i = 0; i < 10; i += 1) t.truthy(driver.propose(NO_ORIGIN, noop).index);
  t.is(seen.commits.length, before);
  while (seen.commits.length === before && pending.length > 0) {
    t.true(log.commit <= (seen.commits.at(-1) ?? log.commit), 'not synced, not told');
    sync();
  }
  syncAll();
  t.is(seen.commits.at(-1), log.commit);
  t.is(driver.commit, log.commit);
  t.true(seen.commits.length - before < 10);
});

test('raft-driver: a node that learns syncs once per batch, entries and commit index together (C2.9)', (t) => {
  const { driver, clock, log, pending, seen, sync } = loneVoter(2);
  driver.start();
  clock.run(0);
  const first = log.commit + 1;
  const batch = (from: number, count: number) =>
    Array.from({ length: count }, (_, i): LogEntry => {
      return { index: (from + i) as MapIndex, term: 1, origin: NO_ORIGIN, body: noop };
    });
  driver.learn(batch(first, 10), first + 9, 1);
  driver.learn(batch(first + 10, 10), first + 19, 1);
  t.deepEqual([pending.length, seen.commits], [1, []]);
  sync();
  clock.run(0);
  // What came meanwhile is on its way to the disk already, and is acted on together.
  t.is(pending.length, 2);
  t.deepEqual(seen.commits, []);
  sync();
  clock.run(0);
  t.deepEqual([pending.length, seen.commits], [0, [first + 19]]);
});

test('raft-driver: who does not lead refuses and names no leader that it does not know', (t) => {
  const { driver } = loneVoter();
  driver.start();
  t.deepEqual(driver.propose(NO_ORIGIN, noop), { index: undefined, leader: undefined });
});

test('raft-driver: nothing is told after the stop, whatever ends then', (t) => {
  const { driver, clock, seen, syncAll } = loneVoter();
  driver.start();
  syncAll();
  driver.propose(NO_ORIGIN, noop);
  const before = JSON.stringify(seen);
  driver.stop();
  syncAll();
  clock.run(60_000);
  t.is(JSON.stringify(seen), before);
});

test('raft-driver: what is not committed is given to nobody', (t) => {
  const { driver, log, syncAll } = loneVoter();
  driver.start();
  syncAll();
  const committed = log.commit;
  driver.propose(NO_ORIGIN, noop);
  t.is(driver.committedFrom(1, 1000)?.length, committed);
  t.is(driver.committedFrom(1, 2)?.length, 2);
  t.deepEqual(driver.committedFrom(committed + 1, 10), []);
});

test('raft-driver: who contradicts what is committed here is told of, for a while (A3)', (t) => {
  const { driver, clock, log, syncAll } = loneVoter();
  driver.start();
  syncAll();
  t.deepEqual(driver.splitFrom, []);
  const other = { term: 99, prevIndex: 1, prevTerm: 98, entries: [], commit: log.commit };
  driver.receive(2 as NodeId, { type: 'append', ...other });
  t.deepEqual(driver.splitFrom, [2 as NodeId]);
  clock.run(SPLIT_SHOWN_MS + 1);
  t.deepEqual(driver.splitFrom, [], 'it was stopped');
});
