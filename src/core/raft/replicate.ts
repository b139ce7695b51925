// Log matching, flow control, the commit rule and joint changes of voters. A leader counts an entry only where it is
// synced, and commits by counting only entries of its own term (A3). A follower cuts what conflicts, never what is
// committed. What a peer says that can not be true is reported as a violation and ignored.

import type { Incarnation, MapIndex, NodeId } from '../ids.ts';
import { invariant } from '../invariant.ts';
import type { EntryBody, EntryOrigin, LogEntry } from '../log-entry.ts';
import {
  cutLog,
  entryAt,
  firstIndexOfTerm,
  isTermDurable,
  lastIndex,
  pushEntry,
  sendDurable,
  sendNow,
  termAt,
  voterSet,
} from './log.ts';
import type { SnapshotOffer } from './messages.ts';
import {
  type AppendReply,
  type AppendRequest,
  MAX_APPEND_BYTES,
  MAX_APPEND_ENTRIES,
  MAX_IN_FLIGHT_APPENDS,
  MAX_LEARNERS,
  matchOf,
  type Progress,
  type RaftState,
  type Turn,
} from './state.ts';
import { allVoters, isHeir, quorumIndex } from './voters.ts';

/**
 * Origin of entries that a leader makes by itself (noop, votersFinal): node 0, which is never a member, so that the
 * de-duplication of proposals (C2.5) never takes two of them for one, or for one of an earlier life.
 */
export const OWN_ORIGIN: EntryOrigin = {
  node: 0 as NodeId,
  incarnation: 0 as Incarnation,
  counter: 0,
};

/** Leader: appends an entry of its own making. */
export function appendOwn(state: RaftState, body: EntryBody): void {
  appendProposal(state, OWN_ORIGIN, body);
}

/** Leader: gives an entry its index and term. Returns the index. */
export function appendProposal(state: RaftState, origin: EntryOrigin, body: EntryBody): number {
  invariant(state.role === 'leader', 'only a leader makes entries');
  const index = lastIndex(state) + 1;
  pushEntry(state, { index: index as MapIndex, term: state.term, origin, body });
  if (voterSet(state)?.index === index) trackFollowers(state);
  return index;
}

/** Leader: one progress per voter and learner but self, kept where there is one. */
export function trackFollowers(state: RaftState): void {
  const wanted = new Set([...allVoters(voterSet(state)), ...state.learners.slice(0, MAX_LEARNERS)]);
  wanted.delete(state.self);
  for (const node of state.progress.keys()) if (!wanted.has(node)) state.progress.delete(node);
  for (const node of wanted) {
    if (state.progress.has(node)) continue;
    const next = lastIndex(state) + 1;
    // Active: a new follower gets one full window before its silence counts (C2.2).
    const start = { match: 0, next, replicating: false, inFlight: [] };
    state.progress.set(node, { ...start, active: true, unable: false });
  }
}

/** Leader: sends what each follower may get now; with `always`, at least a heartbeat (it carries the commit index). */
export function broadcastAppends(turn: Turn, options: { readonly always: boolean }): void {
  for (const [node, progress] of turn.state.progress) {
    const sent = sendEntries(turn, node, progress);
    if (!sent && options.always) sendAppend(turn, node, progress, []);
  }
}

/** Leader: an empty append to everybody. Its place in the log finds out what was lost on the way. */
export function broadcastHeartbeats(turn: Turn): void {
  for (const [node, progress] of turn.state.progress) sendAppend(turn, node, progress, []);
}

/** Leader: what a majority has synced, if it is of the own term, is committed, and all before it (A3). */
export function advanceCommit(turn: Turn): void {
  const { state } = turn;
  if (state.role !== 'leader') return;
  const index = quorumIndex(voterSet(state), (node) => matchOf(state, node));
  if (index <= state.commit || termAt(state, index) !== state.term) return;
  state.commit = index;
  const set = voterSet(state);
  if (set?.next !== undefined && set.index <= index) {
    appendOwn(state, { type: 'votersFinal', old: set.voters, next: set.next });
  }
  broadcastAppends(turn, { always: true });
}

/** Follower: takes entries of the leader of the present term, or says where the logs part. */
export function answerAppend(turn: Turn, from: NodeId, request: AppendRequest): void {
  const { state } = turn;
  const { prevIndex, entries } = request;
  if (!isWellFormed(request)) {
    turn.effects.push({ type: 'violation', detail: `malformed append from n${from}` });
    return;
  }
  // What was compacted is committed, so it is the leader's, too.
  if (prevIndex >= state.base.index && termAt(state, prevIndex) !== request.prevTerm) {
    refuseAppend(turn, from, request);
    return;
  }
  if (!takeEntries(turn, entries)) return;
  const matched = prevIndex + entries.length;
  state.commit = Math.max(state.commit, Math.min(request.commit, matched));
  replyMatched(turn, from, prevIndex, matched, entries.length > 0);
}

/**
 * Follower: makes the log contain these entries. Cuts a tail that differs.
 * @returns false when they contradict what is committed here (A3): nothing was changed
 */
export function takeEntries(turn: Turn, entries: readonly LogEntry[]): boolean {
  const { state } = turn;
  const at = entries.findIndex(
    (entry) => entry.index > state.base.index && termAt(state, entry.index) !== entry.term,
  );
  const first = entries[at];
  if (first === undefined) return true;
  const isOlder = first.term < (termAt(state, first.index - 1) ?? 0);
  if (first.index <= state.commit || isOlder) {
    const detail = `entry ${first.index} of term ${first.term} contradicts a committed one (A3)`;
    turn.effects.push({ type: 'violation', detail });
    return false;
  }
  if (first.index <= lastIndex(state)) cutLog(state, first.index);
  for (const entry of entries.slice(at)) pushEntry(state, entry);
  return true;
}

/** Leader: learns from an answer of the present term. */
export function noteAppendReply(turn: Turn, from: NodeId, reply: AppendReply): void {
  const { state } = turn;
  const progress = state.progress.get(from);
  if (progress === undefined) return;
  progress.active = true;
  progress.unable = false;
  if (!reply.ok) {
    noteRefusal(turn, from, progress, reply);
    return;
  }
  if (reply.matchIndex > lastIndex(state)) {
    turn.effects.push({ type: 'violation', detail: `n${from} says it has what was never sent` });
    return;
  }
  progress.match = Math.max(progress.match, reply.matchIndex);
  if (!progress.replicating) progress.inFlight.length = 0;
  progress.replicating = true;
  progress.next = Math.max(progress.next, progress.match + 1);
  while ((progress.inFlight[0] ?? Infinity) <= progress.match) progress.inFlight.shift();
  advanceCommit(turn);
  sendEntries(turn, from, progress);
  if (state.isHandingOver) offerLead(turn, from);
}

/** Leader: gives the lead to the first follower that has all of the log; until then it takes no proposals (C2.7). */
export function handOver(turn: Turn): void {
  const { state } = turn;
  if (state.role !== 'leader') return;
  state.isHandingOver = true;
  for (const node of state.progress.keys()) offerLead(turn, node);
}

/** Leader: asks `to` to take over if it may and has all. */
export function offerLead(turn: Turn, to: NodeId): void {
  const { state } = turn;
  const progress = state.progress.get(to);
  if (progress === undefined || !progress.active || progress.match < lastIndex(state)) return;
  if (state.heir !== undefined || !isHeir(voterSet(state), to)) return;
  state.heir = to;
  sendNow(turn, to, { type: 'timeoutNow', term: state.term });
}

/** Follower: the leader's log starts behind ours. A majority has what we have as committed, so that much is confirmed. */
export function answerOffer(turn: Turn, from: NodeId, offer: SnapshotOffer): void {
  const { state } = turn;
  if (state.commit < offer.index) {
    turn.effects.push({ type: 'snapshotNeeded', from, index: offer.index });
  }
  replyMatched(turn, from, 0, state.commit, false);
}

function noteRefusal(turn: Turn, from: NodeId, progress: Progress, reply: AppendReply): void {
  const { state } = turn;
  // A late answer to something older than what is known by now says nothing.
  const isStale = progress.replicating
    ? reply.prevIndex <= progress.match
    : reply.prevIndex !== progress.next - 1;
  if (isStale || reply.prevIndex < 1) return;
  progress.replicating = false;
  progress.inFlight.length = 0;
  const hint = Math.min(placeToTry(state, reply), reply.prevIndex);
  progress.next = Math.max(hint, progress.match + 1);
  const sent = sendEntries(turn, from, progress);
  if (!sent && progress.next <= state.base.index) sendAppend(turn, from, progress, []);
}

/** Skips a whole term per round: behind the last own entry of the follower's term, else before all of that term. */
function placeToTry(state: RaftState, reply: AppendReply): number {
  if (reply.conflictTerm === 0) return reply.conflictIndex;
  const behind = firstIndexOfTerm(state, reply.conflictTerm + 1);
  return termAt(state, behind - 1) === reply.conflictTerm ? behind : reply.conflictIndex;
}

/** Entries from `next` on, as far as the window allows. True when at least one message went out. */
function sendEntries(turn: Turn, to: NodeId, progress: Progress): boolean {
  const { state } = turn;
  const limit = progress.replicating ? MAX_IN_FLIGHT_APPENDS : 1;
  let sent = false;
  if (progress.next <= state.base.index) return false;
  while (progress.inFlight.length < limit && progress.next <= lastIndex(state)) {
    const entries = batchFrom(state, progress.next);
    sendAppend(turn, to, progress, entries);
    progress.inFlight.push(progress.next + entries.length - 1);
    sent = true;
    if (progress.replicating) progress.next += entries.length;
  }
  return sent;
}

function sendAppend(
  turn: Turn,
  to: NodeId,
  progress: Progress,
  entries: readonly LogEntry[],
): void {
  const { state } = turn;
  const prevIndex = progress.next - 1;
  if (prevIndex < state.base.index) {
    sendNow(turn, to, { type: 'offer', term: state.term, index: state.base.index });
    return;
  }
  const prevTerm = termAt(state, prevIndex);
  invariant(prevTerm !== undefined, 'a leader sends from within its log');
  const { term, commit } = state;
  sendNow(turn, to, { type: 'append', term, prevIndex, prevTerm, entries, commit });
}

/** At least one entry, then as many as both bounds allow. */
function batchFrom(state: RaftState, from: number): readonly LogEntry[] {
  const entries: LogEntry[] = [];
  let bytes = 0;
  for (let index = from; index <= lastIndex(state); index += 1) {
    const entry = entryAt(state, index);
    invariant(entry !== undefined, 'the log has no holes');
    bytes += estimatedBytes(entry);
    if (entries.length > 0 && (bytes > MAX_APPEND_BYTES || entries.length >= MAX_APPEND_ENTRIES))
      break;
    entries.push(entry);
  }
  return entries;
}

/** An upper bound of the encoded size, without knowing the codec: 8 per number, 4 per list, 3 per UTF-16 unit. */
function estimatedBytes(value: unknown): number {
  if (typeof value === 'string') return 4 + 3 * value.length;
  if (typeof value !== 'object' || value === null) return 8;
  let bytes = 4;
  for (const part of Object.values(value)) bytes += estimatedBytes(part);
  return bytes;
}

function refuseAppend(turn: Turn, from: NodeId, request: AppendRequest): void {
  const { state } = turn;
  const { prevIndex } = request;
  if (prevIndex <= state.commit) {
    const detail = `n${from} has another entry at ${prevIndex}, which is committed here (A3)`;
    turn.effects.push({ type: 'violation', detail });
    return;
  }
  const conflictTerm = termAt(state, prevIndex) ?? 0;
  const first = conflictTerm === 0 ? lastIndex(state) + 1 : firstIndexOfTerm(state, conflictTerm);
  sendDurable(turn, from, {
    type: 'appendReply',
    term: state.term,
    ok: false,
    prevIndex,
    matchIndex: 0,
    conflictIndex: Math.max(first, state.commit + 1),
    conflictTerm,
  });
}

/** New entries are confirmed when synced; a heartbeat at once, with what is synced now. */
function replyMatched(
  turn: Turn,
  to: NodeId,
  prevIndex: number,
  matched: number,
  waits: boolean,
): void {
  const { state } = turn;
  const isNow = isTermDurable(state) && (!waits || matched <= state.durableIndex);
  const reply: AppendReply = {
    type: 'appendReply',
    term: state.term,
    ok: true,
    prevIndex,
    matchIndex: isNow ? Math.min(matched, state.durableIndex) : matched,
    conflictIndex: 0,
    conflictTerm: 0,
  };
  if (isNow) sendNow(turn, to, reply);
  else sendDurable(turn, to, reply);
}

function isWellFormed(request: AppendRequest): boolean {
  let term = request.prevTerm;
  let index = request.prevIndex;
  for (const entry of request.entries) {
    index += 1;
    if (entry.index !== index || entry.term < term || entry.term > request.term) return false;
    term = entry.term;
  }
  return request.entries.length <= MAX_APPEND_ENTRIES;
}
