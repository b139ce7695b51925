// Bare `sheep` processes for tests of members that come and go: each with a directory of its own under one that is removed
// afterwards, any free port, its sockets in its directory. Ends only processes that it started.

import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ask, parseTarget } from '../../src/cli/client.ts';
import type { ClusterData, NodeData, StatusData } from '../../src/core/admin-shapes.ts';
import { run, type ToolResult } from '../nbd/tools.ts';
import { until } from './cluster.ts';

const ROOT = path.join(import.meta.dirname, '..', '..');
const DOG = path.join(ROOT, 'bin', 'dog');
const SHEEP = path.join(ROOT, 'bin', 'sheep');
const READY_MS = 60_000;
const MAX_LOG_CHARACTERS = 200_000;

export class Sheep {
  readonly dir: string;
  readonly api: string;
  readonly nbd: string;
  log = '';
  /** Listening sockets that outlive its processes: of its --nbd flags, in their order. */
  held: readonly number[] = [];
  #child: ChildProcess | undefined;
  #ended: Promise<number | null> | undefined;

  constructor(dir: string) {
    this.dir = dir;
    this.api = `unix:${path.join(dir, 'sheep.sock')}`;
    this.nbd = path.join(dir, 'nbd.sock');
  }

  /** Starts the process; resolves when its API answers, or rejects with its log when it ends first. */
  async start(...flags: readonly string[]): Promise<void> {
    const isWitness = flags.includes('--witness');
    const listen = flags.includes('--listen') ? [] : ['--listen', '/ip4/127.0.0.1/tcp/0'];
    const nbd = isWitness ? [] : ['--nbd', `unix:${this.nbd}`];
    const zone = ['--zone', path.basename(this.dir)];
    const args = ['--data', this.dir, '--journal', '16MiB', ...zone, ...listen, ...nbd, ...flags];
    const child = this.#spawn(args);
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.log = (this.log + text).slice(-MAX_LOG_CHARACTERS);
      });
    }
    this.#ended = new Promise((resolve) => {
      child.once('exit', (code) => {
        // Its successor may run already.
        if (this.#child === child) this.#child = undefined;
        resolve(code);
      });
    });
    const answers = async () => {
      if (this.#child === undefined) return true;
      return (await this.status()).pid === child.pid;
    };
    await until(`${this.dir} answers`, answers, READY_MS);
    if (this.#child === undefined) throw new Error(`it ended: ${this.log}`);
  }

  /** Starts a process that takes the place of the one that runs. Returns the exit code of that one. */
  async replace(...flags: readonly string[]): Promise<number | null> {
    const former = this.#ended;
    await this.start('--replace', ...flags);
    return (await former) ?? null;
  }

  /** What is held is passed as systemd does it, to the process that the shell becomes. */
  #spawn(args: readonly string[]): ChildProcess {
    if (this.held.length === 0) return spawn(SHEEP, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const env = { ...process.env, LISTEN_FDS: String(this.held.length) };
    const become = ['-c', 'LISTEN_PID=$$ exec "$@"', 'sh', SHEEP, ...args];
    return spawn('sh', become, { stdio: ['ignore', 'pipe', 'pipe', ...this.held], env });
  }

  async up(): Promise<void> {
    await until(`${this.dir} is up`, async () => (await this.status()).phase === 'up', READY_MS);
  }

  async status(): Promise<StatusData> {
    return (await ask<StatusData>(parseTarget(this.api), '/v1/status')).data;
  }

  async info(): Promise<ClusterData> {
    return (await ask<ClusterData>(parseTarget(this.api), '/v1/cluster')).data;
  }

  async members(): Promise<readonly NodeData[]> {
    return (await ask<readonly NodeData[]>(parseTarget(this.api), '/v1/nodes')).data;
  }

  async member(name: string): Promise<NodeData | undefined> {
    return (await this.members()).find((one) => one.name === name);
  }

  dog(...args: string[]): Promise<ToolResult> {
    return run(DOG, args, { env: { SHEEPDOG_API: this.api } });
  }

  /** `dog` that must succeed. */
  async must(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.dog(...args);
    if (code !== 0) throw new Error(`dog ${args.join(' ')}: ${code}: ${stderr}`);
    return stdout;
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  /** Signals the process and waits for its end. */
  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    this.#child?.kill(signal);
    return (await this.#ended) ?? null;
  }

  /** Waits until it has ended by itself. */
  async ended(): Promise<number | null> {
    return (await this.#ended) ?? null;
  }

  /** The disk is lost. */
  destroy(): void {
    fs.rmSync(this.dir, { recursive: true, force: true });
  }

  unsafeRecover(...flags: string[]): Promise<ToolResult> {
    return run(SHEEP, ['unsafe-recover', this.dir, ...flags]);
  }
}

/** Makes hosts n1, n2, ... on demand, and removes all of them afterwards. */
export class Hosts {
  readonly dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-hosts-'));
  readonly all: Sheep[] = [];

  make(): Sheep {
    const sheep = new Sheep(path.join(this.dir, `h${this.all.length + 1}`));
    this.all.push(sheep);
    return sheep;
  }

  /** A formatted first node. */
  async first(copies: number, ...options: string[]): Promise<Sheep> {
    const sheep = this.make();
    await sheep.start();
    await sheep.must('cluster', 'format', '-c', String(copies), '--partitions', '64', ...options);
    await sheep.up();
    return sheep;
  }

  /** One more member, up. */
  async join(by: Sheep, ...flags: string[]): Promise<Sheep> {
    const sheep = this.make();
    const token = (await by.must('cluster', 'invite', '--ttl', '10m', '--single-use')).trim();
    await sheep.start('--join', token, ...flags);
    await sheep.up();
    return sheep;
  }

  async stop(): Promise<void> {
    await Promise.all(this.all.map((sheep) => sheep.end('SIGKILL')));
    fs.rmSync(this.dir, { recursive: true, force: true });
  }

  get logs(): string {
    return this.all.map(({ dir, log }) => `${dir}:\n${log.slice(-4000)}`).join('\n');
  }
}
