// Terms, votes, pre-votes and the quorum check (C2.2). At most one leader per term (A1): a vote is given once per term,
// to a log at least as complete as the voter's own, and leaves only after it is synced; a candidate counts its own vote
// only then, too. A pre-vote changes nothing at the receiver, so a node that was cut off disturbs nobody when it returns.

import type { NodeId } from '../ids.ts';
import { invariant } from '../invariant.ts';
import { isTermDurable, lastIndex, lastTerm, sendDurable, sendNow, voterSet } from './log.ts';
import type { HandOverVote } from './messages.ts';
import { refuseReads } from './reads.ts';
import { appendOwn, broadcastAppends, trackFollowers } from './replicate.ts';
import {
  ELECTION_MAX_MS,
  ELECTION_MIN_MS,
  HEARTBEAT_MS,
  LEADER_GONE_MAX_MS,
  LEADER_GONE_MIN_MS,
  type PreVoteRequest,
  type RaftRole,
  type RaftState,
  type Turn,
  type VoteRequest,
} from './state.ts';
import { allVoters, hasQuorum, isVoter } from './voters.ts';

/** Which role may follow which. Nobody becomes leader but a candidate. */
const NEXT_ROLES: Record<RaftRole, readonly RaftRole[]> = {
  learner: ['learner', 'follower'],
  follower: ['follower', 'learner', 'preCandidate', 'candidate'],
  preCandidate: ['preCandidate', 'follower', 'learner', 'candidate'],
  candidate: ['follower', 'learner', 'preCandidate', 'leader'],
  leader: ['follower', 'learner'],
};

function become(state: RaftState, role: RaftRole): void {
  invariant(NEXT_ROLES[state.role].includes(role), `a ${state.role} may become ${role}`);
  state.role = role;
  state.votes.clear();
  if (role === 'leader') return;
  state.progress.clear();
  state.isHandingOver = false;
  state.heir = undefined;
}

/**
 * Follows `leader`, or nobody yet, in `term`. A node that does not vote becomes a learner instead.
 * @param term at least the present one; a higher one forgets the vote
 */
export function becomeFollower(turn: Turn, term: number, leader: NodeId | undefined): void {
  const { state } = turn;
  invariant(term >= state.term, 'the term never falls');
  if (term > state.term) {
    state.term = term;
    state.vote = 0;
    state.isHardStateDirty = true;
  }
  become(state, mayVote(state) ? 'follower' : 'learner');
  state.leader = leader;
  refuseReads(turn);
  state.isLeaseHeld = leader !== undefined;
  if (leader !== undefined) armTimer(turn, ELECTION_MIN_MS, ELECTION_MIN_MS);
  else armTimer(turn, ELECTION_MIN_MS, ELECTION_MAX_MS);
}

/** `from` leads the present term: it was elected, else it could not append. Arms the lease (C2.2). */
export function hearLeader(turn: Turn, from: NodeId): void {
  const { state } = turn;
  if (state.role === 'candidate' || state.role === 'preCandidate') {
    becomeFollower(turn, state.term, from);
    return;
  }
  state.leader = from;
  state.isLeaseHeld = true;
  armTimer(turn, ELECTION_MIN_MS, ELECTION_MIN_MS);
}

/** Leader: the quorum check. Follower under a lease: the lease ends. Others: campaign. */
export function electionTimeout(turn: Turn): void {
  const { state } = turn;
  if (state.role === 'leader') {
    checkQuorum(turn);
  } else if (state.isLeaseHeld) {
    // Half of the wait is over: from here on this node helps others to replace the leader.
    state.isLeaseHeld = false;
    state.leader = undefined;
    armTimer(turn, 1, ELECTION_MAX_MS - ELECTION_MIN_MS);
  } else if (state.role !== 'learner') {
    campaign(turn);
  }
}

/** The leader's process is dead: no lease, and a short draw, so that its followers do not wait a second. */
export function leaderGone(turn: Turn, node: NodeId): void {
  const { state } = turn;
  if (state.leader !== node || state.role === 'leader') return;
  state.leader = undefined;
  state.isLeaseHeld = false;
  armTimer(turn, LEADER_GONE_MIN_MS, LEADER_GONE_MAX_MS);
}

/** Asks whether an election could be won (C2.2). */
export function campaign(turn: Turn): void {
  const { state } = turn;
  become(state, 'preCandidate');
  state.leader = undefined;
  state.isLeaseHeld = false;
  armTimer(turn, ELECTION_MIN_MS, ELECTION_MAX_MS);
  for (const to of otherVoters(state)) {
    sendNow(turn, to, {
      type: 'preVote',
      term: state.term + 1,
      lastIndex: lastIndex(state),
      lastTerm: lastTerm(state),
    });
  }
  countPreVote(turn, state.self);
}

/** Answers a pre-vote. Nothing here changes, whatever the answer. */
export function answerPreVote(turn: Turn, from: NodeId, request: PreVoteRequest): void {
  const { state } = turn;
  const granted = request.term > state.term && !state.isLeaseHeld && isComplete(state, request);
  sendNow(turn, from, {
    type: 'preVoteReply',
    term: granted ? request.term : state.term,
    granted,
  });
}

/** A granted pre-vote for the term that this node would start. */
export function countPreVote(turn: Turn, from: NodeId): void {
  const { state } = turn;
  if (state.role !== 'preCandidate') return;
  state.votes.add(from);
  if (hasQuorum(voterSet(state), (node) => state.votes.has(node))) standForElection(turn, 'vote');
}

/** The leader gives the lead away: nobody needs to be asked whether an election could be won (C2.7). */
export function takeOver(turn: Turn, from: NodeId): void {
  const { state } = turn;
  if (state.role === 'follower' && state.leader === from) standForElection(turn, 'handOverVote');
}

/**
 * True for a voter whose log is whole (C2.6). Also for one that the last set leaves out, while that set is not committed:
 * its log may be the only one that can lead the others there (C2.4).
 */
function mayVote(state: RaftState): boolean {
  const { self, voterSets, commit, isMuted } = state;
  const last = voterSets.at(-1);
  const isLeaving = (last?.index ?? 0) > commit && isVoter(voterSets.at(-2), self);
  return !isMuted && (isVoter(last, self) || isLeaving);
}

/** Answers a vote request of the present or an older term. The answer waits until the vote is synced (C2.1). */
export function answerVote(turn: Turn, from: NodeId, request: VoteRequest | HandOverVote): void {
  const { state } = turn;
  const isFree = state.vote === 0 || state.vote === from;
  const granted =
    request.term === state.term && state.role !== 'leader' && isFree && isComplete(state, request);
  if (granted && state.vote !== from) {
    state.vote = from;
    state.isHardStateDirty = true;
  }
  if (granted) armTimer(turn, ELECTION_MIN_MS, ELECTION_MAX_MS);
  sendDurable(turn, from, { type: 'voteReply', term: state.term, granted });
}

/** A vote for this node in the present term; its own one only once that is synced (A1). */
export function countVote(turn: Turn, from: NodeId): void {
  const { state } = turn;
  if (state.role !== 'candidate') return;
  state.votes.add(from);
  if (hasQuorum(voterSet(state), (node) => state.votes.has(node))) lead(turn);
}

/** After each sync: a candidate's own vote may have become durable. */
export function countOwnVote(turn: Turn): void {
  const { state } = turn;
  if (state.role !== 'candidate') return;
  if (isTermDurable(state) && state.durableVote === state.self) countVote(turn, state.self);
}

/**
 * End of each step: the role that the voter set demands. A leader outside the set leads until the set without it is
 * committed (C2.4); a sole voter waits for nobody.
 */
export function settleRole(turn: Turn): void {
  const { state } = turn;
  const set = voterSet(state);
  if (state.role === 'leader') {
    if (!isVoter(set, state.self) && set !== undefined && set.index <= state.commit) {
      becomeFollower(turn, state.term, undefined);
    }
    return;
  }
  if (mayVote(state) === (state.role === 'learner')) becomeFollower(turn, state.term, state.leader);
  const isAlone = set?.next === undefined && set?.voters.length === 1 && isVoter(set, state.self);
  if (state.role === 'follower' && isAlone) {
    campaign(turn);
  }
}

function standForElection(turn: Turn, type: 'vote' | 'handOverVote'): void {
  const { state } = turn;
  become(state, 'candidate');
  state.leader = undefined;
  state.isLeaseHeld = false;
  state.term += 1;
  state.vote = state.self;
  state.isHardStateDirty = true;
  armTimer(turn, ELECTION_MIN_MS, ELECTION_MAX_MS);
  for (const to of otherVoters(state)) {
    sendDurable(turn, to, {
      type,
      term: state.term,
      lastIndex: lastIndex(state),
      lastTerm: lastTerm(state),
    });
  }
}

function lead(turn: Turn): void {
  const { state } = turn;
  become(state, 'leader');
  state.leader = state.self;
  state.isLeaseHeld = true;
  trackFollowers(state);
  // An entry of the own term: only by counting it is anything older committed, too, and voters may change (C2.4).
  appendOwn(state, { type: 'noop' });
  turn.effects.push({ type: 'heartbeatTimer', ms: HEARTBEAT_MS });
  armTimer(turn, ELECTION_MIN_MS, ELECTION_MIN_MS);
  broadcastAppends(turn, { always: true });
}

/** C2.2: a leader that a majority did not answer within one election time-out leads nobody. */
function checkQuorum(turn: Turn): void {
  const { state } = turn;
  const answered = (node: NodeId) =>
    node === state.self || (state.progress.get(node)?.active ?? false);
  if (!hasQuorum(voterSet(state), answered)) {
    becomeFollower(turn, state.term, undefined);
    return;
  }
  for (const progress of state.progress.values()) progress.active = false;
  state.isHandingOver = false;
  state.heir = undefined;
  armTimer(turn, ELECTION_MIN_MS, ELECTION_MIN_MS);
}

/** True when the sender's log has at least all that this one may have committed. */
function isComplete(
  state: RaftState,
  request: PreVoteRequest | VoteRequest | HandOverVote,
): boolean {
  if (request.lastTerm !== lastTerm(state)) return request.lastTerm > lastTerm(state);
  return request.lastIndex >= lastIndex(state);
}

function otherVoters(state: RaftState): readonly NodeId[] {
  return allVoters(voterSet(state)).filter((node) => node !== state.self);
}

function armTimer(turn: Turn, minMs: number, maxMs: number): void {
  const ms = minMs === maxMs ? minMs : turn.draw.randomMs(minMs, maxMs);
  turn.effects.push({ type: 'electionTimer', ms });
}
