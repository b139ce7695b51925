// The log in memory, how far it is on disk, and what waits for the disk. One persist effect is under way at a time:
// whatever changes meanwhile goes in one batch after it (group commit). A message that promises something durable
// leaves with the end of the persist that covers it (C2.1); a message that waits is just slow, which Raft allows.

import type { NodeId } from '../ids.ts';
import { invariant } from '../invariant.ts';
import type { LogEntry } from '../log-entry.ts';
import {
  type LogBase,
  MAX_WAITING_MESSAGES,
  type OutgoingMessage,
  type PersistedEvent,
  type RaftMessage,
  type RaftState,
  type Turn,
} from './state.ts';
import { type VoterSet, voterSetOf } from './voters.ts';

/** Index of the last entry, 0 in an empty log. */
export function lastIndex(state: RaftState): number {
  return state.base.index + state.log.length;
}

/** The entry at `index`; undefined beyond the end and where it was compacted away. */
export function entryAt(state: RaftState, index: number): LogEntry | undefined {
  return state.log[index - 1 - state.base.index];
}

/** Term of the entry at `index`, or of the base; 0 at 0; undefined where the log says nothing (any more). */
export function termAt(state: RaftState, index: number): number | undefined {
  return index === state.base.index ? state.base.term : entryAt(state, index)?.term;
}

/** Term of the last entry, 0 in an empty log. */
export function lastTerm(state: RaftState): number {
  return state.log.at(-1)?.term ?? state.base.term;
}

/** The voter set that rules now: the last one in the log, committed or not (C2.4). */
export function voterSet(state: RaftState): VoterSet | undefined {
  return state.voterSets.at(-1);
}

/** First kept index whose term is at least `term`; one beyond the end when there is none. Terms never fall in a log. */
export function firstIndexOfTerm(state: RaftState, term: number): number {
  let low = state.base.index + 1;
  let high = lastIndex(state) + 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if ((termAt(state, middle) ?? 0) < term) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Adds one entry at the end; it rules at once if it names voters. */
export function pushEntry(state: RaftState, entry: LogEntry): void {
  invariant(entry.index === lastIndex(state) + 1, 'an entry is appended right after the last one');
  invariant(entry.term >= lastTerm(state), 'terms never fall in a log');
  state.log.push(entry);
  const set = voterSetOf(entry);
  if (set !== undefined) state.voterSets.push(set);
}

/** Cuts the log: `from` and all after it go, and the voter sets that they named. Never what is committed (A3). */
export function cutLog(state: RaftState, from: number): void {
  invariant(from > state.commit, 'the committed prefix never changes (A3)');
  state.log.length = from - 1 - state.base.index;
  state.dirtyFrom = Math.min(state.dirtyFrom, from);
  state.durableIndex = Math.min(state.durableIndex, from - 1);
  while ((voterSet(state)?.index ?? 0) >= from) state.voterSets.pop();
}

/** The log starts behind `index`: what is before it is in a snapshot. The caller knows that it is committed and synced. */
export function compactLog(state: RaftState, index: number): void {
  const term = termAt(state, index);
  invariant(term !== undefined && index <= state.reportedCommit, 'only what is committed goes');
  state.log.splice(0, index - state.base.index);
  while ((state.voterSets[1]?.index ?? Infinity) <= index) state.voterSets.shift();
  const first = state.voterSets[0];
  const voters = first !== undefined && first.index <= index ? first : undefined;
  state.base = { index, term, voters };
  if (state.baseChange === 'none') state.baseChange = 'compacted';
}

/** The log is nothing but this base: a snapshot from elsewhere replaced what was here. */
export function resetLog(state: RaftState, base: LogBase): void {
  invariant(base.index > state.commit, 'a snapshot takes no node back (A10)');
  state.base = base;
  state.log.length = 0;
  state.voterSets.length = 0;
  if (base.voters !== undefined) state.voterSets.push(base.voters);
  state.baseChange = 'reset';
  state.dirtyFrom = base.index + 1;
  state.fileEnd = base.index;
  state.durableIndex = 0;
  state.commit = base.index;
}

/** Sends now. Only for what promises nothing about this node's disk. */
export function sendNow(turn: Turn, to: NodeId, message: RaftMessage): void {
  turn.effects.push({ type: 'send', to, message });
}

/** Sends when term, vote and log, as they are in memory now, are synced. */
export function sendDurable(turn: Turn, to: NodeId, message: RaftMessage): void {
  const { state } = turn;
  if (hasUnsaved(state)) pushBounded(state.waiting, { to, message });
  else if (state.persisting !== undefined) pushBounded(state.persisting.messages, { to, message });
  else sendNow(turn, to, message);
}

/** True when the term in memory is on disk, so that an answer may name it. */
export function isTermDurable(state: RaftState): boolean {
  return state.durableTerm === state.term;
}

/** Starts the next persist effect if there is something to write and none is under way. */
export function flushToDisk(turn: Turn): void {
  const { state } = turn;
  if (state.persisting !== undefined || !hasUnsaved(state)) return;
  const last = lastIndex(state);
  const then: PersistedEvent = {
    type: 'persisted',
    term: state.term,
    vote: state.vote,
    lastIndex: last,
  };
  const isReset = state.baseChange === 'reset';
  turn.effects.push({
    type: 'persist',
    ...(state.isHardStateDirty ? { hardState: { term: state.term, vote: state.vote } } : {}),
    ...(state.isUnmuteDirty ? { unmutes: true as const } : {}),
    ...(state.baseChange === 'none' ? {} : { base: state.base, isReset }),
    ...(state.dirtyFrom <= state.fileEnd ? { truncateFrom: state.dirtyFrom } : {}),
    entries: state.log.slice(state.dirtyFrom - 1 - state.base.index),
    ...(state.commit > state.reportedCommit ? { commit: state.commit } : {}),
    then,
  });
  state.persisting = { then, messages: state.waiting };
  state.waiting = [];
  state.isHardStateDirty = false;
  state.isUnmuteDirty = false;
  state.baseChange = 'none';
  state.dirtyFrom = last + 1;
  state.fileEnd = last;
}

/** Takes note of the end of the persist under way and sends what waited for it. */
export function notePersisted(turn: Turn, event: PersistedEvent): void {
  const { state } = turn;
  const done = state.persisting;
  invariant(done !== undefined, 'a persisted event answers the persist under way');
  invariant(
    done.then.term === event.term &&
      done.then.vote === event.vote &&
      done.then.lastIndex === event.lastIndex,
    'a persisted event is the one that the persist effect named',
  );
  state.persisting = undefined;
  state.durableTerm = event.term;
  state.durableVote = event.vote;
  // What was cut or replaced meanwhile is on disk but not in the log any more: it does not count.
  const isReplaced = state.baseChange === 'reset';
  state.durableIndex = isReplaced ? 0 : Math.min(event.lastIndex, state.dirtyFrom - 1);
  for (const { to, message } of done.messages) sendNow(turn, to, message);
}

/** True when something in memory was not named by a persist effect yet. */
function hasUnsaved(state: RaftState): boolean {
  return (
    state.isHardStateDirty ||
    state.isUnmuteDirty ||
    state.baseChange !== 'none' ||
    state.dirtyFrom <= lastIndex(state) ||
    state.dirtyFrom <= state.fileEnd
  );
}

function pushBounded(queue: OutgoingMessage[], message: OutgoingMessage): void {
  if (queue.length >= MAX_WAITING_MESSAGES) queue.shift();
  queue.push(message);
}
