// What a scenario sees of its run: nodes that start, die and return, a network that can be cut, volumes with guests, and
// the checks. The safety checkers of views run all the time; the others when the story asks for them.

import type { NodeConfig } from '../src/config.ts';
import type { NodeId } from '../src/core/ids.ts';
import { MIB } from '../src/core/units.ts';
import type { ClusterView, Durability, Member } from '../src/core/view.ts';
import type { ClusterAdmin } from '../src/node-handle.ts';
import type { Ports } from '../src/ports/ports.ts';
import { History } from './checkers/history.ts';
import { NumberChecker } from './checkers/numbers.ts';
import { TraceChecker } from './checkers/trace.ts';
import { ViewChecker } from './checkers/views.ts';
import { Checks } from './checks.ts';
import { Guest, type GuestVolume } from './guest.ts';
import { Cable } from './sim-network.ts';
import { type BuildNode, type NodePlan, SimNode } from './sim-node.ts';
import type { Plane } from './sim-paths.ts';
import type { SimRandom } from './sim-random.ts';
import { RunFailure, type World } from './world.ts';

/** How often a waited-for condition is looked at. */
const LOOK_EVERY_MS = 20;
/** A write takes about this long. */
const MID_WRITE_MS = 1.5;
const MID_WRITE_LIMIT_MS = 10_000;
export interface StageOptions {
  readonly nodes: number;
  readonly copies: number;
  /** Few, so that a small volume fills them. */
  readonly partitions: number;
  readonly config: NodeConfig;
}

/** Wraps a node's ports, for mutants. */
export type WrapPorts = (name: string, ports: Ports, stage: Stage) => Ports;

export class Stage {
  readonly world: World;
  readonly cable: Cable;
  readonly options: StageOptions;
  /** What the story draws: moments, victims. */
  readonly random: SimRandom;
  readonly nodes: SimNode[] = [];
  readonly check = new Checks(this);
  /** Views by node name, the last each. */
  readonly views = new Map<string, ClusterView>();
  readonly #build: BuildNode;
  readonly #wrapPorts: WrapPorts;
  #clusterId: string | undefined;
  readonly viewChecker = new ViewChecker();
  /** Nodes that a forced recovery left behind: what they know is no matter of this cluster any more. */
  readonly leftBehind = new Set<SimNode>();
  readonly traceChecker = new TraceChecker();
  readonly #numberChecker = new NumberChecker();
  readonly volumes: GuestVolume[] = [];

  constructor(world: World, build: BuildNode, options: StageOptions, wrapPorts: WrapPorts) {
    this.world = world;
    this.options = options;
    this.#build = build;
    this.#wrapPorts = wrapPorts;
    this.random = world.random.fork('story');
    this.cable = new Cable(world);
    this.cable.watch = (bytes) => {
      const wrong = this.#numberChecker.note(bytes);
      if (wrong !== undefined) world.fail(wrong);
    };
    for (let i = 0; i < options.nodes; i += 1) this.addNode();
  }

  /** One more host, not started. */
  addNode(): SimNode {
    const number = this.nodes.length + 1;
    const node = new SimNode(this.cable, number, this.#plan(`z${number}`));
    this.nodes.push(node);
    return node;
  }

  /** A host whose disk is a copy of that one's as it is now: the same identity, another address. Not started. */
  addCopyOf(original: SimNode): SimNode {
    const number = this.nodes.length + 1;
    const zone = `z${this.nodes.indexOf(original) + 1}`;
    const copy = new SimNode(this.cable, number, this.#plan(zone), original);
    copy.disk.restore(original.disk.image());
    this.nodes.push(copy);
    return copy;
  }

  #plan(zone: string): NodePlan {
    return {
      build: this.#build,
      config: { ...this.options.config, zone },
      wrapPorts: (name, ports) => this.#wrapPorts(name, ports, this),
      onView: (node, view, stateHash) => {
        // A node of another cluster is a stranger in this story: its log is its own.
        this.#clusterId ??= view.clusterId;
        if (view.clusterId !== this.#clusterId || this.leftBehind.has(node)) return;
        this.views.set(node.name, view);
        this.world.note(node.name, 'view', `e${view.epoch} i${view.index} ${stateHash}`);
        const wrong = this.viewChecker.note(node.name, view, stateHash);
        if (wrong !== undefined) this.world.fail(wrong);
      },
      onTrace: (node, name, fields) => {
        if (this.#isOfAnotherCluster(node)) return;
        const wrong = this.traceChecker.note(node.name, name, fields);
        if (wrong !== undefined) this.world.fail(wrong);
      },
    };
  }

  #isOfAnotherCluster(node: SimNode): boolean {
    if (!node.isRunning || this.#clusterId === undefined) return false;
    const { clusterId } = node.running().handle.status();
    return clusterId !== undefined && clusterId !== this.#clusterId;
  }

  /** Stops the run between the asking for a write and its answer; more of it passes by a draw. */
  async inMidWrite(guest: Guest): Promise<void> {
    const isWriting = (): boolean => guest.writesInFlight > 0;
    const endMs = this.world.nowMs + MID_WRITE_LIMIT_MS;
    while (this.world.nowMs < endMs) {
      await this.world.runUntil(isWriting, MID_WRITE_LIMIT_MS);
      await this.world.runUntil(() => false, this.random.unit() * MID_WRITE_MS);
      if (isWriting()) return;
    }
    throw new RunFailure('no write was under way');
  }

  node(name: string): SimNode {
    const node = this.nodes.find((each) => each.name === name);
    if (node === undefined) throw new RunFailure(`no ${name} in this scenario`);
    return node;
  }

  get running(): readonly SimNode[] {
    return this.nodes.filter((node) => node.isRunning);
  }

  /** The newest that any node has published. */
  get epoch(): number {
    return Math.max(0, ...[...this.views.values()].map((view) => view.epoch));
  }

  /** Who leads the map log, by its own word. */
  get leader(): SimNode | undefined {
    return this.running.find((node) => node.running().handle.status().role === 'leader');
  }

  /** `count` entries in the map log, by an operator's settings through any node. */
  async fillLog(count: number): Promise<void> {
    for (let at = 0; at < count; at += 1) {
      const value = `${700 + (at % 100)}s`;
      await this.operate(this.anyRunning(), 'set', (admin) => admin.set('out-after', value));
    }
  }

  /** Any node that runs, by a draw. */
  anyRunning(except?: SimNode): SimNode {
    return this.random.pick(this.running.filter((node) => node !== except));
  }

  // ------------------------------------------------------------------------------------------- the cluster

  /** Starts all nodes, formats on the first, joins the others one by one, waits until all is in sync. */
  async form(changes: { readonly copies?: number } = {}): Promise<void> {
    const [first, ...others] = this.nodes;
    if (first === undefined) return;
    await first.start();
    const { copies, partitions } = { ...this.options, ...changes };
    await this.ask(first, 'format', (handle) => handle.format({ name: 'sim', copies, partitions }));
    await this.until('the first node is up', () => isUp(first), { seconds: 30 });
    for (const node of others) await this.join(node);
    await this.check.converges({ seconds: 60 });
  }

  /** Starts a blank node and lets it knock with a fresh token. */
  async join(
    node: SimNode,
    as: { readonly weight?: number; readonly isWitness?: boolean } = {},
  ): Promise<void> {
    const member = this.running.find((each) => each !== node && isUp(each));
    if (member === undefined) throw new RunFailure('nobody can invite');
    await node.start();
    const token = await this.ask(member, 'invite', (handle) => handle.invite());
    const place = { zone: `z${this.nodes.indexOf(node) + 1}`, weight: 1, ...as };
    await this.ask(node, 'join', (handle) => handle.join(token, place));
    await this.until(`${node.name} is up`, () => isUp(node), { seconds: 30 });
  }

  /** What an operator asks of the members, at any node. Rejects as the cluster refused. */
  operate(
    at: SimNode,
    what: string,
    call: (admin: ClusterAdmin) => Promise<unknown>,
  ): Promise<unknown> {
    return this.ask(at, what, (handle) => call(handle.admin()));
  }

  /** The member that runs on this host, as the newest view of the running nodes has it. */
  memberOf(node: SimNode): Member | undefined {
    let newest: ClusterView | undefined;
    for (const { running } of this.running.map((each) => ({ running: each.running() }))) {
      const view = running.handle.view();
      if (view !== undefined && view.index > (newest?.index ?? 0)) newest = view;
    }
    return newest?.memberByKey(node.host.peer);
  }

  /** The member's number of a host that runs. */
  numberOf(node: SimNode): NodeId {
    const number = node.running().handle.status().node;
    if (number === undefined) throw new RunFailure(`${node.name} is no member`);
    return number;
  }

  /** One call of a node's handle, awaited in simulated time. */
  ask<T>(
    node: SimNode,
    what: string,
    call: (handle: ReturnType<SimNode['running']>['handle']) => Promise<T>,
  ): Promise<T> {
    const { process, handle } = node.running();
    let promise: Promise<T> | undefined;
    this.world.enter(process, () => {
      promise = call(handle);
    });
    if (promise === undefined) throw new RunFailure(`${what} at ${node.name} threw`);
    return this.world.wait(`${what} at ${node.name}`, promise, { seconds: 30 });
  }

  /** Cuts a group from the rest, both ways, both planes unless one is named. */
  partition(group: readonly SimNode[], planes?: readonly Plane[]): void {
    for (const inside of group) {
      for (const outside of this.nodes) {
        if (group.includes(outside)) continue;
        this.cable.paths.cut(inside.name, outside.name, planes);
        this.cable.paths.cut(outside.name, inside.name, planes);
      }
    }
    this.world.note('stage', 'partition', group.map((node) => node.name).join(','));
  }

  heal(): void {
    this.cable.paths.healAll();
    this.world.note('stage', 'heal', '');
  }

  // ------------------------------------------------------------------------------------------- guests

  /** Creates a volume and a guest that is attached through a node (the first one that runs unless given). */
  async createVolume(options: {
    readonly name: string;
    readonly sizeMiB: number;
    readonly at?: SimNode;
    readonly mode?: Durability;
  }): Promise<Guest> {
    const node = options.at ?? this.running[0];
    if (node === undefined) throw new RunFailure('no node runs');
    const { name, mode = 'durable' } = options;
    const sizeBytes = options.sizeMiB * MIB;
    const id = await this.ask(node, 'create volume', (handle) =>
      handle.createVolume({ name, sizeBytes, mode }),
    );
    const history = new History();
    const volume: GuestVolume = { id, name, sizeBytes, mode, history, nextValue: 1 };
    this.volumes.push(volume);
    const guest = this.guestOf(volume);
    guest.attach(node);
    return guest;
  }

  /** One more guest of a volume, not attached yet. */
  guestOf(volume: GuestVolume): Guest {
    return new Guest(this.world, volume, this.world.random.fork(`guest ${volume.name}`));
  }

  /** C-flush: what no flush covers may be gone from here on. */
  cachesAreLost(): void {
    for (const { name, mode, history } of this.volumes) {
      const wrong = mode === 'writeback' ? history.loseCache() : undefined;
      if (wrong !== undefined) throw new RunFailure(`${name}: ${wrong}`);
    }
  }

  // ------------------------------------------------------------------------------------------- time

  run(time: { readonly seconds: number }): Promise<void> {
    return this.world.run(time);
  }

  /** Waits for a condition that is looked at every 20 ms. Its sentence, when it gives one, is in the failure. */
  async until(
    what: string,
    condition: () => boolean | string | undefined,
    limit: { readonly seconds: number },
  ): Promise<void> {
    const endMs = this.world.nowMs + limit.seconds * 1000;
    for (;;) {
      const answer = condition();
      if (answer === true || answer === undefined) return;
      if (this.world.nowMs >= endMs) {
        const detail = typeof answer === 'string' ? `: ${answer}` : '';
        throw new RunFailure(`${what}: not within ${limit.seconds} s${detail}`);
      }
      await this.world.whileWaiting(() => this.world.runUntil(() => false, LOOK_EVERY_MS));
    }
  }
}

function isUp(node: SimNode): boolean {
  return node.isRunning && node.running().handle.status().phase === 'up';
}

/** All other nodes that run have this one down in their maps. */
export function isCalledDown(stage: Stage, node: SimNode): boolean {
  return stage.running
    .filter((other) => other !== node)
    .every((other) =>
      [...(other.running().handle.view()?.members.values() ?? [])].some(
        ({ peerKey, state }) => peerKey === node.host.peer && state === 'down',
      ),
    );
}
