// Several data paths in one process on one fake clock: an abstract, totally ordered map log that each node applies at
// its own pace, channels with seeded delays that break, stores that crash. The rules under test are the product's own.

import { applyEntry, type ClusterState, emptyState, viewOf } from '../../src/core/cluster-state.ts';
import type { FencingToken, Incarnation, MapIndex, NodeId, VolumeId } from '../../src/core/ids.ts';
import type { ApplyResult, EntryBody, LogEntry } from '../../src/core/log-entry.ts';
import { partitionOf, writeSetOf } from '../../src/core/partition.ts';
import type { ClusterView, PartitionConfig, Volume } from '../../src/core/view.ts';
import type { CaughtUp, DrainOrders } from '../../src/datapath/catch-up.ts';
import { createDatapath, type Datapath } from '../../src/datapath/datapath.ts';
import type { Gateway } from '../../src/datapath/gateway.ts';
import type { OpenVolume } from '../../src/datapath/open-volume.ts';
import { ViewCell } from '../../src/datapath/view-cell.ts';
import { decodeFrame, encodeHeaders, type Frame } from '../../src/wire/frame.ts';
import { FakeClock, SeededRandom } from './fake-clock.ts';
import { claimOf, grantAgain } from './lock-actor.ts';
import { MemoryStore } from './memory-store.ts';

export const PARTITIONS = 16;

/** One frame on its way may be lost, held or changed by a test. */
export type Tamper = (from: NodeId, to: NodeId, frame: Frame, isReply: boolean) => 'pass' | 'lose';

export interface WorldNode {
  readonly id: NodeId;
  readonly store: MemoryStore;
  incarnation: Incarnation;
  isAlive: boolean;
  /** Raised at each start: what an older life sends or gets is dropped. */
  life: number;
  views: ViewCell;
  datapath: Datapath;
  /** The node does not apply by itself; only pulls move it. */
  isLagging: boolean;
}

export interface WorldOptions {
  readonly seed?: number;
  readonly nodes?: number;
  readonly copies?: number;
  readonly minCopies?: number;
  readonly sizeBytes?: number;
  readonly durability?: 'durable' | 'writeback';
}

export class World {
  readonly clock = new FakeClock();
  readonly random: SeededRandom;
  readonly nodes: WorldNode[] = [];
  readonly warnings: string[] = [];
  /** State after each entry; index = position. */
  readonly states: ClusterState[] = [emptyState()];
  #counter = 0;
  tamper: Tamper = () => 'pass';
  /** Asked before a hand-over is completed; false: the word to the log is lost. */
  onOffer: (() => boolean) | undefined;

  constructor(options: WorldOptions = {}) {
    this.random = new SeededRandom(options.seed ?? 1);
    const copies = options.copies ?? 3;
    this.commit({
      type: 'format',
      clusterId: '0'.repeat(32) as never,
      name: 'test',
      partitions: PARTITIONS,
      copies,
      minCopies: options.minCopies ?? Math.floor(copies / 2) + 1,
      strict: false,
      objectBytes: 4194304,
      hashVersion: 1,
    });
    const count = options.nodes ?? 3;
    for (let id = 1; id <= count; id += 1) this.#join(id);
    // The first nodes up form the sets of a policy made afterwards.
    this.must({
      type: 'policyCreate',
      copies,
      minCopies: options.minCopies ?? Math.floor(copies / 2) + 1,
      strict: true,
    });
    const made = this.must({
      type: 'volumeCreate',
      name: 'disk',
      policy: this.#lastPolicy(),
      sizeBytes: options.sizeBytes ?? 8 * 1024 * 1024,
      durability: options.durability ?? 'durable',
      attachMode: 'handover',
    });
    this.volumeId = made.value as VolumeId;
    for (let id = 1; id <= count; id += 1) this.nodes.push(this.#makeNode(id as NodeId));
  }

  readonly volumeId: VolumeId;

  get state(): ClusterState {
    return this.states.at(-1) as ClusterState;
  }

  get view(): ClusterView {
    return viewOf(this.state);
  }

  get volume(): Volume {
    return this.view.volumes.get(this.volumeId) as Volume;
  }

  /** Hash part of the partition of object `index`. */
  p(index: number): number {
    return partitionOf(this.volume.family, index, PARTITIONS);
  }

  config(index: number): PartitionConfig {
    return this.view.partition(this.volume.policy, this.p(index));
  }

  node(id: number): WorldNode {
    return this.nodes[id - 1] as WorldNode;
  }

  // ------------------------------------------------------------------------------------------ the log

  /** Appends an entry; nodes learn of it a little later. */
  commit(body: EntryBody): ApplyResult {
    this.#counter += 1;
    const entry: LogEntry = {
      index: this.states.length as number as MapIndex,
      term: 1,
      origin: { node: 1 as NodeId, incarnation: 1 as Incarnation, counter: this.#counter },
      body,
    };
    const { state, result } = applyEntry(this.state, entry);
    this.states.push(state);
    for (const node of this.nodes) {
      if (!node.isLagging) this.#learn(node, entry.index, 1 + this.random.below(20));
    }
    return result;
  }

  must(body: EntryBody): ApplyResult {
    const result = this.commit(body);
    if (result.code !== 'ok') throw new RangeError(`${body.type}: ${result.code} ${result.detail}`);
    return result;
  }

  #learn(node: WorldNode, index: MapIndex, delayMs: number): void {
    const { life } = node;
    this.clock.setTimer(delayMs, () => {
      if (node.life === life && node.isAlive) this.apply(node, index);
    });
  }

  /** Applies the log on one node up to `index`, entry by entry. */
  apply(node: WorldNode, index: number = this.state.index): void {
    while (node.views.current().index < Math.min(index, this.state.index)) {
      node.views.set(viewOf(this.states[node.views.current().index + 1] as ClusterState));
    }
  }

  #join(id: number): void {
    const peerKey = `peer-${id}` as never;
    this.must({
      type: 'nodeJoin',
      peerKey,
      addresses: [`/ip4/127.0.0.1/tcp/${7000 + id}`],
      zone: `z${id}`,
      weight: 1,
    });
    this.up(id as NodeId, 1 as Incarnation);
  }

  up(node: NodeId, incarnation: Incarnation): ApplyResult {
    return this.commit({
      type: 'nodeUp',
      node,
      incarnation,
      addresses: [`/ip4/127.0.0.1/tcp/${7000 + node}`],
      storeGeneration: 1,
      journalSeq: 0,
      continues: 0 as Incarnation,
      cleanStop: false,
    });
  }

  down(node: WorldNode): void {
    this.commit({
      type: 'nodesDown',
      nodes: [{ node: node.id, incarnation: node.incarnation }],
      baseEpoch: this.state.epoch,
    });
  }

  #lastPolicy(): Volume['policy'] {
    return [...this.state.policies.keys()].at(-1) as Volume['policy'];
  }

  cas(index: number): { policy: Volume['policy']; p: number; cfg: PartitionConfig['cfg'] } {
    return { policy: this.volume.policy, p: this.p(index), cfg: this.config(index).cfg };
  }

  joinOf(id: number, index: number): EntryBody {
    const node = this.node(id);
    const { incarnation } = node;
    return { type: 'isrJoin', partitions: [this.cas(index)], node: node.id, incarnation };
  }

  // ------------------------------------------------------------------------------------------ nodes

  #makeNode(id: NodeId): WorldNode {
    const store = new MemoryStore(this.clock, new SeededRandom(this.random.u32()));
    const node = {
      id,
      store,
      incarnation: 1,
      isAlive: true,
      life: 0,
      isLagging: false,
    } as unknown as WorldNode;
    this.#boot(node);
    return node;
  }

  #boot(node: WorldNode): void {
    node.life += 1;
    node.isAlive = true;
    node.views = new ViewCell(this.view);
    const { life } = node;
    const context = {
      clock: this.#clockOf(node),
      random: new SeededRandom(node.id),
      trace: {
        event: () => {},
        count: () => {},
        warn: (name: string, fields?: object) =>
          this.warnings.push(`n${node.id} ${name} ${JSON.stringify(fields)}`),
      },
      self: node.id,
      views: node.views,
      store: node.store,
      peers: { request: this.#requester(node) },
      isAnnounced: () => {
        const known = node.views.current().members.get(node.id)?.incarnation ?? 0;
        return known >= node.incarnation;
      },
      readCurrent: (done: (isCurrent: boolean) => void) => {
        this.clock.setTimer(1 + this.random.below(5), () => {
          if (!node.isAlive || node.life !== life) return;
          this.apply(node);
          done(true);
        });
      },
      propose: (body: EntryBody) => {
        this.clock.setTimer(1 + this.random.below(10), () => {
          if (node.isAlive && node.life === life) this.commit(body);
        });
      },
      pull: (index: MapIndex) => this.#learn(node, index, 1 + this.random.below(5)),
      lock: {
        wanted: (open: OpenVolume) => this.#wanted(node, life, open),
        drained: (open: OpenVolume) => this.#drained(open),
        offered: (open: OpenVolume, token: FencingToken) => this.#offered(node, open, token),
      },
    };
    node.datapath = createDatapath(context);
  }

  /** Timers of a dead life do not fire. */
  #clockOf(node: WorldNode): FakeClock {
    const { clock } = this;
    const { life } = node;
    const guard = (fn: () => void) => () => {
      if (node.isAlive && node.life === life) fn();
    };
    return {
      now: () => clock.now(),
      date: () => clock.now(),
      setTimer: (ms: number, fn: () => void) => clock.setTimer(ms, guard(fn)),
      clearTimer: (handle: never) => clock.clearTimer(handle),
      soon: (fn: () => void) => clock.soon(guard(fn)),
    } as unknown as FakeClock;
  }

  /** @param kept how many of the unsynced operations outlive it; drawn unless given */
  kill(node: WorldNode, kept?: number): void {
    node.isAlive = false;
    node.life += 1;
    node.store.crash(kept);
  }

  /** A flush of the guest: 'ok', an error's code, or 'waiting' after `ms`. */
  flush(gateway: Gateway, ms = 20_000): string {
    return this.#await((done) => gateway.flush(done), ms);
  }

  /** A new life of the process, not yet up in the map. */
  restart(node: WorldNode): void {
    node.incarnation = (node.incarnation + 1) as Incarnation;
    this.#boot(node);
    this.up(node.id, node.incarnation);
  }

  // ------------------------------------------------------------------------------------------ channels

  /** One channel per direction: in order, each frame with its own delay; broken = everything on it is lost. */
  #requester(node: WorldNode) {
    const busyUntil = new Map<NodeId, number>();
    const { life } = node;
    return (
      to: NodeId,
      frame: Frame,
      deadlineMs: number,
      done: (reply: Frame | undefined) => void,
    ): void => {
      let isOver = false;
      const finish = (reply: Frame | undefined): void => {
        if (isOver) return;
        isOver = true;
        this.clock.clearTimer(deadline);
        if (node.isAlive && node.life === life) done(reply);
      };
      const deadline = this.clock.setTimer(deadlineMs, () => finish(undefined));
      const at = Math.max(
        busyUntil.get(to) ?? 0,
        this.clock.now() + 0.1 + this.random.below(20) / 10,
      );
      busyUntil.set(to, at);
      const bytes = bytesOf(frame);
      this.clock.setTimer(at - this.clock.now(), () => {
        const target = this.node(to);
        if (!target.isAlive) return finish(undefined);
        if (this.tamper(node.id, to, frame, false) === 'lose') return finish(undefined);
        const targetLife = target.life;
        target.datapath.handleFrame(node.id, decodeFrame(bytes), (reply) => {
          const back = bytesOf(reply);
          this.clock.setTimer(0.1 + this.random.below(20) / 10, () => {
            if (target.life !== targetLife) return finish(undefined);
            const arrived = decodeFrame(back);
            if (this.tamper(to, node.id, arrived, true) === 'lose') return finish(undefined);
            finish(arrived);
          });
        });
      });
    };
  }

  // ------------------------------------------------------------------------------------------ locks

  #wanted(node: WorldNode, life: number, open: OpenVolume): void {
    const look = (): void => {
      if (!node.isAlive || node.life !== life || open.state === 'lost') return;
      const { lock } = this.volume;
      const isHolderDead = !this.#isLiving(lock.node, lock.incarnation);
      const claim = claimOf(node, open, lock.token);
      if (lock.state === 'free') this.commit({ type: 'lockAcquire', ...claim });
      else if (isHolderDead)
        this.commit({ type: 'takeover', ...claim, reason: 'dead', force: false });
      else if (lock.node !== node.id) {
        open.standby(lock.node);
        return;
      }
      this.#grantIfMine(node, open, look);
    };
    this.#later(look);
    node.views.onChange((view) => grantAgain(view, node, open));
  }

  /** The holder was drained under `token`. */
  #offered(node: WorldNode, open: OpenVolume, token: FencingToken): void {
    this.#later(() => {
      if (!node.isAlive || open.state === 'lost' || this.onOffer?.() === false) return;
      this.commit({ type: 'handoverComplete', ...claimOf(node, open, token) });
      const { lock } = this.volume;
      if (lock.node !== node.id) open.standby(lock.node);
      else this.#grantIfMine(node, open, () => {});
    });
  }

  #grantIfMine(node: WorldNode, open: OpenVolume, look: () => void): void {
    const { lock } = this.volume;
    const isMine =
      lock.state === 'held' && lock.node === node.id && lock.session === open.sessionId;
    if (!isMine || lock.incarnation !== node.incarnation) {
      this.#later(look);
      return;
    }
    this.#learn(node, lock.grantedAt, 5);
    open.granted({ token: lock.token, grantedAt: lock.grantedAt, tookOver: lock.tookOver });
  }

  #later(fn: () => void): void {
    this.clock.setTimer(5 + this.random.below(10), fn);
  }

  #isLiving(node: NodeId, incarnation: Incarnation): boolean {
    const member = this.view.members.get(node);
    return member?.state === 'up' && member.incarnation === incarnation;
  }

  #drained(open: OpenVolume): void {
    const { lock } = this.volume;
    this.commit({ type: 'lockRelease', volume: this.volumeId, token: lock.token });
    this.#later(() => open.released());
  }

  /** A session of `id`, force-taken from whoever holds it: the old holder may live on, unaware. */
  takeOver(id: number): Gateway {
    const node = this.node(id);
    const gateway = node.datapath.openVolume(this.volume);
    gateway.connect();
    const { lock } = this.volume;
    const claim = claimOf(node, gateway.open, lock.token);
    if (lock.state === 'free') this.commit({ type: 'lockAcquire', ...claim });
    else this.commit({ type: 'takeover', ...claim, reason: 'test', force: true });
    const grant = this.volume.lock;
    if (grant.node !== node.id || grant.session !== gateway.open.sessionId) {
      throw new RangeError(`n${id} could not take over`);
    }
    this.#learn(node, grant.grantedAt, 1);
    gateway.open.granted({ token: grant.token, grantedAt: grant.grantedAt, tookOver: true });
    return gateway;
  }

  // ------------------------------------------------------------------------------------------ guests

  attach(id: number): Gateway {
    const gateway = this.node(id).datapath.openVolume(this.volume);
    gateway.connect();
    return gateway;
  }

  /** Writes and runs until it is answered. @returns the error's code, or 'ok', or 'waiting' after `ms` */
  write(gateway: Gateway, offset: number, data: Uint8Array, ms = 20_000): string {
    return this.#await((done) => gateway.write(offset, data, done), ms);
  }

  read(gateway: Gateway, offset: number, length: number, ms = 20_000): Uint8Array | string {
    const target = new Uint8Array(length);
    if (gateway.tryRead(offset, length, target, 0)) return target;
    const code = this.#await((done) => gateway.read(offset, length, target, 0, done), ms);
    return code === 'ok' ? target : code;
  }

  zero(gateway: Gateway, offset: number, length: number): string {
    return this.#await((done) => gateway.writeZeroes(offset, length, done), 20_000);
  }

  trim(gateway: Gateway, offset: number, length: number): string {
    return this.#await((done) => gateway.trim(offset, length, done), 20_000);
  }

  #await(start: (done: (error: { code: string } | undefined) => void) => void, ms: number): string {
    let outcome = '';
    start((error) => {
      outcome = error?.code ?? 'ok';
    });
    this.clock.until(() => outcome !== '', ms);
    return outcome === '' ? 'waiting' : outcome;
  }

  // ------------------------------------------------------------------------------------------ moves

  /** The volume begins to move to a policy of so many copies; `false` = the log refused. */
  move(copies: number): boolean {
    const minCopies = Math.floor(copies / 2) + 1;
    const policy = this.must({ type: 'policyCreate', copies, minCopies, strict: true })
      .value as Volume['policy'];
    const former = this.view.moves.get(this.volumeId)?.generation ?? (0 as Volume['head']);
    const { token } = this.volume.lock;
    const body = { type: 'moveStart', volume: this.volumeId, token, policy, former } as const;
    return this.commit(body).code === 'ok';
  }

  /** Runs until the volume has that many copies and moves no more; false = not within `ms`. */
  hasMoved(copies: number, ms = 60_000): boolean {
    const hasMoved = this.clock.until(() => {
      const { volume, view } = this;
      const isThere = view.policies.get(volume.policy)?.copies === copies;
      return isThere && view.moves.size === 0;
    }, ms);
    // All nodes know.
    this.clock.run(50);
    return hasMoved;
  }

  // ------------------------------------------------------------------------------------------ healing

  /** What the recovery and replicator actors do: joins, drains, promotes until every set is what the ring wants. */
  heal(rounds = 40): boolean {
    for (let i = 0; i < rounds; i += 1) {
      this.clock.run(50);
      if (this.healOnce()) return true;
    }
    return false;
  }

  healOnce(): boolean {
    let isWhole = true;
    const move = this.view.moves.get(this.volumeId);
    const policies = [this.volume.policy, ...(move === undefined ? [] : [move.policy])];
    for (let at = 0; at < PARTITIONS * policies.length; at += 1) {
      const policy = policies[Math.floor(at / PARTITIONS)] as Volume['policy'];
      const p = at % PARTITIONS;
      const config = this.view.partition(policy, p);
      const cas = { policy, p, cfg: config.cfg };
      const step = this.#healStep(config, cas);
      if (step === 'whole') continue;
      isWhole = false;
      step?.();
    }
    return isWhole;
  }

  #healStep(
    config: PartitionConfig,
    cas: ReturnType<World['cas']>,
  ): 'whole' | (() => void) | undefined {
    const alive = (id: NodeId) => this.node(id).isAlive;
    for (const id of config.doubtful) if (alive(id)) return () => this.#settle(this.node(id), cas);
    for (const id of config.joining) if (alive(id)) return () => this.#promote(this.node(id), cas);
    for (const id of config.targets) {
      if (config.inSync.includes(id) || config.joining.includes(id) || !alive(id)) continue;
      const { incarnation } = this.node(id);
      return () => this.commit({ type: 'isrJoin', partitions: [cas], node: id, incarnation });
    }
    const surplus = config.inSync.find((id) => !config.targets.includes(id));
    if (surplus !== undefined) {
      return () => this.commit({ type: 'isrRelease', partitions: [cas], node: surplus });
    }
    return config.targets.every((id) => config.inSync.includes(id)) ? 'whole' : undefined;
  }

  /** What a doubtful node's recovery actor does (R8). */
  #settle(node: WorldNode, cas: ReturnType<World['cas']>): void {
    const { incarnation, life } = node;
    node.datapath.settler.settleAll([cas], (partitions) => {
      if (node.life !== life || partitions.length === 0) return;
      this.commit({ type: 'isrSettle', partitions, node: node.id, incarnation });
    });
  }

  #promote(node: WorldNode, cas: ReturnType<World['cas']>, when: () => boolean = () => true): void {
    const { incarnation, life } = node;
    const queue = [{ ...cas, urgency: 0 }];
    const results: CaughtUp[] = [];
    const orders: DrainOrders = {
      next: () => queue.shift(),
      isWanted: () => true,
      ended: (_where, result) => {
        if (result !== undefined) results.push(result);
      },
    };
    node.datapath.catchUp.drainAll(orders, () => {
      const propose = (): void => {
        if (node.life !== life) return;
        if (!when()) {
          this.#later(propose);
          return;
        }
        for (const result of results) {
          this.commit({ type: 'isrPromote', partitions: [result], node: node.id, incarnation });
        }
      };
      propose();
    });
  }

  /** Drains one joining node for the partition of an object, and promotes it once `when` says so. */
  promoteWhenDrained(id: number, index: number, when: () => boolean = () => true): void {
    this.#promote(this.node(id), this.cas(index), when);
  }

  /** partitionKey of an object. */
  keyOf(index: number): number {
    return this.volume.policy * 65536 + this.p(index);
  }

  /** Members of I of an object, their tables as text. */
  tables(index: number): string[] {
    const key = this.keyOf(index);
    return this.config(index).inSync.map((id) => this.node(id).store.describe(key));
  }

  /** Node ids of W of an object. */
  members(index: number): readonly NodeId[] {
    return writeSetOf(this.config(index));
  }
}

function bytesOf(frame: Frame): Uint8Array {
  const head = encodeHeaders(frame);
  const bytes = new Uint8Array(head.length + frame.payload.length);
  bytes.set(head);
  bytes.set(frame.payload, head.length);
  return bytes;
}

/** A node that is no member of the partition of object 0. */
export function outsiderOf(world: World): number {
  return world.nodes.find(({ id }) => !world.members(0).includes(id))?.id as number;
}
