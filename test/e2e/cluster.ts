// A dev cluster of real processes for a test: `bin/dog dev up` in a directory of its own, its nodes' sockets and pids, and
// ways to kill and start them. Ends only processes that it started.

import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ask, parseTarget } from '../../src/cli/client.ts';
import type { ClusterData, NodeData, StatusData } from '../../src/core/admin-shapes.ts';
import { run, type ToolResult } from '../nbd/tools.ts';

const ROOT = path.join(import.meta.dirname, '..', '..');
const DOG = path.join(ROOT, 'bin', 'dog');
const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;
const GONE_TIMEOUT_MS = 15_000;
const POLL_MS = 100;
/** Of each node's log, in the message of a failure. */
const SHOWN_LOG_CHARACTERS = 4000;
/** What the supervisor says is kept for a failure's message, up to this. */
const MAX_LOG_CHARACTERS = 200_000;

export interface ClusterNode {
  readonly name: string;
  readonly pid: number;
  readonly dir: string;
  readonly api: string;
  readonly nbd: { readonly unix: string; readonly tcp: string };
}

export interface ClusterOptions {
  readonly nodes: number;
  readonly copies: number;
  /** `NAME:SIZE`, for example `disk:256MiB`. */
  readonly volume: string;
  /** An earlier cluster's, to go on with its data; a fresh one unless given. */
  readonly dir?: string;
}

export interface Cluster {
  readonly dir: string;
  readonly volume: string;
  readonly nodes: readonly ClusterNode[];
  /** Node by number from 1, with its present pid. */
  node(n: number): ClusterNode;
  /** `nbd+unix:///VOLUME?socket=...` on a node. */
  uri(n: number): string;
  tcpUri(n: number): string;
  /** Signals nodes, all at once, and waits until the processes are gone. SIGKILL unless given. */
  kill(which: readonly number[], signal?: NodeJS.Signals): Promise<void>;
  /** `dog dev start N`; resolves when the node is up. */
  start(n: number): Promise<void>;
  /** Runs `dog --dir DIR ARGS`. */
  dog(...args: string[]): Promise<ToolResult>;
  /** What node 1, or another, says of the cluster. */
  info(n?: number): Promise<ClusterData>;
  /** What the map of a node says of all members. */
  members(n: number): Promise<readonly NodeData[]>;
  /** Resolves when all members are up and all partitions have all their copies in sync. */
  settled(timeoutMs: number): Promise<void>;
  /** The end of each node's log, for the message of a failure. */
  logs(): string;
  /** Ends the supervisor and its nodes in order, keeps the data. */
  down(): Promise<void>;
  /** `down`, and the directory is removed. */
  stop(): Promise<void>;
}

/** Starts a cluster and waits until it is ready. Rejects with the supervisor's output when it does not get there. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const dir = options.dir ?? fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-e2e-'));
  const size = ['--nodes', String(options.nodes), '--copies', String(options.copies)];
  const args = ['dev', 'up', '--dir', dir, ...size, '--volume', options.volume, '--json'];
  const child = spawn(DOG, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  const nodes = await readyLine(child);
  return clusterOf(child, { dir, volume: options.volume.split(':')[0] ?? '', nodes });
}

function readyLine(child: ChildProcess): Promise<ClusterNode[]> {
  return new Promise((resolve, reject) => {
    let output = '';
    let line = '';
    const fail = (why: string) => {
      child.kill('SIGTERM');
      reject(new Error(`dog dev up ${why}\n${output}`));
    };
    const timer = setTimeout(() => fail('was not ready in time'), READY_TIMEOUT_MS);
    child.once('exit', (code) => fail(`ended with ${code}`));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      if (output.length < MAX_LOG_CHARACTERS) output += text;
    });
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      if (output.length < MAX_LOG_CHARACTERS) output += text;
      line += text;
      const end = line.indexOf('\n');
      if (end < 0) return;
      const ready: { event: string; nodes: ClusterNode[] } = JSON.parse(line.slice(0, end));
      line = line.slice(end + 1);
      if (ready.event !== 'ready') return;
      clearTimeout(timer);
      child.removeAllListeners('exit');
      resolve(ready.nodes.map(plainAddresses));
    });
  });
}

/** Paths and HOST:PORT, with or without the scheme in front. */
function plainAddresses(node: ClusterNode): ClusterNode {
  const unix = node.nbd.unix.replace(/^unix:/, '');
  return { ...node, nbd: { unix, tcp: node.nbd.tcp.replace(/^tcp:/, '') } };
}

function clusterOf(
  child: ChildProcess,
  made: { readonly dir: string; readonly volume: string; readonly nodes: ClusterNode[] },
): Cluster {
  const { dir, volume, nodes } = made;
  const at = (n: number): ClusterNode => {
    const found = nodes[n - 1];
    if (found === undefined) throw new RangeError(`there is no node ${n}`);
    return found;
  };
  const status = async (n: number) =>
    (await ask<StatusData>(parseTarget(at(n).api), '/v1/status')).data;
  const info = async (n = 1) => {
    return (await ask<ClusterData>(parseTarget(at(n).api), '/v1/cluster')).data;
  };
  const members = async (n: number) => {
    return (await ask<readonly NodeData[]>(parseTarget(at(n).api), '/v1/nodes')).data;
  };
  const dog = (...args: string[]) => run(DOG, ['--dir', dir, ...args]);
  const start = async (n: number) => {
    const started = await dog('dev', 'start', String(n));
    if (started.code !== 0) throw new Error(`dog dev start ${n}: ${started.stderr}`);
    const isUp = async () => (await status(n)).phase === 'up';
    await until(`node ${n} is up`, isUp, READY_TIMEOUT_MS);
    nodes[n - 1] = { ...at(n), pid: (await status(n)).pid };
  };
  const settled = (timeoutMs: number) => {
    const check = async () => isSettled(await info(), nodes.length);
    return until('all partitions are in sync', check, timeoutMs);
  };
  const logs = () => nodes.map((node) => `${node.name}:\n${logTail(node)}`).join('\n');
  const uris = {
    uri: (n: number) => `nbd+unix:///${volume}?socket=${at(n).nbd.unix}`,
    tcpUri: (n: number) => `nbd://${at(n).nbd.tcp}/${volume}`,
  };
  const pids = (which: readonly number[]) => which.map((n) => at(n).pid);
  const kill: Cluster['kill'] = (which, signal) => killed(pids(which), signal);
  const asked = { node: at, info, members, dog, logs, settled };
  return { dir, volume, nodes, ...asked, ...uris, kill, start, ...endsOf(child, dir) };
}

function endsOf(child: ChildProcess, dir: string): Pick<Cluster, 'down' | 'stop'> {
  const down = () => ended(child);
  const stop = async () => {
    await down();
    fs.rmSync(dir, { recursive: true, force: true });
  };
  return { down, stop };
}

async function killed(pids: readonly number[], signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  for (const pid of pids) process.kill(pid, signal);
  const areGone = () => Promise.resolve(!pids.some(isAlive));
  await until('killed processes are gone', areGone, GONE_TIMEOUT_MS);
}

function logTail(node: ClusterNode): string {
  const file = path.join(node.dir, 'log');
  return fs.existsSync(file) ? fs.readFileSync(file, 'utf8').slice(-SHOWN_LOG_CHARACTERS) : '';
}

/** All members are up, and nothing is left to bring in sync. */
export function isSettled({ members, partitions }: ClusterData, nodes: number): boolean {
  return members.up === nodes && partitions.settled === partitions.total;
}

/** SIGTERM, and SIGKILL for a supervisor that does not end in time: that is an error of its own. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error('dog dev up did not end in time'));
    }, STOP_TIMEOUT_MS);
    child.once('exit', () => {
      clearTimeout(timer);
      resolve();
    });
    child.kill('SIGTERM');
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Asks again every 100 ms, or as often as told. An error of `check` counts as "not yet" and is told at the end. */
export async function until(
  what: string,
  check: () => Promise<boolean>,
  timeoutMs: number,
  pollMs = POLL_MS,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown = '';
  while (performance.now() < deadline) {
    try {
      if (await check()) return;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  throw new Error(`not in ${timeoutMs} ms: ${what} ${last}`);
}
