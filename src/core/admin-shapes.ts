// What the admin API says, as types: the node's HTTP front makes these documents, `dog` reads them. Within one schema
// number fields are added, never changed. Sizes are bytes; ids are numbers, names strings for people.

import type { VolumeRatesData } from './volume-shapes.ts';

/** In a request that changes something: the epoch that its sender has seen; at another one nothing is done. */
export const EXPECT_EPOCH_HEADER = 'x-expect-epoch';

/** The frame of every good answer. */
export interface AdminAnswer<Data> {
  /** For example `sheep/volumes/1`. */
  readonly schema: string;
  readonly epoch: number;
  readonly data: Data;
  readonly warnings: readonly Warning[];
}

/** The frame of every refusal. */
export interface AdminFailure {
  readonly error: {
    readonly code: string;
    readonly message: string;
    /** A sentence or a command; empty when there is none to name. */
    readonly remedy: string;
    readonly affected: readonly string[];
  };
}

/** A condition that somebody should look at, with its cure. Codes: docs/OPERATING.md. */
export interface Warning {
  readonly code: string;
  readonly severity: 'warning' | 'error';
  readonly message: string;
  readonly remedy: string;
  readonly affected: readonly string[];
}

/** What the answering process has counted since its start, by name: flushes, journal, repairs, retries. */
export type CountersData = readonly { readonly name: string; readonly value: number }[];

export interface StatusData {
  readonly pid: number;
  readonly phase: 'blank' | 'starting' | 'up' | 'stopping';
  /** `n1`, or empty while blank. */
  readonly name: string;
  readonly node: number | null;
  readonly clusterId: string | null;
  readonly appliedIndex: number;
  readonly leader: string;
  readonly role: string;
  readonly waitingFor: string;
  /** Voters that did not answer when they were asked last. */
  readonly missingVoters: readonly string[];
  readonly space: SpaceData;
  readonly objects: number;
  readonly catchUp: { readonly partitionsLeft: number; readonly bytesCopied: number };
}

/** One member's space, by its own word; a member that does not answer is not named. */
export interface NodeSpaceData extends SpaceData {
  readonly name: string;
  readonly objects: number;
  /** How far it has applied the map log. */
  readonly appliedIndex: number;
}

export interface SpaceData {
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly usedBytes: number;
}

/** Each partition is in exactly one of the five states, the worst that fits. */
export interface PartitionCounts {
  readonly total: number;
  /** As many live copies as asked for, where the ring wants them. */
  readonly clean: number;
  /** Enough copies, but the ring's choice is still being brought in sync. */
  readonly joining: number;
  /** Fewer live in-sync copies than asked for; takes writes. */
  readonly degraded: number;
  /** Fewer than minCopies: takes no writes. */
  readonly halted: number;
  /** No copy exists any more (section 6). */
  readonly lost: number;
  /** Across the states: every target that there is a node for is live and in sync; nothing is left to do. */
  readonly settled: number;
}

export interface NodeData {
  readonly name: string;
  readonly node: number;
  readonly addresses: readonly string[];
  readonly zone: string;
  readonly weight: number;
  readonly state: 'joined' | 'up' | 'down';
  /** False: the map can not say so while no majority decides, but it does not answer the node that was asked. */
  readonly isInReach: boolean;
  readonly sinceEpoch: number;
  readonly incarnation: number;
  readonly isVoter: boolean;
  readonly isLeader: boolean;
  readonly peerKey: string;
  /** Its place in the cluster, beside its being up or down. */
  readonly standing: 'in' | 'leaving' | 'gone' | 'out';
  readonly isWitness: boolean;
  /** Null while it is not down, or this node has not seen since when. */
  readonly downMs: number | null;
  /** Until it is called out; null when time alone does not. */
  readonly outInMs: number | null;
  /** Why it is not called out, though it is down; empty otherwise. */
  readonly staysBecause: string;
  /** What a drain still waits for. */
  readonly waitsFor: readonly string[];
  /** Down is expected until then (ISO 8601); null outside of a maintenance. */
  readonly maintenanceUntil: string | null;
}

/** A former member. */
export interface RetiredData {
  readonly name: string;
  readonly how: 'lost' | 'forgotten' | 'outdated';
  readonly sinceEpoch: number;
}

/** What moving a member's copies away means. */
export interface MovePlanData {
  readonly node: string;
  readonly partitions: number;
  /** By the average of the node that answers; null where it holds nothing to judge by. */
  readonly aboutBytes: number | null;
  /** Why the cluster will refuse; empty when it will not. */
  readonly bar: string;
  readonly warnings: readonly string[];
}

export interface InviteListData {
  readonly id: string;
  /** ISO 8601; null = not known. */
  readonly made: string | null;
  /** ISO 8601; null = never. */
  readonly expires: string | null;
  readonly isSingleUse: boolean;
  readonly hasExpired: boolean;
}

export interface RecoverData {
  readonly voters: readonly {
    readonly name: string;
    readonly isReachable: boolean;
    /** Entries of its log; null when it does not answer. */
    readonly commit: number | null;
  }[];
  readonly needed: number;
  /** Where the offline tool is to be run. */
  readonly best: string;
  readonly mayLose: readonly string[];
  /** The node whose view this is. */
  readonly askedBy: string;
}

export interface ClusterData {
  readonly name: string;
  readonly clusterId: string;
  readonly epoch: number;
  readonly appliedIndex: number;
  readonly copies: number;
  readonly minCopies: number;
  readonly strict: boolean;
  readonly members: {
    readonly total: number;
    readonly up: number;
    readonly down: number;
    /** Of those that are up by the map: do not answer the node that was asked, while no leader is known. */
    readonly notInReach: number;
  };
  readonly zones: readonly string[];
  readonly voters: readonly string[];
  /** How many the size and zones of the cluster ask for. */
  readonly votersWanted: number;
  /** Voters that do not answer, while no leader is known. */
  readonly missingVoters: readonly string[];
  readonly retired: readonly RetiredData[];
  /** Name of the leader, empty when this node knows none. */
  readonly leader: string;
  readonly volumes: number;
  readonly partitions: PartitionCounts;
  /** Of the answering node. */
  readonly space: SpaceData;
  readonly answeredBy: string;
  /** What to do next, one sentence each; empty when nothing is. */
  readonly next: readonly string[];
}

/** How the answering node's scrubs are. Dates are ISO 8601. */
export interface ScrubData {
  readonly name: string;
  readonly isPaused: boolean;
  /** Bytes of a total that was fixed at the start. */
  readonly run: {
    readonly kind: 'light' | 'deep';
    readonly startedAt: string;
    readonly doneBytes: number;
    readonly totalBytes: number;
  } | null;
  /** End of the last complete one; before the first, when the node began to count. */
  readonly lastLightAt: string;
  readonly lastDeepAt: string;
  /** Null: only when asked for. */
  readonly lightPeriodMs: number | null;
  readonly deepPeriodMs: number | null;
  readonly bytesPerSecond: number;
  readonly late: readonly string[];
  /** In the last day, found by reads and by all scrubs. */
  readonly sectorsRepaired: number;
  readonly badSectors: number;
  readonly skippedObjects: number;
  /** Of the last round that failed; empty when none did. */
  readonly lastError: string;
}

/** One task of one member; its total is fixed once `isCounted`. */
export interface RecoveryTaskData {
  readonly kind: 'catch-up' | 'repair' | 'move';
  /** `incomplete`: over, but for sectors that no copy has right. */
  readonly state: 'counting' | 'running' | 'paused' | 'done' | 'incomplete' | 'called off';
  readonly startedAt: string;
  readonly endedAt: string | null;
  readonly partitions: number;
  readonly partitionsDone: number;
  /** Not wanted there any more. */
  readonly partitionsGone: number;
  readonly isCounted: boolean;
  readonly totalBytes: number;
  readonly doneBytes: number;
  readonly bytesPerSecond: number;
  /** 0 = over, or not known. */
  readonly leftMs: number;
  readonly failures: readonly {
    readonly policy: number;
    readonly partition: number;
    readonly generation: number;
    readonly index: number;
    readonly reason: string;
  }[];
  readonly incompleteObjects: number;
}

export interface RecoveryNodeData {
  readonly name: string;
  readonly isHeld: boolean;
  /** Bytes per second that copies may take now; null = no limit. */
  readonly rateLimit: number | null;
  /** Objects being fetched, pieces being handed out. */
  readonly incoming: number;
  readonly outgoing: number;
  readonly objectsCopied: number;
  readonly bytesCopied: number;
  readonly tasks: readonly RecoveryTaskData[];
}

/** Of all tasks that are under way, and of those that ended meanwhile: totals do not shrink before all is done. */
export interface RecoverySumData {
  /** Under way. */
  readonly tasks: number;
  readonly partitions: number;
  readonly partitionsDone: number;
  readonly isCounted: boolean;
  readonly totalBytes: number;
  readonly doneBytes: number;
  readonly bytesPerSecond: number;
  readonly leftMs: number;
  readonly failedObjects: number;
  readonly incompleteObjects: number;
}

export interface RecoveryData {
  readonly isEnabled: boolean;
  /** Members that hold it by themselves. */
  readonly heldBy: readonly string[];
  /** What an operator has set, bytes per second and node; null = as fast as guests allow. */
  readonly rateLimit: number | null;
  readonly incoming: number;
  readonly outgoing: number;
  readonly sum: RecoverySumData;
  readonly nodes: readonly RecoveryNodeData[];
  /** Members that did not answer. */
  readonly silent: readonly string[];
}

export interface HealthData {
  readonly status: 'fine' | 'warning' | 'error';
  /** What is being recovered now; tasks 0 = nothing. */
  readonly recovery: RecoverySumData;
}

export interface HolderData {
  readonly node: string;
  readonly state: 'joined' | 'up' | 'down' | 'unknown';
  readonly incarnation: number;
  readonly session: number;
  readonly token: number;
  readonly sinceIndex: number;
  /** ISO 8601; null where nobody noted it. */
  readonly since: string | null;
  /** Where its client came from; empty where nobody noted it. */
  readonly from: string;
}

/** A lock that is not free. */
export interface LockData extends HolderData {
  readonly volume: string;
  readonly attach: string;
  /** `dead`: the next one who wants it takes over; `unlocked`: so it is, and an operator made it so. */
  readonly standing: 'live' | 'dead' | 'unlocked';
  /** Prepared successor; null: none. */
  readonly next: string | null;
}

/** What became of a wish that a holder loses its volume. */
export interface UnlockData {
  readonly volume: string;
  readonly did: 'unlocked' | 'nothing';
  /** Who had it; null: nobody. */
  readonly former: HolderData | null;
}

export interface UnlockRequest {
  /** Of the holder that is meant; nothing is done when another one has it. */
  readonly token?: number;
  /** For the log. */
  readonly by?: string;
}

export interface VolumeData extends VolumeRatesData {
  readonly name: string;
  readonly id: number;
  readonly sizeBytes: number;
  readonly copies: number;
  readonly minCopies: number;
  readonly strict: boolean;
  readonly mode: string;
  readonly attach: string;
  /** A request that waits so long is answered with an error; 0 = it waits. */
  readonly ioTimeoutMs: number;
  /** It can not be deleted. */
  readonly isProtected: boolean;
  /** The worst state of its partitions; `damaged` (in the detail of one volume): it has bytes that can not be read. */
  readonly state: 'ok' | 'joining' | 'degraded' | 'halted' | 'lost' | 'damaged';
  readonly holder: HolderData | null;
}

export interface VolumeDetail extends VolumeData {
  readonly family: number;
  readonly generation: number;
  readonly policy: number;
  readonly objects: number;
  readonly partitions: PartitionCounts;
  /** Bytes of which no copy exists any more. */
  readonly lost: readonly RangeData[];
  /** Bytes that fail their checksums on every copy, as far as the members that answer know. */
  readonly unreadable: readonly RangeData[];
  /** On its way to another number of copies; null = it stays. */
  readonly move: MoveData | null;
}

/** An address where guests attach, as this node listens. */
export type DoorData =
  | { readonly kind: 'unix'; readonly path: string }
  | {
      readonly kind: 'tcp' | 'tcp-plain';
      readonly host: string;
      readonly port: number;
      /** What a guest may prove itself by; empty in the clear. */
      readonly proofs: readonly ('keys' | 'certificates')[];
    };

/** What a guest needs to know to attach a volume through the answering node. */
export interface AttachData {
  readonly name: string;
  readonly sizeBytes: number;
  /** The node that answers. */
  readonly node: string;
  /** Empty: this node serves no guests. */
  readonly doors: readonly DoorData[];
}

/** How far a volume is on its way to another redundancy policy, as its holder says. */
export interface MoveData {
  readonly copies: number;
  readonly minCopies: number;
  readonly strict: boolean;
  readonly stage: 'waiting' | 'counting' | 'copying' | 'finishing';
  /** What it waits for; empty where it does not. */
  readonly reason: string;
  /** Of the present copy; null = not begun. */
  readonly startedAt: string | null;
  /** Fixed when this copy was counted; 0 = not counted yet. */
  readonly totalBytes: number;
  readonly doneBytes: number;
  readonly bytesPerSecond: number;
  /** 0 = not known. */
  readonly leftMs: number;
}

/** What came of a wish for another number of copies: see MoveAnswer of node-handle.ts. */
export interface AlterCopyData {
  readonly name: string;
  readonly answer: 'begun' | 'moving' | 'same' | 'cancelled';
  readonly copies: number;
  readonly minCopies: number;
  readonly strict: boolean;
  readonly move: MoveData | null;
}

/** Bytes, `to` not included. */
export interface RangeData {
  readonly from: number;
  readonly to: number;
}

/** What accepting the loss means. */
export interface LossData {
  /** To be typed as the answer. */
  readonly cluster: string;
  readonly partitions: number;
  readonly volumes: readonly {
    readonly name: string;
    readonly bytes: number;
    readonly ranges: readonly RangeData[];
  }[];
  /** Members that are down and hold the only copies of something else: they may return. */
  readonly mayReturn: readonly string[];
}

export interface InviteData {
  readonly token: string;
}

export interface FormatRequest {
  readonly name?: string;
  readonly copies?: number;
  readonly minCopies?: number;
  readonly strict?: boolean;
  readonly partitions?: number;
  readonly force?: boolean;
}

export interface InviteRequest {
  readonly ttlMs?: number;
  readonly isSingleUse?: boolean;
}

/** Without a time: it ends. */
export interface MaintenanceRequest {
  readonly forMs?: number;
}

export interface WeightRequest {
  readonly weight: number;
}

export interface ZoneRequest {
  readonly zone: string;
}

export interface SettingRequest {
  readonly name: string;
  readonly value: string;
}

export interface AlterCopiesRequest {
  readonly copies: number;
  readonly minCopies?: number;
  readonly strict?: boolean;
}
