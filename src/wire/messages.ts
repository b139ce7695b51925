// Every control message, knock and rumour between nodes, as discriminated unions with their codecs
// (docs/FORMATS.md, "Control messages"). Each starts with MESSAGE_VERSION. Lists inside block frames: payloads.ts;
// entries of the log: entry-codec.ts.

import type { ErrorCode } from '../core/errors.ts';
import type { ClusterId, Epoch, Incarnation, MapIndex, NodeId, PeerKey } from '../core/ids.ts';
import type { EntryBody, EntryOrigin, LogEntry } from '../core/log-entry.ts';
import type { RaftMessage } from '../core/raft/state.ts';
import type { DiskWord } from '../core/sightings.ts';
import {
  bool,
  bytes,
  type Codec,
  choice,
  decode,
  encode,
  list,
  str,
  struct,
  u16,
  u32,
  u48,
  union,
  variant,
  versioned,
} from './codec.ts';
import {
  addresses,
  clusterId,
  entryBody,
  entryOrigin,
  epoch,
  incarnation,
  logEntry,
  MAX_REASON_BYTES,
  mapIndex,
  nodeId,
  peerKey,
  zoneName,
} from './entry-codec.ts';

import { raftMessage } from './raft-codec.ts';

export { decodeEntry, encodeEntry } from './entry-codec.ts';
export {
  type CloseItem,
  decodeCloses,
  decodeEqualise,
  decodeHello,
  decodeObjectNames,
  decodePartitionCfgs,
  decodePingInfo,
  decodeRows,
  type EqualiseItem,
  encodeCloses,
  encodeEqualise,
  encodeHello,
  encodeObjectNames,
  encodePartitionCfgs,
  encodePingInfo,
  encodeRows,
  type Hello,
  type PartitionCfg,
  type PingInfo,
  type RowImage,
} from './payloads.ts';

export const MESSAGE_VERSION = 1;
/** 1 did not name the term before; it is refused, and its sender's entries are pulled. */
export const MAP_DELTA_VERSION = 2;
/** Entries in one message; its bytes are bounded by the message. */
export const MAX_ENTRIES_PER_MESSAGE = 8192;
/** Cut the text of a refusal to this: each character takes up to 3 bytes of MAX_REASON_BYTES. */
export const MAX_REFUSAL_CHARS = 160;
/** Members in a join reply. */
export const MAX_MEMBERS_PER_REPLY = 2000;
const MAX_SECRET_BYTES = 256;
const MAX_HASH_BYTES = 128;
/** Bytes of a snapshot in one message. */
export const MAX_PIECE_BYTES = 512 * 1024;

/** Codes of OperatingError in the order of their numbers on the wire: append only. */
const ERROR_CODES: readonly ErrorCode[] = [
  'usage',
  'exists',
  'missing',
  'busy',
  'held',
  'not-formatted',
  'already-formatted',
  'no-quorum',
  'halted',
  'degraded',
  'fenced',
  'stale-config',
  'gap',
  'diverged',
  'behind',
  'not-member',
  'not-holder',
  'suspect',
  'gone',
  'no-space',
  'changed',
  'bad-frame',
  'io',
  'corrupt',
  'timeout',
  'unreachable',
  'refused',
  'wrong-cluster',
  'newer-format',
  'locked',
  'shutting-down',
  'too-large',
  'unsupported',
  'cache-lost',
];

/** C1.4: one observer's claim about one subject; `refused` = reset plus refused reconnect (C1.8). */
export interface Alert {
  readonly observer: NodeId;
  readonly subject: NodeId;
  readonly subjectIncarnation: Incarnation;
  readonly down: boolean;
  readonly refused: boolean;
  readonly epoch: Epoch;
}

/** What a node asks of another over the control plane. */
export type RequestBody =
  | { readonly type: 'propose'; readonly origin: EntryOrigin; readonly body: EntryBody }
  /** Committed entries from this index on, about `maxBytes` of them at most. */
  | { readonly type: 'pull'; readonly from: MapIndex; readonly maxBytes: number }
  /** C1.3: are you there? */
  | { readonly type: 'contact' }
  /** The sender can not go on, and says why: its last words. Answered by `contact`. */
  | { readonly type: 'failing'; readonly incarnation: Incarnation; readonly reason: string }
  /** An operator asks for the orderly exit of this node. Answered by `contact`, before it goes. */
  | { readonly type: 'exit' }
  /** A part of the newest snapshot, `maxBytes` at most, from this offset on. */
  | { readonly type: 'snapshot'; readonly offset: number; readonly maxBytes: number }
  /** What did your state hash to after this index (C2.8)? */
  | { readonly type: 'audit'; readonly index: MapIndex }
  /** You lead: which index is committed at least, now (C2.3)? */
  | { readonly type: 'readIndex' }
  /** I start: what is the most that you saw of my disk (C1.9)? */
  | { readonly type: 'seen' };

export type ReplyBody =
  | { readonly type: 'proposed'; readonly index: MapIndex }
  /** 0 = the leader is not known. */
  | { readonly type: 'notLeader'; readonly leader: NodeId }
  | { readonly type: 'entries'; readonly entries: readonly LogEntry[]; readonly commit: MapIndex }
  | { readonly type: 'contact'; readonly term: number }
  /** To `pull`: the log starts later; the newest snapshot is of this index. */
  | { readonly type: 'compacted'; readonly snapshot: MapIndex; readonly commit: MapIndex }
  | SnapshotPiece
  /** Empty: not known (any more). */
  | { readonly type: 'audit'; readonly hash: string }
  | { readonly type: 'readIndex'; readonly index: MapIndex }
  /** All 0: nothing. */
  | ({ readonly type: 'seen' } & DiskWord)
  | { readonly type: 'refusal'; readonly code: ErrorCode; readonly text: string };

/** Part of a snapshot. `digest` is the sha256 of all of it; equal index and digest: pieces fit, whoever sent them. */
export interface SnapshotPiece {
  readonly type: 'snapshotPiece';
  readonly index: MapIndex;
  readonly digest: string;
  readonly totalBytes: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** What needs no answer. */
export type NoteMessage =
  | { readonly kind: 'raft'; readonly message: RaftMessage }
  | ({ readonly kind: 'alert' } & Alert)
  /** A writer says that this life of a replica is slow (C1.7). */
  | { readonly kind: 'slow'; readonly subject: NodeId; readonly subjectIncarnation: Incarnation }
  /** C8.5: how far this node is, and its state hash at the last audit point. */
  | {
      readonly kind: 'digest';
      readonly applied: MapIndex;
      readonly auditIndex: MapIndex;
      readonly auditHash: string;
    };

export type ControlMessage =
  | NoteMessage
  | { readonly kind: 'request'; readonly id: number; readonly body: RequestBody }
  | { readonly kind: 'reply'; readonly id: number; readonly body: ReplyBody };

export interface JoinRequest {
  readonly clusterId: ClusterId;
  readonly inviteId: string;
  readonly secret: string;
  readonly addresses: readonly string[];
  readonly zone: string;
  readonly weight: number;
  readonly isWitness: boolean;
  /** The protocol versions that the joiner speaks: they must overlap with the member's. */
  readonly oldest: number;
  readonly newest: number;
}

/** The protocol versions that this program speaks: everything nodes say to each other, as a whole. */
export const PROTOCOL: { readonly oldest: number; readonly newest: number } = {
  oldest: 1,
  newest: 1,
};
/** Format of a knock. Format 1 was of the first protocol and named no versions. */
export const KNOCK_VERSION = 2;

/** Who a member is and where it can be dialled: PeerAddress of the Network port. */
export interface MemberAddress {
  readonly peer: PeerKey;
  readonly addresses: readonly string[];
}

export type JoinReply =
  | {
      readonly type: 'joined';
      readonly node: NodeId;
      readonly clusterId: ClusterId;
      readonly members: readonly MemberAddress[];
    }
  | { readonly type: 'refused'; readonly code: ErrorCode; readonly text: string };

/** Gossip topic `map`: committed entries, in order; the receiver applies by index only (C8.3). */
export interface MapDelta {
  readonly commit: MapIndex;
  readonly entries: readonly LogEntry[];
  /** Of the entry before the first one: whoever has another one there is of another history. */
  readonly prevTerm: number;
}

/** Gossip topic `stats`. The counter makes payloads distinct (C8.2). */
export interface Stats {
  readonly node: NodeId;
  readonly incarnation: Incarnation;
  readonly counter: number;
  readonly freeBytes: number;
  /** Per mille. */
  readonly load: number;
}

const errorCode = choice(ERROR_CODES);
const text = str(MAX_REASON_BYTES);
const entries = list(logEntry, MAX_ENTRIES_PER_MESSAGE);

const alert = struct({
  observer: nodeId,
  subject: nodeId,
  subjectIncarnation: incarnation,
  down: bool,
  refused: bool,
  epoch,
});

const requestBody: Codec<RequestBody> = union('type', {
  propose: variant(1, struct({ origin: entryOrigin, body: entryBody })),
  pull: variant(2, struct({ from: mapIndex, maxBytes: u32 })),
  contact: variant(3, struct({})),
  failing: variant(4, struct({ incarnation, reason: text })),
  exit: variant(5, struct({})),
  snapshot: variant(6, struct({ offset: u48, maxBytes: u32 })),
  audit: variant(7, struct({ index: mapIndex })),
  readIndex: variant(8, struct({})),
  seen: variant(9, struct({})),
});

const replyBody: Codec<ReplyBody> = union('type', {
  proposed: variant(1, struct({ index: mapIndex })),
  entries: variant(2, struct({ entries, commit: mapIndex })),
  contact: variant(3, struct({ term: u48 })),
  notLeader: variant(4, struct({ leader: nodeId })),
  refusal: variant(5, struct({ code: errorCode, text })),
  compacted: variant(6, struct({ snapshot: mapIndex, commit: mapIndex })),
  snapshotPiece: variant(
    7,
    struct({
      index: mapIndex,
      digest: str(MAX_HASH_BYTES),
      totalBytes: u48,
      offset: u48,
      bytes: bytes(MAX_PIECE_BYTES),
    }),
  ),
  audit: variant(8, struct({ hash: str(MAX_HASH_BYTES) })),
  readIndex: variant(9, struct({ index: mapIndex })),
  seen: variant(10, struct({ storeGeneration: u48, incarnation, journalSeq: u48 })),
});

const controlMessage: Codec<ControlMessage> = versioned(
  MESSAGE_VERSION,
  union('kind', {
    request: variant(1, struct({ id: u32, body: requestBody })),
    reply: variant(2, struct({ id: u32, body: replyBody })),
    raft: variant(3, struct({ message: raftMessage })),
    alert: variant(4, alert),
    slow: variant(6, struct({ subject: nodeId, subjectIncarnation: incarnation })),
    digest: variant(
      5,
      struct({ applied: mapIndex, auditIndex: mapIndex, auditHash: str(MAX_HASH_BYTES) }),
    ),
  }),
);

const firstKnock = {
  clusterId,
  inviteId: str(MAX_SECRET_BYTES),
  secret: str(MAX_SECRET_BYTES),
  addresses,
  zone: zoneName,
  weight: u32,
};
const joinRequest: Codec<JoinRequest> = versioned(
  KNOCK_VERSION,
  struct({ ...firstKnock, isWitness: bool, oldest: u16, newest: u16 }),
);
const oldJoinRequest = versioned(1, struct(firstKnock));

const peerAddress: Codec<MemberAddress> = struct({ peer: peerKey, addresses });

const joinReply: Codec<JoinReply> = versioned(
  MESSAGE_VERSION,
  union('type', {
    joined: variant(
      1,
      struct({ node: nodeId, clusterId, members: list(peerAddress, MAX_MEMBERS_PER_REPLY) }),
    ),
    refused: variant(2, struct({ code: errorCode, text })),
  }),
);

const mapDelta: Codec<MapDelta> = versioned(
  MAP_DELTA_VERSION,
  struct({ commit: mapIndex, entries, prevTerm: u48 }),
);
const alertRumour: Codec<Alert & { readonly counter: number }> = versioned(
  MESSAGE_VERSION,
  struct({
    observer: nodeId,
    subject: nodeId,
    subjectIncarnation: incarnation,
    down: bool,
    refused: bool,
    epoch,
    counter: u48,
  }),
);
const stats: Codec<Stats> = versioned(
  MESSAGE_VERSION,
  struct({ node: nodeId, incarnation, counter: u48, freeBytes: u48, load: u16 }),
);

export const encodeControl = (message: ControlMessage): Uint8Array =>
  encode(controlMessage, message);
/** Throws 'bad-frame', like all decoders here. */
export const decodeControl = (bytes: Uint8Array): ControlMessage => decode(controlMessage, bytes);

export const encodeJoinRequest = (value: JoinRequest): Uint8Array => encode(joinRequest, value);
export function decodeJoinRequest(bytes: Uint8Array): JoinRequest {
  if (bytes[0] !== 1) return decode(joinRequest, bytes);
  return { ...decode(oldJoinRequest, bytes), isWitness: false, oldest: 1, newest: 1 };
}
export const encodeJoinReply = (value: JoinReply): Uint8Array => encode(joinReply, value);
export const decodeJoinReply = (bytes: Uint8Array): JoinReply => decode(joinReply, bytes);

export const encodeMapDelta = (value: MapDelta): Uint8Array => encode(mapDelta, value);
export const decodeMapDelta = (bytes: Uint8Array): MapDelta => decode(mapDelta, bytes);
export const encodeStats = (value: Stats): Uint8Array => encode(stats, value);
export const decodeStats = (bytes: Uint8Array): Stats => decode(stats, bytes);
export const encodeAlertRumour = (value: Alert & { readonly counter: number }): Uint8Array =>
  encode(alertRumour, value);
export const decodeAlertRumour = (bytes: Uint8Array): Alert & { readonly counter: number } =>
  decode(alertRumour, bytes);
