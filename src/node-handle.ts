// A running node as its fronts (NBD, HTTP API) and the simulator see it. build-node.ts makes one.

import type { ChangedRun } from './core/changed-regions.ts';
import type { NodeCondition } from './core/condition.ts';
import type { LayerUsage } from './core/copy-check.ts';
import type { CopyEpoch } from './core/copy-history.ts';
import type {
  ClusterId,
  FencingToken,
  GenerationId,
  NodeId,
  PartitionId,
  VolumeId,
} from './core/ids.ts';
import type { VolumeLoss } from './core/lost.ts';
import type { MoveStatus } from './core/move-progress.ts';
import type { NodeRecovery } from './core/recovery-progress.ts';
import type { ScrubCommand, ScrubStatus } from './core/scrub.ts';
import type {
  AttachMode,
  Attributes,
  ClusterView,
  Durability,
  TrashedVolume,
  Volume,
  VolumeLock,
} from './core/view.ts';
import type { CheckedSlice, CheckSlice } from './datapath/copy-checker.ts';
import type { ObjectLooks } from './datapath/copy-looks.ts';
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
  /** Voters that did not answer when they were asked last; empty while a leader is known. */
  readonly missingVoters: readonly NodeId[];
  /** Members that the map calls up, and voters, that did not answer then; empty while a leader is known. */
  readonly missing: readonly NodeId[];
  readonly spaceBytes: { readonly total: number; readonly free: number; readonly used: number };
  /** Copies this node holds. */
  readonly objects: number;
  /** Members differ about the map at this index, and nobody can say who is right (C2.8); 0 = they do not. */
  readonly disputedIndex: number;
  /** Peers that lately contradicted what is committed here: another history (A3). */
  readonly splitFrom: readonly NodeId[];
  /** Replicas that writers call slow (C1.7); voters hear of it. */
  readonly slowNodes: readonly NodeId[];
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
  /** What a confirmed write is (R5); 'durable' unless given. */
  readonly mode?: Durability;
  /** Who may attach beside a holder; 'handover' unless given. */
  readonly attachMode?: AttachMode;
  /** After so long a request that waits is answered with an error; 0 (unless given) = it waits. */
  readonly ioTimeoutMs?: number;
  /** Of rates; none unless given. */
  readonly iops?: number;
  readonly bytesPerSecond?: number;
}

/** What is not said stays. */
export interface AlterVolumeOptions {
  /** Limits of rates, at once, also under a guest; 0 = none. */
  readonly iops?: number;
  readonly bytesPerSecond?: number;
  /** What a confirmed write is (R5); only while nobody holds the volume. */
  readonly mode?: Durability;
  /** May change while a guest is attached. */
  readonly ioTimeoutMs?: number;
  /** Only while nobody holds the volume. */
  readonly attachMode?: AttachMode;
}

/** To how many copies a volume moves. */
export interface MoveVolumeOptions {
  readonly copies: number;
  /** As it is, or floor(copies / 2) + 1 where `copies` is another number. */
  readonly minCopies?: number;
  /** As it is unless given. */
  readonly strict?: boolean;
}

/** `moving`: it moves there already; `same`: it is there, and does not move; `cancelled`: it stays where it is. */
export type MoveAnswer = 'begun' | 'moving' | 'same' | 'cancelled';

/** `nothing`: nobody held it. `former`: the lock as it was. */
export interface UnlockAnswer {
  readonly did: 'unlocked' | 'nothing';
  readonly former: VolumeLock;
}

/** What moving a member's copies away means, before it is done. */
export interface MovePlan {
  readonly node: NodeId;
  /** Partitions whose copies must be made elsewhere. */
  readonly partitions: number;
  /** By this node's own average: undefined where it holds nothing to judge by. */
  readonly aboutBytes: number | undefined;
  /** Why the cluster will refuse; undefined when it will not. */
  readonly bar: string | undefined;
  /** What a person should know first, one sentence each. */
  readonly warnings: readonly string[];
}

/** What time will do to a member, and what it waits for, as this node sees it. */
export interface MemberFate {
  /** How long it has been down. */
  readonly downMs: number | undefined;
  /** Until it is called out. */
  readonly outInMs: number | undefined;
  /** Why it is not called out, though it is down. */
  readonly staysBecause: string;
  /** What a drain still waits for. */
  readonly waitsFor: readonly string[];
  /** ms since 1970. */
  readonly maintenanceUntilMs: number | undefined;
}

export interface InviteInfo {
  readonly id: string;
  /** ms since 1970; 0 = not known. */
  readonly madeMs: number;
  /** ms since 1970; 0 = never. */
  readonly expiresMs: number;
  readonly isSingleUse: boolean;
}

/** What a person must know before voters are forced (PROTOCOL section 6). */
export interface RecoverPlan {
  readonly voters: readonly { readonly node: NodeId; readonly commit: number | undefined }[];
  readonly needed: number;
  /** Where the offline tool is to be run: the member that knows most. */
  readonly best: NodeId;
  /** One sentence each. */
  readonly mayLose: readonly string[];
}

/** What is lost for good. */
export interface LossPlan {
  readonly partitions: number;
  readonly volumes: readonly VolumeLoss[];
  /** Down members with the only copies of something else. */
  readonly mayReturn: readonly NodeId[];
}

export type DrainKind = 'drain' | 'out' | 'forget';

/** What operators do with one volume, each by one entry of the log. Throws 'missing', 'no-quorum' beside what it says. */
export interface VolumeAdmin {
  /** Refused ('held') while a guest has it, unless forced: that guest would not find it by its next connection. */
  rename(name: string, to: string, options?: { readonly force?: boolean }): Promise<void>;
  protect(name: string, isProtected: boolean): Promise<void>;
  /** As the log has them now (C2.3). */
  attributes(name: string): Promise<Attributes>;
  /** @throws OperatingError 'exists' with `isNew` where there is one, 'usage', 'too-large' */
  setAttribute(name: string, key: string, value: Uint8Array, isNew: boolean): Promise<void>;
  removeAttribute(name: string, key: string): Promise<void>;
  /** Deletes it so that it can be had back for a while. Throws 'held', 'refused' for a protected or moving one. */
  trash(name: string, keepMs: number): Promise<void>;
  /** What is in the trash, as the log has it now. */
  trashed(): Promise<readonly TrashedVolume[]>;
  /** As it was, under this name. Throws 'exists', 'missing'. */
  restore(id: VolumeId, name: string): Promise<void>;
  /** Gone for good. */
  purge(id: VolumeId): Promise<void>;
  /**
   * Announces the hand-over to that node (3.3): its client's first write moves the volume at once, in every attach mode.
   * @throws OperatingError 'refused' where that node can not have it
   */
  prepareHandover(name: string, to: NodeId): Promise<HandoverPlan>;
  /** Takes it back: the holder stays, its guest sees nothing of it. */
  cancelHandover(name: string): Promise<HandoverPlan>;
}

/**
 * `nothing`: nobody holds it, or nothing was announced; `same`: that node holds it. `lock`: as it is now. `replaced`: the
 * node that a hand-over was announced for before.
 */
export interface HandoverPlan {
  readonly replaced?: NodeId;
  readonly did: 'prepared' | 'cancelled' | 'same' | 'nothing';
  readonly lock: VolumeLock;
}

/** What operators do with layers of volumes; `name@tag` is a snapshot. Throws 'missing', 'busy', 'no-quorum' beside that. */
export interface LayerAdmin {
  /**
   * Of up to 64 volumes at one instant, while their guests work (S4): all or none; gives their generations.
   * @throws OperatingError 'exists'; 'busy' when writes do not end in time: nothing was changed
   */
  snapshot(names: readonly string[], tag: string): Promise<readonly GenerationId[]>;
  /** Of a snapshot, or of a volume as it is now. Throws 'exists'. */
  clone(from: string, to: string, how?: CloneOptions): Promise<VolumeId>;
  /** The volume is what the snapshot was. Throws 'held', 'refused' for a protected one. */
  rollback(name: string, tag: string): Promise<void>;
  /**
   * The volume is what a snapshot of its family is, which was prepared in a clone, by one entry (S5).
   * @param token that the volume's lock had: throws 'changed' when somebody used it since, 'held' while somebody has it
   */
  become(
    name: string,
    from: { readonly name: string; readonly tag: string },
    token: FencingToken,
  ): Promise<void>;
  /** Throws 'refused' for a protected one. */
  deleteSnapshot(name: string, tag: string): Promise<void>;
  protectSnapshot(name: string, tag: string, isProtected: boolean): Promise<void>;
  /** Larger: also under a guest. Smaller: throws 'held' while somebody has it, 'refused' for a protected one. */
  resize(name: string, sizeBytes: number): Promise<void>;
}

/** Where the objects of one index lie, those of all layers that show there, and how they are. */
export interface ObjectPlaces {
  readonly volume: Volume;
  readonly found: readonly ObjectLooks[];
}

/** Where the copies of a partition were, as far back as the log here knows. */
export interface ObjectHistory extends PartitionId {
  /** Index of the snapshot of the map that it begins at; 0 = all is known. */
  readonly knownFrom: number;
  readonly epochs: readonly CopyEpoch[];
}

/** What people ask of the copies of `name` or `name@tag`, of members that answer. Throws 'missing' beside what it says. */
export interface CopyAdmin {
  /** Throws 'usage' beyond the last object. */
  locate(name: string, index: number): Promise<ObjectPlaces>;
  /** Compares all copies of a slice of its objects; with `heals` bad ones are repaired, and waited for. */
  check(
    name: string,
    slice: CheckSlice,
  ): Promise<CheckedSlice & { readonly isDone: boolean; readonly total: number }>;
  /** What each layer of its family holds, one copy of it. Throws 'degraded'. */
  usage(name: string): Promise<ReadonlyMap<GenerationId, LayerUsage>>;
  history(name: string, index: number): Promise<ObjectHistory>;
  /** What of `after` may differ from `before`, from the start of the range on. Throws 'refused' without a common layer. */
  changes(
    before: string,
    after: string,
    range: { readonly offset: number; readonly length: number },
  ): Promise<readonly ChangedRun[]>;
}

/** As its source unless given. */
export interface CloneOptions {
  readonly mode?: Durability;
  readonly attachMode?: AttachMode;
  /** A copy of its own in the end: until then it moves (S8). */
  readonly deep?: boolean;
}

/** What an operator decides of the members, each by the log. */
export interface ClusterAdmin {
  plan(kind: DrainKind, node: NodeId): MovePlan;
  fate(node: NodeId): MemberFate;
  drain(node: NodeId): Promise<void>;
  undrain(node: NodeId): Promise<void>;
  out(node: NodeId): Promise<void>;
  in(node: NodeId): Promise<void>;
  /** For good. Refused for a member that is up and not drained. */
  forget(node: NodeId): Promise<void>;
  /** Undefined ends it. */
  maintenance(node: NodeId, forMs: number | undefined): Promise<void>;
  weigh(node: NodeId, weight: number): Promise<void>;
  /** Its host stands elsewhere now: what fails together with it. */
  rezone(node: NodeId, zone: string): Promise<void>;
  /** Asks its process to end in order. */
  kill(node: NodeId): Promise<void>;
  invites(): readonly InviteInfo[];
  revokeInvite(id: string): Promise<void>;
  /** A delay of membership (core/cluster-settings.ts), or a bound of recovery (core/recovery-settings.ts). */
  set(name: string, value: string): Promise<void>;
  /** Pauses recovery everywhere, or ends every pause. */
  enableRecovery(isEnabled: boolean): Promise<void>;
  /** Of the default policy; zones stay strict or not unless that is said. */
  alterCopies(copies: number, minCopies: number | undefined, strict?: boolean): Promise<void>;
  /** What is lost for good, and what accepting it means (section 6). */
  lossPlan(): LossPlan;
  /**
   * Goes on without it, for good; gives the number of partitions that start anew, empty, on this node.
   * @throws OperatingError 'missing' when nothing is lost, 'refused' on a node that holds no data
   */
  acceptLoss(): Promise<number>;
  /**
   * C2.3: resolves when this node has applied all that was decided anywhere when it was called.
   * @throws OperatingError 'no-quorum' when no majority of the voters says so in time
   */
  catchUp(): Promise<void>;
  /** Asks the voters who is there; `status().missingVoters` knows afterwards. */
  lookForVoters(): Promise<void>;
  /** @throws OperatingError 'refused' while a majority of the voters is in reach */
  recoverPlan(): Promise<RecoverPlan>;
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

  /** How the copies of all members are that answer, asked now. Throws 'not-formatted'. */
  conditions(): Promise<readonly NodeCondition[]>;
  /** How far this node's recovery is. Throws 'not-formatted'. */
  recovery(): NodeRecovery;
  /** How far the recovery of all members is that answer, asked now. Throws 'not-formatted'. */
  recoveries(): Promise<readonly NodeRecovery[]>;
  /** How this node's scrubs are, after a command if there is one. Throws 'not-formatted', 'busy'. */
  scrub(command?: ScrubCommand): ScrubStatus;

  /** Makes a cluster of this one node. Throws 'already-formatted'. */
  format(options: FormatOptions): Promise<void>;
  /** A join token: addresses, cluster id, secret. Throws 'not-formatted', 'no-quorum', 'usage'. */
  invite(options?: { readonly ttlMs?: number; readonly isSingleUse?: boolean }): Promise<string>;
  /** Throws 'not-formatted', 'no-quorum' while this node has no cluster, or has not heard from it. */
  admin(): ClusterAdmin;
  /** Called when another member, in an operator's name, asks this process to end in order. */
  onExitAsked(fn: () => void): void;
  /**
   * Joins by a token; a member of that cluster that has no map asks who is named there. Throws 'wrong-cluster',
   * 'unreachable', 'refused'.
   */
  join(
    token: string,
    place: { readonly zone: string; readonly weight: number; readonly isWitness?: boolean },
  ): Promise<void>;

  /** Throws 'exists', 'usage', 'no-quorum'. */
  createVolume(options: CreateVolumeOptions): Promise<VolumeId>;
  /** Throws 'missing', 'no-quorum'; 'held' (names the holder) where the attach mode can not change. */
  alterVolume(name: string, options: AlterVolumeOptions): Promise<void>;
  /**
   * Takes the lock from its holder, whose session is fenced for good. Throws 'missing', 'no-quorum'; 'changed' when another
   * token than the expected one holds it.
   */
  unlockVolume(
    name: string,
    options: { readonly expected?: number; readonly by: string },
  ): Promise<UnlockAnswer>;
  /** Begins to move it to another number of copies; `moves` tells how far it is. Throws 'missing', 'usage', 'no-quorum'. */
  moveVolume(name: string, options: MoveVolumeOptions): Promise<MoveAnswer>;
  /** It stays where it is: what was copied is deleted. Throws 'missing', 'no-quorum'. */
  cancelMove(name: string): Promise<MoveAnswer>;
  /** How all volumes are that move, as their holders say, asked now. Throws 'not-formatted'. */
  moves(): Promise<readonly MoveStatus[]>;
  /** What else operators do with volumes. Throws 'not-formatted', and 'no-quorum' before this node heard of its cluster. */
  volumes(): VolumeAdmin;
  layers(): LayerAdmin;
  copies(): CopyAdmin;
  /** Throws 'missing', 'held' (names the holder), 'no-quorum'; 'busy' when others use it again and again. */
  deleteVolume(name: string): Promise<void>;
  /** C2.3: this node's view has the volume now, or it was nowhere: throws 'missing'; 'no-quorum' when nobody can say. */
  lookUpVolume(name: string): Promise<void>;
  /** The session of this volume or snapshot here, a running one unless fenced. Throws 'missing', by this view. */
  openVolume(name: string): VolumeSession;
}
