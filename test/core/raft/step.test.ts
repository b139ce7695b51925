// The rules one by one, on single reducers: events in, effects out. Whole clusters under trouble: cluster.test.ts.

import test from 'ava';
import type { MapIndex, NodeId } from '../../../src/core/ids.ts';
import type { EntryBody, LogEntry } from '../../../src/core/log-entry.ts';
import {
  createRaft,
  MAX_APPEND_ENTRIES,
  MAX_IN_FLIGHT_APPENDS,
  MAX_UNCOMMITTED_ENTRIES,
  type RaftEffect,
  type RaftEvent,
  type RaftMessage,
  type RaftState,
} from '../../../src/core/raft/state.ts';
import { step } from '../../../src/core/raft/step.ts';
import { FIRST_VOTERS, hasQuorum, quorumIndex } from '../../../src/core/raft/voters.ts';
import { formatEntry, origin } from './cluster.ts';

const [N1, N2, N3, N4] = [1, 2, 3, 4] as NodeId[] as [NodeId, NodeId, NodeId, NodeId];
const VOTERS = [N1, N2, N3];
const SETTING: EntryBody = { type: 'setting', key: 'k', value: 'v' };

function entry(index: number, term: number, body: EntryBody = SETTING): LogEntry {
  return { index: index as MapIndex, term, origin: origin(9, index * 100 + term), body };
}

/** A log with three voters since index 3, then one entry per term given. */
function logOf(...terms: number[]): LogEntry[] {
  const joint = entry(2, 1, { type: 'votersJoint', old: FIRST_VOTERS, next: VOTERS });
  const final = entry(3, 1, { type: 'votersFinal', old: FIRST_VOTERS, next: VOTERS });
  return [formatEntry(), joint, final, ...terms.map((term, at) => entry(4 + at, term))];
}

class Member {
  readonly state: RaftState;

  constructor(
    self: NodeId,
    entries: readonly LogEntry[],
    term: number,
    commit = Math.min(3, entries.length),
  ) {
    this.state = createRaft({ self, hardState: { term, vote: 0 }, entries, commit });
    this.feed({ type: 'start' });
  }

  feed(event: RaftEvent): readonly RaftEffect[] {
    return step(this.state, event, { randomMs: (min) => min }).effects;
  }

  hear(from: NodeId, message: RaftMessage): readonly RaftEffect[] {
    return this.feed({ type: 'message', from, message });
  }

  /** The sync under way ends. */
  sync(): readonly RaftEffect[] {
    const { persisting } = this.state;
    return persisting === undefined ? [] : this.feed(persisting.then);
  }

  syncAll(): readonly RaftEffect[] {
    const effects: RaftEffect[] = [];
    while (this.state.persisting !== undefined) effects.push(...this.sync());
    return effects;
  }

  /** Wins an election with the help of node 2 or, being node 2, of node 1. */
  lead(): readonly RaftEffect[] {
    const helper = this.state.self === N2 ? N1 : N2;
    this.feed({ type: 'electionTimeout' });
    const term = this.state.term + 1;
    this.hear(helper, { type: 'preVoteReply', term, granted: true });
    this.sync();
    return this.hear(helper, { type: 'voteReply', term, granted: true });
  }
}

function sent(effects: readonly RaftEffect[], to?: NodeId): RaftMessage[] {
  return effects.flatMap((effect) =>
    effect.type === 'send' && (to === undefined || effect.to === to) ? [effect.message] : [],
  );
}

function has(effects: readonly RaftEffect[], type: RaftEffect['type']): boolean {
  return effects.some((effect) => effect.type === type);
}

function okReply(term: number, prevIndex: number, matchIndex: number): RaftMessage {
  return {
    type: 'appendReply',
    term,
    ok: true,
    prevIndex,
    matchIndex,
    conflictIndex: 0,
    conflictTerm: 0,
  };
}

function appendOf(
  term: number,
  prevIndex: number,
  prevTerm: number,
  entries: LogEntry[],
  commit = 0,
): RaftMessage {
  return { type: 'append', term, prevIndex, prevTerm, entries, commit };
}

test('raft: a vote leaves only after it is synced (C2.1)', (t) => {
  const member = new Member(N1, logOf(1), 1);
  const request: RaftMessage = { type: 'vote', term: 2, lastIndex: 4, lastTerm: 1 };
  const effects = member.hear(N2, request);
  t.deepEqual(sent(effects), []);
  t.true(has(effects, 'persist'));
  t.deepEqual(sent(member.sync()), [{ type: 'voteReply', term: 2, granted: true }]);
  const second = member.hear(N3, request);
  t.deepEqual(
    sent(second),
    [{ type: 'voteReply', term: 2, granted: false }],
    'one vote per term (A1)',
  );
  t.deepEqual(sent(member.hear(N2, request)), [{ type: 'voteReply', term: 2, granted: true }]);
});

test('raft: no vote for a log that lacks something (A3)', (t) => {
  const member = new Member(N1, logOf(1, 2), 2);
  member.hear(N2, { type: 'vote', term: 3, lastIndex: 9, lastTerm: 1 });
  t.is(member.state.vote, 0);
  member.hear(N2, { type: 'vote', term: 3, lastIndex: 4, lastTerm: 2 });
  t.is(member.state.vote, 0);
  member.hear(N3, { type: 'vote', term: 3, lastIndex: 5, lastTerm: 2 });
  t.is(member.state.vote, N3);
});

test('raft: a candidate counts its own vote only when that is synced (C2.1)', (t) => {
  const member = new Member(N1, logOf(1), 1);
  member.feed({ type: 'electionTimeout' });
  const effects = member.hear(N2, { type: 'preVoteReply', term: 2, granted: true });
  t.is(member.state.role, 'candidate');
  t.deepEqual(sent(effects), [], 'nobody is asked before term and vote are synced');
  member.hear(N2, { type: 'voteReply', term: 2, granted: true });
  t.is(member.state.role, 'candidate', 'one foreign vote of three');
  t.is(sent(member.sync()).filter((message) => message.type === 'vote').length, 2);
  t.is(member.state.role, 'leader');
});

test('raft: wanting to be elected changes no term, asking for it neither (C2.2)', (t) => {
  const lonely = new Member(N1, logOf(1), 1);
  for (let i = 0; i < 10; i += 1) {
    const requests = sent(lonely.feed({ type: 'electionTimeout' }), N2);
    t.deepEqual(requests, [{ type: 'preVote', term: 2, lastIndex: 4, lastTerm: 1 }]);
  }
  t.is(lonely.state.term, 1);
  const happy = new Member(N2, logOf(1), 1);
  happy.hear(N3, appendOf(1, 4, 1, []));
  const preVote: RaftMessage = { type: 'preVote', term: 2, lastIndex: 4, lastTerm: 1 };
  t.deepEqual(sent(happy.hear(N1, preVote)), [{ type: 'preVoteReply', term: 1, granted: false }]);
  t.deepEqual(
    sent(happy.hear(N1, { ...preVote, type: 'vote' })),
    [],
    'a real vote neither, under a lease',
  );
  happy.feed({ type: 'leaderGone', node: N3 });
  t.deepEqual(sent(happy.hear(N1, preVote)), [{ type: 'preVoteReply', term: 2, granted: true }]);
  t.is(happy.state.term, 1);
});

test('raft: an older entry is committed only together with one of the own term (A3)', (t) => {
  const leader = new Member(N1, logOf(1, 2), 3);
  leader.lead();
  leader.syncAll();
  t.is(leader.state.log.length, 6, 'the noop of the own term');
  leader.hear(N2, okReply(4, 5, 5));
  t.is(leader.state.commit, 3, 'entry 5 of term 2 is on two of three, but counts for nothing yet');
  const effects = leader.hear(N2, okReply(4, 5, 6));
  t.is(leader.state.commit, 6);
  t.true(has(effects, 'committed'));
  t.true(sent(effects, N3).some((message) => message.type === 'append' && message.commit === 6));
});

test('raft: a leader counts its own entry only when that is synced (C2.1)', (t) => {
  const leader = new Member(N1, logOf(), 1);
  leader.lead();
  const effects = leader.hear(N2, okReply(2, 3, 4));
  t.is(leader.state.commit, 3);
  t.false(has(effects, 'committed'));
  leader.sync();
  t.is(leader.state.commit, 4);
});

test('raft: append replies confirm what is synced; heartbeats do not wait for the disk', (t) => {
  const member = new Member(N2, logOf(), 1);
  t.deepEqual(sent(member.hear(N1, appendOf(1, 3, 1, [entry(4, 1)]))), []);
  t.deepEqual(sent(member.hear(N1, appendOf(1, 4, 1, [], 4))), [okReply(1, 4, 3)]);
  t.is(member.state.reportedCommit, 3, 'committed, but not synced here');
  const effects = member.sync();
  t.deepEqual(sent(effects), [okReply(1, 3, 4)]);
  t.true(has(effects, 'committed'));
});

test('raft: appends that come while a sync is under way are one batch after it', (t) => {
  const member = new Member(N2, logOf(), 1);
  member.hear(N1, appendOf(1, 3, 1, [entry(4, 1)]));
  for (const index of [5, 6, 7]) {
    t.false(has(member.hear(N1, appendOf(1, index - 1, 1, [entry(index, 1)])), 'persist'));
  }
  const effects = member.sync();
  const persists = effects.flatMap((effect) =>
    effect.type === 'persist' ? [effect.entries.length] : [],
  );
  t.deepEqual(persists, [3]);
  t.is(sent(member.sync()).length, 3);
});

test('raft: a follower cuts a tail that differs, and confirms nothing that was cut', (t) => {
  const member = new Member(N2, logOf(2, 2), 2);
  member.hear(N1, appendOf(2, 5, 2, [entry(6, 2)]));
  const effects = member.hear(N3, appendOf(3, 4, 2, [entry(5, 3)]));
  t.false(has(effects, 'persist'), 'the first one is still under way');
  const next = member.sync();
  t.is(member.state.durableIndex, 4);
  const persist = next.find((effect) => effect.type === 'persist');
  t.like(persist, { truncateFrom: 5, hardState: { term: 3, vote: 0 } });
  member.sync();
  t.is(member.state.durableIndex, 5);
});

test('raft: nobody can make a node cut what is committed (A3)', (t) => {
  const member = new Member(N2, logOf(1, 1), 1, 5);
  const log = [...member.state.log];
  t.true(has(member.hear(N1, appendOf(2, 3, 1, [entry(4, 2)])), 'violation'));
  t.true(has(member.hear(N1, appendOf(2, 4, 2, [])), 'violation'));
  const learned = {
    type: 'commitLearned',
    entries: [entry(5, 2), entry(6, 2)],
    commit: 6,
  } as const;
  t.true(has(member.feed(learned), 'violation'));
  t.deepEqual(member.state.log, log);
  t.true(
    has(member.hear(N3, appendOf(2, 5, 1, [])), 'violation'),
    'a second leader of one term (A1)',
  );
});

test('raft: where logs part is found in one round per term, not per entry', (t) => {
  const leader = new Member(N1, logOf(2, 2, 2, 5, 5, 5), 5);
  leader.lead();
  const follower = new Member(N2, logOf(2, 2, 3, 3, 3, 3, 3, 3), 5);
  let rounds = 0;
  let toFollower = [appendOf(6, 9, 5, [])];
  while (toFollower.length > 0 && rounds < 20) {
    rounds += 1;
    const replies = toFollower.flatMap((message) => [
      ...sent(follower.hear(N1, message)),
      ...sent(follower.syncAll()),
    ]);
    toFollower = replies.flatMap((reply) => sent(leader.hear(N2, reply), N2));
    toFollower = toFollower.filter(
      (message) => message.type === 'append' && message.entries.length > 0,
    );
  }
  t.true(rounds <= 4, `${rounds} rounds`);
  t.deepEqual(
    follower.state.log.map((e) => e.term),
    leader.state.log.map((e) => e.term),
  );
});

test('raft: messages to a silent follower are bounded in number and size', (t) => {
  const leader = new Member(N1, logOf(), 1);
  leader.lead();
  leader.hear(N2, okReply(2, 3, 4));
  const items = Array.from({ length: 3000 }, (_, at) => ({ origin: origin(1, at), body: SETTING }));
  const messages = sent(leader.feed({ type: 'propose', items }), N2);
  t.is(messages.length, MAX_IN_FLIGHT_APPENDS);
  t.true(messages.every((m) => m.type === 'append' && m.entries.length <= MAX_APPEND_ENTRIES));
  t.is(
    sent(leader.feed({ type: 'propose', items: [{ origin: origin(1, 1), body: SETTING }] })).length,
    0,
  );
  const more = leader.feed({ type: 'propose', items });
  t.true(has(more, 'refusedProposals'));
  t.is(leader.state.log.length - leader.state.commit, MAX_UNCOMMITTED_ENTRIES);
});

test('raft: lost appends are found by the next heartbeat', (t) => {
  const leader = new Member(N1, logOf(), 1);
  leader.lead();
  leader.hear(N2, okReply(2, 3, 4));
  leader.feed({ type: 'propose', items: [{ origin: origin(1, 1), body: SETTING }] });
  const [heartbeat] = sent(leader.feed({ type: 'heartbeatTimeout' }), N2);
  t.like(heartbeat, { type: 'append', prevIndex: 5, entries: [] });
  const lost: RaftMessage = {
    ...okReply(2, 5, 0),
    type: 'appendReply',
    ok: false,
    conflictIndex: 5,
  } as RaftMessage;
  const again = sent(leader.hear(N2, lost), N2);
  t.like(again[0], { type: 'append', prevIndex: 4 });
});

test('raft: a sole voter leads at once, commits by itself, and asks nobody', (t) => {
  const member = new Member(N1, [formatEntry()], 1, 1);
  t.is(member.state.role, 'candidate');
  t.deepEqual(sent(member.syncAll()), []);
  t.is(member.state.role, 'leader');
  t.is(member.state.commit, 2);
});

test('raft: a node without a log is a learner; the format entry makes node 1 lead', (t) => {
  const blank = new Member(N1, [], 0);
  t.is(blank.state.role, 'learner');
  t.deepEqual(sent(blank.feed({ type: 'electionTimeout' })), []);
  blank.feed({ type: 'commitLearned', entries: [formatEntry()], commit: 1 });
  blank.syncAll();
  t.is(blank.state.role, 'leader');
  const other = new Member(N4, [], 0);
  const effects = other.feed({ type: 'commitLearned', entries: [formatEntry()], commit: 1 });
  t.is(other.state.role, 'learner');
  t.false(has(effects, 'committed'), 'not before it is synced (C2.9)');
  t.true(has(other.sync(), 'committed'));
});

test('raft: who learns entries and their commit index at once writes both in one go (C2.9)', (t) => {
  const member = new Member(N4, logOf(1), 1, 4);
  const persistOf = (effects: readonly RaftEffect[]) =>
    effects.find((effect) => effect.type === 'persist');
  const known = [entry(5, 1), entry(6, 1)];
  const prevTerm = 1;
  const first = member.feed({ type: 'commitLearned', entries: known, commit: 6, prevTerm });
  t.like(persistOf(first), { entries: known, commit: 6 });
  t.false(has(first, 'committed'), 'not synced, not told');
  const next = [entry(7, 1)];
  const more = member.feed({ type: 'commitLearned', entries: next, commit: 7, prevTerm });
  t.false(has(more, 'persist'), 'one at a time');
  const synced = member.sync();
  t.like(persistOf(synced), { entries: [entry(7, 1)], commit: 7 });
  t.deepEqual(
    synced.filter(({ type }) => type === 'committed'),
    [{ type: 'committed', index: 6 }],
  );
});

test('raft: what is not known to be committed is written without a commit index', (t) => {
  const member = new Member(N2, logOf(1), 1);
  const effects = member.hear(N1, appendOf(1, 4, 1, [entry(5, 1)], 3));
  const persist = effects.find((effect) => effect.type === 'persist');
  t.like(persist, { entries: [entry(5, 1)] });
  t.false('commit' in (persist ?? {}));
});

test('raft: learned entries need to meet what is committed here', (t) => {
  const member = new Member(N4, logOf(1), 1, 4);
  member.feed({ type: 'commitLearned', entries: [entry(6, 1)], commit: 6 });
  t.is(member.state.log.length, 4, 'a gap is pulled, never guessed (C8.3)');
  member.feed({
    type: 'commitLearned',
    entries: [entry(4, 1), entry(5, 1), entry(6, 1)],
    commit: 5,
  });
  t.is(member.state.commit, 5);
  t.is(member.state.log.length, 5, 'what is not committed is left out');
});

test('raft: learned entries show that they follow what is committed here, else they may be of another history (A3)', (t) => {
  const member = new Member(N4, logOf(1), 1, 4);
  const next = [entry(5, 9), entry(6, 9)];
  const learned = { type: 'commitLearned', entries: next, commit: 6 } as const;
  t.false(has(member.feed(learned), 'violation'));
  t.is(member.state.log.length, 4, 'nothing is shown: nothing is taken, it is pulled');
  t.is(member.state.term, 1, 'not even the term');
  t.true(has(member.feed({ ...learned, prevTerm: 8 }), 'violation'));
  t.true(has(member.feed({ ...learned, entries: [entry(4, 8), ...next] }), 'violation'));
  t.is(member.state.log.length, 4);
  t.false(has(member.feed({ ...learned, entries: [entry(4, 1), ...next] }), 'violation'));
  t.is(member.state.log.length, 6);
});

test('raft: a change of voters needs an own committed entry, the present set, and one at a time (C2.4)', (t) => {
  const leader = new Member(N1, logOf(), 1);
  leader.lead();
  const change = (old: NodeId[], next: NodeId[]) =>
    leader.feed({
      type: 'propose',
      items: [{ origin: origin(1, 7), body: { type: 'votersJoint', old, next } }],
    });
  const isRefused = (effects: readonly RaftEffect[]) => has(effects, 'refusedProposals');
  t.true(isRefused(change(VOTERS, [N1, N2, N4])), 'nothing of the own term is committed');
  leader.syncAll();
  leader.hear(N2, okReply(2, 3, 4));
  t.true(isRefused(change([N1], [N1, N2, N4])), 'not from this set');
  t.true(isRefused(change(VOTERS, [])));
  t.false(isRefused(change(VOTERS, [N2, N3, N4])));
  t.true(isRefused(change(VOTERS, [N1])), 'one at a time');
  leader.syncAll();
  leader.hear(N2, okReply(2, 4, 5));
  t.is(leader.state.commit, 4, 'N1 and N2 of the old set, but only N2 of the new one (A9)');
  leader.hear(N3, okReply(2, 4, 5));
  t.is(leader.state.commit, 5);
  t.like(leader.state.log.at(-1), { body: { type: 'votersFinal', next: [N2, N3, N4] } });
  t.is(
    leader.state.log.at(-1)?.origin.node,
    0 as NodeId,
    'never taken for a repeated proposal (C2.5)',
  );
  t.is(leader.state.role, 'leader', 'until the set without it is committed');
  t.true(isRefused(change([N2, N3, N4], [N2])), 'the final set is not committed yet');
  leader.hear(N2, okReply(2, 5, 6));
  leader.hear(N3, okReply(2, 5, 6));
  t.is(leader.state.commit, 6);
  t.is(leader.state.role, 'learner');
});

test('raft: a voter set goes with the entry that is cut', (t) => {
  const member = new Member(N2, logOf(), 1);
  const joint = entry(4, 1, { type: 'votersJoint', old: VOTERS, next: [N1] });
  member.hear(N1, appendOf(1, 3, 1, [joint]));
  t.deepEqual(member.state.voterSets.at(-1)?.next, [N1]);
  member.hear(N3, appendOf(2, 3, 1, [entry(4, 2)]));
  t.like(member.state.voterSets.at(-1), { index: 3, next: undefined });
});

test('raft: learners get entries but do not count', (t) => {
  const leader = new Member(N1, logOf(), 1);
  leader.lead();
  leader.syncAll();
  const before = leader.state.commit;
  leader.feed({ type: 'setLearners', nodes: [N4] });
  const messages = sent(leader.feed({ type: 'heartbeatTimeout' }), N4);
  t.is(messages.length, 1);
  leader.hear(N4, okReply(2, 4, 4));
  t.is(leader.state.commit, before);
});

test('raft: a leader without answers from a majority steps down after one time-out (C2.2)', (t) => {
  const leader = new Member(N1, logOf(), 1);
  leader.lead();
  leader.feed({ type: 'electionTimeout' });
  t.is(leader.state.role, 'leader', 'the first window begins with the election');
  leader.hear(N3, okReply(2, 3, 3));
  leader.feed({ type: 'electionTimeout' });
  t.is(leader.state.role, 'leader');
  leader.feed({ type: 'electionTimeout' });
  t.is(leader.state.role, 'follower');
  t.is(leader.state.leader, undefined);
});

test('raft: quorums of a joint set need both halves (A9)', (t) => {
  const set = { index: 9, voters: [N1], next: [N2, N3, N4] };
  t.false(hasQuorum(set, (node) => node !== N1));
  t.false(hasQuorum(set, (node) => node <= 2));
  t.true(hasQuorum(set, (node) => node <= 3));
  const match = new Map([
    [N1, 7],
    [N2, 5],
    [N3, 9],
    [N4, 1],
  ]);
  t.is(
    quorumIndex(set, (node) => match.get(node) ?? 0),
    5,
  );
});
