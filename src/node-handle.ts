// A running node as its fronts (NBD, HTTP API) and the simulator see it. build-node.ts makes one.

import type { ClusterId, NodeId, VolumeId } from './core/ids.ts';
import type { ClusterView } from './core/view.ts';
import type { VolumeSession } from './datapath/volume-session.ts';

export type NodePhase =
  /** Has an empty data directory; waits for `format` or a join token. */
  | 'blank'
  /** Has an identity and waits until the log is applied and it is up in the map. */
  | 'starting'
  | 'up'
  | 'stopping';

export interface NodeStatus {
  readonly phase: NodePhase;
  readonly node: NodeId | undefined;
  readonly clusterId: ClusterId | undefined;
  readonly appliedIndex: number;
  readonly leader: NodeId | undefined;
  readonly role: 'leader' | 'follower' | 'candidate' | 'learner' | 'none';
  /** What the node waits for, for people; empty when it waits for nothing. */
  readonly waitingFor: string;
  readonly spaceBytes: { readonly total: number; readonly free: number; readonly used: number };
  /** Copies this node holds. */
  readonly objects: number;
  /** Catch-up of this node: partitions it still has to bring in sync, and bytes copied since its start. */
  readonly catchUp: { readonly partitionsLeft: number; readonly bytesCopied: number };
}

export interface FormatOptions {
  readonly name: string;
  readonly copies: number;
  /** floor(copies / 2) + 1 unless given. */
  readonly minCopies?: number;
  readonly strict?: boolean;
  /** 4096 unless given; a power of two, 16 to 65536. */
  readonly partitions?: number;
  /** Wipes the node's objects and identity first. Refused without it when the directory belongs to a cluster. */
  readonly force?: boolean;
}

export interface CreateVolumeOptions {
  readonly name: string;
  readonly sizeBytes: number;
  /** The default policy unless given. */
  readonly copies?: number;
  readonly minCopies?: number;
  readonly strict?: boolean;
}

export interface NodeHandle {
  /** Opens disk and network, replays, catches up. Resolves when `phase` is blank, or starting and listening. */
  start(): Promise<void>;
  /** Orderly end: sessions drained, locks released, attest records written. Bounded by 10 s. */
  stop(): Promise<void>;
  status(): NodeStatus;
  /** Undefined while blank. */
  view(): ClusterView | undefined;
  /** Calls `fn` after each new view; returns the way to stop it. */
  onView(fn: (view: ClusterView) => void): () => void;
  /** Called once when the node can not go on (disk failure, broken invariant): the process must end. */
  onFatal(fn: (error: Error) => void): void;

  /** Makes a cluster of this one node. Throws 'already-formatted'. */
  format(options: FormatOptions): Promise<void>;
  /** A join token: addresses, cluster id, secret. Throws 'not-formatted', 'no-quorum'. */
  invite(): Promise<string>;
  /** Joins by a token; ignored by a member of that cluster. Throws 'wrong-cluster', 'unreachable', 'refused'. */
  join(token: string, place: { readonly zone: string; readonly weight: number }): Promise<void>;

  /** Throws 'exists', 'usage', 'no-quorum'. */
  createVolume(options: CreateVolumeOptions): Promise<VolumeId>;
  /** Throws 'missing', 'held' (names the holder), 'no-quorum'. */
  deleteVolume(name: string): Promise<void>;
  /** The session of this volume on this gateway, an existing one unless it is fenced. Throws 'missing'. */
  openVolume(name: string): VolumeSession;
}
