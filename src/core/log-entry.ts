// What the map log can say (docs/FORMATS.md, "Log entries"). `cas` fields are compared when the entry is applied; a
// difference makes the entry, or that element of its list, a no-op with a result code.

import type {
  ClusterId,
  ConfigVersion,
  Epoch,
  FencingToken,
  GenerationId,
  Incarnation,
  MapIndex,
  NodeId,
  PartitionId,
  PeerKey,
  PolicyId,
  SessionId,
  VolumeId,
} from './ids.ts';
import type { SpaceLevel } from './space.ts';
import type { AttachMode, Durability, OutReason } from './view.ts';
import type { RateKind } from './volume-rates.ts';

/** Who proposed an entry. Proposals are de-duplicated by it, for ever. */
export interface EntryOrigin {
  readonly node: NodeId;
  readonly incarnation: Incarnation;
  readonly counter: number;
}

export interface LogEntry {
  readonly index: MapIndex;
  readonly term: number;
  readonly origin: EntryOrigin;
  readonly body: EntryBody;
}

/** One element of an `isr...` list: applied only while cfg(p) still has this value. */
export interface PartitionCas extends PartitionId {
  readonly cfg: ConfigVersion;
}

/** A volume whose head is frozen only while both are as they were. */
export interface VolumeCas {
  readonly volume: VolumeId;
  readonly token: FencingToken;
  readonly head: GenerationId;
}

export type EntryBody =
  | { readonly type: 'noop' }
  | {
      readonly type: 'format';
      readonly clusterId: ClusterId;
      readonly name: string;
      /** Partitions of each policy, a power of two up to 65536. */
      readonly partitions: number;
      readonly copies: number;
      readonly minCopies: number;
      readonly strict: boolean;
      readonly objectBytes: number;
      readonly hashVersion: number;
    }
  | {
      readonly type: 'policyCreate';
      readonly copies: number;
      readonly minCopies: number;
      readonly strict: boolean;
    }
  | { readonly type: 'setting'; readonly key: string; readonly value: string }
  | { readonly type: 'audit'; readonly atIndex: MapIndex; readonly stateHash: string }
  | {
      /** Applied twice with one peerKey it gives the same node id. */
      readonly type: 'nodeJoin';
      readonly peerKey: PeerKey;
      readonly addresses: readonly string[];
      readonly zone: string;
      readonly weight: number;
    }
  | {
      /** A stranger with an invite becomes a member; a single-use invite is used up by it, in the same step. */
      readonly type: 'nodeAdmit';
      readonly peerKey: PeerKey;
      readonly addresses: readonly string[];
      readonly zone: string;
      readonly weight: number;
      readonly isWitness: boolean;
      readonly inviteId: string;
      /** Of the secret, as the invite keeps it. */
      readonly secretHash: string;
      /** The admitting member's date, ms since 1970: an invite may have expired. */
      readonly dateMs: number;
    }
  | {
      readonly type: 'nodeUp';
      readonly node: NodeId;
      readonly incarnation: Incarnation;
      readonly addresses: readonly string[];
      readonly storeGeneration: number;
      readonly journalSeq: number;
      /** cas: the incarnation that goes on without a restart (C4.2); 0 = a real start. */
      readonly continues: Incarnation;
      readonly cleanStop: boolean;
    }
  | {
      readonly type: 'nodesDown';
      readonly nodes: readonly { readonly node: NodeId; readonly incarnation: Incarnation }[];
      readonly baseEpoch: Epoch;
    }
  | {
      /** The member itself told why it ends (1.4, "a disk that fails"); incarnation is a cas. */
      readonly type: 'nodeFailed';
      readonly node: NodeId;
      readonly incarnation: Incarnation;
      readonly reason: string;
    }
  | {
      /** The member itself tells how full its disk is (4.9). */
      readonly type: 'nodeSpace';
      readonly node: NodeId;
      readonly incarnation: Incarnation;
      readonly level: SpaceLevel;
    }
  | {
      /** The member is given up: it leaves the ring, its data moves (1.4). */
      readonly type: 'nodeOut';
      readonly node: NodeId;
      /** cas */
      readonly incarnation: Incarnation;
      readonly reason: OutReason;
    }
  | {
      /** Takes back a member that is out, leaving or gone. */
      readonly type: 'nodeIn';
      readonly node: NodeId;
      readonly incarnation: Incarnation;
      readonly reason: OutReason;
    }
  | { readonly type: 'nodeLeave'; readonly node: NodeId }
  | { readonly type: 'nodeGone'; readonly node: NodeId }
  | { readonly type: 'nodeLost'; readonly node: NodeId; readonly by: string }
  | {
      /** An observer saw more of its disk than this life has: its copies are not what the map takes them for (C1.9). */
      readonly type: 'nodeOutdated';
      readonly node: NodeId;
      /** cas */
      readonly incarnation: Incarnation;
      readonly storeGeneration: number;
      /** The highest journal sequence that was seen. */
      readonly journalSeq: number;
    }
  | {
      readonly type: 'nodeWeight';
      readonly node: NodeId;
      readonly weight: number;
      readonly zone: string;
    }
  | {
      readonly type: 'policyChange';
      readonly policy: PolicyId;
      readonly copies: number;
      readonly minCopies: number;
      readonly strict: boolean;
    }
  | {
      /** Written by the offline tool alone, when a majority of voters is lost for good (section 6). */
      readonly type: 'votersForced';
      readonly old: readonly NodeId[];
      readonly next: readonly NodeId[];
      readonly by: string;
    }
  | {
      readonly type: 'votersJoint';
      readonly old: readonly NodeId[];
      readonly next: readonly NodeId[];
    }
  | {
      readonly type: 'votersFinal';
      readonly old: readonly NodeId[];
      readonly next: readonly NodeId[];
    }
  | {
      readonly type: 'isrShrink';
      readonly partitions: readonly PartitionCas[];
      readonly node: NodeId;
      readonly reason: string;
    }
  | {
      readonly type: 'isrJoin';
      readonly partitions: readonly PartitionCas[];
      readonly node: NodeId;
      readonly incarnation: Incarnation;
    }
  | {
      readonly type: 'isrAbort';
      readonly partitions: readonly PartitionCas[];
      readonly node: NodeId;
    }
  | {
      readonly type: 'isrPromote';
      readonly partitions: readonly (PartitionCas & {
        readonly source: NodeId;
        readonly sourceApplied: MapIndex;
      })[];
      readonly node: NodeId;
      readonly incarnation: Incarnation;
    }
  | {
      /** Doubtful no more (R8). */
      readonly type: 'isrSettle';
      readonly partitions: readonly PartitionCas[];
      readonly node: NodeId;
      readonly incarnation: Incarnation;
    }
  | {
      /** A down member leaves where no sure member was up for long: doubtful ones count as live (R8). */
      readonly type: 'isrShrinkUnsure';
      readonly partitions: readonly PartitionCas[];
      readonly node: NodeId;
      readonly reason: string;
    }
  | {
      /** Members of I that are down become doubtful: the others are to be read alone (4.5, I12). */
      readonly type: 'isrDoubt';
      readonly partitions: readonly PartitionCas[];
    }
  | {
      /**
       * Lost partitions start anew, empty, with `node` alone in sync: it has dropped what it held of them (section 6).
       * Who uses a volume with a part in them is fenced.
       */
      readonly type: 'acceptLoss';
      readonly partitions: readonly PartitionCas[];
      readonly node: NodeId;
      readonly incarnation: Incarnation;
      readonly by: string;
    }
  | {
      readonly type: 'isrRelease';
      readonly partitions: readonly PartitionCas[];
      readonly node: NodeId;
    }
  | { readonly type: 'purge'; readonly partitions: readonly PartitionCas[]; readonly node: NodeId }
  | {
      /** Volume, family and generation ids are assigned on apply. */
      readonly type: 'volumeCreate';
      readonly name: string;
      readonly policy: PolicyId;
      readonly sizeBytes: number;
      readonly durability: Durability;
      readonly attachMode: AttachMode;
    }
  | {
      /** Options that may change while a guest is attached. */
      readonly type: 'volumeOptions';
      readonly volume: VolumeId;
      readonly ioTimeoutMs: number;
    }
  | {
      /** How fast requests may pass, also while a guest is attached; 0 = no limit. */
      readonly type: 'volumeRate';
      readonly volume: VolumeId;
      readonly kind: RateKind;
      readonly perSecond: number;
    }
  | {
      readonly type: 'volumeRename';
      readonly volume: VolumeId;
      /** cas: what it was called when somebody decided this. */
      readonly former: string;
      readonly name: string;
    }
  | {
      /** Nothing takes its data away as a whole while it is. */
      readonly type: 'volumeProtect';
      readonly volume: VolumeId;
      readonly isProtected: boolean;
    }
  | {
      /** What a confirmed write is (R5); while nobody holds it. */
      readonly type: 'volumeDurability';
      readonly volume: VolumeId;
      /** cas */
      readonly token: FencingToken;
      readonly durability: Durability;
    }
  | {
      readonly type: 'attributeSet';
      readonly volume: VolumeId;
      readonly key: string;
      readonly value: Uint8Array;
      /** Declined where there is one: of many who try, one has it. */
      readonly isNew: boolean;
    }
  | { readonly type: 'attributeRemove'; readonly volume: VolumeId; readonly key: string }
  | {
      /** Who may attach it; while nobody holds it (3.2). */
      readonly type: 'volumeAttach';
      readonly volume: VolumeId;
      /** cas */
      readonly token: FencingToken;
      readonly attachMode: AttachMode;
    }
  | { readonly type: 'volumeDelete'; readonly volume: VolumeId; readonly token: FencingToken }
  | {
      /** Of volumes at one instant (S4): all of them, or none. New heads are assigned on apply, in the order of the list. */
      readonly type: 'snapshot';
      readonly volumes: readonly VolumeCas[];
      readonly tag: string;
      /** Of the node that proposes, ms since 1970: for people. */
      readonly dateMs: number;
    }
  | {
      /** A new volume below a snapshot (`head` = that, `volume` and `token` say nothing), or below the head of a volume. */
      readonly type: 'volumeClone';
      readonly from: VolumeCas;
      readonly name: string;
      readonly durability: Durability;
      readonly attachMode: AttachMode;
      /** From the first moment on it moves into a family of its own (S8), and shows nobody else's layers in the end. */
      readonly isDeep: boolean;
      readonly dateMs: number;
    }
  | {
      readonly type: 'rollback';
      readonly volume: VolumeId;
      /** cas; the lock is free */
      readonly token: FencingToken;
      /** A snapshot of this volume. */
      readonly generation: GenerationId;
    }
  | { readonly type: 'snapshotDelete'; readonly generation: GenerationId }
  | {
      readonly type: 'snapshotProtect';
      readonly generation: GenerationId;
      readonly isProtected: boolean;
    }
  | {
      /** All members have dropped the rows of this deleted generation (S6). */
      readonly type: 'generationReclaimed';
      readonly generation: GenerationId;
    }
  | { readonly type: 'volumeGrow'; readonly volume: VolumeId; readonly sizeBytes: number }
  | {
      readonly type: 'volumeShrink';
      readonly volume: VolumeId;
      /** cas; the lock is free */
      readonly token: FencingToken;
      readonly sizeBytes: number;
    }
  | {
      /** The volume can be had back for a while; nobody finds it meanwhile. */
      readonly type: 'volumeTrash';
      readonly volume: VolumeId;
      /** cas; the lock is free */
      readonly token: FencingToken;
      /** Of time that leaders count, see `aged`. */
      readonly keepMs: number;
      /** For people. */
      readonly dateMs: number;
    }
  | { readonly type: 'trashRestore'; readonly volume: VolumeId; readonly name: string }
  | {
      readonly type: 'trashPurge';
      readonly volume: VolumeId;
      /** By time: declined before it is due. By an operator: at once. */
      readonly by: 'time' | 'operator';
    }
  | {
      /** A leader saw so much time go by on its own clock; what it saw before another one took over is not counted. */
      readonly type: 'aged';
      /** cas */
      readonly fromMs: number;
      readonly byMs: number;
    }
  | {
      /** A volume begins to move to another policy, or the copy begins anew; family and generation are assigned on apply. */
      readonly type: 'moveStart';
      readonly volume: VolumeId;
      /** cas */
      readonly token: FencingToken;
      readonly policy: PolicyId;
      /** cas: the generation that was copied into so far; 0 = the volume did not move. */
      readonly former: GenerationId;
    }
  | { readonly type: 'moveCancel'; readonly volume: VolumeId; readonly token: FencingToken }
  | {
      /** All is copied: the volume is that generation from here on. */
      readonly type: 'volumeMove';
      readonly volume: VolumeId;
      /** cas: of the session that copied */
      readonly token: FencingToken;
      /** cas */
      readonly head: GenerationId;
    }
  | {
      readonly type: 'lockAcquire';
      readonly volume: VolumeId;
      readonly token: FencingToken;
      readonly node: NodeId;
      readonly incarnation: Incarnation;
      readonly session: SessionId;
      /** The taker's date, ms since 1970, and where its client came from: for people. */
      readonly dateMs: number;
      readonly from: string;
    }
  | { readonly type: 'lockRelease'; readonly volume: VolumeId; readonly token: FencingToken }
  | {
      /** An operator takes the lock from its holder, whoever that is: the next one takes over, with the barrier. */
      readonly type: 'lockBreak';
      readonly volume: VolumeId;
      /** cas */
      readonly token: FencingToken;
      readonly by: string;
    }
  | {
      /** A hand-over to this node is announced: its holder asks for no quiet then, and mode `exclusive` lets it in (3.2). */
      readonly type: 'handoverPrepare';
      readonly volume: VolumeId;
      /** cas */
      readonly token: FencingToken;
      readonly toNode: NodeId;
    }
  | {
      /** The holder of this token said that it is drained: the lock is the asking session's (3.3). */
      readonly type: 'handoverComplete';
      readonly volume: VolumeId;
      /** cas: the token under which the holder was drained */
      readonly token: FencingToken;
      readonly node: NodeId;
      readonly incarnation: Incarnation;
      readonly session: SessionId;
      readonly dateMs: number;
      readonly from: string;
    }
  | {
      /** The holder stays, with a new token; who was told that it is drained comes too late. */
      readonly type: 'handoverCancel';
      readonly volume: VolumeId;
      /** cas */
      readonly token: FencingToken;
    }
  | {
      /** Nothing came of what this holder held still for: it goes on, under a new token, so that a late snapshot fails. */
      readonly type: 'holdEnd';
      readonly volume: VolumeId;
      /** cas */
      readonly token: FencingToken;
    }
  | {
      readonly type: 'takeover';
      readonly volume: VolumeId;
      readonly token: FencingToken;
      readonly node: NodeId;
      readonly incarnation: Incarnation;
      readonly session: SessionId;
      readonly reason: string;
      readonly force: boolean;
      readonly dateMs: number;
      readonly from: string;
    };

/** What applying an entry did. `value` is the id it assigned or found, the token it granted, or 0. */
export interface ApplyResult {
  readonly code: 'ok' | 'duplicate' | 'exists' | 'missing' | 'stale' | 'held' | 'refused' | 'full';
  readonly value: number;
  /** One sentence for a person when the code is not ok; empty otherwise. */
  readonly detail: string;
}

/** Most elements of one `isr...` or purge list. */
export const MAX_PARTITIONS_PER_ENTRY = 2000;
