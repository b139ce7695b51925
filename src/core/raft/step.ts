// step(state, event): the only entry to the reducer. Sorts out terms, passes the event to election.ts or replicate.ts,
// and ends every step the same way: the role that the voter set demands, one persist effect, news for the driver.
// Synchronous, deterministic, no I/O: the same events and draws give the same effects.

import type { NodeId } from '../ids.ts';
import { unreachable } from '../invariant.ts';
import type { EntryOrigin } from '../log-entry.ts';
import {
  answerPreVote,
  answerVote,
  becomeFollower,
  countOwnVote,
  countPreVote,
  countVote,
  electionTimeout,
  hearLeader,
  leaderGone,
  settleRole,
  takeOver,
} from './election.ts';
import {
  compactLog,
  flushToDisk,
  lastIndex,
  notePersisted,
  resetLog,
  sendDurable,
  sendNow,
  termAt,
  voterSet,
} from './log.ts';
import type { SnapshotOffer } from './messages.ts';
import { askAgain, beginRead, noteConfirmed } from './reads.ts';
import {
  advanceCommit,
  answerAppend,
  answerOffer,
  appendProposal,
  broadcastAppends,
  broadcastHeartbeats,
  handOver,
  noteAppendReply,
  takeEntries,
  trackFollowers,
} from './replicate.ts';
import {
  type AppendRequest,
  type Draw,
  HEARTBEAT_MS,
  type LogBase,
  MAX_LEARNERS,
  MAX_UNCOMMITTED_ENTRIES,
  type PersistedEvent,
  type ProposalItem,
  type RaftEffect,
  type RaftEvent,
  type RaftMessage,
  type RaftState,
  type Turn,
} from './state.ts';
import { isLegalChange } from './voters.ts';

/**
 * Takes one event. The state is changed in place and returned; effects are to be carried out in their order.
 * @param draw the only randomness: election timers
 */
export function step(
  state: RaftState,
  event: RaftEvent,
  draw: Draw,
): { readonly state: RaftState; readonly effects: readonly RaftEffect[] } {
  const turn: Turn = { state, draw, effects: [] };
  handle(turn, event);
  settleRole(turn);
  flushToDisk(turn);
  reportCommit(turn);
  reportRole(turn);
  return { state, effects: turn.effects };
}

function handle(turn: Turn, event: RaftEvent): void {
  const { state } = turn;
  if (event.type === 'start') becomeFollower(turn, state.term, undefined);
  else if (event.type === 'electionTimeout') electionTimeout(turn);
  else if (event.type === 'heartbeatTimeout') heartbeatTimeout(turn);
  else if (event.type === 'message') receive(turn, event.from, event.message);
  else if (event.type === 'propose') propose(turn, event.items);
  else if (event.type === 'persisted') persisted(turn, event);
  else if (event.type === 'leaderGone') leaderGone(turn, event.node);
  else if (event.type === 'setLearners') setLearners(state, event.nodes);
  else if (event.type === 'commitLearned') learnCommit(turn, event);
  else if (event.type === 'handOver') handOver(turn);
  else if (event.type === 'read') beginRead(turn, event.id);
  else if (event.type === 'compact') compact(state, event.index);
  else if (event.type === 'installed') install(turn, event.base);
  else if (event.type === 'unmute') unmute(state);
  else unreachable(event);
}

function persisted(turn: Turn, event: PersistedEvent): void {
  notePersisted(turn, event);
  countOwnVote(turn);
  advanceCommit(turn);
}

function compact(state: RaftState, index: number): void {
  if (index > state.base.index && index <= state.reportedCommit) compactLog(state, index);
}

/** Everything in a snapshot is committed. A log that has its last entry has all of it, and keeps what follows (A2). */
function install(turn: Turn, base: LogBase): void {
  const { state } = turn;
  if (base.index <= state.commit) return;
  if (termAt(state, base.index) === base.term) {
    state.commit = base.index;
    return;
  }
  // Votes asked for with the old log do not count for the new one.
  becomeFollower(turn, Math.max(state.term, base.term), undefined);
  resetLog(state, base);
}

/**
 * C2.6: an entry is committed here that was proposed after the damage, so without this node's help (decision 0036). Who
 * got a vote that it forgot can win no later term with it; in the present term it gives none.
 */
function unmute(state: RaftState): void {
  if (!state.isMuted) return;
  state.isMuted = false;
  state.isUnmuteDirty = true;
  state.vote = state.self;
  state.isHardStateDirty = true;
}

function setLearners(state: RaftState, nodes: readonly NodeId[]): void {
  state.learners = nodes.slice(0, MAX_LEARNERS);
  if (state.role === 'leader') trackFollowers(state);
}

function heartbeatTimeout(turn: Turn): void {
  if (turn.state.role !== 'leader') return;
  broadcastHeartbeats(turn);
  askAgain(turn);
  turn.effects.push({ type: 'heartbeatTimer', ms: HEARTBEAT_MS });
}

function receive(turn: Turn, from: NodeId, message: RaftMessage): void {
  const { state } = turn;
  if (from === state.self) return;
  if (state.isMuted) {
    // What it may have promised before the damage nobody knows: it promises nothing (C2.6).
    if (message.type !== 'unable') sendNow(turn, from, { type: 'unable', term: message.term });
    return;
  }
  if (message.type === 'unable') {
    noteUnable(state, from);
  } else if (message.type === 'preVote') {
    // It names a term that nobody has started: it moves nobody's term (C2.2).
    answerPreVote(turn, from, message);
  } else if (message.type === 'preVoteReply' && message.granted) {
    if (message.term === state.term + 1) countPreVote(turn, from);
  } else if (message.type === 'vote' && message.term > state.term && state.isLeaseHeld) {
    // Who hears its leader does not help to replace it (C2.2).
  } else {
    if (message.term > state.term) becomeFollower(turn, message.term, undefined);
    receiveInTerm(turn, from, message);
  }
}

/** The message is of the present term or an older one. */
function receiveInTerm(turn: Turn, from: NodeId, message: RaftMessage): void {
  const { state } = turn;
  if (message.type === 'vote' || message.type === 'handOverVote') answerVote(turn, from, message);
  else if (message.type === 'append' || message.type === 'offer') {
    receiveAppend(turn, from, message);
  } else if (message.term < state.term) return;
  else if (message.type === 'voteReply' && message.granted) countVote(turn, from);
  else if (message.type === 'appendReply' && state.role === 'leader') {
    noteAppendReply(turn, from, message);
  } else if (message.type === 'timeoutNow') takeOver(turn, from);
  else if (message.type === 'confirm') answerConfirm(turn, from, message.round);
  else if (message.type === 'confirmReply') noteConfirmed(turn, from, message.round);
}

/** Who follows another leader, or nobody yet, confirms nobody. */
function answerConfirm(turn: Turn, from: NodeId, round: number): void {
  const { state } = turn;
  if (state.leader !== from) return;
  sendNow(turn, from, { type: 'confirmReply', term: state.term, round });
}

function noteUnable(state: RaftState, from: NodeId): void {
  const progress = state.progress.get(from);
  if (progress !== undefined) progress.unable = true;
}

function receiveAppend(turn: Turn, from: NodeId, message: AppendRequest | SnapshotOffer): void {
  const { state } = turn;
  if (message.term < state.term) {
    // The reply's term tells a leader of the past that it leads no more.
    sendDurable(turn, from, {
      type: 'appendReply',
      term: state.term,
      ok: false,
      prevIndex: message.type === 'append' ? message.prevIndex : 0,
      matchIndex: 0,
      conflictIndex: 1,
      conflictTerm: 0,
    });
    return;
  }
  if (state.leader !== undefined && state.leader !== from) {
    const detail = `n${from} and n${state.leader} both lead term ${state.term} (A1)`;
    turn.effects.push({ type: 'violation', detail });
    return;
  }
  hearLeader(turn, from);
  if (message.type === 'append') answerAppend(turn, from, message);
  else answerOffer(turn, from, message);
}

function propose(turn: Turn, items: readonly ProposalItem[]): void {
  const { state } = turn;
  if (state.role !== 'leader') {
    const origins = items.map((item) => item.origin);
    refuse(turn, origins, 'notLeader');
    return;
  }
  if (state.isHandingOver) {
    const origins = items.map((item) => item.origin);
    refuse(turn, origins, 'full');
    return;
  }
  const accepted: { origin: EntryOrigin; index: number }[] = [];
  const illegal: EntryOrigin[] = [];
  const late: EntryOrigin[] = [];
  for (const { origin, body } of items) {
    if (lastIndex(state) - state.commit >= MAX_UNCOMMITTED_ENTRIES) late.push(origin);
    else if (!mayPropose(state, body)) illegal.push(origin);
    else accepted.push({ origin, index: appendProposal(state, origin, body) });
  }
  refuse(turn, illegal, 'voterChange');
  refuse(turn, late, 'full');
  if (accepted.length === 0) return;
  turn.effects.push({ type: 'proposed', term: state.term, items: accepted });
  broadcastAppends(turn, { always: false });
}

/** C2.4: no change of voters before an entry of the own term is committed, and only one at a time. */
function mayPropose(state: RaftState, body: ProposalItem['body']): boolean {
  if (body.type === 'votersForced') return false;
  if (body.type !== 'votersJoint' && body.type !== 'votersFinal') return true;
  return (
    termAt(state, state.commit) === state.term && isLegalChange(voterSet(state), state.commit, body)
  );
}

function refuse(
  turn: Turn,
  origins: readonly EntryOrigin[],
  reason: 'notLeader' | 'voterChange' | 'full',
): void {
  if (origins.length === 0) return;
  turn.effects.push({ type: 'refusedProposals', origins, reason, leader: turn.state.leader });
}

/**
 * Committed entries from elsewhere (pull, gossip). They win over an uncommitted tail of ours, which can never be
 * committed any more; they never replace what is committed here (A3). They must show that they follow what is committed
 * here, by an entry that is, or by its term: else they may be of another history, after a forced recovery (section 6).
 */
function learnCommit(turn: Turn, event: Extract<RaftEvent, { type: 'commitLearned' }>): void {
  const { state } = turn;
  const known = event.entries.filter(
    ({ index }) => index >= state.base.index && index <= event.commit,
  );
  const start = known.findIndex((entry) => entry.index <= state.commit + 1);
  if (start < 0) return;
  let end = start + 1;
  while (known[end]?.index === (known[end - 1]?.index ?? 0) + 1) end += 1;
  const run = known.slice(start, end);
  const newest = run.at(-1);
  if (newest === undefined) return;
  const shown = run[0]?.index === state.commit + 1 ? event.prevTerm : termAt(state, state.commit);
  if (shown === undefined && state.commit > 0) return;
  const isOther = run.some(({ index, term }) => {
    return index <= state.commit && termAt(state, index) !== term;
  });
  if (isOther || (state.commit > 0 && shown !== termAt(state, state.commit))) {
    turn.effects.push({ type: 'violation', detail: 'learned entries of another history (A3)' });
    return;
  }
  if (newest.index <= state.commit) return;
  if (run.some((entry, at) => entry.term < (run[at - 1]?.term ?? 0))) {
    turn.effects.push({ type: 'violation', detail: 'learned entries whose terms fall' });
    return;
  }
  if (newest.term > state.term) becomeFollower(turn, newest.term, undefined);
  const isNews = run.some((entry) => termAt(state, entry.index) !== entry.term);
  if (isNews && state.role === 'leader') {
    turn.effects.push({
      type: 'violation',
      detail: "a committed entry is not in its leader's log",
    });
    return;
  }
  // Votes asked for with the old log do not count for the new one.
  if (isNews && (state.role === 'candidate' || state.role === 'preCandidate')) {
    becomeFollower(turn, state.term, undefined);
  }
  if (takeEntries(turn, run)) state.commit = newest.index;
}

/** Only what is synced here, too: the driver may then sync the index itself and act on it (C2.9, A10). */
function reportCommit(turn: Turn): void {
  const { state } = turn;
  const index = Math.min(state.commit, state.durableIndex);
  if (index <= state.reportedCommit) return;
  state.reportedCommit = index;
  turn.effects.push({ type: 'committed', index });
}

function reportRole(turn: Turn): void {
  const { state } = turn;
  const { role, leader, term } = state;
  const last = state.reported;
  if (last.role === role && last.leader === leader && last.term === term) return;
  state.reported = { role, leader, term };
  turn.effects.push({ type: 'roleChanged', role, leader, term });
}
