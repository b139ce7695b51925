// What Raft members say to each other. Plain data: wire/raft-codec.ts has the bytes. A message promises only what is synced
// where it says so; each may be lost, doubled or late.

import type { LogEntry } from '../log-entry.ts';

/** Plain data; wire/messages.ts has the bytes. Terms and indexes are integers below 2^48; node 0 = none. */
export type RaftMessage =
  /** "Would you vote for me in `term`?" Changes nothing at the receiver (C2.2). */
  | PreVoteRequest
  | { readonly type: 'preVoteReply'; readonly term: number; readonly granted: boolean }
  | VoteRequest
  | { readonly type: 'voteReply'; readonly term: number; readonly granted: boolean }
  | AppendRequest
  | AppendReply
  /** A vote that the leader itself asked for: voters give it although they hear that leader (hand-over). */
  | HandOverVote
  /** Leader to a voter that has all of its log: stand for election now. */
  | { readonly type: 'timeoutNow'; readonly term: number }
  /** Leader to one that lacks what the leader's log has no more: fetch a snapshot up to `index` at least. A heartbeat. */
  | SnapshotOffer
  /** "Do I still lead?" Answered with the same round by who follows in this term (C2.3). */
  | { readonly type: 'confirm'; readonly term: number; readonly round: number }
  | { readonly type: 'confirmReply'; readonly term: number; readonly round: number }
  /** Answer of a voter that lost part of its log: it takes no part until it caught up (C2.6). */
  | { readonly type: 'unable'; readonly term: number };

export interface PreVoteRequest {
  readonly type: 'preVote';
  /** The term that the sender would start: its own + 1. */
  readonly term: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
}

export interface VoteRequest {
  readonly type: 'vote';
  readonly term: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
}

export interface HandOverVote {
  readonly type: 'handOverVote';
  readonly term: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
}

export interface SnapshotOffer {
  readonly type: 'offer';
  readonly term: number;
  /** The leader's log starts behind this index. */
  readonly index: number;
}

/** A heartbeat is an append without entries. */
export interface AppendRequest {
  readonly type: 'append';
  readonly term: number;
  /** Index and term of the entry before `entries`; 0, 0 before the first. */
  readonly prevIndex: number;
  readonly prevTerm: number;
  /** At most MAX_APPEND_ENTRIES, contiguous from prevIndex + 1. */
  readonly entries: readonly LogEntry[];
  /** The leader's commit index. */
  readonly commit: number;
}

export interface AppendReply {
  readonly type: 'appendReply';
  readonly term: number;
  /** True: the log matches at prevIndex, and everything up to `matchIndex` is synced here. */
  readonly ok: boolean;
  /** Of the request that this answers. */
  readonly prevIndex: number;
  /** ok only; 0 otherwise. May be below prevIndex + entries while a sync is under way. */
  readonly matchIndex: number;
  /** Not ok: where the leader tries next, 1 or more; 0 when ok. */
  readonly conflictIndex: number;
  /** Not ok: term of the entry here at prevIndex, 0 when the log is shorter than that. */
  readonly conflictTerm: number;
}
