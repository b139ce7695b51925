// The questions that a story can end with: that the cluster has come to rest, that nothing acknowledged is lost, that all
// copies are equal and where the ring says. Each throws a RunFailure that names the check.

import type { NodeId } from '../src/core/ids.ts';
import { MAX_SLOW_HOLD_MS } from '../src/core/slow.ts';
import { MIB, OBJECT_BYTES } from '../src/core/units.ts';
import type { ClusterView } from '../src/core/view.ts';
import { checkBounds } from './checkers/bounds.ts';
import { whatIsMissing } from './checkers/convergence.ts';
import { checkClosedCopies } from './checkers/copies.ts';
import { RecoveryChecker } from './checkers/recovery.ts';
import {
  checkContent,
  checkPlaces,
  type ReadPiece,
  type ReplicaUnderTest,
} from './checkers/replicas.ts';
import type { Guest, GuestVolume } from './guest.ts';
import type { Cable } from './sim-network.ts';
import type { SimNode } from './sim-node.ts';
import { RunFailure, type World } from './world.ts';

const READ_PIECE_BYTES = MIB;
/** A guest that is told of another holder asks again after this. */
const LOCK_RETRY_MS = 100;
/** Of runs, whose histories are searched for an order, too: it costs a twentieth of the run. */
const SEARCHED_SHARE = 0.1;
/** How often all copies are looked at while they are watched. */
const WATCH_EVERY_MS = 50;

/** What the checks look at; stage.ts. */
interface CheckedStage {
  readonly world: World;
  readonly cable: Cable;
  readonly running: readonly SimNode[];
  readonly volumes: readonly GuestVolume[];
  node(name: string): SimNode;
  until(
    what: string,
    condition: () => boolean | string | undefined,
    limit: { readonly seconds: number },
  ): Promise<void>;
}

export class Checks {
  readonly #stage: CheckedStage;
  /** Processes that were seen, numbered. */
  readonly #lives = new Map<object, number>();

  constructor(stage: CheckedStage) {
    this.#stage = stage;
  }

  /** C-conv within this much simulated time, counted from when nobody is kept away as slow any more (C1.7). */
  async converges(limit: { readonly seconds: number }): Promise<void> {
    const hold = { seconds: MAX_SLOW_HOLD_MS / 1000 };
    await this.#stage.until('slow replicas may join again', () => this.#slow(), hold);
    await this.#stage.until('C-conv', () => this.#missing(), limit);
  }

  #slow(): string | undefined {
    const slow = this.#stage.running.flatMap((node) => node.running().handle.status().slowNodes);
    return slow.length === 0 ? undefined : `node ${slow[0]} is kept away`;
  }

  #missing(): string | undefined {
    return whatIsMissing(
      this.#stage.running.map((node) => {
        const { handle } = node.running();
        return { name: node.name, status: handle.status(), view: handle.view() };
      }),
    );
  }

  /** C-lock: the holder is dead, a majority lives: `guest` has the lock within the limit, asking again and again. */
  async lockIsReachable(guest: Guest, limit: { readonly seconds: number }): Promise<void> {
    const endMs = this.#stage.world.nowMs + limit.seconds * 1000;
    for (;;) {
      const code = await guest.tryWrite(0);
      const { nowMs } = this.#stage.world;
      if (code === undefined && nowMs <= endMs) return;
      if (code !== 'held' || nowMs > endMs) {
        const { name } = guest.volume;
        throw new RunFailure(`C-lock: ${name}: no lock in ${limit.seconds} s: ${code ?? 'late'}`);
      }
      await this.#stage.world.runUntil(() => false, LOCK_RETRY_MS);
    }
  }

  /** C-dur, C-lin, C-writer: reads every block that was ever written through `guest`, then judges the history. */
  async everyAcknowledgedWriteIsReadable(guest: Guest): Promise<void> {
    await guest.readAll();
    this.historyIsLinearizable();
  }

  historyIsLinearizable(): void {
    for (const { name, history } of this.#stage.volumes) {
      const wrong = history.check();
      if (wrong !== undefined) throw new RunFailure(`${name}: ${wrong}`);
    }
  }

  /** The same by a search, of one run in ten: who judges the others' histories is judged itself. */
  someHistoriesAreSearched(): void {
    const { world, volumes } = this.#stage;
    if (!world.random.fork('search').chance(SEARCHED_SHARE)) return;
    for (const { name, history } of volumes) {
      const wrong = history.searchOrders();
      if (wrong !== undefined) throw new RunFailure(`${name}: ${wrong}`);
    }
  }

  /** At rest: all copies are equal, and where the ring says. Waits for the purge of surplus copies. */
  async replicasAreIdentical(limit: { readonly seconds: number } = { seconds: 60 }): Promise<void> {
    await this.converges(limit);
    await this.#stage.until('copies are where the ring says', () => this.#misplaced(), limit);
    const view = this.#view();
    const read: ReadPiece = (replica, oid, offset) => this.#read(replica, oid, offset);
    const wrong = await checkContent(view, this.#replicas(), read);
    if (wrong !== undefined) throw new RunFailure(wrong);
    this.bounds();
  }

  /** Nothing is known to be damaged on any node that runs. */
  async noCopyIsSuspect(limit: { readonly seconds: number } = { seconds: 60 }): Promise<void> {
    await this.#stage.until('all damage is healed', () => this.#suspects(), limit);
  }

  #suspects(): string | undefined {
    for (const node of this.#stage.running) {
      const count = node.running().handle.inspect().store?.suspects.size ?? 0;
      if (count > 0) return `${node.name} has ${count} damaged copies`;
    }
    return undefined;
  }

  /** From now on, all the time: what one member of an in-sync set has as closed all of them have (I1, C-move). */
  watchCopies(): void {
    const { world } = this.#stage;
    const look = (): void => {
      const wrong = checkClosedCopies(this.#newestView(), this.#replicas());
      if (wrong !== undefined) world.fail(wrong);
      else world.schedule(WATCH_EVERY_MS, undefined, look);
    };
    look();
  }

  #newestView(): ClusterView {
    const views = this.#stage.running.map((node) => node.running().handle.view());
    const known = views.filter((view) => view !== undefined);
    return known.reduce((one, other) => (other.index > one.index ? other : one));
  }

  /** From now on, all the time: what each node tells of its recovery is honest. */
  watchRecovery(): void {
    const { world } = this.#stage;
    const checker = new RecoveryChecker();
    const look = (): void => {
      for (const node of this.#stage.running) {
        const { process, handle } = node.running();
        const { recovery, view } = handle.inspect();
        if (recovery === undefined || view === undefined || !process.isAlive) continue;
        const life = `${node.name} started ${this.#lifeOf(process)}`;
        const wrong = checker.note(life, recovery, view);
        if (wrong === undefined) continue;
        world.fail(wrong);
        return;
      }
      world.schedule(WATCH_EVERY_MS, undefined, look);
    };
    look();
  }

  #lifeOf(process: object): number {
    const known = this.#lives.get(process) ?? this.#lives.size + 1;
    this.#lives.set(process, known);
    return known;
  }

  bounds(): void {
    const nodes = this.#stage.running.map((node) => ({
      name: node.name,
      timerCount: node.running().process.timerCount,
      usedBytes: node.disk.usedBytes,
      capacityBytes: node.disk.capacityBytes,
    }));
    const wrong = checkBounds(nodes, this.#stage.cable.pipeCount);
    if (wrong !== undefined) throw new RunFailure(wrong);
  }

  #misplaced(): string | undefined {
    return checkPlaces(this.#view(), this.#replicas());
  }

  #view(): ClusterView {
    const view = this.#stage.running[0]?.running().handle.view();
    if (view === undefined) throw new RunFailure('no node has a view');
    return view;
  }

  #replicas(): readonly ReplicaUnderTest[] {
    const replicas: ReplicaUnderTest[] = [];
    for (const { name, running } of this.#stage.running.map((node) => ({
      name: node.name,
      running: node.running(),
    }))) {
      const { store } = running.handle.inspect();
      const node: NodeId | undefined = running.handle.status().node;
      if (store !== undefined && node !== undefined) replicas.push({ name, node, store });
    }
    return replicas;
  }

  #read(
    replica: ReplicaUnderTest,
    oid: {
      readonly generation: Parameters<ReplicaUnderTest['store']['row']>[0];
      readonly index: number;
    },
    offset: number,
  ): Promise<{ readonly sums: Uint8Array; readonly data: Uint8Array }> {
    const { world } = this.#stage;
    const { process } = this.#stage.node(replica.name).running();
    const count = Math.min(READ_PIECE_BYTES, OBJECT_BYTES - offset);
    const promise = new Promise<{ readonly sums: Uint8Array; readonly data: Uint8Array }>(
      (resolve, reject) => {
        world.enter(process, () => {
          replica.store.readForCopy(
            oid.generation,
            oid.index,
            offset,
            count,
            (error, sums, data) => {
              if (error === undefined) resolve({ sums: sums.slice(), data: data.slice() });
              else
                reject(new RunFailure(`${replica.name}: a copy can not be read: ${error.message}`));
            },
          );
        });
      },
    );
    return world.wait(`read of a copy on ${replica.name}`, promise, { seconds: 30 });
  }
}
