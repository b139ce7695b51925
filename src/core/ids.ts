// Branded numbers and strings: a NodeId can not be passed as a VolumeId. They cost nothing at run time.
// All numeric ids are integers from 1 (0 = none) given by the log and never reused.

declare const brand: unique symbol;
type Brand<T, Name> = T & { readonly [brand]: Name };

/** u32. A member; given by the log at join, stored on the node's disk. A wiped disk is a new node. */
export type NodeId = Brand<number, 'NodeId'>;
/** The public identity a node proves on the wire (libp2p peer id text). Bound to a NodeId by the log. */
export type PeerKey = Brand<string, 'PeerKey'>;
/** 32 hex digits, minted at format. */
export type ClusterId = Brand<string, 'ClusterId'>;
/** u16. Redundancy policy; 0 is the default policy of the cluster. */
export type PolicyId = Brand<number, 'PolicyId'>;
/** Made with the cluster: of volumes that ask for nothing else. */
export const DEFAULT_POLICY = 0 as PolicyId;
/** u32. */
export type VolumeId = Brand<number, 'VolumeId'>;
/** u32. A root volume with all its snapshots and clones. */
export type FamilyId = Brand<number, 'FamilyId'>;
/** u32. One layer of a volume's history; the high half of an object id. */
export type GenerationId = Brand<number, 'GenerationId'>;
/** u48. Number of a membership decided by a quorum. */
export type Epoch = Brand<number, 'Epoch'>;
/** u48. Position in the map log, from 1. */
export type MapIndex = Brand<number, 'MapIndex'>;
/** u32. cfg(p): version of one partition's (in-sync set, joining set); only grows. */
export type ConfigVersion = Brand<number, 'ConfigVersion'>;
/** u32. Number of a lock grant; only grows. 0 = none. */
export type FencingToken = Brand<number, 'FencingToken'>;
/** u32. Counts a node's lives. 0 = has never been up. */
export type Incarnation = Brand<number, 'Incarnation'>;
/** u32. One gateway session of a node's life, numbered by that node. */
export type SessionId = Brand<number, 'SessionId'>;

/** An object: generation (high half) and index in the volume (low half). */
export interface ObjectId {
  readonly generation: GenerationId;
  readonly index: number;
}

/** A partition: hash part `p` of one policy. */
export interface PartitionId {
  readonly policy: PolicyId;
  readonly p: number;
}

/** ver(o) = (token, count). (0, 0) = never written. PROTOCOL: V1. */
export interface Version {
  readonly token: FencingToken;
  readonly count: number;
}

export const NO_VERSION: Version = { token: 0 as FencingToken, count: 0 };

/** 16 hex digits, for file names and messages. */
export function objectName(oid: ObjectId): string {
  return oid.generation.toString(16).padStart(8, '0') + oid.index.toString(16).padStart(8, '0');
}

/** One integer per partition of any policy: policy * 2^16 + p; p is below 65536. */
export function partitionKey(policy: PolicyId, p: number): number {
  return policy * 65536 + p;
}

/** Inverse of `partitionKey`. */
export function partitionOfKey(key: number): PartitionId {
  return { policy: Math.floor(key / 65536) as PolicyId, p: key % 65536 };
}
