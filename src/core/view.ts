// ClusterView: what one node has applied of the map log, immutable. The data path and the fronts read it; only
// cluster-state.ts makes new ones. Equal index means equal view on every node (A4).

import type { Generations } from './generations.ts';
import type {
  ClusterId,
  ConfigVersion,
  Epoch,
  FamilyId,
  FencingToken,
  GenerationId,
  Incarnation,
  MapIndex,
  NodeId,
  PeerKey,
  PolicyId,
  SessionId,
  VolumeId,
} from './ids.ts';
import type { SpaceLevel } from './space.ts';

/**
 * A member's place in the cluster, beside its being up or down (1.4). `in`: the ring may want it. `leaving`: out of the
 * ring, serves until its successors are in sync. `gone`: drained, holds nothing that counts. `out`: given up.
 */
export type Standing = 'in' | 'leaving' | 'gone' | 'out';

/** `auto`: it was down for too long. */
export type OutReason = 'auto' | 'operator';

/** An identity that will never be a member again (1.4, `lost`). */
export interface Retired {
  readonly node: NodeId;
  readonly peerKey: PeerKey;
  /** `lost`: it held copies that counted; `forgotten`: it held none; `outdated`: its disk is an older image. */
  readonly how: 'lost' | 'forgotten' | 'outdated';
  readonly since: Epoch;
}

export interface Member {
  readonly node: NodeId;
  readonly peerKey: PeerKey;
  /** Multiaddrs without the peer id part. */
  readonly addresses: readonly string[];
  readonly zone: string;
  readonly weight: number;
  /** `joined`: has never been up, not in the ring yet. Down is not out: a down member stays in the ring. */
  readonly state: 'joined' | 'up' | 'down';
  readonly standing: Standing;
  /** Who called it out; empty unless `standing` is `out`. Time's verdict ends with the next `nodeUp`. */
  readonly outBy: '' | OutReason;
  /** Votes, holds no data, serves no guest: its weight stays 0. */
  readonly isWitness: boolean;
  readonly incarnation: Incarnation;
  /** Epoch of the last change of `state`. */
  readonly since: Epoch;
  /** Of the disk that this member came up with first; 0 before. Another disk is another node. */
  readonly storeGeneration: number;
  /** Last synced journal batch at its last start: a disk that knows less is an older image. */
  readonly journalSeq: number;
  /** Why its last life ended, as it said itself; empty when it did not say, and from its next life on. */
  readonly failure: string;
  /** How full its disk is, as it said last. */
  readonly space: SpaceLevel;
  /** Who observed it when it was called down: they may know more of its disk than it does at its start (C1.9). */
  readonly observers: readonly NodeId[];
}

/**
 * Who may attach beside a live holder (3.2). `handover`: anybody, the lock moves when the holder has gone quiet;
 * `exclusive`: nobody; `shared-read`: anybody, and nobody writes.
 */
export type AttachMode = 'handover' | 'exclusive' | 'shared-read';

/** What a confirmation of a write means: synced, or received (R5). */
export type Durability = 'durable' | 'writeback';

export interface Policy {
  readonly id: PolicyId;
  readonly copies: number;
  readonly minCopies: number;
  readonly strict: boolean;
}

/** cfg(p) with its sets, sorted by node id. `targets` is T(p) in ring order, `doubtful` a part of I(p) (R8). */
export interface PartitionConfig {
  readonly cfg: ConfigVersion;
  readonly targets: readonly NodeId[];
  readonly inSync: readonly NodeId[];
  readonly joining: readonly NodeId[];
  readonly doubtful: readonly NodeId[];
  /** The last cfg in which nobody in I was sure; absent: there was none. What was read before may have changed (I12). */
  readonly unsureAt?: ConfigVersion;
}

/** lock(v). The token only grows; `free` keeps the last one. */
export interface VolumeLock {
  readonly state: 'free' | 'held';
  readonly token: FencingToken;
  /** Index of the grant or takeover entry of `token`; 0 before the first. */
  readonly grantedAt: MapIndex;
  /** Holder; meaningful while held. */
  readonly node: NodeId;
  readonly incarnation: Incarnation;
  readonly session: SessionId;
  /** True when the present grant was a takeover: its holder owes the barrier (F3). */
  readonly tookOver: boolean;
  /** Date of the holder's node at the grant, ms since 1970; 0 = not noted. For people: nothing is decided by it. */
  readonly sinceMs: number;
  /** Where its client came from, for people. */
  readonly from: string;
  /** Prepared successor (3.2): the node that a hand-over was announced for; 0 = none. */
  readonly next: NodeId;
}

/** How much of a volume may pass in a second, reads and writes together; 0 = no limit. */
export interface VolumeRates {
  readonly iops: number;
  readonly bytesPerSecond: number;
}

export interface Volume {
  readonly id: VolumeId;
  readonly name: string;
  readonly family: FamilyId;
  readonly policy: PolicyId;
  readonly head: GenerationId;
  readonly sizeBytes: number;
  readonly durability: Durability;
  readonly attachMode: AttachMode;
  /** A guest's request that waits so long, for whatever, is answered with an error; 0 = it waits (3.5). */
  readonly ioTimeoutMs: number;
  /** Its data can not be taken away as a whole: no delete, no rollback, no shrink. */
  readonly isProtected: boolean;
  readonly rates: VolumeRates;
  readonly lock: VolumeLock;
}

/** Notes of operators and programs on one volume, by key. The bytes never change. */
export type Attributes = ReadonlyMap<string, Uint8Array>;

/** A deleted volume that can be had back: nobody finds or attaches it, its data stays. */
export interface TrashedVolume {
  readonly volume: Volume;
  /** Date of the node that deleted it, ms since 1970: for people. */
  readonly trashedMs: number;
  /** It goes when the cluster is as old: `ageMs`. */
  readonly dueAgeMs: number;
}

/** A volume on its way to another policy (S8): what its holder copies into, beside its head. */
export interface VolumeMove {
  readonly volume: VolumeId;
  readonly policy: PolicyId;
  /** Of the copy: new ones, the roots of their own. */
  readonly family: FamilyId;
  readonly generation: GenerationId;
  /** Of the session that copies: a new token begins anew, in a fresh generation. */
  readonly token: FencingToken;
}

export interface ClusterView {
  readonly index: MapIndex;
  readonly epoch: Epoch;
  readonly clusterId: ClusterId;
  readonly name: string;
  /** P: partitions of each policy. */
  readonly partitions: number;
  readonly members: ReadonlyMap<NodeId, Member>;
  /** Former members, bounded: the oldest go first. */
  readonly retired: ReadonlyMap<NodeId, Retired>;
  readonly voters: readonly NodeId[];
  readonly policies: ReadonlyMap<PolicyId, Policy>;
  readonly volumes: ReadonlyMap<VolumeId, Volume>;
  readonly moves: ReadonlyMap<VolumeId, VolumeMove>;
  /** Not among `volumes`. */
  readonly trash: ReadonlyMap<VolumeId, TrashedVolume>;
  /** How long the cluster has run while something was in the trash, as its leaders measured it: no date decides. */
  readonly ageMs: number;
  /** Of the volumes that have any. */
  readonly attributes: ReadonlyMap<VolumeId, Attributes>;
  /** The tree (S1): heads too; the same object as long as no generation came, changed or went. */
  readonly generations: Generations;
  readonly settings: ReadonlyMap<string, string>;
  /**
   * Volume whose record owns this generation as head; of one that a move copies into, the volume as it will be; of a frozen
   * or deleted layer, itself as a volume that nobody holds. Undefined when it is gone or unknown.
   */
  volumeOfGeneration(generation: GenerationId): Volume | undefined;
  volumeByName(name: string): Volume | undefined;
  memberByKey(peer: PeerKey): Member | undefined;
  /** Highest generation id ever given: a higher one in a frame means that this view is behind. */
  readonly lastGeneration: GenerationId;
  /** Config of one partition; O(1), no allocation when cached. An unknown policy or p has an empty one, cfg 0. */
  partition(policy: PolicyId, p: number): PartitionConfig;
  /** The same object as long as no config of any partition changed: what was worked out from them still holds. */
  readonly placement: object;
  /** The partitions where I is not T or somebody joins, in no useful order; the others are at rest. */
  explicitPartitions(policy: PolicyId): Iterable<number>;
  /** Voters of a change that is decided but not final; empty at all other times. */
  readonly nextVoters: readonly NodeId[];
  /** The last audit point: a node whose own hash at that index differs has a broken state machine (C2.8). */
  readonly audit: { readonly atIndex: MapIndex; readonly stateHash: string };
}
