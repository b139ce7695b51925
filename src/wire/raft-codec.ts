// Bytes of the messages between voters and learners. Tags are the format: append only.

import type { RaftMessage } from '../core/raft/messages.ts';
import type { LogBase } from '../core/raft/state.ts';
import { MAX_APPEND_ENTRIES } from '../core/raft/state.ts';
import { bool, type Codec, list, struct, u48, union, variant } from './codec.ts';
import { logEntry, MAX_VOTERS, nodeId } from './entry-codec.ts';

const lastEntry = { term: u48, lastIndex: u48, lastTerm: u48 };
const granted = { term: u48, granted: bool };

/** One Raft message, inside a control message. */
export const raftMessage: Codec<RaftMessage> = union('type', {
  preVote: variant(1, struct(lastEntry)),
  preVoteReply: variant(2, struct(granted)),
  vote: variant(3, struct(lastEntry)),
  voteReply: variant(4, struct(granted)),
  append: variant(
    5,
    struct({
      term: u48,
      prevIndex: u48,
      prevTerm: u48,
      entries: list(logEntry, MAX_APPEND_ENTRIES),
      commit: u48,
    }),
  ),
  appendReply: variant(
    6,
    struct({
      term: u48,
      ok: bool,
      prevIndex: u48,
      matchIndex: u48,
      conflictIndex: u48,
      conflictTerm: u48,
    }),
  ),
  handOverVote: variant(7, struct(lastEntry)),
  timeoutNow: variant(8, struct({ term: u48 })),
  offer: variant(9, struct({ term: u48, index: u48 })),
  confirm: variant(10, struct({ term: u48, round: u48 })),
  confirmReply: variant(11, struct({ term: u48, round: u48 })),
  unable: variant(12, struct({ term: u48 })),
});

const voterList = list(nodeId, MAX_VOTERS);
const baseFields = struct({
  index: u48,
  term: u48,
  setIndex: u48,
  voters: voterList,
  next: voterList,
});

/** What comes before the first entry of a compacted log; `next` is empty outside of a joint phase. */
export const logBase: Codec<LogBase> = {
  write: (w, { index, term, voters: set }) => {
    const voters = set?.voters ?? [];
    baseFields.write(w, { index, term, setIndex: set?.index ?? 0, voters, next: set?.next ?? [] });
  },
  read: (r) => {
    const { index, term, setIndex, voters, next } = baseFields.read(r);
    const set = { index: setIndex, voters, next: next.length === 0 ? undefined : next };
    return { index, term, voters: voters.length === 0 ? undefined : set };
  },
};
