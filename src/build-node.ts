// The only place that wires a node: buildNode(ports, config) -> NodeHandle. The simulator runs it unchanged. A node is
// blank until it formats a cluster or joins one; from then on a FormedNode does the work and the root actor supervises.

import { type Actor, createActor } from 'xstate';
import { watchActors } from './actors/inspect.ts';
import { nodeMachine } from './actors/node.ts';
import { alterVolume, createVolume, deleteVolume, lookUp } from './admin.ts';
import { type NodeConfig, scrubSettings } from './config.ts';
import { copyAdmin } from './copy-admin.ts';
import { hashOf } from './core/cluster-state.ts';
import type { NodeCondition } from './core/condition.ts';
import { messageOf, OperatingError } from './core/errors.ts';
import type { VolumeId } from './core/ids.ts';
import type { MoveStatus } from './core/move-progress.ts';
import type { NodeRecovery } from './core/recovery-progress.ts';
import type { ScrubCommand, ScrubStatus } from './core/scrub.ts';
import type { ClusterView, Volume } from './core/view.ts';
import type { VolumeSession } from './datapath/volume-session.ts';
import {
  type Admission,
  answerKnock,
  type Doorkeeper,
  FIRST_NODE,
  formatEntry,
  type InviteOptions,
  knockWith,
  makeInvite,
  mintClusterId,
  type Place,
  writeFirstEntries,
} from './formation.ts';
import { alreadyFormatted, refuseOtherCluster } from './formed-errors.ts';
import { FormedNode } from './formed-node.ts';
import { layerAdmin } from './layer-admin.ts';
import { unlockVolume } from './lock-admin.ts';
import { cancelMove, moveVolume } from './move-admin.ts';
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
} from './node-handle.ts';
import { statusOf } from './node-status.ts';
import { ControlRpc } from './p2p/control-rpc.ts';
import type { PeerAddress, Ports } from './ports/ports.ts';
import type { LocalObjectStore } from './storage/local-store.ts';
import { loadMemberBook } from './storage/member-book.ts';
import { openObjectStore } from './storage/object-store.ts';
import type { RaftLog } from './storage/raft-log.ts';
import { openRaftLog } from './storage/raft-log-open.ts';
import type { ObjectStore } from './storage/store-types.ts';
import { openSuperblock, type Superblock } from './storage/superblock.ts';
import { wipeData } from './storage/wipe.ts';
import { volumeAdmin } from './volume-admin.ts';

/** For checkers: what a node holds and knows. */
export interface Inspection {
  readonly store: ObjectStore | undefined;
  readonly view: ClusterView | undefined;
  /** Of the state behind `view`; '' without one (A4). */
  readonly stateHash: string;
  readonly condition: NodeCondition | undefined;
  readonly recovery: NodeRecovery | undefined;
  /** Of volumes that this node moves. */
  readonly moves: readonly MoveStatus[] | undefined;
}

/** Wires a node on these ports. Nothing happens before `start`. */
export function buildNode(
  ports: Ports,
  config: NodeConfig,
): NodeHandle & { inspect(): Inspection; fail(error: Error): void } {
  return new SheepNode(ports, config);
}

class SheepNode implements NodeHandle {
  readonly #ports: Ports;
  readonly #config: NodeConfig;
  readonly #rpc: ControlRpc;
  readonly #viewListeners = new Set<(view: ClusterView) => void>();
  #onFatal: ((error: Error) => void) | undefined;
  #onExitAsked: (() => void) | undefined;
  #superblock: Superblock | undefined;
  #formed: FormedNode | undefined;
  #root: Actor<typeof nodeMachine> | undefined;
  /** Superblocks opened by this process: each mints from a stream of its own. */
  #openings = 0;
  #isForming = false;
  #isStopping = false;
  #hasFailed = false;

  constructor(ports: Ports, config: NodeConfig) {
    this.#ports = ports;
    this.#config = config;
    this.#rpc = new ControlRpc(ports);
  }

  /** Opens first, so that a failure is the caller's; the root actor begins with what was found. */
  async start(): Promise<void> {
    const { disk, network } = this.#ports;
    disk.onSyncFailed((error) => this.#fail(error));
    const superblock = await this.#openSuperblock();
    network.onChannel((channel) => {
      if (this.#formed === undefined) channel.close();
      else this.#formed.serve(channel);
    });
    network.onKnock((from, bytes) =>
      answerKnock({ ...this.#door(), view: this.view() }, from, bytes),
    );
    network.onMixUp((mixUp) => this.#formed?.noteMixUp(mixUp));
    if (superblock.node !== undefined) {
      const known = loadMemberBook(this.#ports.disk, this.#ports.trace);
      this.#formed = await this.#form(superblock, known);
    }
    await network.start();
    if (this.#formed !== undefined) this.#run(this.#formed);
  }

  #door(): Omit<Doorkeeper, 'view'> {
    const { clock, trace } = this.#ports;
    return { agreement: this.#formed?.agreement, clock, trace };
  }

  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    await this.#endFormed();
    await this.#ports.network.stop();
  }

  /** Ends what the root actor runs, in order; the network stays. */
  async #endFormed(): Promise<void> {
    const root = this.#root;
    if (root === undefined || root.getSnapshot().status !== 'active') return;
    const ended = new Promise<void>((resolve) => {
      root.subscribe({ complete: resolve, error: () => resolve() });
    });
    root.send({ type: 'stop' });
    await ended;
  }

  status(): NodeStatus {
    const { disk } = this.#ports;
    return statusOf({
      formed: this.#formed,
      superblock: this.#superblock,
      isStopping: this.#isStopping,
      space: disk.space(),
    });
  }

  view(): ClusterView | undefined {
    return this.#formed?.view;
  }

  onView(fn: (view: ClusterView) => void): () => void {
    this.#viewListeners.add(fn);
    return () => this.#viewListeners.delete(fn);
  }

  onFatal(fn: (error: Error) => void): void {
    this.#onFatal = fn;
  }

  /** Something outside says that this node can not go on. */
  fail(error: Error): void {
    this.#fail(error);
  }

  inspect(): Inspection {
    const formed = this.#formed;
    const view = formed?.view;
    return {
      store: formed?.store,
      condition: formed?.care.condition(),
      recovery: formed?.progress.own(),
      moves: formed?.progress.moves.own(),
      view,
      stateHash:
        formed === undefined || view === undefined ? '' : hashOf(formed.agreement.learner.state),
    };
  }

  // --------------------------------------------------------------------------------------- to form a cluster

  async format(options: FormatOptions): Promise<void> {
    if (this.#config.isWitness) {
      throw new OperatingError('usage', 'a witness makes no cluster: it joins one');
    }
    const { random, network } = this.#ports;
    const clusterId = mintClusterId(random.fork(`cluster-${this.#openings}`));
    const entry = formatEntry(options, clusterId);
    await this.#formOnce(options.force ?? false, async (log) => {
      const { zone, weight } = this.#config;
      const first = { peerKey: network.self, addresses: network.addresses(), zone, weight };
      await writeFirstEntries(log, entry, first);
      return { node: FIRST_NODE, clusterId, members: [] };
    });
  }

  async invite(options: InviteOptions = {}): Promise<string> {
    const { agreement, view } = this.#serving();
    const { clock, random } = this.#ports;
    const world = { clock, random: random.fork(`invite-${view.index}`) };
    return makeInvite(agreement, view, world, options);
  }

  admin(): ClusterAdmin {
    return this.#serving().formed.desk.admin(() => this.#serving().view);
  }

  onExitAsked(fn: () => void): void {
    this.#onExitAsked = fn;
  }

  async join(token: string, place: Place): Promise<void> {
    const superblock = this.#opened();
    if (superblock.clusterId !== undefined) {
      refuseOtherCluster(superblock, token);
      return this.#meetAgain(token, place);
    }
    const admission = await knockWith(this.#ports.network, token, place);
    await this.#formOnce(false, () => Promise.resolve(admission));
  }

  /** A member that never got a part of the log knows nobody. Its place is kept: the same key, the same id. */
  async #meetAgain(token: string, place: Place): Promise<void> {
    const formed = this.#formed;
    if (formed === undefined || formed.view !== undefined) return;
    const { members } = await knockWith(this.#ports.network, token, place);
    if (formed.view === undefined) formed.meet(members);
  }

  /** One format or join at a time; a failed one leaves the node blank. The superblock's word makes it a member. */
  async #formOnce(force: boolean, form: (log: RaftLog) => Promise<Admission>): Promise<void> {
    const { clusterId } = this.#opened();
    if (clusterId !== undefined && !force) throw alreadyFormatted(clusterId);
    if (this.#isForming) {
      throw new OperatingError('busy', 'this node is being formatted or joined already', {
        advice: 'retry',
        remedy: 'wait for it: dog cluster info',
      });
    }
    this.#isForming = true;
    try {
      const superblock = await this.#makeBlank();
      const log = await this.#openLog(false);
      const { node, clusterId: cluster, members } = await closingOnFailure(log, form);
      // Before the superblock says that this node is a member: a member without a journal has lost it.
      const store = await closingOnFailure(log, () => this.#openStore(false));
      await superblock.adopt({ clusterId: cluster, node });
      const bootstrap = members.filter((member) => member.peer !== this.#ports.network.self);
      this.#formed = await this.#form(superblock, bootstrap, { log, store });
      this.#run(this.#formed);
    } finally {
      this.#isForming = false;
    }
  }

  /** Nothing of a former cluster, or of a format or join that was cut short, is left. */
  async #makeBlank(): Promise<Superblock> {
    await this.#endFormed();
    this.#formed = undefined;
    this.#root = undefined;
    this.#ports.network.setPeers([]);
    await wipeData(this.#ports.disk);
    return this.#openSuperblock();
  }

  async #openSuperblock(): Promise<Superblock> {
    const { disk, network, random } = this.#ports;
    this.#openings += 1;
    const superblock = await openSuperblock(disk, random.fork(`superblock-${this.#openings}`));
    await superblock.adopt({ peerKey: network.self });
    this.#superblock = superblock;
    return superblock;
  }

  /** @param isMember the superblock says that this node has one */
  #openLog(isMember: boolean): Promise<RaftLog> {
    const { disk, clock } = this.#ports;
    return openRaftLog(disk, clock, (error) => this.#fail(error), isMember);
  }

  /** @param isMember the superblock says that this node has one */
  #openStore(isMember: boolean): Promise<LocalObjectStore> {
    const { disk, clock, random, trace } = this.#ports;
    const { extentBytes, journalBytes, nearfull, full } = this.#config;
    return openObjectStore({
      ...{ disk, clock, trace, journalBytes, mustExist: isMember },
      random: random.fork('store'),
      ...(extentBytes === undefined ? {} : { extentBytes }),
      spaceRule: { nearfull, full },
      onFatal: (error: Error) => this.#fail(error),
    });
  }

  async #form(
    superblock: Superblock,
    bootstrap: readonly PeerAddress[],
    opened?: { readonly log: RaftLog; readonly store: LocalObjectStore },
  ): Promise<FormedNode> {
    const { network } = this.#ports;
    const log = opened?.log ?? (await this.#openLog(true));
    const store = opened?.store ?? (await this.#openStore(true));
    network.setPeers(bootstrap);
    return new FormedNode({
      ports: this.#ports,
      superblock,
      log,
      store,
      rpc: this.#rpc,
      tuning: this.#config.mapLog,
      scrub: scrubSettings(this.#config),
      isRecoveryHeld: !this.#config.isRecoveryEnabled,
      bootstrap,
      onFatal: (error) => this.#fail(error),
      onExitAsked: () => this.#onExitAsked?.(),
      send: (event) => this.#root?.send(event),
      onView: (view) => {
        for (const listener of [...this.#viewListeners]) listener(view);
      },
    });
  }

  /** The root actor first: what the formed node tells at its start finds somebody. */
  #run(formed: FormedNode): void {
    const { clock, trace } = this.#ports;
    this.#root = createActor(nodeMachine, {
      clock: {
        setTimeout: (fn, ms) => clock.setTimer(ms, fn),
        clearTimeout: (handle) => clock.clearTimer(handle),
      },
      id: 'node',
      inspect: watchActors({
        unexpected: (unexpected) => trace.warn('event.unexpected', { ...unexpected }),
        ...(this.#config.isInspected
          ? { moved: (transition) => trace.event('actor.moved', { ...transition }) }
          : {}),
      }),
      input: {
        ...formed.actorInput,
        close: () => formed.stop(),
        onFailed: (error) => this.#fail(error),
        warn: (what, reason) => trace.event(what, { reason: messageOf(reason) }),
      },
    });
    this.#root.subscribe({ error: (error) => this.#fail(error) });
    this.#root.start();
    formed.start();
  }

  #fail(error: unknown): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    const failure = error instanceof Error ? error : new OperatingError('io', messageOf(error));
    const end = (): void => this.#onFatal?.(failure);
    if (this.#formed === undefined) end();
    else this.#formed.fail(failureReason(failure)).then(end, end);
  }

  // ------------------------------------------------------------------------------------------------ volumes

  async createVolume(options: CreateVolumeOptions): Promise<VolumeId> {
    const { agreement, view } = this.#serving();
    return createVolume(agreement, view, options);
  }

  async conditions(): Promise<readonly NodeCondition[]> {
    return this.#serving().formed.care.conditions();
  }

  recovery(): NodeRecovery {
    return this.#serving().formed.progress.own();
  }

  async recoveries(): Promise<readonly NodeRecovery[]> {
    return this.#serving().formed.progress.all();
  }

  scrub(command?: ScrubCommand): ScrubStatus {
    const { scrub } = this.#serving().formed.care;
    if (command !== undefined) scrub.command(command);
    return scrub.status();
  }

  async alterVolume(name: string, options: AlterVolumeOptions): Promise<void> {
    return alterVolume(this.#serving().agreement, () => this.#serving().view, name, options);
  }

  async unlockVolume(name: string, options: { readonly expected?: number; readonly by: string }) {
    return unlockVolume(this.#serving().agreement, () => this.#serving().view, name, options);
  }

  async deleteVolume(name: string): Promise<void> {
    const { agreement, formed } = this.#serving();
    const letGo = (volume: Volume) => formed.progress.moves.letGo(volume);
    return deleteVolume(agreement, () => this.#serving().view, name, letGo);
  }

  layers(): LayerAdmin {
    const { agreement, formed } = this.#serving();
    const viewNow = () => this.#serving().view;
    const hold = (volume: VolumeId) => formed.datapath.hold(volume);
    return layerAdmin({ agreement, viewNow, hold, clock: this.#ports.clock });
  }

  copies(): CopyAdmin {
    return copyAdmin(this.#serving().formed, () => this.#serving().view, this.#ports.clock);
  }

  volumes(): VolumeAdmin {
    const date = () => this.#ports.clock.date();
    return volumeAdmin(this.#serving().agreement, () => this.#serving().view, date);
  }

  async moveVolume(name: string, options: MoveVolumeOptions): Promise<MoveAnswer> {
    return moveVolume(this.#serving().agreement, () => this.#serving().view, name, options);
  }

  async cancelMove(name: string): Promise<MoveAnswer> {
    return cancelMove(this.#serving().agreement, () => this.#serving().view, name);
  }

  async moves(): Promise<readonly MoveStatus[]> {
    return this.#serving().formed.progress.moves.all();
  }

  async lookUpVolume(name: string): Promise<void> {
    await lookUp(this.#serving().agreement, () => this.#serving().view, name);
  }

  openVolume(name: string): VolumeSession {
    return this.#serving().formed.openVolume(name);
  }

  #opened(): Superblock {
    const superblock = this.#superblock;
    if (superblock === undefined || this.#isStopping) {
      throw new OperatingError('shutting-down', 'this node is not running');
    }
    return superblock;
  }

  #serving(): { formed: FormedNode; agreement: FormedNode['agreement']; view: ClusterView } {
    if (this.#isStopping) throw new OperatingError('shutting-down', 'this node is stopping');
    const formed = this.#formed;
    if (formed === undefined) {
      throw new OperatingError('not-formatted', 'this node belongs to no cluster yet', {
        remedy:
          'dog cluster format here, or start it with --join and a token of dog cluster invite',
      });
    }
    const { agreement, view } = formed;
    if (view === undefined) {
      throw new OperatingError('no-quorum', 'this node has not heard from its cluster yet', {
        advice: 'retry',
        remedy: 'start the other nodes: dog node list',
      });
    }
    return { formed, agreement, view };
  }
}

/** `code: message`, as the map keeps it: health tells a disk's failure from others by the code. */
function failureReason(failure: Error): string {
  const code = failure instanceof OperatingError ? failure.code : 'bug';
  return `${code}: ${messageOf(failure)}`;
}

/** Runs `form`; a log with which that failed is closed, so that the next try may wipe it. */
async function closingOnFailure<T>(log: RaftLog, form: (log: RaftLog) => Promise<T>): Promise<T> {
  try {
    return await form(log);
  } catch (error) {
    await new Promise<void>((resolve) => log.stop(resolve));
    throw error;
  }
}
