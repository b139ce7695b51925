// What the admin API says, as types: the node's HTTP front makes these documents, `dog` reads them. Within one schema
// number fields are added, never changed. Sizes are bytes; ids are numbers, names strings for people.

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
  readonly space: SpaceData;
  readonly objects: number;
  readonly catchUp: { readonly partitionsLeft: number; readonly bytesCopied: number };
}

export interface SpaceData {
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly usedBytes: number;
}

/** Each partition is in exactly one of the four states, the worst that fits. */
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
  readonly sinceEpoch: number;
  readonly incarnation: number;
  readonly isVoter: boolean;
  readonly isLeader: boolean;
  readonly peerKey: string;
}

export interface ClusterData {
  readonly name: string;
  readonly clusterId: string;
  readonly epoch: number;
  readonly appliedIndex: number;
  readonly copies: number;
  readonly minCopies: number;
  readonly strict: boolean;
  readonly members: { readonly total: number; readonly up: number; readonly down: number };
  readonly zones: readonly string[];
  readonly voters: readonly string[];
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

export interface HealthData {
  readonly status: 'fine' | 'warning' | 'error';
}

export interface HolderData {
  readonly node: string;
  readonly state: 'joined' | 'up' | 'down' | 'unknown';
  readonly incarnation: number;
  readonly session: number;
  readonly token: number;
  readonly sinceIndex: number;
}

export interface VolumeData {
  readonly name: string;
  readonly id: number;
  readonly sizeBytes: number;
  readonly copies: number;
  readonly minCopies: number;
  readonly strict: boolean;
  readonly mode: string;
  readonly attach: string;
  /** The worst state of its partitions. */
  readonly state: 'ok' | 'joining' | 'degraded' | 'halted';
  readonly holder: HolderData | null;
}

export interface VolumeDetail extends VolumeData {
  readonly family: number;
  readonly generation: number;
  readonly policy: number;
  readonly objects: number;
  readonly partitions: PartitionCounts;
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

export interface CreateRequest {
  readonly name: string;
  readonly sizeBytes: number;
  readonly copies?: number;
  readonly minCopies?: number;
  readonly strict?: boolean;
}
