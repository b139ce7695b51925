// What one node's share of the agreement needs from the node around it, and what it tells it.

import type { OperatingError } from '../core/errors.ts';
import type { Incarnation, NodeId, PeerKey } from '../core/ids.ts';
import type { ApplyResult, LogEntry } from '../core/log-entry.ts';
import type { DiskWord } from '../core/sightings.ts';
import type { ClusterView } from '../core/view.ts';
import type { ControlRpc } from '../p2p/control-rpc.ts';
import type { Clock, Network, Random, Trace } from '../ports/ports.ts';
import type { RaftLog } from '../storage/raft-log.ts';
import type { Alert, Stats } from '../wire/messages.ts';
import type { DriverRole } from './raft-driver.ts';
import type { SnapshotPace } from './snapshots.ts';

/** What a test with little patience sets. */
export interface AgreementTuning {
  /** When the log is compacted; NORMAL_PACE. */
  readonly pace?: SnapshotPace;
  /** Entries between two audit points; AUDIT_EVERY. */
  readonly auditEvery?: number;
}

export interface AgreementOptions extends AgreementTuning {
  readonly self: NodeId;
  readonly incarnation: () => Incarnation;
  readonly log: RaftLog;
  readonly clock: Clock;
  readonly random: Random;
  readonly trace: Trace;
  readonly rpc: ControlRpc;
  readonly network: Network;
  /** Whom a node without a view asks: what the join reply named. */
  readonly bootstrap: readonly PeerKey[];
  readonly onApplied: (entry: LogEntry, result: ApplyResult) => void;
  /** The map jumped over entries that nobody will tell of: whoever follows entries looks at everything anew. */
  readonly onJumped: () => void;
  /** This node must not go on (C2.8). */
  readonly onBroken: (error: OperatingError) => void;
  readonly onView: (view: ClusterView) => void;
  readonly onRole: (role: DriverRole, leader: NodeId | undefined) => void;
  readonly onAlert: (alert: Alert) => void;
  /** Another member, in an operator's name, asks this process to end in order. */
  readonly onExitAsked: (by: PeerKey) => void;
  /** A writer says that a replica is slow (C1.7). */
  readonly onSlow: (subject: NodeId, incarnation: Incarnation) => void;
  /** A member says how loaded it is. */
  readonly onStats: (stats: Stats) => void;
  /** The most that this node saw of that one's disk (C1.9). */
  readonly seen: (node: NodeId) => DiskWord | undefined;
  /** Somebody is missed, and no majority of the voters is in reach: this node may be the one that is cut off, or retired. */
  readonly onAlone: () => void;
  /** A member said itself that it can not go on, and why. */
  readonly onFailing: (member: NodeId, incarnation: Incarnation, reason: string) => void;
}
