// What the data path gets from its builder, and the one way its parts ask a replica: this node's own by direct call,
// the others through their data channel. Replies come by callback, exactly once each.

import { OperatingError } from '../core/errors.ts';
import type { AnswerHandover, Asker } from '../core/handover.ts';
import type {
  FencingToken,
  GenerationId,
  MapIndex,
  NodeId,
  PartitionId,
  VolumeId,
} from '../core/ids.ts';
import type { EntryBody, PartitionCas } from '../core/log-entry.ts';
import { isLostIn } from '../core/lost.ts';
import { partitionOf } from '../core/partition.ts';
import type { ClusterView, PartitionConfig, Volume } from '../core/view.ts';
import type { Clock, Random, Trace } from '../ports/ports.ts';
import type { ObjectStore } from '../storage/store-types.ts';
import { emptyFrame, type Frame } from '../wire/frame.ts';
import type { CopyStreams } from './copy-streams.ts';
import type { DirtyMaps } from './dirty-maps.ts';
import type { OpenVolume } from './open-volume.ts';
import type { ViewCell } from './view-cell.ts';

/** Frames to other nodes; `p2p/rpc-client.ts` fits. */
export interface PeerRequests {
  /** `done` exactly once: the reply, or undefined when the channel broke, the deadline passed or there is no way. */
  request(
    node: NodeId,
    frame: Frame,
    deadlineMs: number,
    done: (reply: Frame | undefined) => void,
  ): void;
}

export interface DatapathContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly trace: Trace;
  readonly self: NodeId;
  readonly views: ViewCell;
  readonly store: ObjectStore;
  readonly peers: PeerRequests;
  /** False until this node has applied that its present process is up: before, it serves nothing (R8). */
  isAnnounced(): boolean;
  /** Asks the learner for the log up to `index`, first from this node; `views` changes later. Never waits. */
  pull(index: MapIndex, from: NodeId): void;
  /** C2.3: `done` once `views` has all that was decided anywhere by now; false when no majority says so in time. */
  readCurrent(done: (isCurrent: boolean) => void): void;
  /** The own replica had no room for a change of this partition (4.9). */
  readonly noRoom?: (where: PartitionId) => void;
  /** Asks the log to call the dead members of these partitions doubtful (4.5, read-only touch); never waits. */
  readonly doubt?: (partitions: readonly PartitionCas[]) => void;
  /** Asks the log for a step of a move (S8); never waits: `views` says what became of it. */
  readonly propose?: (body: EntryBody) => void;
  /** The lock actor's ears. */
  readonly lock: {
    wanted(open: OpenVolume): void;
    drained(open: OpenVolume): void;
    /** The holder of this token said that it is drained: this session may complete the hand-over (3.3). */
    offered(open: OpenVolume, token: FencingToken): void;
  };
}

export type AskReplica = (
  node: NodeId,
  frame: Frame,
  deadlineMs: number,
  done: (reply: Frame | undefined) => void,
) => void;

/** The context as its parts see it. */
export interface Parts extends DatapathContext {
  readonly ask: AskReplica;
  /** Every change of bytes here is noted in it, for members that are away. */
  readonly dirty: DirtyMaps;
  /** Bounds of bulk copies, and what guests feel of them. */
  readonly streams: CopyStreams;
}

/** A request at this node's applied index. */
export function requestFrame(view: ClusterView, op: number): Frame {
  const frame = emptyFrame();
  frame.op = op;
  frame.mapIndex = view.index;
  return frame;
}

/** Hash part of the partition of one object of a volume. */
export function partitionOfObject(view: ClusterView, volume: Volume, index: number): number {
  return partitionOf(volume.family, index, view.partitions);
}

/** Config of one partition of a volume under the view known now. */
export function configOf(view: ClusterView, volume: Volume, p: number): PartitionConfig {
  return view.partition(volume.policy, p);
}

/** The answer for a part of a volume of which no copy exists any more (section 6); undefined where there is one. */
export function lossOfPart(
  view: ClusterView,
  volume: Volume,
  p: number,
): OperatingError | undefined {
  if (view.retired.size === 0 || !isLostIn(view, configOf(view, volume, p))) return undefined;
  const text = `no copy is left of a part of ${volume.name}`;
  return new OperatingError('io', text, { remedy: 'dog cluster recover accept-loss' });
}

/** True while the map calls the node up. */
export function isUp(view: ClusterView, node: NodeId): boolean {
  return view.members.get(node)?.state === 'up';
}

/** The session of a volume that this node serves for others, if any (STANDBY reads). */
export type SessionOf = (volume: VolumeId) => StandbyServer | undefined;

export interface StandbyServer {
  /** True while its session holds the lock, as far as this node knows. */
  readonly isHolder: boolean;
  /** As for its own guest, whose request it is not (H1). */
  readBeside(
    offset: number,
    length: number,
    target: Uint8Array,
    at: number,
    done: (error: Error | undefined) => void,
  ): void;
  flushBeside(done: (error: Error | undefined) => void): void;
  /** Gives the lock back where no guest is attached (S8); false = one is. */
  letGo(): boolean;
  /** A client is attached on another node (3.2). */
  noteBeside(asker: Asker): void;
  /** Another node's client writes: hands the volume over when the own guest has stopped. */
  handOver(asker: Asker, answer: AnswerHandover): void;
  /** Lets its writes end under this token, so that its head can be frozen (S4); undefined: not now. */
  hold(token: number, done: (head: GenerationId | undefined) => void): void;
}
