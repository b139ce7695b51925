// What one node knows of the map log as a Raft member: events, effects, fields and bounds. Promises: no I/O,
// no clock, no randomness but the `draw` that step.ts passes on. Persistent fields (term, vote, log) may run ahead of
// the disk in memory; whatever tells somebody about them waits for the `persisted` event (C2.1). Must not know: codecs,
// peers' addresses, what an entry means beyond the set of voters that it names (voters.ts), what a snapshot holds.

import type { NodeId } from '../ids.ts';
import { invariant } from '../invariant.ts';
import type { EntryBody, EntryOrigin, LogEntry } from '../log-entry.ts';
import type { RaftMessage } from './messages.ts';
import { isVoter, type VoterSet, voterSetsOf } from './voters.ts';

export type {
  AppendReply,
  AppendRequest,
  PreVoteRequest,
  RaftMessage,
  VoteRequest,
} from './messages.ts';

// ------------------------------------------------------------------------------------------------ bounds

/** Milliseconds between two heartbeats of a leader (C2.7). */
export const HEARTBEAT_MS = 150;
/** Milliseconds without a word from the leader before a follower stops honouring it. Also the CheckQuorum window. */
export const ELECTION_MIN_MS = 1000;
/** Most milliseconds without a word from the leader before a voter campaigns (C2.7). */
export const ELECTION_MAX_MS = 2000;
/** Election timer after `leaderGone`: the leader's process is known to be dead, nobody needs to wait. */
export const LEADER_GONE_MIN_MS = 20;
export const LEADER_GONE_MAX_MS = 150;
/** Most entries of one append message; the codec refuses longer lists. */
export const MAX_APPEND_ENTRIES = 512;
/** Most estimated bytes of one append message, unless its first entry alone is larger. */
export const MAX_APPEND_BYTES = 256 * 1024;
/** Most unanswered append messages with entries per follower. */
export const MAX_IN_FLIGHT_APPENDS = 4;
/** Most entries of a leader's log that are not committed; further proposals are refused as `full`. */
export const MAX_UNCOMMITTED_ENTRIES = 4096;
/** Most messages that wait for one sync; the oldest is dropped, which is as legal as a loss on the network. */
export const MAX_WAITING_MESSAGES = 256;
/** Most nodes a leader replicates to beside the voters; `setLearners` ignores the rest. */
export const MAX_LEARNERS = 8;
/** Most reads that wait for a majority to confirm their leader (C2.3); more are refused. */
export const MAX_WAITING_READS = 256;

// -------------------------------------------------------------------------------------- events and effects

/** Term and vote; vote 0 = none. Synced before any answer that depends on them (C2.1). */
export interface HardState {
  readonly term: number;
  readonly vote: NodeId | 0;
}

/** What comes before the first entry of a log: a snapshot holds the state up to `index` or beyond. */
export interface LogBase {
  /** 0: the log starts at 1, nothing was compacted. */
  readonly index: number;
  readonly term: number;
  /** The voter set that rules at `index`; undefined only at 0. */
  readonly voters: VoterSet | undefined;
}

/** The base of a log that was never compacted. */
export const NO_BASE: LogBase = { index: 0, term: 0, voters: undefined };

export interface ProposalItem {
  readonly origin: EntryOrigin;
  readonly body: EntryBody;
}

/** The end of one `persist` effect: everything it named is synced. */
export interface PersistedEvent {
  readonly type: 'persisted';
  readonly term: number;
  readonly vote: NodeId | 0;
  /** Last index of the log as it was when the effect was made. */
  readonly lastIndex: number;
}

export type RaftEvent =
  /** First event of a life: arms the timer; a sole voter campaigns at once. */
  | { readonly type: 'start' }
  /** The last `electionTimer` ran out. */
  | { readonly type: 'electionTimeout' }
  /** The last `heartbeatTimer` ran out. */
  | { readonly type: 'heartbeatTimeout' }
  | { readonly type: 'message'; readonly from: NodeId; readonly message: RaftMessage }
  | { readonly type: 'propose'; readonly items: readonly ProposalItem[] }
  | PersistedEvent
  /** The process of `node` is known to be dead (its host refuses connections). */
  | { readonly type: 'leaderGone'; readonly node: NodeId }
  /** Whom to replicate to beside the voters, while leader. Kept across terms of this process. */
  | { readonly type: 'setLearners'; readonly nodes: readonly NodeId[] }
  /** Hand the lead over, to whoever is best (slow disk, orderly stop). */
  | { readonly type: 'handOver' }
  /** Which index is committed at least, now (C2.3)? Answered by `readReady` or `readRefused` of this id. */
  | { readonly type: 'read'; readonly id: number }
  /** A snapshot holds what the log says up to `index` and beyond: those entries may go. */
  | { readonly type: 'compact'; readonly index: number }
  /** A snapshot from elsewhere is durable here. What it holds is committed. */
  | { readonly type: 'installed'; readonly base: LogBase }
  /** This node, whose log was damaged, knows an entry as committed that was proposed after the damage (C2.6). */
  | { readonly type: 'unmute' }
  /** Entries up to `commit` are known to be committed (pulled, gossiped). Others in the list are left out. */
  | {
      readonly type: 'commitLearned';
      /** Of the entry before the first one, where the sender says so. */
      readonly prevTerm?: number;
      readonly entries: readonly LogEntry[];
      readonly commit: number;
    };

export type RaftEffect =
  /**
   * Write and sync, in this order: hard state, end of the muteness, base, cut of the log from `truncateFrom` on, entries.
   * At most one is under way: the next comes only after `then` was fed back, which the driver does when the sync is done.
   */
  | {
      readonly type: 'persist';
      readonly hardState?: HardState;
      readonly unmutes?: true;
      /** Entries up to the base go; with `isReset` all of them do. */
      readonly base?: LogBase;
      readonly isReset?: boolean;
      readonly truncateFrom?: number;
      readonly entries: readonly LogEntry[];
      /** Known to be committed, up to the last entry: goes with the same sync, so that acting on it costs no second one. */
      readonly commit?: number;
      readonly then: PersistedEvent;
    }
  | { readonly type: 'send'; readonly to: NodeId; readonly message: RaftMessage }
  /** Entries up to `index` are committed and synced here; the driver syncs the index before it acts on it (C2.9). */
  | { readonly type: 'committed'; readonly index: number }
  /** Replaces the election timer. */
  | { readonly type: 'electionTimer'; readonly ms: number }
  /** Replaces the heartbeat timer. */
  | { readonly type: 'heartbeatTimer'; readonly ms: number }
  | {
      readonly type: 'roleChanged';
      readonly role: RaftRole;
      readonly leader: NodeId | undefined;
      readonly term: number;
    }
  /** The index each accepted item got, in this term. Not committed yet; a change of leader may lose it. */
  | {
      readonly type: 'proposed';
      readonly term: number;
      readonly items: readonly { readonly origin: EntryOrigin; readonly index: number }[];
    }
  | {
      readonly type: 'refusedProposals';
      readonly origins: readonly EntryOrigin[];
      /** `voterChange`: not now, or not from this voter set; `full`: later. */
      readonly reason: 'notLeader' | 'voterChange' | 'full';
      readonly leader: NodeId | undefined;
    }
  /** Entries that this node lacks are nowhere but in a snapshot: get one from that node, up to `index` at least. */
  | { readonly type: 'snapshotNeeded'; readonly from: NodeId; readonly index: number }
  /** A majority confirmed after the question that this node leads: what is committed is at least `index` (C2.3). */
  | { readonly type: 'readReady'; readonly id: number; readonly index: number }
  | { readonly type: 'readRefused'; readonly id: number; readonly leader: NodeId | undefined }
  /** A peer said what can not be true (two leaders in a term, another committed entry). It was ignored. */
  | { readonly type: 'violation'; readonly detail: string };

// ------------------------------------------------------------------------------------------------- state

/** `learner`: no voter; never campaigns. `preCandidate`: asks whether an election could be won. */
export type RaftRole = 'learner' | 'follower' | 'preCandidate' | 'candidate' | 'leader';

/** What a leader knows of one follower or learner. */
export interface Progress {
  /** Highest index known to be synced there and equal to ours. */
  match: number;
  /** Next index to send. Above match; runs ahead of answers while `replicating`. */
  next: number;
  /** False: one message at a time until the place is found where the logs meet. */
  replicating: boolean;
  /** Last index of each unanswered append with entries, rising; at most MAX_IN_FLIGHT_APPENDS. */
  readonly inFlight: number[];
  /** Answered since the last quorum check (C2.2). */
  active: boolean;
  /** It said that its log is damaged (C2.6). */
  unable: boolean;
}

/** A read that waits for a majority's word (C2.3). */
export interface WaitingRead {
  readonly id: number;
  readonly round: number;
  readonly index: number;
  readonly confirmed: Set<NodeId>;
}

export interface OutgoingMessage {
  readonly to: NodeId;
  readonly message: RaftMessage;
}

/** Owned and mutated by the reducer only; read by its driver. */
export interface RaftState {
  readonly self: NodeId;

  // -- persistent, ahead of the disk until `persisted`
  term: number;
  vote: NodeId | 0;
  /** What was compacted away. */
  base: LogBase;
  /** Entry i is log[i - 1 - base.index]. */
  readonly log: LogEntry[];
  /** True: part of what this node had synced is gone. It neither votes nor answers, it only learns (C2.6). */
  isMuted: boolean;

  // -- the disk
  /** Term and vote changed since the last persist effect. */
  isHardStateDirty: boolean;
  /** The base moved since the last persist effect; `reset`: and nothing before it is left. */
  baseChange: 'none' | 'compacted' | 'reset';
  isUnmuteDirty: boolean;
  /** First index that no persist effect named yet; one behind the last when none. */
  dirtyFrom: number;
  /** Last index that the file has, or will have after the persist under way. */
  fileEnd: number;
  /** The log up to here is synced as it stands in memory. */
  durableIndex: number;
  durableTerm: number;
  durableVote: NodeId | 0;
  /** The persist effect under way, and the messages that it sets free. */
  persisting: { readonly then: PersistedEvent; readonly messages: OutgoingMessage[] } | undefined;
  /** Messages that wait for the next persist effect. */
  waiting: OutgoingMessage[];

  // -- volatile, every role
  role: RaftRole;
  leader: NodeId | undefined;
  /** The leader was heard from within ELECTION_MIN_MS: votes and pre-votes are refused (C2.2). */
  isLeaseHeld: boolean;
  commit: number;
  /** Last index of a `committed` effect. */
  reportedCommit: number;
  /** Voter sets that the log names, oldest first; the last one rules (C2.4). Empty log: empty list. */
  readonly voterSets: VoterSet[];
  learners: readonly NodeId[];
  /** Last `roleChanged` effect. */
  reported: { readonly role: RaftRole; readonly leader: NodeId | undefined; readonly term: number };

  // -- candidates
  readonly votes: Set<NodeId>;

  // -- leader
  /** One per voter and learner but self; empty in other roles. */
  readonly progress: Map<NodeId, Progress>;
  /** Gives the lead away: takes no proposals until the next quorum check (C2.7). */
  isHandingOver: boolean;
  /** Who was asked to take over: two would split the vote. */
  heir: NodeId | undefined;
  /** Waiting reads, oldest first, at most MAX_WAITING_READS; their last round. */
  reads: WaitingRead[];
  readRound: number;
}

/** The only randomness of the reducer. Uniform in [min, max]. */
export interface Draw {
  randomMs(min: number, max: number): number;
}

/** One call of `step`: the state, what it may draw from, and what it wants done, in order. */
export interface Turn {
  readonly state: RaftState;
  readonly draw: Draw;
  readonly effects: RaftEffect[];
}

/**
 * A node after a start, from what its disk has synced. Feed it `start` first.
 * @param options.commit the synced commit index; entries up to it need no `committed` effect any more
 */
export function createRaft(options: {
  readonly self: NodeId;
  readonly hardState: HardState;
  readonly base?: LogBase;
  readonly entries: readonly LogEntry[];
  readonly commit: number;
  readonly isMuted?: boolean;
}): RaftState {
  const { self, hardState, base = NO_BASE, entries, commit, isMuted = false } = options;
  const last = base.index + entries.length;
  invariant(
    entries.every((entry, at) => entry.index === base.index + at + 1),
    'the log follows its base without gaps',
  );
  invariant(commit >= base.index && commit <= last, 'the log holds what is committed (A3)');
  const lastTerm = entries.at(-1)?.term ?? base.term;
  invariant(lastTerm <= hardState.term, 'no entry is younger than the term');
  const voterSets = [...(base.voters === undefined ? [] : [base.voters]), ...voterSetsOf(entries)];
  const role = isVoter(voterSets.at(-1), self) && !isMuted ? 'follower' : 'learner';
  return {
    self,
    term: hardState.term,
    vote: hardState.vote,
    base,
    log: [...entries],
    isMuted,
    isHardStateDirty: false,
    baseChange: 'none',
    isUnmuteDirty: false,
    dirtyFrom: last + 1,
    fileEnd: last,
    durableIndex: last,
    durableTerm: hardState.term,
    durableVote: hardState.vote,
    persisting: undefined,
    waiting: [],
    role,
    leader: undefined,
    isLeaseHeld: false,
    commit,
    reportedCommit: commit,
    voterSets,
    learners: [],
    reported: { role, leader: undefined, term: hardState.term },
    votes: new Set(),
    progress: new Map(),
    isHandingOver: false,
    heir: undefined,
    reads: [],
    readRound: 0,
  };
}

/** Highest index that is known to be synced on `node`, for the leader; 0 for a stranger. Self: its own. */
export function matchOf(state: RaftState, node: NodeId): number {
  return node === state.self ? state.durableIndex : (state.progress.get(node)?.match ?? 0);
}
