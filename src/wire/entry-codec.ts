// Bytes of the map log's entries, on the wire and on disk (docs/FORMATS.md, "Log entries"). Tags and the order of
// fields are the format: append only. A new meaning gets a new tag; a new layout gets a new ENTRY_VERSION.

import { MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTE_KEY_BYTES } from '../core/attributes.ts';
import type {
  ClusterId,
  ConfigVersion,
  Epoch,
  FencingToken,
  GenerationId,
  Incarnation,
  MapIndex,
  NodeId,
  PeerKey,
  PolicyId,
  SessionId,
  VolumeId,
} from '../core/ids.ts';
import type { EntryBody, EntryOrigin, LogEntry } from '../core/log-entry.ts';
import { MAX_PARTITIONS_PER_ENTRY } from '../core/log-entry.ts';
import { MAX_SNAPSHOT_VOLUMES, MAX_TAG_BYTES } from '../core/snapshot-name.ts';
import { RATE_KINDS } from '../core/volume-rates.ts';
import {
  bool,
  branded,
  bytes,
  type Codec,
  choice,
  decode,
  encode,
  grownVariant,
  list,
  str,
  struct,
  u8,
  u16,
  u32,
  u48,
  union,
  variant,
  versioned,
} from './codec.ts';

export const ENTRY_VERSION = 1;
/** Bytes of UTF-8. */
export const MAX_NAME_BYTES = 255;
export const MAX_SETTING_BYTES = 4096;
export const MAX_REASON_BYTES = 512;
export const MAX_ADDRESS_BYTES = 256;
export const MAX_ADDRESSES = 16;
/** Members in one `nodesDown`, and in one list of voters. */
export const MAX_NODES_PER_ENTRY = 2000;
export const MAX_VOTERS = 7;

export const nodeId = branded<NodeId>(u32);
export const clusterId = branded<ClusterId>(str(64));
export const peerKey = branded<PeerKey>(str(128));
export const incarnation = branded<Incarnation>(u32);
export const mapIndex = branded<MapIndex>(u48);
export const epoch = branded<Epoch>(u48);
export const configVersion = branded<ConfigVersion>(u32);
export const token = branded<FencingToken>(u32);
export const volumeId = branded<VolumeId>(u32);
export const policyId = branded<PolicyId>(u16);
export const addresses = list(str(MAX_ADDRESS_BYTES), MAX_ADDRESSES);
export const zoneName = str(MAX_NAME_BYTES);
export const generation = branded<GenerationId>(u32);
const sessionId = branded<SessionId>(u32);
/** Append only: places are in entries and snapshots. */
export const attachMode = choice(['handover', 'exclusive', 'shared-read']);
const reason = str(MAX_REASON_BYTES);
const name = str(MAX_NAME_BYTES);
const spaceLevel = choice(['ok', 'nearfull', 'full']);
const voters = list(nodeId, MAX_VOTERS);

export const partitionCas = struct({ policy: policyId, p: u16, cfg: configVersion });
const partitions = list(partitionCas, MAX_PARTITIONS_PER_ENTRY);
const promoted = list(
  struct({ policy: policyId, p: u16, cfg: configVersion, source: nodeId, sourceApplied: mapIndex }),
  MAX_PARTITIONS_PER_ENTRY,
);

const nodeUp = struct({
  node: nodeId,
  incarnation,
  addresses,
  storeGeneration: u48,
  journalSeq: u48,
  continues: incarnation,
  cleanStop: bool,
});
const format = struct({
  clusterId,
  name,
  partitions: u32,
  copies: u8,
  minCopies: u8,
  strict: bool,
  objectBytes: u32,
  hashVersion: u16,
});
const nodeAdmit = struct({
  peerKey,
  addresses,
  zone: zoneName,
  weight: u32,
  isWitness: bool,
  inviteId: str(MAX_REASON_BYTES),
  secretHash: str(128),
  dateMs: u48,
});
const nodeOutdated = struct({ node: nodeId, incarnation, storeGeneration: u48, journalSeq: u48 });
const outReason = choice(['auto', 'operator']);
const policyChange = struct({ policy: policyId, copies: u8, minCopies: u8, strict: bool });
const nodesDown = struct({
  nodes: list(struct({ node: nodeId, incarnation }), MAX_NODES_PER_ENTRY),
  baseEpoch: epoch,
});
const durability = choice(['durable', 'writeback']);
const attributeKey = str(MAX_ATTRIBUTE_KEY_BYTES);
const attributeSet = struct({
  volume: volumeId,
  key: attributeKey,
  value: bytes(MAX_ATTRIBUTE_BYTES),
  isNew: bool,
});
const volumeCreate = struct({
  name,
  policy: policyId,
  sizeBytes: u48,
  durability,
  attachMode,
});
const volumeCas = struct({ volume: volumeId, token, head: generation });
const snapshot = struct({
  volumes: list(volumeCas, MAX_SNAPSHOT_VOLUMES),
  tag: str(MAX_TAG_BYTES),
  dateMs: u48,
});
const volumeClone = { from: volumeCas, name, durability, attachMode, dateMs: u48 };
const lockClaim = { volume: volumeId, token, node: nodeId, incarnation, session: sessionId };
const noted = { dateMs: u48, from: reason };
/** Of claims from before they said when and from where. */
const unnoted = { dateMs: 0, from: '' };
const takeover = { ...lockClaim, reason, force: bool };

export const entryBody: Codec<EntryBody> = union('type', {
  noop: variant(0, struct({})),
  format: variant(1, format),
  policyCreate: variant(2, struct({ copies: u8, minCopies: u8, strict: bool })),
  setting: variant(3, struct({ key: name, value: str(MAX_SETTING_BYTES) })),
  policyChange: variant(5, policyChange),
  audit: variant(4, struct({ atIndex: mapIndex, stateHash: str(128) })),
  nodeJoin: variant(16, struct({ peerKey, addresses, zone: zoneName, weight: u32 })),
  nodeUp: variant(17, nodeUp),
  nodesDown: variant(18, nodesDown),
  nodeAdmit: variant(19, nodeAdmit),
  nodeOut: variant(20, struct({ node: nodeId, incarnation, reason: outReason })),
  nodeIn: variant(21, struct({ node: nodeId, incarnation, reason: outReason })),
  nodeLeave: variant(22, struct({ node: nodeId })),
  nodeGone: variant(23, struct({ node: nodeId })),
  nodeLost: variant(24, struct({ node: nodeId, by: reason })),
  nodeWeight: variant(25, struct({ node: nodeId, weight: u32, zone: zoneName })),
  nodeFailed: variant(28, struct({ node: nodeId, incarnation, reason })),
  nodeSpace: variant(29, struct({ node: nodeId, incarnation, level: spaceLevel })),
  nodeOutdated: variant(30, nodeOutdated),
  votersJoint: variant(32, struct({ old: voters, next: voters })),
  votersFinal: variant(33, struct({ old: voters, next: voters })),
  votersForced: variant(34, struct({ old: voters, next: voters, by: reason })),
  isrShrink: variant(48, struct({ partitions, node: nodeId, reason })),
  isrJoin: variant(49, struct({ partitions, node: nodeId, incarnation })),
  isrAbort: variant(50, struct({ partitions, node: nodeId })),
  isrPromote: variant(51, struct({ partitions: promoted, node: nodeId, incarnation })),
  isrRelease: variant(52, struct({ partitions, node: nodeId })),
  purge: variant(53, struct({ partitions, node: nodeId })),
  isrSettle: variant(54, struct({ partitions, node: nodeId, incarnation })),
  isrShrinkUnsure: variant(57, struct({ partitions, node: nodeId, reason })),
  isrDoubt: variant(58, struct({ partitions })),
  acceptLoss: variant(59, struct({ partitions, node: nodeId, incarnation, by: reason })),
  volumeCreate: variant(64, volumeCreate),
  volumeOptions: variant(66, struct({ volume: volumeId, ioTimeoutMs: u32 })),
  volumeRate: variant(104, struct({ volume: volumeId, kind: choice(RATE_KINDS), perSecond: u48 })),
  volumeDelete: variant(65, struct({ volume: volumeId, token })),
  moveStart: variant(67, struct({ volume: volumeId, token, policy: policyId, former: generation })),
  moveCancel: variant(68, struct({ volume: volumeId, token })),
  volumeMove: variant(69, struct({ volume: volumeId, token, head: generation })),
  volumeAttach: variant(70, struct({ volume: volumeId, token, attachMode })),
  volumeRename: variant(71, struct({ volume: volumeId, former: name, name })),
  volumeProtect: variant(72, struct({ volume: volumeId, isProtected: bool })),
  volumeDurability: variant(73, struct({ volume: volumeId, token, durability })),
  attributeSet: variant(74, attributeSet),
  attributeRemove: variant(75, struct({ volume: volumeId, key: attributeKey })),
  snapshot: variant(76, snapshot),
  volumeClone: grownVariant(105, struct({ ...volumeClone, isDeep: bool }), {
    tag: 77,
    codec: struct(volumeClone),
    later: { isDeep: false },
  }),
  rollback: variant(78, struct({ volume: volumeId, token, generation })),
  snapshotDelete: variant(79, struct({ generation })),
  snapshotProtect: variant(96, struct({ generation, isProtected: bool })),
  generationReclaimed: variant(97, struct({ generation })),
  volumeGrow: variant(98, struct({ volume: volumeId, sizeBytes: u48 })),
  volumeShrink: variant(99, struct({ volume: volumeId, token, sizeBytes: u48 })),
  volumeTrash: variant(100, struct({ volume: volumeId, token, keepMs: u48, dateMs: u48 })),
  trashRestore: variant(101, struct({ volume: volumeId, name })),
  trashPurge: variant(102, struct({ volume: volumeId, by: choice(['time', 'operator']) })),
  aged: variant(103, struct({ fromMs: u48, byMs: u48 })),
  lockAcquire: grownVariant(83, struct({ ...lockClaim, ...noted }), {
    tag: 80,
    codec: struct(lockClaim),
    later: unnoted,
  }),
  lockRelease: variant(81, struct({ volume: volumeId, token })),
  takeover: grownVariant(84, struct({ ...takeover, ...noted }), {
    tag: 82,
    codec: struct(takeover),
    later: unnoted,
  }),
  lockBreak: variant(85, struct({ volume: volumeId, token, by: reason })),
  handoverPrepare: variant(86, struct({ volume: volumeId, token, toNode: nodeId })),
  handoverComplete: variant(87, struct({ ...lockClaim, ...noted })),
  handoverCancel: variant(88, struct({ volume: volumeId, token })),
  holdEnd: variant(89, struct({ volume: volumeId, token })),
});

export const entryOrigin: Codec<EntryOrigin> = struct({ node: nodeId, incarnation, counter: u48 });

/** One entry with its own version byte: the same bytes in messages, in gossip and in the log on disk. */
export const logEntry: Codec<LogEntry> = versioned(
  ENTRY_VERSION,
  struct({ index: mapIndex, term: u48, origin: entryOrigin, body: entryBody }),
);

/** Bytes of one entry. */
export function encodeEntry(entry: LogEntry): Uint8Array {
  return encode(logEntry, entry);
}

/** Throws 'bad-frame' for anything but the exact bytes of one entry. */
export function decodeEntry(bytes: Uint8Array): LogEntry {
  return decode(logEntry, bytes);
}
