// Logs with a base, snapshots, hand-over, current reads and muted voters, on single reducers: events in, effects out.

import test from 'ava';
import type { MapIndex, NodeId } from '../../../src/core/ids.ts';
import type { LogEntry } from '../../../src/core/log-entry.ts';
import type { RaftMessage } from '../../../src/core/raft/messages.ts';
import {
  createRaft,
  type LogBase,
  MAX_WAITING_READS,
  type RaftEffect,
  type RaftEvent,
  type RaftState,
} from '../../../src/core/raft/state.ts';
import { step } from '../../../src/core/raft/step.ts';
import { origin } from './cluster.ts';

const [N1, N2, N3] = [1, 2, 3] as NodeId[] as [NodeId, NodeId, NodeId];
const BASE: LogBase = {
  index: 100,
  term: 4,
  voters: { index: 3, voters: [N1, N2, N3], next: undefined },
};

function entry(index: number, term: number): LogEntry {
  const body = { type: 'setting', key: 'k', value: 'v' } as const;
  return { index: index as MapIndex, term, origin: origin(9, index * 100 + term), body };
}

/** Entries 101.. of these terms. */
function logOf(...terms: number[]): LogEntry[] {
  return terms.map((term, at) => entry(101 + at, term));
}

class Member {
  readonly state: RaftState;

  constructor(
    self: NodeId,
    options: {
      readonly entries?: readonly LogEntry[];
      readonly commit?: number;
      readonly isMuted?: boolean;
    } = {},
  ) {
    const { entries = [], commit = 100, isMuted = false } = options;
    const hardState = { term: 5, vote: 0 } as const;
    this.state = createRaft({ self, hardState, base: BASE, entries, commit, isMuted });
    this.feed({ type: 'start' });
  }

  feed(event: RaftEvent): readonly RaftEffect[] {
    return step(this.state, event, { randomMs: (min) => min }).effects;
  }

  hear(from: NodeId, message: RaftMessage): readonly RaftEffect[] {
    return this.feed({ type: 'message', from, message });
  }

  syncAll(): readonly RaftEffect[] {
    const effects: RaftEffect[] = [];
    while (this.state.persisting !== undefined)
      effects.push(...this.feed(this.state.persisting.then));
    return effects;
  }

  lead(): Member {
    this.feed({ type: 'electionTimeout' });
    const term = this.state.term + 1;
    this.hear(N2, { type: 'preVoteReply', term, granted: true });
    this.syncAll();
    this.hear(N2, { type: 'voteReply', term, granted: true });
    this.syncAll();
    return this;
  }

  /** Node 2 and 3 say that they have all. */
  confirmAll(): Member {
    const last = this.state.base.index + this.state.log.length;
    for (const from of [N2, N3]) this.hear(from, replyOf(this.state.term, last));
    return this;
  }
}

function replyOf(term: number, matchIndex: number): RaftMessage {
  const fields = { prevIndex: matchIndex, matchIndex, conflictIndex: 0, conflictTerm: 0 };
  return { type: 'appendReply', term, ok: true, ...fields };
}

function sent(effects: readonly RaftEffect[]): RaftMessage[] {
  return effects.flatMap((effect) => (effect.type === 'send' ? [effect.message] : []));
}

test('raft: a log that follows a base knows its voters, its terms and its end from it', (t) => {
  const member = new Member(N1, { entries: logOf(5, 5) });
  t.is(member.state.role, 'follower');
  const effects = member.feed({ type: 'electionTimeout' });
  t.deepEqual(sent(effects)[0], { type: 'preVote', term: 6, lastIndex: 102, lastTerm: 5 });
  t.like(sent(new Member(N1).feed({ type: 'electionTimeout' }))[0], {
    lastIndex: 100,
    lastTerm: 4,
  });
});

test('raft: an append that begins before the base is answered for what it adds (A3)', (t) => {
  const member = new Member(N1);
  const request = { term: 5, prevIndex: 99, prevTerm: 4, commit: 101 };
  const entries = [entry(100, 4), entry(101, 5)];
  member.hear(N2, { type: 'append', ...request, entries });
  const [reply] = sent(member.syncAll());
  t.like(reply, { type: 'appendReply', ok: true, matchIndex: 101 });
  t.is(member.state.commit, 101);
  t.deepEqual(member.state.log, [entry(101, 5)]);
});

test('raft: a leader offers a snapshot to who needs what it has no more, and sends entries once it has it', (t) => {
  const leader = new Member(N1, { entries: logOf(5) }).lead();
  const { term } = leader.state;
  const refusal = { prevIndex: 101, matchIndex: 0, conflictIndex: 40, conflictTerm: 0 };
  const effects = leader.hear(N2, { type: 'appendReply', term, ok: false, ...refusal });
  t.deepEqual(sent(effects), [{ type: 'offer', term, index: 100 }]);
  t.deepEqual(sent(leader.hear(N2, replyOf(term, 39))), [], 'one offer per heartbeat');
  t.deepEqual(sent(leader.feed({ type: 'heartbeatTimeout' }))[0], {
    type: 'offer',
    term,
    index: 100,
  });
  const next = sent(leader.hear(N2, replyOf(term, 100)))[0];
  t.like(next, { type: 'append', prevIndex: 100, prevTerm: 4 });
});

test('raft: an offer is a heartbeat, and its answer says what is committed here', (t) => {
  const member = new Member(N1, { entries: logOf(4, 4), commit: 101 });
  const effects = member.hear(N2, { type: 'offer', term: 5, index: 500 });
  t.is(member.state.leader, N2);
  t.deepEqual(
    effects.find((effect) => effect.type === 'snapshotNeeded'),
    { type: 'snapshotNeeded', from: N2, index: 500 },
  );
  t.like(sent(effects)[0], { type: 'appendReply', ok: true, matchIndex: 101 });
});

test('raft: an installed snapshot replaces a log that lacks its last entry, and counts when that is synced (A10)', (t) => {
  const member = new Member(N1, { entries: logOf(4, 4) });
  const base = { ...BASE, index: 500, term: 5 };
  const effects = member.feed({ type: 'installed', base });
  t.like(
    effects.find((effect) => effect.type === 'persist'),
    { base, isReset: true, entries: [] },
  );
  t.false(effects.some((effect) => effect.type === 'committed'));
  t.deepEqual(
    member.syncAll().find((effect) => effect.type === 'committed'),
    { type: 'committed', index: 500 },
  );
  t.deepEqual(member.feed({ type: 'installed', base: { ...base, index: 400 } }), [], 'never back');
});

test('raft: a log that has the last entry of a snapshot keeps what follows it (A2)', (t) => {
  const member = new Member(N1, { entries: logOf(5, 5, 5) });
  member.feed({ type: 'installed', base: { ...BASE, index: 102, term: 5 } });
  t.is(member.state.commit, 102);
  t.is(member.state.log.length, 3);
  t.is(member.state.base, BASE);
});

test('raft: only what is committed and synced is compacted', (t) => {
  const member = new Member(N1, { entries: logOf(5, 5, 5), commit: 102 });
  t.deepEqual(member.feed({ type: 'compact', index: 103 }), []);
  const effects = member.feed({ type: 'compact', index: 102 });
  t.like(effects[0], { type: 'persist', isReset: false, entries: [] });
  t.like(member.state.base, { index: 102, term: 5 });
  t.deepEqual(member.state.log, [entry(103, 5)]);
  t.deepEqual(member.feed({ type: 'compact', index: 101 }), [], 'never back');
});

test('raft: a leader that hands over asks who has all of its log, and takes no proposals (C2.7)', (t) => {
  const leader = new Member(N1, { entries: logOf(5) }).lead();
  const { term } = leader.state;
  t.deepEqual(sent(leader.feed({ type: 'handOver' })), [], 'nobody has all yet');
  const body = { type: 'noop' } as const;
  const refused = leader.feed({ type: 'propose', items: [{ origin: origin(1, 1), body }] });
  t.like(refused[0], { type: 'refusedProposals' });
  t.deepEqual(sent(leader.hear(N3, replyOf(term, 102))).at(-1), { type: 'timeoutNow', term });
  t.deepEqual(
    sent(leader.hear(N2, replyOf(term, 102))),
    [],
    'one is asked, not two: votes would split',
  );
  leader.feed({ type: 'electionTimeout' });
  t.false(leader.state.isHandingOver, 'after a time-out it goes on');
});

test('raft: told to take over, a follower stands at once, and others vote although they hear the leader', (t) => {
  const heir = new Member(N2);
  const heartbeat = { type: 'append', term: 5, prevIndex: 100, prevTerm: 4 } as const;
  heir.hear(N1, { ...heartbeat, entries: [], commit: 100 });
  t.deepEqual(sent(heir.hear(N3, { type: 'timeoutNow', term: 5 })), [], 'only by the leader');
  heir.hear(N1, { type: 'timeoutNow', term: 5 });
  t.deepEqual(sent(heir.syncAll())[0], {
    type: 'handOverVote',
    term: 6,
    lastIndex: 100,
    lastTerm: 4,
  });
  const voter = new Member(N3);
  voter.hear(N1, { ...heartbeat, entries: [], commit: 100 });
  const ask = { term: 6, lastIndex: 100, lastTerm: 4 };
  t.deepEqual(sent(voter.hear(N2, { type: 'vote', ...ask })), []);
  voter.hear(N2, { type: 'handOverVote', ...ask });
  t.like(sent(voter.syncAll())[0], { type: 'voteReply', granted: true });
});

test('raft: a read is answered after a majority confirmed the leader in the same term, not before (C2.3)', (t) => {
  const leader = new Member(N1, { entries: logOf(5) }).lead();
  t.like(
    leader.feed({ type: 'read', id: 7 })[0],
    { type: 'readRefused' },
    'nothing of its term yet',
  );
  leader.confirmAll();
  const { term } = leader.state;
  const asked = leader.feed({ type: 'read', id: 8 });
  t.deepEqual(sent(asked)[0], { type: 'confirm', term, round: 1 });
  t.false(asked.some((effect) => effect.type === 'readReady'));
  leader.feed({ type: 'read', id: 9 });
  const first = leader.hear(N2, { type: 'confirmReply', term, round: 1 });
  t.deepEqual(first, [{ type: 'readReady', id: 8, index: 102 }], 'round 1 says nothing of round 2');
  t.like(leader.hear(N3, { type: 'confirmReply', term, round: 2 })[0], { id: 9 });
});

test('raft: reads are bounded, asked again with heartbeats, and refused when the lead is lost', (t) => {
  const leader = new Member(N1, { entries: logOf(5) }).lead().confirmAll();
  for (let id = 1; id <= MAX_WAITING_READS; id += 1) leader.feed({ type: 'read', id });
  t.like(leader.feed({ type: 'read', id: 9999 })[0], { type: 'readRefused', id: 9999 });
  const again = sent(leader.feed({ type: 'heartbeatTimeout' }));
  t.true(again.some((message) => message.type === 'confirm'));
  const lost = leader.hear(N2, { type: 'vote', term: 99, lastIndex: 1, lastTerm: 1 });
  t.deepEqual(lost, []);
  leader.feed({ type: 'electionTimeout' });
  const effects = leader.feed({ type: 'electionTimeout' });
  t.is(effects.filter((effect) => effect.type === 'readRefused').length, MAX_WAITING_READS);
});

test('raft: a muted voter says that it is unable, whatever it is asked, and changes nothing (C2.6)', (t) => {
  const member = new Member(N1, { isMuted: true });
  t.is(member.state.role, 'learner');
  const before = JSON.stringify(member.state);
  const ask = { term: 9, lastIndex: 900, lastTerm: 9 };
  const requests: RaftMessage[] = [
    { type: 'preVote', ...ask },
    { type: 'vote', ...ask },
    { type: 'handOverVote', ...ask },
    { type: 'append', term: 9, prevIndex: 100, prevTerm: 4, entries: [], commit: 100 },
    { type: 'offer', term: 9, index: 900 },
    { type: 'confirm', term: 9, round: 1 },
    { type: 'timeoutNow', term: 9 },
  ];
  for (const request of requests) {
    const effects = member.hear(N2, request);
    t.deepEqual(sent(effects), [{ type: 'unable', term: 9 }], request.type);
    t.is(effects.length, 1);
  }
  t.is(JSON.stringify(member.state), before);
  t.deepEqual(member.feed({ type: 'electionTimeout' }), []);
});

test('raft: a muted voter learns, is unmuted durably, and gives no vote in the term that it learned of', (t) => {
  const member = new Member(N1, { isMuted: true });
  const prevTerm = member.state.base.term;
  member.feed({ type: 'commitLearned', entries: [entry(101, 7)], commit: 101, prevTerm });
  member.syncAll();
  const effects = member.feed({ type: 'unmute' });
  t.like(
    effects.find((effect) => effect.type === 'persist'),
    { unmutes: true, hardState: { term: 7, vote: N1 } },
  );
  member.syncAll();
  t.is(member.state.role, 'follower');
  const ask = { type: 'vote', lastIndex: 101, lastTerm: 7 } as const;
  t.like(sent(member.hear(N2, { ...ask, term: 7 }))[0], { granted: false });
  member.hear(N2, { ...ask, term: 8 });
  t.like(sent(member.syncAll())[0], { granted: true });
});

test('raft: a leader knows who said that it is unable, until it answers again', (t) => {
  const leader = new Member(N1, { entries: logOf(5) }).lead();
  leader.hear(N2, { type: 'unable', term: 1 });
  t.true(leader.state.progress.get(N2)?.unable);
  leader.hear(N2, replyOf(leader.state.term, 102));
  t.false(leader.state.progress.get(N2)?.unable);
});
