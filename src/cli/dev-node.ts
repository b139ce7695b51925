// One node process of a dev cluster: start it, wait for its API, end it. It is never started again by itself.

import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
} from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AdminAnswer, StatusData } from '../core/admin-shapes.ts';
import { type Ask, ask, type Target } from './client.ts';
import type { PlannedNode } from './dev-plan.ts';
import { CommandError } from './failure.ts';

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const SHEEP = fileURLToPath(new URL('../../bin/sheep', import.meta.url));
const JOURNAL = '64MiB';
/** A dev node's log starts anew above this size; one old log is kept. */
const MAX_LOG_BYTES = 16 * 1024 * 1024;
const LOG_TAIL_BYTES = 2000;
/** How `sheep` begins the line that says why it ends. */
const WORDS = 'sheep: ';
const POLL_MS = 40;
/** Until a new process answers at its API: replay of a full journal on a slow disk included. */
const API_TIMEOUT_MS = 60_000;
const PROBE_TIMEOUT_MS = 2_000;
/** Longer than a node's own bound of an orderly end. */
const STOP_TIMEOUT_MS = 15_000;

export class DevNode {
  readonly plan: PlannedNode;
  readonly dir: string;
  readonly target: Target;
  #child: ChildProcess | undefined;
  #ended: Promise<Ended> | undefined;
  #lastEnd: Ended | undefined;

  constructor(clusterDir: string, plan: PlannedNode) {
    this.plan = plan;
    this.dir = path.join(clusterDir, plan.name);
    this.target = { socketPath: path.join(this.dir, 'sheep.sock') };
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  get logFile(): string {
    return path.join(this.dir, 'log');
  }

  /** How `dev up --json` describes a node. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      name: this.plan.name,
      pid: this.pid ?? null,
      dir: this.dir,
      api: `unix:${path.join(this.dir, 'sheep.sock')}`,
      nbd: { unix: path.join(this.dir, 'nbd.sock'), tcp: `127.0.0.1:${this.plan.nbdPort}` },
    };
  }

  /** Starts the process; `onEnd` is called once when it has ended, however that came. */
  start(options: { joinToken?: string; onEnd: (ended: Ended) => void }): void {
    mkdirSync(this.dir, { recursive: true, mode: 0o700 });
    if (existsSync(this.logFile) && statSync(this.logFile).size > MAX_LOG_BYTES) {
      renameSync(this.logFile, `${this.logFile}.old`);
    }
    const log = openSync(this.logFile, 'a');
    // By its own first lines, which choose node and how much memory it may keep; a stand-in of tests by our node.
    const standIn = process.env['SHEEPDOG_SHEEP'];
    const program = standIn === undefined ? SHEEP : process.execPath;
    const args = [...(standIn === undefined ? [] : [standIn]), ...this.#flags(options.joinToken)];
    // Its own process group: Ctrl-C reaches the supervisor alone, which ends the nodes in order.
    const child = spawn(program, args, {
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
    this.#child = child;
    const { promise, resolve } = Promise.withResolvers<Ended>();
    this.#ended = promise;
    const finish = (ended: Ended): void => {
      if (this.#child !== child) return;
      this.#child = undefined;
      this.#lastEnd = ended;
      resolve(ended);
      options.onEnd(ended);
    };
    child.on('error', () => finish({ code: null, signal: null }));
    child.on('exit', (code, signal) => finish({ code, signal }));
  }

  /** Resolves with the first status that `isFine`. Rejects when the process ends, or time is up, or `signal` aborts. */
  async waitFor(
    what: string,
    isFine: (status: StatusData) => boolean,
    options: { readonly timeoutMs?: number; readonly signal: AbortSignal },
  ): Promise<StatusData> {
    const timeoutMs = options.timeoutMs ?? API_TIMEOUT_MS;
    const until = performance.now() + timeoutMs;
    for (;;) {
      options.signal.throwIfAborted();
      if (!this.isRunning) throw this.#endError();
      const status = await this.status();
      if (status !== undefined && isFine(status)) return status;
      if (performance.now() > until) {
        const state =
          status === undefined ? 'does not answer' : `is ${status.phase}: ${status.waitingFor}`;
        const message = `${this.plan.name} is not ${what} after ${timeoutMs / 1000} s, it ${state}`;
        throw new CommandError('timeout', message, `look into ${this.logFile}`);
      }
      await pause(POLL_MS);
    }
  }

  /** Its status when it has come as far as it gets by itself, or after so long. Rejects when the process ends first. */
  startedAs(ms: number, signal: AbortSignal): Promise<StatusData> {
    const until = performance.now() + ms;
    const isThere = ({ phase }: StatusData) => phase !== 'starting' || performance.now() > until;
    return this.waitFor('listening', isThere, { signal });
  }

  /** Undefined when nobody answers. */
  async status(): Promise<StatusData | undefined> {
    try {
      const options = { timeoutMs: PROBE_TIMEOUT_MS };
      return (await ask<StatusData>(this.target, '/v1/status', options)).data;
    } catch {
      return undefined;
    }
  }

  ask<Data>(route: string, options?: Ask): Promise<AdminAnswer<Data>> {
    return ask<Data>(this.target, route, options);
  }

  /** As by a crash. Resolves when the process is gone. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#ended;
  }

  /** Orderly, within a bound; then not. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  logTail(): string {
    if (!existsSync(this.logFile)) return '';
    return readFileSync(this.logFile)
      .subarray(-LOG_TAIL_BYTES)
      .toString()
      .trim()
      .split('\n')
      .slice(-3)
      .join('\n');
  }

  /** What a node that ended by itself said for people, with the cure; undefined of one that was killed, or said nothing. */
  lastWords(ended: Ended | undefined): string | undefined {
    if (ended?.code == null || ended.code === 0) return undefined;
    const last = this.logTail().split('\n').at(-1) ?? '';
    return last.startsWith(WORDS) ? last.slice(WORDS.length) : undefined;
  }

  #endError(): CommandError {
    const how = describeEnd(this.#lastEnd);
    const said = this.lastWords(this.#lastEnd) ?? this.logTail();
    const message = `${this.plan.name} ended (${how}): ${said || 'its log is empty'}`;
    return new CommandError('failed', message, `look into ${this.logFile}`);
  }

  #flags(joinToken: string | undefined): readonly string[] {
    const { name, controlPort, nbdPort } = this.plan;
    return [
      ...['--data', this.dir],
      ...['--listen', `/ip4/127.0.0.1/tcp/${controlPort}`],
      ...['--zone', `z${name.slice(1)}`],
      ...['--nbd', `unix:${path.join(this.dir, 'nbd.sock')}`],
      ...['--nbd', `tcp-plain:127.0.0.1:${nbdPort}`],
      ...['--api', `unix:${path.join(this.dir, 'sheep.sock')}`],
      ...['--journal', JOURNAL],
      ...(joinToken === undefined ? [] : ['--join', joinToken]),
    ];
  }
}

export function describeEnd(ended: Ended | undefined): string {
  if (ended?.signal != null) return ended.signal;
  return ended?.code == null ? 'could not start' : `exit code ${ended.code}`;
}

export function pause(ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  setTimeout(resolve, ms);
  return promise;
}
