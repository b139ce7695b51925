// The supervisor of a dev cluster: brings N node processes up in order, makes a cluster of them, ends them in order.
// It never starts a node again by itself: a crash is something to look at, and tests make crashes on purpose.

import { existsSync } from 'node:fs';
import path from 'node:path';
import type { ClusterData, InviteData, StatusData } from '../core/admin-shapes.ts';
import type { DevCommand, DevStatus } from './dev-control.ts';
import { DevNode, describeEnd, pause } from './dev-node.ts';
import { type DevPlan, savePlan } from './dev-plan.ts';
import { isClusterReady } from './dev-ready.ts';
import { asCommandError, CommandError } from './failure.ts';

export interface WantedVolume {
  readonly name: string;
  readonly sizeBytes: number;
}

const POLL_MS = 40;
/** Until all nodes are up and all partitions in sync, data of an earlier run included. */
const READY_TIMEOUT_MS = 120_000;
const LEFTOVER_TIMEOUT_MS = 15_000;
/** `dev start` waits so long for the node to be up; one without a quorum goes on by itself. */
const STARTED_MS = 10_000;

export class DevSupervisor {
  readonly dir: string;
  readonly nodes: readonly DevNode[];
  readonly #plan: DevPlan;
  readonly #say: (text: string) => void;
  readonly #stopping = new AbortController();
  #stopped: Promise<void> | undefined;
  /** Before that, a node that ends is told by the failure of `bringUp`. */
  #isUp = false;

  constructor(dir: string, plan: DevPlan, say: (text: string) => void) {
    this.dir = dir;
    this.#plan = plan;
    this.#say = say;
    this.nodes = plan.nodes.map((node) => new DevNode(dir, node));
  }

  /** All up, all partitions in sync, the volume there. Rejects with a CommandError; the caller then stops. */
  async bringUp(volume: WantedVolume | undefined): Promise<void> {
    await Promise.all(this.nodes.map((node) => this.#endLeftover(node)));
    const [first] = this.nodes;
    if (first === undefined) throw new CommandError('usage', 'a cluster has at least one node');
    for (const node of this.nodes) if (node.plan.isJoined || node === first) this.#start(node);
    await this.#formatOnce(first);
    for (const node of this.nodes) if (!node.plan.isJoined) await this.#joinOnce(node, first);
    for (const node of this.nodes) await this.#until(node, 'up', (status) => status.phase === 'up');
    if (volume !== undefined) await this.#createOnce(first, volume);
    await this.#untilSettled(first);
    this.#isUp = true;
  }

  /** Idempotent: a second Ctrl-C means the same as the first. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stopAll();
    return this.#stopped;
  }

  async handle(command: DevCommand): Promise<unknown> {
    if (command.command === 'status') return this.status();
    if (command.command === 'down') return this.stop().then(() => this.status());
    const node = this.nodes[Number(command.node) - 1];
    if (node === undefined) {
      const message = `there is no node ${command.node}; there are 1 to ${this.nodes.length}`;
      throw new CommandError('missing', message);
    }
    if (command.command === 'kill') return this.#killOne(node);
    if (command.command === 'start') return this.#startOne(node);
    throw new CommandError('usage', 'unknown command: dog and its supervisor differ in version');
  }

  status(): DevStatus {
    const nodes = this.nodes.map((node) => {
      return { ...node.describe(), state: node.isRunning ? 'running' : 'ended' };
    });
    return { pid: process.pid, nodes };
  }

  async #stopAll(): Promise<void> {
    this.#stopping.abort(new CommandError('failed', 'stopped'));
    // The first node last: what the others hand over on their way out finds somebody to decide.
    const [first, ...others] = this.nodes;
    await Promise.all(others.map((node) => node.stop()));
    await first?.stop();
  }

  async #killOne(node: DevNode): Promise<unknown> {
    if (!node.isRunning) throw new CommandError('missing', `${node.plan.name} does not run`);
    const pid = node.pid;
    await node.kill();
    return { name: node.plan.name, pid };
  }

  async #startOne(node: DevNode): Promise<unknown> {
    if (node.isRunning) {
      throw new CommandError('exists', `${node.plan.name} runs already (pid ${node.pid})`);
    }
    this.#start(node);
    // A node that is none any more ends as soon as it has heard so from the others.
    const { phase, waitingFor } = await node.startedAs(STARTED_MS, this.#stopping.signal);
    const isBlank = phase === 'blank' && node.plan.isJoined;
    return { ...node.describe(), isBlank, isUp: phase === 'up', waitingFor };
  }

  #start(node: DevNode, joinToken?: string): void {
    this.#stopping.signal.throwIfAborted();
    node.start({
      ...(joinToken === undefined ? {} : { joinToken }),
      onEnd: (ended) => {
        if (this.#stopping.signal.aborted || !this.#isUp) return;
        const { name } = node.plan;
        const cure = `start it again with "dog dev start ${name.slice(1)} --dir ${this.dir}"`;
        this.#say(`${name} ended (${describeEnd(ended)}); ${node.lastWords(ended) ?? cure}\n`);
      },
    });
  }

  /** A supervisor that was killed leaves its nodes behind; they answer in our own directory, so they are ours. */
  async #endLeftover(node: DevNode): Promise<void> {
    if (!existsSync(path.join(node.dir, 'sheep.sock'))) return;
    const status = await node.status();
    if (status === undefined) return;
    this.#say(`${node.plan.name} still runs from before (pid ${status.pid}); ending it\n`);
    process.kill(status.pid, 'SIGTERM');
    const until = performance.now() + LEFTOVER_TIMEOUT_MS;
    while (isAlive(status.pid)) {
      if (performance.now() > until) {
        const message = `${node.plan.name} (pid ${status.pid}) of an earlier run does not end`;
        throw new CommandError('busy', message, `end it: kill -9 ${status.pid}`);
      }
      await pause(POLL_MS);
    }
  }

  async #formatOnce(first: DevNode): Promise<void> {
    const status = await this.#until(first, 'listening', () => true);
    if (status.phase === 'blank' && first.plan.isJoined) {
      const message = `${first.plan.name} is blank: ${first.dir} was removed, or emptied`;
      const remedy = `put it back; or, if nothing under ${this.dir} is needed, remove all of it`;
      throw new CommandError('missing', message, remedy);
    }
    if (status.phase === 'blank') {
      const body = { name: 'dev', copies: this.#plan.copies };
      await first.ask<StatusData>('/v1/cluster/format', { method: 'POST', body });
    }
    this.#markJoined(first);
    if (this.nodes.some((node) => !node.plan.isJoined)) {
      await this.#until(first, 'up', (now) => now.phase === 'up');
    }
  }

  /** One after the other, so that n2 is the log's second node. */
  async #joinOnce(node: DevNode, first: DevNode): Promise<void> {
    const { data } = await first.ask<InviteData>('/v1/cluster/invite', {
      method: 'POST',
      body: {},
    });
    this.#start(node, data.token);
    await this.#until(node, 'a member', (status) => status.node !== null);
    this.#markJoined(node);
  }

  #markJoined(node: DevNode): void {
    if (node.plan.isJoined) return;
    node.plan.isJoined = true;
    savePlan(this.dir, this.#plan);
  }

  async #createOnce(first: DevNode, volume: WantedVolume): Promise<void> {
    try {
      await first.ask('/v1/volumes', { method: 'POST', body: volume });
    } catch (error) {
      if (asCommandError(error).code !== 'exists') throw error;
    }
  }

  async #untilSettled(first: DevNode): Promise<void> {
    const until = performance.now() + READY_TIMEOUT_MS;
    for (;;) {
      this.#stopping.signal.throwIfAborted();
      const { data } = await first.ask<ClusterData>('/v1/cluster');
      const { partitions } = data;
      const isSettled = partitions.settled === partitions.total;
      // Dear: asks all members.
      const warnings = isSettled ? [] : (await first.ask('/v1/health')).warnings;
      if (isClusterReady(data, warnings, this.nodes.length)) return;
      if (performance.now() > until) {
        const rest = partitions.total - partitions.settled;
        const message = `${rest} of ${partitions.total} partitions are not in sync after ${READY_TIMEOUT_MS / 1000} s`;
        throw new CommandError('timeout', message, `ask "dog cluster health --dir ${this.dir}"`);
      }
      await pause(POLL_MS);
    }
  }

  #until(
    node: DevNode,
    what: string,
    isFine: (status: StatusData) => boolean,
  ): Promise<StatusData> {
    return node.waitFor(what, isFine, { signal: this.#stopping.signal });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
