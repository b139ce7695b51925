// A host with its disk, its place on the cable, its clock, and the lives of the node that runs there.

import type { NodeConfig } from '../src/config.ts';
import type { NodeCondition } from '../src/core/condition.ts';
import type { PeerKey } from '../src/core/ids.ts';
import type { MoveStatus } from '../src/core/move-progress.ts';
import type { NodeRecovery } from '../src/core/recovery-progress.ts';
import type { ClusterView } from '../src/core/view.ts';
import type { NodeHandle } from '../src/node-handle.ts';
import type { Ports, TraceFields } from '../src/ports/ports.ts';
import type { ObjectStore } from '../src/storage/store-types.ts';
import { type ClockSkew, SimClock } from './sim-clock.ts';
import { SimDisk } from './sim-disk.ts';
import { SimDiskPort } from './sim-disk-port.ts';
import type { Host } from './sim-host.ts';
import type { Cable } from './sim-network.ts';
import { SimNetwork } from './sim-network-port.ts';
import { SimProcess } from './sim-process.ts';
import type { SimRandom } from './sim-random.ts';
import { SimTrace } from './sim-trace.ts';
import { RunFailure, type World } from './world.ts';

/** What checkers look at, beside the handle that fronts have. */
export interface Inspection {
  readonly store: ObjectStore | undefined;
  readonly view: ClusterView | undefined;
  readonly stateHash: string;
  readonly condition: NodeCondition | undefined;
  readonly recovery: NodeRecovery | undefined;
  readonly moves: readonly MoveStatus[] | undefined;
}

export type NodeUnderTest = NodeHandle & { inspect(): Inspection };
export type BuildNode = (ports: Ports, config: NodeConfig) => NodeUnderTest;

/** One life: the process and the handle that was built on its ports. */
export interface Life {
  readonly process: SimProcess;
  readonly handle: NodeUnderTest;
  readonly network: SimNetwork;
}

/** What a node needs from its stage. */
export interface NodePlan {
  readonly build: BuildNode;
  readonly config: NodeConfig;
  /** Wraps the ports of each life: mutants, faults. */
  readonly wrapPorts: (name: string, ports: Ports) => Ports;
  readonly onView: (node: SimNode, view: ClusterView, stateHash: string) => void;
  readonly onTrace: (node: SimNode, name: string, fields: TraceFields) => void;
}

export class SimNode {
  readonly name: string;
  readonly host: Host;
  readonly disk: SimDisk;
  readonly counters = new Map<string, number>();
  /** True while the stage expects this node to end by itself, for example after a failed sync. */
  mayFail = false;
  lives = 0;
  /** What ended the last life that ended by itself. */
  lastFall: unknown;
  readonly #world: World;
  readonly #cable: Cable;
  readonly #random: SimRandom;
  readonly #skew: ClockSkew;
  readonly #plan: NodePlan;
  #life: Life | undefined;

  /** @param original whose key this host has: its disk is to be a copy of that one's */
  constructor(cable: Cable, number: number, plan: NodePlan, original?: SimNode) {
    this.name = `node-${number}`;
    this.#cable = cable;
    this.#world = cable.world;
    this.#plan = plan;
    this.#random = this.#world.random.fork(this.name);
    const random = this.#random.fork('clock');
    this.#skew = { offsetMs: random.unit() * 1e6, rate: 0.95 + random.unit() * 0.1 };
    this.disk = new SimDisk(this.#world, this.name);
    this.host = {
      name: this.name,
      peer: original?.host.peer ?? (`sim-peer-${number}` as PeerKey),
      address: `/ip4/10.0.0.${number}/tcp/7000`,
      isPowered: true,
      network: undefined,
    };
    cable.addHost(this.host);
  }

  /** How fast its clock goes. */
  get clockRate(): number {
    return this.#skew.rate;
  }

  get isRunning(): boolean {
    return this.#life !== undefined;
  }

  /** The living node. */
  running(): Life {
    if (this.#life === undefined) throw new RunFailure(`${this.name} is not running`);
    return this.#life;
  }

  /** A new process on the same disk. Resolves when the handle says that it has started. */
  async start(): Promise<void> {
    if (this.#life !== undefined) throw new RunFailure(`${this.name} runs already`);
    this.lives += 1;
    this.host.isPowered = true;
    const process = new SimProcess(this.#world, this.name);
    process.onCrash = (error) => this.#fell(process, error);
    const network = new SimNetwork(this.#cable, this.host, process);
    const ports = this.#plan.wrapPorts(this.name, this.#ports(process, network));
    let started: Promise<void> | undefined;
    this.#world.note(this.name, 'start', `life ${this.lives}`);
    this.#world.enter(process, () => {
      const handle = this.#plan.build(ports, this.#plan.config);
      this.#life = { process, handle, network };
      handle.onFatal((error) => this.#fell(process, error));
      handle.onView((view) => this.#plan.onView(this, view, handle.inspect().stateHash));
      started = handle.start();
    });
    if (started !== undefined)
      await this.#world.wait(`start of ${this.name}`, started, { seconds: 60 });
  }

  /** Orderly end. */
  async stop(): Promise<void> {
    const { process, handle } = this.running();
    this.#world.inject('stop', this.name);
    let stopped: Promise<void> | undefined;
    this.#world.enter(process, () => {
      stopped = handle.stop();
    });
    if (stopped !== undefined)
      await this.#world.wait(`stop of ${this.name}`, stopped, { seconds: 30 });
    this.#end('stop', true);
  }

  /** kill -9: the page cache stays, the kernel resets the connections. */
  kill(): void {
    this.running();
    this.#world.inject('kill', this.name);
    this.#end('kill', true);
  }

  /** The date of the host jumps, forwards or back; its monotonic clock goes on. */
  jumpDate(ms: number): void {
    this.#world.inject('date-jump', this.name);
    this.#skew.dateJumpMs = (this.#skew.dateJumpMs ?? 0) + ms;
  }

  /** The host goes dark: unsynced bytes are lost or torn, nobody is told. */
  losePower(): void {
    this.host.isPowered = false;
    this.#world.inject('power-loss', this.name);
    this.#end('power loss', false);
    this.disk.losePower();
  }

  /** The disk is gone, with the key: what starts here next, on an empty one, is nobody that the cluster knows. */
  loseDisk(): void {
    if (this.isRunning) this.losePower();
    this.disk.wipe();
    this.#cable.giveNewKey(this.host);
  }

  #end(how: string, says: boolean): void {
    const life = this.#life;
    this.#life = undefined;
    this.#world.note(this.name, how, '');
    if (life === undefined) return;
    life.process.end();
    life.network.shutDown(says);
  }

  /** The process ended itself, or broke an invariant. Only the stage's own faults excuse that. */
  #fell(process: SimProcess, error: unknown): void {
    if (!process.isAlive) return;
    this.lastFall = error;
    this.#world.note(this.name, 'fell', error instanceof Error ? error.message : String(error));
    if (!this.mayFail) this.#world.fail(`${this.name} fell: ${String(error)}`, error);
    this.#end('fell', true);
  }

  #ports(process: SimProcess, network: SimNetwork): Ports {
    return {
      clock: new SimClock(this.#world, process, this.#skew),
      random: this.#random.fork('product'),
      network,
      disk: new SimDiskPort(this.disk, process),
      trace: new SimTrace(this.#world, process, this.counters, (name, fields) =>
        this.#plan.onTrace(this, name, fields),
      ),
    };
  }
}
