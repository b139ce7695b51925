// A node that belongs to a cluster: its log, store, agreement and channels, and from its first view on its data path.
// build-node.ts makes one when the superblock says so. Nothing decides here: actors do, through the inputs below.

import type { NodeEvent, NodeInput } from './actors/node.ts';
import { missing } from './admin.ts';
import { Agreement } from './agreement/agreement.ts';
import type { AgreementTuning } from './agreement/options.ts';
import { Pongs } from './agreement/pongs.ts';
import { Prober } from './agreement/prober.ts';
import { type CopyCare, makeCopyCare } from './copy-care.ts';
import type { Epoch, Incarnation, NodeId } from './core/ids.ts';
import { invariant } from './core/invariant.ts';
import type { ApplyResult, EntryBody, LogEntry, PartitionCas } from './core/log-entry.ts';
import { upCount } from './core/membership.ts';
import type { ScrubSettings } from './core/scrub.ts';
import { readableNamed } from './core/snapshots.ts';
import type { ClusterView } from './core/view.ts';
import { createDatapath, type Datapath } from './datapath/datapath.ts';
import { ViewCell } from './datapath/view-cell.ts';
import type { VolumeSession } from './datapath/volume-session.ts';
import { type DutiesContext, replicatorDuties, voterDuties } from './duties.ts';
import { retired } from './formed-errors.ts';
import { LockDuties } from './lock-duties.ts';
import { MemberDesk } from './member-desk.ts';
import { peersOf } from './mix-up-duties.ts';
import { OwnLife } from './own-life.ts';
import type { ControlRpc } from './p2p/control-rpc.ts';
import { PeerClients } from './p2p/rpc-client.ts';
import { serveChannel } from './p2p/rpc-server.ts';
import type { DataChannel, MixUp, PeerAddress, Ports } from './ports/ports.ts';
import { RecoveryDuties } from './recovery-duties.ts';
import { RecoveryWatch } from './recovery-watch.ts';
import { SideDuties } from './side-duties.ts';
import { SpaceDuties } from './space-duties.ts';
import type { LocalObjectStore } from './storage/local-store.ts';
import type { RaftLog } from './storage/raft-log.ts';
import { distrustMap } from './storage/raft-log-open.ts';
import type { Superblock } from './storage/superblock.ts';
import { membershipDuties, ringDuties, Watch } from './watch-duties.ts';
import { type Frame, OP, replyTo, STATUS } from './wire/frame.ts';

/** How long an orderly end may spend on giving locks back. */
export const RELEASE_ALL_MS = 2000;
/** A proposal of the data path is given up after this: that dead members are doubtful, a step of a move. */
export const ASIDE_PROPOSE_MS = 2000;
/** How long a node that can not go on tries to say why. */
export const LAST_WORDS_MS = 1000;

export interface FormedOptions {
  readonly ports: Ports;
  readonly superblock: Superblock;
  readonly log: RaftLog;
  readonly store: LocalObjectStore;
  readonly rpc: ControlRpc;
  readonly tuning?: AgreementTuning;
  /** Whom to ask while there is no view. */
  readonly bootstrap: readonly PeerAddress[];
  readonly send: (event: NodeEvent) => void;
  readonly scrub: ScrubSettings;
  /** Started with recovery held on this node. */
  readonly isRecoveryHeld: boolean;
  readonly onView: (view: ClusterView) => void;
  /** Another member, in an operator's name, asks this process to end in order. */
  readonly onExitAsked: () => void;
  /** This node can not go on. */
  readonly onFatal: (error: Error) => void;
}

export class FormedNode {
  readonly self: NodeId;
  readonly log: RaftLog;
  readonly store: LocalObjectStore;
  readonly agreement: Agreement;
  readonly recovery: RecoveryDuties;
  readonly progress: RecoveryWatch;
  readonly care: CopyCare;
  readonly desk: MemberDesk;
  readonly #options: FormedOptions;
  readonly #peers: PeerClients;
  readonly #pongs: Pongs;
  readonly #prober: Prober;
  readonly #watch: Watch;
  readonly #locks: LockDuties;
  readonly #duties: DutiesContext;
  readonly #space: SpaceDuties;
  readonly #life: OwnLife;
  readonly #side: SideDuties;
  /** From the first failure on nobody is answered. */
  #hasFailed = false;
  #views: ViewCell | undefined;
  #datapath: Datapath | undefined;

  constructor(options: FormedOptions) {
    const { ports, superblock, send, store } = options;
    const { clock, network, trace } = ports;
    this.#options = options;
    invariant(superblock.node !== undefined, 'a formed node has an id');
    this.self = superblock.node;
    this.store = store;
    this.log = options.log;
    const { self } = this;
    this.#side = new SideDuties({
      ...{ self, ports, agreement: () => this.agreement, view: () => this.view },
      incarnation: () => this.#life.incarnation,
      isUp: () => this.isUp,
      lagMs: () => this.#prober.worstLagMs,
      isDistrustful: () => this.#prober.isDistrustful(),
    });
    this.agreement = this.#makeAgreement(options);
    this.#peers = new PeerClients({
      ...{ network, clock, trace },
      hello: () => this.#life.hello(),
      peerKeyOf: (node) => this.view?.members.get(node)?.peerKey,
      onAnswered: (node, ms) => this.#side.slow.note(node, ms),
    });
    this.#pongs = this.#makePongs(options);
    this.#prober = this.#makeProber(options);
    const view = () => this.view;
    const onLater = () => send({ type: 'view.changed', epoch: this.view?.epoch ?? (0 as Epoch) });
    this.#watch = new Watch({ self, clock, view, prober: this.#prober, onLater });
    this.#locks = new LockDuties({
      self,
      incarnation: () => this.#life.incarnation,
      clock,
      trace,
      agreement: this.agreement,
      view,
    });
    const { agreement } = this;
    this.desk = new MemberDesk({
      ...{ self, clock, network, agreement, view, onExitAsked: options.onExitAsked },
      usedBytes: () => store.usedBytes,
      dropLost: (partitions) => this.#dropLost(partitions),
      onRetired: options.onFatal,
    });
    const seen = {
      prober: this.#prober,
      downTimes: this.desk.downTimes,
      view,
      loads: this.#side.load.loads,
      slowNodes: () => this.#side.slow.nodes,
      isAnnounced: () => this.#life.isAnnounced,
      lifeOf: (node: NodeId) => this.#pongs.lifeOf(node),
    };
    this.#duties = { self, clock, trace, agreement, ...seen };
    this.#space = this.#spaceDuties();
    this.#life = new OwnLife({
      ...{ self, ports, superblock, store, agreement, view, desk: this.desk },
      prober: this.#prober,
      isRecoveryHeld: options.isRecoveryHeld,
      onFatal: options.onFatal,
    });
    const seeing = { view, datapath: () => this.#datapath };
    this.progress = new RecoveryWatch({ self, clock, trace, store, peers: this.#peers, ...seeing });
    this.recovery = this.#makeRecovery(options);
    this.care = this.#makeCare(options);
  }

  #makeAgreement(options: FormedOptions): Agreement {
    const { ports, superblock, log, rpc, send } = options;
    const { clock, network, trace } = ports;
    return new Agreement({
      self: this.self,
      incarnation: () => superblock.incarnation,
      log,
      clock,
      random: ports.random.fork('agreement'),
      trace,
      rpc,
      network,
      bootstrap: options.bootstrap.map(({ peer }) => peer),
      onApplied: (entry, result) => this.#noteApplied(entry, result),
      onJumped: () => this.recovery.noteJump(),
      seen: (node) => this.#side.images.of(node),
      onStats: (stats) => this.#side.load.take(stats),
      onSlow: (node, life) => this.#side.slow.take(node, life),
      onAlone: () => {
        this.desk.endIfRetired().catch(() => trace.count('retirement.failed'));
      },
      // The next start takes the map from the others (C2.8).
      onBroken: (error) => {
        const end = (): void => options.onFatal(error);
        distrustMap(ports.disk).then(end, end);
      },
      ...options.tuning,
      onView: (view) => this.#adopt(view),
      onRole: (role) => send({ type: 'role.changed', role }),
      onExitAsked: (by) => {
        trace.event('node.exit.asked', { by });
        options.onExitAsked();
      },
      onFailing: (node, life, reason) => this.#takeLastWords(node, life, reason),
      onAlert: ({ observer, subject, subjectIncarnation, down, refused }) =>
        send({
          type: 'alert.received',
          observer,
          subject,
          incarnation: subjectIncarnation,
          down,
          refused,
          repeats: 0,
        }),
    });
  }

  #makePongs({ ports }: FormedOptions): Pongs {
    const { clock, trace } = ports;
    const { learner } = this.agreement;
    return new Pongs({
      ...{ clock, trace },
      applied: () => learner.applied,
      pull: (index, from) => learner.pull(index, from),
      onDisk: (node, word) => this.#side.images.note(node, word),
    });
  }

  #makeProber({ ports, send }: FormedOptions): Prober {
    const { clock } = ports;
    return new Prober({
      clock,
      peers: this.#peers,
      clusterSize: () => (this.view === undefined ? 1 : upCount(this.view)),
      onPong: (node, reply) => this.#pongs.take(node, reply),
      onEdge: (type, node) => send({ type, node }),
    });
  }

  #makeRecovery({ ports, superblock, store }: FormedOptions): RecoveryDuties {
    return new RecoveryDuties({
      ...{ self: this.self, store, agreement: this.agreement, trace: ports.trace },
      clock: ports.clock,
      progress: this.progress,
      incarnation: () => superblock.incarnation,
      view: () => this.view,
      datapath: () => this.#datapath,
    });
  }

  #spaceDuties(): SpaceDuties {
    const { self, agreement, store } = this;
    const { clock, trace } = this.#options.ports;
    const incarnation = () => this.#life.incarnation;
    const level = () => store.spaceLevel;
    return new SpaceDuties({
      ...{ self, agreement, clock, trace, incarnation, level },
      view: () => this.view,
    });
  }

  #makeCare({ ports, store, scrub: settings, send }: FormedOptions): CopyCare {
    const isFree = (): boolean => this.isUp && this.recovery.isAtRest;
    const mixUps = () => this.#side.mixUps.current;
    const look = { view: () => this.view, datapath: () => this.#datapath, isFree, mixUps };
    const told = { settings, changed: () => send({ type: 'scrub.changed' }) };
    return makeCopyCare({ ...look, ...told, self: this.self, ports, store, peers: this.#peers });
  }

  get view(): ClusterView | undefined {
    return this.#views?.current();
  }

  get isUp(): boolean {
    return !this.#life.isDisowned;
  }

  /** Replicas that writers say are slow (C1.7), as this node heard: voters are told. */
  get slowNodes(): readonly NodeId[] {
    return this.#side.slow.nodes;
  }

  /** The network met something that should not be. */
  noteMixUp(mixUp: MixUp): void {
    this.#side.mixUps.note(mixUp);
  }

  /** By catch-up, since this start. */
  get bytesCopied(): number {
    return this.#datapath?.stats.bytesCopied ?? 0;
  }

  /** The parts of the root actor's input that need a formed node. */
  get actorInput(): Omit<NodeInput, 'close' | 'onFailed' | 'warn'> {
    return {
      announce: () => this.#life.announce(),
      isDisowned: () => this.#life.isDisowned,
      membership: membershipDuties(this.#duties, this.#watch),
      voter: voterDuties(this.#duties),
      ring: ringDuties(this.#duties),
      replicator: replicatorDuties(this.#duties),
      recovery: this.recovery.input,
      scrub: this.care.scrub.input,
      lockOf: (session) => this.#locks.inputOf(session),
      onLockEnded: (session) => this.#locks.ended(session),
    };
  }

  start(): void {
    this.#peers.onState((node, state) => {
      if (state !== 'refused') return;
      this.#prober.refused(node);
      this.agreement.driver.leaderGone(node);
    });
    this.agreement.start();
    this.#prober.start();
    this.#space.start();
    this.#side.start();
  }

  /** Whom to ask for the log while there is no view: this node adopted its place, and crashed before it heard of anybody. */
  meet(members: readonly PeerAddress[]): void {
    const { network } = this.#options.ports;
    const others = members.filter(({ peer }) => peer !== network.self);
    network.setPeers(others);
    this.agreement.setBootstrap(others.map(({ peer }) => peer));
  }

  /** Sessions first (drain, give back), then everything that talks, then the disk. */
  async stop(): Promise<void> {
    this.care.scrub.stop();
    this.progress.stop();
    await this.#datapath?.stop();
    await this.#locks.releaseAll(RELEASE_ALL_MS);
    this.#locks.stop();
    await this.agreement.handOver();
    this.#watch.stop();
    this.#prober.stop();
    this.#space.stop();
    this.#side.stop();
    this.agreement.stop();
    this.#peers.stop();
    const { log, superblock } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.store.stop((error) => (error === undefined ? resolve() : reject(error)));
    });
    await new Promise<void>((resolve) => log.stop(resolve));
    await superblock.markClean();
  }

  /**
   * This node can not go on: it serves nobody from now on, and tells the voters why, so that the cluster knows the cause
   * and not only the silence. Bounded; never rejects.
   */
  async fail(reason: string): Promise<void> {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#locks.stop();
    this.#watch.stop();
    this.#prober.stop();
    this.#space.stop();
    this.#side.stop();
    this.#peers.stop();
    const words = this.#life.maySayLast ? reason : undefined;
    await this.agreement.sayFailing(words, LAST_WORDS_MS);
  }

  /** A member's own word is an alert that needs no second one. */
  #takeLastWords(node: NodeId, incarnation: Incarnation, reason: string): void {
    const word = {
      observer: node,
      subject: node,
      incarnation,
      down: true,
      refused: true,
      repeats: 0,
    };
    this.#options.send({ type: 'alert.received', ...word, reason });
  }

  serve(channel: DataChannel): void {
    if (this.#hasFailed) {
      channel.close();
      return;
    }
    const { clock, trace } = this.#options.ports;
    serveChannel(channel, {
      hello: () => this.#life.hello(),
      clock,
      trace,
      nodeOfKey: (peer) => this.view?.memberByKey(peer)?.node,
      handle: (from, frame, reply) => this.#handle(from, frame, reply),
    });
  }

  openVolume(name: string): VolumeSession {
    const found = this.view && readableNamed(this.view, name);
    if (found === undefined) throw missing(name);
    if ('lock' in found) return this.datapath.openVolume(found);
    return this.datapath.openSnapshot(found.id);
  }

  get datapath(): Datapath {
    invariant(this.#datapath !== undefined, 'a node with a view has a data path');
    return this.#datapath;
  }

  async #dropLost(partitions: readonly PartitionCas[]): Promise<void> {
    const surplus = this.#datapath?.surplus;
    // Each turn drops some: bounded by the rows that are there.
    for (let dropped = 1; dropped > 0; ) {
      dropped = await new Promise<number>((resolve, reject) => {
        if (surplus === undefined) return resolve(0);
        surplus.dropLost(partitions, (error, count) => {
          if (error === undefined) resolve(count);
          else reject(error);
        });
      });
    }
  }

  /** Whoever asks for this looks at the view, and asks again. */
  #propose(body: EntryBody): void {
    this.agreement
      .propose(body, ASIDE_PROPOSE_MS)
      .catch(() => this.#options.ports.trace.count('aside.failed'));
  }

  #handle(from: NodeId, frame: Frame, reply: (frame: Frame) => void): void {
    if (this.#hasFailed) return;
    if (frame.op === OP.PING) {
      const pong = replyTo(frame, STATUS.OK);
      pong.payload = this.#life.pingInfo();
      reply(pong);
    } else if (frame.op === OP.CONDITION) this.care.answer(frame, reply);
    else if (frame.op === OP.RECOVERY) this.progress.answer(frame, reply);
    else if (frame.op === OP.MOVES) this.progress.moves.answer(frame, reply);
    else if (this.#datapath === undefined || this.#life.isForgetful) {
      reply(replyTo(frame, STATUS.BUSY));
    } else this.#datapath.handleFrame(from, frame, reply);
  }

  // ------------------------------------------------------------------------------------------------ the view

  #noteApplied(entry: LogEntry, result: ApplyResult): void {
    this.recovery.noteApplied(entry, result);
    const isNews = entry.body.type !== 'setting' && entry.body.type !== 'noop';
    if (isNews) {
      const { index, term, body } = entry;
      this.#options.ports.trace.event('map.applied', {
        index,
        term,
        type: body.type,
        code: result.code,
        value: result.value,
      });
    }
  }

  #adopt(view: ClusterView): void {
    const { network } = this.#options.ports;
    const areNew = view.members !== this.view?.members;
    if (areNew || view.settings !== this.view?.settings) network.setPeers(peersOf(view, this.self));
    if (areNew) this.#forgetFormerLives(view);
    if (this.#views === undefined) this.#serveFrom(view);
    else this.#views.set(view);
    const former = view.retired.get(this.self);
    if (former !== undefined) this.#options.onFatal(retired(this.self, former.how));
    this.desk.note(view);
    this.progress.follow(view);
    if (areNew) {
      this.#watch.noteMembers();
      this.#side.book.noteMembers();
    }
    this.#locks.sweep();
    this.#options.send({ type: 'view.changed', epoch: view.epoch });
    this.#options.onView(view);
  }

  #forgetFormerLives(view: ClusterView): void {
    for (const before of this.view?.members.values() ?? []) {
      const now = view.members.get(before.node);
      if (now?.incarnation === before.incarnation) continue;
      // A dial that still waits for the host of the former life would outlast two pings of the new one.
      if (!this.#peers.isOpen(before.node)) this.#peers.forget(before.node);
      this.#prober.forget(before.node);
    }
  }

  #serveFrom(view: ClusterView): void {
    const { ports, send } = this.#options;
    this.#views = new ViewCell(view);
    this.#datapath = createDatapath({
      clock: ports.clock,
      random: ports.random.fork('datapath'),
      trace: ports.trace,
      self: this.self,
      views: this.#views,
      store: this.store,
      isAnnounced: () => this.#life.isAnnounced,
      peers: this.#peers,
      pull: (index, from) => this.agreement.learner.pull(index, from),
      readCurrent: (done) => this.agreement.whenCurrent(done),
      noRoom: (where) => this.#space.noRoom(where),
      doubt: (partitions) => this.#propose({ type: 'isrDoubt', partitions }),
      propose: (body) => this.#propose(body),
      lock: this.#locks.earsFor(send),
    });
  }
}
