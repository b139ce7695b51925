// A NodeHandle that behaves, without agreement, disk or network: it feeds the real state machine by itself. Several of
// them may share one cell and are then nodes of one cluster.

import { type Asking, alterVolume } from '../../src/admin.ts';
import { viewOf } from '../../src/core/cluster-state.ts';
import type { NodeCondition } from '../../src/core/condition.ts';
import { OperatingError } from '../../src/core/errors.ts';
import type { NodeId, PolicyId, VolumeId } from '../../src/core/ids.ts';
import { INVITE_PREFIX, inviteValue } from '../../src/core/invite.ts';
import { DownTimes } from '../../src/core/life-plan.ts';
import type { EntryBody } from '../../src/core/log-entry.ts';
import type { MoveStatus } from '../../src/core/move-progress.ts';
import type { NodeRecovery } from '../../src/core/recovery-progress.ts';
import { freshMemo, type ScrubCommand, type ScrubStatus } from '../../src/core/scrub.ts';
import type { ClusterView } from '../../src/core/view.ts';
import { checkName, checkSize } from '../../src/core/volume.ts';
import type { VolumeSession } from '../../src/datapath/volume-session.ts';
import { layerAdmin } from '../../src/layer-admin.ts';
import { unlockVolume } from '../../src/lock-admin.ts';
import { memberAdmin } from '../../src/member-admin.ts';
import { cancelMove, moveVolume } from '../../src/move-admin.ts';
import type {
  AlterVolumeOptions,
  ClusterAdmin,
  CopyAdmin,
  CreateVolumeOptions,
  FormatOptions,
  LayerAdmin,
  MoveAnswer,
  MoveVolumeOptions,
  NodeHandle,
  NodeStatus,
  VolumeAdmin,
} from '../../src/node-handle.ts';
import { volumeAdmin } from '../../src/volume-admin.ts';
import { FakeClock } from '../datapath/fake-clock.ts';
import { entryBodies, nodeId, StateCell, settle } from '../fixtures.ts';

export const FAKE_TOKEN = 'sheep1.fake';

export class FakeNode implements NodeHandle {
  readonly cell: StateCell;
  /** This node's number in the cluster; 0 while blank. */
  number: number;
  leader: number | undefined = 1;
  missingVoters: NodeId[] = [];
  /** Who leads though this node does not hear of it. */
  leaderElsewhere: number | undefined;
  disputedIndex = 0;
  slowNodes: NodeId[] = [];
  splitFrom: NodeId[] = [];
  /** Nodes whose process was asked to end. */
  catchUps = 0;
  readonly killed: number[] = [];
  /** What a process that is asked to end answers. */
  killFailure: Error | undefined;
  /** Lost partitions whose rows were dropped. */
  readonly droppedLost: number[] = [];
  /** What it says of copies. */
  copyAdmin: CopyAdmin | undefined;
  readonly clock = new FakeClock();
  readonly downTimes = new DownTimes();
  /** Set to make every call that proposes fail like this. */
  failure: Error | undefined;
  conditionsNow: readonly NodeCondition[] = [];
  recoveriesNow: readonly NodeRecovery[] = [];
  scrubNow: ScrubStatus = {
    ...freshMemo(0),
    periods: { lightMs: 1000, deepMs: Number.POSITIVE_INFINITY },
    bytesPerSecond: 1 << 20,
    late: [],
    skippedObjects: 0,
    badSectors: 0,
    lastError: undefined,
  };
  readonly scrubCommands: ScrubCommand[] = [];
  movesNow: readonly MoveStatus[] = [];
  /** Set to make calls hang until it resolves. */
  gate: Promise<void> | undefined;

  constructor(cell = new StateCell(), number = 0) {
    this.cell = cell;
    this.number = number;
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  async conditions(): Promise<readonly NodeCondition[]> {
    return this.conditionsNow;
  }

  recovery(): NodeRecovery {
    const [own] = this.recoveriesNow;
    if (own === undefined) throw new OperatingError('not-formatted', 'no recovery was given');
    return own;
  }

  async recoveries(): Promise<readonly NodeRecovery[]> {
    return this.recoveriesNow;
  }

  scrub(command?: ScrubCommand): ScrubStatus {
    if (this.failure !== undefined) throw this.failure;
    if (command !== undefined) this.scrubCommands.push(command);
    return this.scrubNow;
  }

  status(): NodeStatus {
    const isBlank = this.number === 0;
    return {
      phase: isBlank ? 'blank' : 'up',
      node: isBlank ? undefined : nodeId(this.number),
      clusterId: isBlank ? undefined : viewOf(this.cell.state).clusterId,
      appliedIndex: this.cell.state.index,
      leader: isBlank || this.leader === undefined ? undefined : nodeId(this.leader),
      role: this.number === this.leader ? 'leader' : 'learner',
      missingVoters: this.missingVoters,
      missing: this.missingVoters,
      disputedIndex: this.disputedIndex,
      slowNodes: this.slowNodes,
      splitFrom: this.splitFrom,
      waitingFor: isBlank ? 'format or a join token' : '',
      spaceBytes: { total: 1000, free: 600, used: 400 },
      objects: 7,
      catchUp: { partitionsLeft: 0, bytesCopied: 0 },
    };
  }

  view(): ClusterView | undefined {
    return this.number === 0 ? undefined : viewOf(this.cell.state);
  }

  onView(): () => void {
    return () => undefined;
  }

  onFatal(): void {}
  onExitAsked(): void {}

  /** The real one, on this cell. */
  admin(): ClusterAdmin {
    if (this.number === 0) throw new OperatingError('not-formatted', 'no cluster yet');
    const view = () => viewOf(this.cell.state);
    const { clock, downTimes } = this;
    downTimes.note(view(), clock.now());
    return memberAdmin({
      self: nodeId(this.number),
      ...{ clock, downTimes, view },
      propose: async (body) => this.#apply(body),
      askToExit: async (node) => {
        if (this.killFailure !== undefined) throw this.killFailure;
        this.killed.push(node);
      },
      usedBytes: () => 400,
      reachOf: async (nodes) =>
        new Map(
          nodes.filter((node) => !this.missingVoters.includes(node)).map((node) => [node, 9]),
        ),
      leaderAmong: async (nodes) =>
        nodes.find((node) => node === this.leaderElsewhere && !this.missingVoters.includes(node)),
      learn: async () => {},
      lookForVoters: async () => {},
      catchUp: async () => {
        this.catchUps += 1;
        if (this.leader === undefined) throw new OperatingError('no-quorum', 'nobody leads');
      },
      hasLeader: () => this.leader !== undefined,
      dropLost: async (partitions) => {
        this.droppedLost.push(...partitions.map(({ p }) => p));
      },
    });
  }

  async format(options: FormatOptions): Promise<void> {
    await this.#gate();
    if (this.number !== 0 && options.force !== true) {
      throw new OperatingError('already-formatted', 'this node belongs to cluster test', {
        remedy: 'use --force to lose its data',
      });
    }
    this.#apply(entryBodies.format({ copies: options.copies }));
    await this.join(FAKE_TOKEN, { zone: 'z1', weight: 1 });
  }

  async invite(
    options: { readonly ttlMs?: number; readonly isSingleUse?: boolean } = {},
  ): Promise<string> {
    await this.#gate();
    if (this.number === 0) throw new OperatingError('not-formatted', 'no cluster yet');
    const { ttlMs, isSingleUse = false } = options;
    const expiresMs = ttlMs === undefined ? 0 : this.clock.date() + ttlMs;
    const value = inviteValue({ hash: 'ab'.repeat(32), expiresMs, isSingleUse, madeMs: 1 });
    this.#apply({ type: 'setting', key: `${INVITE_PREFIX}fake`, value });
    return FAKE_TOKEN;
  }

  async join(
    _token: string,
    place: { readonly zone: string; readonly weight: number },
  ): Promise<void> {
    const peer = this.cell.state.members.size + 1;
    this.#apply(entryBodies.nodeJoin({ peer, zone: place.zone }));
    this.#apply(entryBodies.nodeUp({ node: peer, incarnation: 1 }));
    this.number = peer;
    settle(this.cell);
  }

  async createVolume(options: CreateVolumeOptions): Promise<VolumeId> {
    await this.#gate();
    checkName(options.name);
    checkSize(options.sizeBytes);
    const policy = this.#policy(options);
    const result = this.#apply({
      ...entryBodies.volumeCreate({
        name: options.name,
        durability: options.mode ?? 'durable',
      }),
      attachMode: options.attachMode ?? 'handover',
      sizeBytes: options.sizeBytes,
      policy,
    });
    if (result.code === 'exists') throw new OperatingError('exists', `${options.name} exists`);
    return result.value as VolumeId;
  }

  /** The real one, on this cell. */
  async alterVolume(name: string, options: AlterVolumeOptions): Promise<void> {
    await alterVolume(this.#log, () => viewOf(this.cell.state), name, options);
  }

  /** The real one, on this cell. */
  async unlockVolume(name: string, options: { readonly expected?: number; readonly by: string }) {
    return unlockVolume(this.#log, () => viewOf(this.cell.state), name, options);
  }

  async deleteVolume(name: string): Promise<void> {
    await this.#gate();
    const volume = viewOf(this.cell.state).volumeByName(name);
    if (volume === undefined) throw new OperatingError('missing', `there is no volume "${name}"`);
    const { id, lock } = volume;
    const result = this.#apply({ type: 'volumeDelete', volume: id, token: lock.token });
    if (result.code === 'held') throw new OperatingError('held', `${name} is ${result.detail}`);
  }

  /** The real one, on this cell. */
  volumes(): VolumeAdmin {
    return volumeAdmin(
      this.#log,
      () => viewOf(this.cell.state),
      () => this.clock.date(),
    );
  }

  /** The real one, on this cell; nobody's guest has to be asked. */
  copies(): CopyAdmin {
    if (this.copyAdmin === undefined)
      throw new OperatingError('unsupported', 'nobody has copies here');
    return this.copyAdmin;
  }

  layers(): LayerAdmin {
    const viewNow = () => viewOf(this.cell.state);
    const hold = async (id: VolumeId) => {
      const volume = viewNow().volumes.get(id);
      if (volume === undefined) throw new OperatingError('missing', 'no such volume');
      return { volume: id, head: volume.head, token: volume.lock.token };
    };
    return layerAdmin({ agreement: this.#log, viewNow, hold, clock: this.clock });
  }

  /** The real one, on this cell. */
  async moveVolume(name: string, options: MoveVolumeOptions): Promise<MoveAnswer> {
    return moveVolume(this.#log, () => viewOf(this.cell.state), name, options);
  }

  async cancelMove(name: string): Promise<MoveAnswer> {
    return cancelMove(this.#log, () => viewOf(this.cell.state), name);
  }

  async moves(): Promise<readonly MoveStatus[]> {
    return this.movesNow;
  }

  get #log(): Asking {
    return { propose: async (body) => this.#apply(body), readCurrent: async () => undefined };
  }

  async lookUpVolume(): Promise<void> {
    throw new OperatingError('unsupported', 'a fake has no data');
  }

  /** What guests get, by volume; none: a fake has no data. */
  readonly sessions = new Map<string, VolumeSession>();

  openVolume(name?: string): VolumeSession {
    const session = this.sessions.get(name ?? '');
    if (session !== undefined) return session;
    throw new OperatingError('unsupported', 'a fake has no data');
  }

  #policy({ copies, minCopies, strict }: CreateVolumeOptions): PolicyId {
    if (copies === undefined) return 0 as PolicyId;
    const least = minCopies ?? Math.floor(copies / 2) + 1;
    return this.#apply({ type: 'policyCreate', copies, minCopies: least, strict: strict ?? false })
      .value as PolicyId;
  }

  #apply(body: EntryBody) {
    if (this.failure !== undefined) throw this.failure;
    return this.cell.apply(body);
  }

  async #gate(): Promise<void> {
    await this.gate;
    if (this.failure !== undefined) throw this.failure;
  }
}
