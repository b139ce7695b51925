// Clusters of hundreds on the simulated cable: whole nodes, no volumes. What a Stage checks at each event would cost more
// than the cluster; here the state's hash is compared at every index (A4), the members at every epoch (A5), and figures
// are taken: time to a verdict, epochs, messages and bytes by kind, events.

import { nodeConfig } from '../src/config.ts';
import { MIB } from '../src/core/units.ts';
import type { ClusterView } from '../src/core/view.ts';
import { Cable } from './sim-network.ts';
import { type BuildNode, type NodePlan, type NodeUnderTest, SimNode } from './sim-node.ts';
import type { SimRandom } from './sim-random.ts';
import { Traffic } from './traffic.ts';
import { RunFailure, type World } from './world.ts';

/** How often a waited-for condition is looked at. */
const LOOK_EVERY_MS = 50;
/** Nodes that join at once: a cluster of hundreds is switched on in steps. */
const JOIN_BATCH = 250;
const JOIN_LIMIT_S = 120;
const PLACED_LIMIT_S = 300;
const SMALL_JOURNAL_BYTES = 8 * MIB;

export interface ScaleOptions {
  readonly nodes: number;
  readonly zones: number;
  readonly partitions: number;
}

export interface WorkPerNode {
  readonly views: number;
  readonly syncs: number;
  /** Data channels that it dialled. */
  readonly channels: number;
}

export class ScaleStage {
  readonly world: World;
  readonly cable: Cable;
  readonly nodes: SimNode[] = [];
  readonly random: SimRandom;
  readonly traffic = new Traffic();
  readonly options: ScaleOptions;
  readonly #build: BuildNode;
  readonly #hashAt = new Map<number, string>();
  readonly #membersAt = new Map<number, string>();
  /** Views that nodes published, all together. */
  viewCount = 0;
  /** Newest view of anybody. */
  newest: ClusterView | undefined;
  /** Members that were called down, in the order of verdicts: `epoch node`. */
  readonly verdicts: { readonly epoch: number; readonly node: string; readonly atMs: number }[] =
    [];

  constructor(world: World, build: BuildNode, options: ScaleOptions) {
    this.world = world;
    this.options = options;
    this.#build = build;
    this.random = world.random.fork('story');
    this.cable = new Cable(world);
    this.cable.traffic = this.traffic;
    for (let i = 0; i < options.nodes; i += 1) {
      this.nodes.push(new SimNode(this.cable, i + 1, this.#plan(this.zoneOf(i))));
    }
  }

  zoneOf(i: number): string {
    return `z${i % this.options.zones}`;
  }

  inZone(zone: string): readonly SimNode[] {
    return this.nodes.filter((_, i) => this.zoneOf(i) === zone);
  }

  #plan(zone: string): NodePlan {
    return {
      build: this.#build,
      config: nodeConfig({ zone, journalBytes: SMALL_JOURNAL_BYTES }),
      wrapPorts: (_name, ports) => ports,
      onView: (node, view, stateHash) => this.#noteView(node, view, stateHash),
      onTrace: () => {},
    };
  }

  #noteView(node: SimNode, view: ClusterView, stateHash: string): void {
    this.viewCount += 1;
    const known = this.#hashAt.get(view.index);
    if (known === undefined) this.#hashAt.set(view.index, stateHash);
    else if (known !== stateHash) this.world.fail(`A4: ${node.name} differs at ${view.index}`);
    const before = this.newest;
    if (before !== undefined && view.index <= before.index) return;
    this.newest = view;
    if (before !== undefined && view.members !== before.members) this.#noteMembers(before, view);
  }

  #noteMembers(before: ClusterView, view: ClusterView): void {
    const text = [...view.members.values()].map(({ node, state }) => `${node}${state}`).join();
    const known = this.#membersAt.get(view.epoch);
    if (known !== undefined && known !== text)
      this.world.fail(`A5: epoch ${view.epoch} is not one`);
    this.#membersAt.set(view.epoch, text);
    for (const member of view.members.values()) {
      const was = before.members.get(member.node)?.state;
      if (member.state !== 'down' || was !== 'up') continue;
      const node = this.nodes.find(({ host }) => host.peer === member.peerKey)?.name ?? '?';
      this.verdicts.push({ epoch: view.epoch, node, atMs: this.world.nowMs });
    }
  }

  /** I is T in each partition, and nobody joins. */
  get isPlaced(): boolean {
    const view = this.newest;
    if (view === undefined) return false;
    return [...view.policies.keys()].every((id) => [...view.explicitPartitions(id)].length === 0);
  }

  get running(): readonly SimNode[] {
    return this.nodes.filter((node) => node.isRunning);
  }

  get epoch(): number {
    return this.newest?.epoch ?? 0;
  }

  get leader(): SimNode | undefined {
    return this.running.find((node) => node.running().handle.status().role === 'leader');
  }

  isVoter(node: SimNode): boolean {
    const member = this.newest?.memberByKey(node.host.peer);
    return member !== undefined && this.newest?.voters.includes(member.node) === true;
  }

  stateOf(node: SimNode): string {
    return this.newest?.memberByKey(node.host.peer)?.state ?? 'unknown';
  }

  // --------------------------------------------------------------------------------------------- the cluster

  /** Formats on the first node; the others join in steps. Ends when all are up and have applied the same. */
  async bootstrap(): Promise<void> {
    const [first, ...others] = this.nodes;
    if (first === undefined) return;
    await first.start();
    const { partitions } = this.options;
    await this.ask(first, (handle) => handle.format({ name: 'scale', copies: 3, partitions }));
    await this.until('the first node is up', () => isUp(first), 30);
    for (let at = 0; at < others.length; at += JOIN_BATCH) {
      await this.#joinAll(others.slice(at, at + JOIN_BATCH), first);
    }
    await this.until('all partitions are at rest', () => this.isPlaced, PLACED_LIMIT_S);
    await this.settles('after the bootstrap', 120);
  }

  async #joinAll(batch: readonly SimNode[], member: SimNode): Promise<void> {
    for (const node of batch) await node.start();
    const token = await this.ask(member, (handle) => handle.invite());
    let left = batch.length;
    batch.forEach((node) => {
      const place = { zone: this.zoneOf(this.nodes.indexOf(node)), weight: 1 };
      const { process, handle } = node.running();
      this.world.enter(process, () => {
        handle.join(token, place).then(
          () => {
            left -= 1;
          },
          (error: unknown) => this.world.fail(`${node.name} can not join`, error),
        );
      });
    });
    await this.until('joined', () => left === 0 && batch.every(isUp), JOIN_LIMIT_S);
  }

  ask<T>(node: SimNode, call: (handle: NodeUnderTest) => Promise<T>): Promise<T> {
    const { process, handle } = node.running();
    let promise: Promise<T> | undefined;
    this.world.enter(process, () => {
      promise = call(handle);
    });
    if (promise === undefined) throw new RunFailure(`${node.name} threw`);
    return this.world.wait(`a call at ${node.name}`, promise, { seconds: 60 });
  }

  /** One leader, and every running node is up and has applied what the newest view has. */
  settles(when: string, seconds: number): Promise<void> {
    return this.until(`C-conv ${when}`, () => this.#unsettled(), seconds);
  }

  #unsettled(): string | true {
    const running = this.running;
    const behind = running.filter(
      (node) => node.running().handle.view()?.index !== this.newest?.index,
    );
    if (behind.length > 0) return `${behind.length} nodes are behind, ${behind[0]?.name} first`;
    const notUp = running.filter((node) => !isUp(node));
    if (notUp.length > 0) return `${notUp.length} nodes are not up, ${notUp[0]?.name} first`;
    const leaders = running.filter((node) => node.running().handle.status().role === 'leader');
    if (leaders.length !== 1) return `${leaders.length} leaders`;
    const dead = this.nodes.find((node) => !node.isRunning && this.stateOf(node) === 'up');
    return dead === undefined ? true : `${dead.name} is dead and up in the map`;
  }

  /** What the nodes did since the start, as a mean of each: what must not grow with the square of their number. */
  get workPerNode(): WorkPerNode {
    const count = this.nodes.length;
    const syncs = this.nodes.reduce((sum, { disk }) => sum + disk.syncCount, 0);
    const channels = this.cable.channelCount / count;
    return { views: this.viewCount / count, syncs: syncs / count, channels };
  }

  // ---------------------------------------------------------------------------------------------------- time

  async run(seconds: number): Promise<void> {
    await this.world.run({ seconds });
  }

  /** Waits for `true`; a text says what is missing. */
  async until(what: string, condition: () => boolean | string, seconds: number): Promise<void> {
    const endMs = this.world.nowMs + seconds * 1000;
    for (;;) {
      const answer = condition();
      if (answer === true) return;
      if (this.world.nowMs >= endMs) {
        throw new RunFailure(`${what}: not within ${seconds} s: ${String(answer)}`);
      }
      await this.world.runUntil(() => false, LOOK_EVERY_MS);
    }
  }

  /** Mean bytes per second and node on the cable since `traffic.reset()`, by kind. */
  bytesPerNodeSecond(sinceMs: number): ReadonlyMap<string, number> {
    const seconds = (this.world.nowMs - sinceMs) / 1000;
    const rates = new Map<string, number>();
    for (const [kind, { bytes }] of this.traffic.sums) {
      rates.set(kind, bytes / seconds / this.nodes.length);
    }
    return rates;
  }
}

export function isUp(node: SimNode): boolean {
  return node.isRunning && node.running().handle.status().phase === 'up';
}
