// A node that is behind gets the log from whoever has it, whatever is lost, and applies it in order.

import test from 'ava';
import {
  AUDITS_KEPT,
  type CommittedLog,
  Learner,
  MAX_PULL_TRIES,
  PULL_PAUSE_MS,
} from '../../src/agreement/learner.ts';
import type { RaftDriver } from '../../src/agreement/raft-driver.ts';
import { OperatingError } from '../../src/core/errors.ts';
import type { NodeId, PeerKey } from '../../src/core/ids.ts';
import { InvariantError } from '../../src/core/invariant.ts';
import type { EntryBody, LogEntry } from '../../src/core/log-entry.ts';
import type { Trace } from '../../src/ports/ports.ts';
import type { ReplyBody } from '../../src/wire/messages.ts';
import { settle } from '../actors/hand-clock.ts';
import { FakeClock, SeededRandom } from '../datapath/fake-clock.ts';
import { NO_ORIGIN } from '../fixtures.ts';

const noop: EntryBody = { type: 'noop' };

function entriesTo(count: number): LogEntry[] {
  return Array.from(
    { length: count },
    (_, i): LogEntry => ({
      index: (i + 1) as LogEntry['index'],
      term: 1,
      origin: NO_ORIGIN,
      body: noop,
    }),
  );
}

/** The log on disk, as the learner sees it; it starts at `first`. */
function logOf(entries: readonly LogEntry[], commit: number, first = 1): CommittedLog {
  return { commit, entryAt: (index) => (index < first ? undefined : entries[index - 1]) };
}

/** Others have `there.log`; this node's log is `own`. */
function world(sources = ['a', 'b', 'c']) {
  const clock = new FakeClock();
  const there = {
    log: entriesTo(0),
    perPull: 100,
    isSilent: false,
    onLearn: () => {},
    onSnapshot: () => {},
    first: 1,
  };
  const own: LogEntry[] = [];
  const asked: string[] = [];
  const notes: string[] = [];
  const driver = {
    get commit() {
      return own.length;
    },
    learn: (entries: readonly LogEntry[]) => {
      there.onLearn();
      own.push(...entries.filter(({ index }) => index > own.length));
      return true;
    },
  } as unknown as RaftDriver;
  const trace: Trace = { event: (name) => notes.push(name), warn: () => {}, count: () => {} };
  const applied: number[] = [];
  const views: number[] = [];
  const learner: Learner = new Learner({
    clock,
    random: new SeededRandom(1),
    trace,
    driver: () => driver,
    ask: async (peer, body): Promise<ReplyBody> => {
      asked.push(peer);
      if (there.isSilent || body.type !== 'pull') throw new OperatingError('timeout', 'silent');
      const commit = there.log.length as LogEntry['index'];
      if (body.from < there.first) {
        return { type: 'compacted', snapshot: there.first as LogEntry['index'], commit };
      }
      const entries = there.log.slice(body.from - 1, body.from - 1 + there.perPull);
      return { type: 'entries', entries, commit: there.log.length as LogEntry['index'] };
    },
    sources: () => sources as PeerKey[],
    keyOf: (node) => `key-${node}` as PeerKey,
    onApplied: ({ index }) => applied.push(index),
    onView: ({ index }) => views.push(index),
    onContradicted: () => {},
    fetchSnapshot: async (peer) => {
      asked.push(`snapshot of ${peer}`);
      there.onSnapshot();
    },
    onInstalled: ({ index }) => notes.push(`installed ${index}`),
    onAudit: ({ index }) => notes.push(`audit ${index}`),
    auditEvery: 10,
  });
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += PULL_PAUSE_MS) {
      clock.run(PULL_PAUSE_MS);
      await settle();
    }
  };
  return { learner, there, own, asked, notes, applied, views, pass };
}

test('learner: entries are applied in order, each once, with one view per batch', (t) => {
  const { learner, applied, views } = world();
  const log = entriesTo(5);
  learner.advance(logOf(log, 3));
  learner.advance(logOf(log, 3));
  learner.advance(logOf(log, 2));
  learner.advance(logOf(log, 9));
  t.deepEqual(applied, [1, 2, 3, 4, 5]);
  t.deepEqual(views, [3, 5]);
  t.is(Number(learner.applied), 5);
});

test('learner: a gap is pulled to its end, first from whoever was named (C8.3)', async (t) => {
  const { learner, there, own, asked } = world();
  there.log = entriesTo(250);
  learner.pull(250, 7 as NodeId);
  await settle();
  t.is(own.length, 250);
  t.deepEqual(asked, ['key-7', 'key-7', 'key-7']);
});

test('learner: one pull runs at a time, and a higher target is reached by it', async (t) => {
  const { learner, there, own, asked } = world();
  there.log = entriesTo(10);
  learner.pull(5);
  learner.pull(10);
  learner.pull(7);
  await settle();
  t.is(own.length, 10);
  t.is(asked.length, 1);
});

test('learner: who does not answer is left for others; pulls end after a bounded number of tries', async (t) => {
  const { learner, there, asked, notes, pass } = world();
  there.isSilent = true;
  learner.pull(5);
  await pass(10_000);
  t.is(asked.length, MAX_PULL_TRIES);
  t.deepEqual(new Set(asked), new Set(['a', 'b', 'c']));
  t.deepEqual(notes, ['map.pull.gave-up']);
  learner.pull(5);
  await settle();
  t.is(asked.length, MAX_PULL_TRIES + 1, 'the next word of it starts anew');
});

test('learner: a target heard of while a pull is about to give up has all its tries', async (t) => {
  const { learner, there, own, asked, pass } = world();
  there.isSilent = true;
  learner.pull(5);
  await settle();
  while (asked.length < MAX_PULL_TRIES) await pass(PULL_PAUSE_MS);
  learner.pull(8);
  there.isSilent = false;
  there.log = entriesTo(8);
  await pass(1000);
  t.is(own.length, 8);
});

test('learner: what the network could not do is tried again, a broken invariant is not', async (t) => {
  const { learner, there } = world();
  there.log = entriesTo(3);
  there.onLearn = () => {
    throw new InvariantError('the committed prefix never changes');
  };
  await t.throwsAsync(learner.pullOnce('a' as PeerKey), { instanceOf: InvariantError });
});

test('learner: nothing is asked after it stopped', async (t) => {
  const { learner, there, asked, pass } = world();
  there.isSilent = true;
  learner.pull(5);
  await settle();
  learner.stop();
  learner.pull(9);
  await pass(5000);
  t.is(asked.length, 1);
});

test('learner: audit points are told with their state, and the last ones are remembered (C2.8)', (t) => {
  const { learner, notes } = world();
  learner.advance(logOf(entriesTo(205), 205));
  t.deepEqual(
    notes,
    Array.from({ length: 20 }, (_, at) => `audit ${(at + 1) * 10}`),
  );
  t.is(learner.audit.index, 200);
  t.is(learner.auditAt(200), learner.audit.hash);
  t.is(learner.auditAt(200 - 10 * AUDITS_KEPT), '');
  t.not(learner.auditAt(100), learner.auditAt(110));
});

// Method: the log starts at 51; a snapshot of 60 is on disk; nothing may be adopted before the log says so.
test('learner: what the log has no more comes from the snapshot that was installed, once it is committed', (t) => {
  const [ahead, behind] = [world(), world()];
  ahead.learner.advance(logOf(entriesTo(60), 60));
  const base = { index: 60, term: 1, voters: undefined };
  behind.learner.advance(logOf(entriesTo(5), 5));
  behind.learner.expect({ base, state: ahead.learner.state });
  behind.learner.advance(logOf(entriesTo(70), 5, 61));
  t.is(behind.learner.applied as number, 5);
  behind.learner.advance(logOf(entriesTo(70), 65, 61));
  t.is(behind.learner.applied as number, 65);
  t.deepEqual(behind.notes, ['installed 60']);
  t.deepEqual(behind.applied, [1, 2, 3, 4, 5, 61, 62, 63, 64, 65]);
  t.deepEqual(behind.views, [5, 65], 'one view');
  t.is(behind.learner.auditAt(60), ahead.learner.auditAt(60));
});

test('learner: a node that no longer has the entries is asked for its snapshot', async (t) => {
  const { learner, there, own, asked, pass } = world(['a']);
  there.log = entriesTo(80);
  there.first = 60;
  there.onSnapshot = () => {
    own.push(...there.log.slice(0, 65));
  };
  learner.pull(80);
  await pass(500);
  t.deepEqual(asked, ['a', 'snapshot of a', 'a']);
  t.is(own.length, 80);
});

test('learner: many who say how far they are cost one pull of the log, from the first of them', async (t) => {
  const { learner, there, own, asked, pass } = world();
  there.log = entriesTo(250);
  const ends: string[] = [];
  const each = ['b', 'c', 'a'].map(async (source, at) => {
    await learner.reach(250 - at, source as PeerKey);
    ends.push(source);
  });
  t.deepEqual(asked, ['b']);
  await pass(PULL_PAUSE_MS);
  await Promise.all(each);
  t.is(own.length, 250);
  t.deepEqual(asked, ['b', 'b', 'b']);
  t.deepEqual(ends, ['b', 'c', 'a']);
  await learner.reach(250, 'c' as PeerKey);
  t.is(asked.length, 3);
});
