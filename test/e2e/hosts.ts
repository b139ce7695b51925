// Hosts on one machine: a network namespace each, joined by a bridge in one more, as TESTING.md section 2 draws them.
// Between them nothing is loopback, so data channels run over TLS, and a host's cable can be pulled. Needs root. Unix
// sockets cross namespaces: guests and `dog` stay outside.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ask, parseTarget } from '../../src/cli/client.ts';
import type { ClusterData, NodeData, StatusData } from '../../src/core/admin-shapes.ts';
import { run } from '../nbd/tools.ts';
import { deafen, heal } from './faulty-net.ts';

const ROOT = path.join(import.meta.dirname, '..', '..');
const SWITCH = 'sw';
const STOP_TIMEOUT_MS = 20_000;
/** Log lines of all nodes that a failure shows. */
const SHOWN_LOG_CHARACTERS = 4000;

/** Why there can be no namespaces here; empty when there can. */
export function missingNamespaces(): string {
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  const probe = `sheep${process.pid}-probe`;
  const added = spawnSync('ip', ['netns', 'add', probe]);
  if (added.status !== 0) return 'this machine allows no network namespaces';
  spawnSync('ip', ['netns', 'del', probe]);
  return '';
}

export class Hosts {
  readonly dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-e2e-'));
  readonly #prefix = `sheep${process.pid}`;
  readonly #count: number;
  readonly #nodes = new Map<number, ChildProcess>();

  /** Namespaces, bridge and cables of `count` hosts, 10.77.0.1 and up. Call `down` in any case. */
  constructor(count: number) {
    this.#count = count;
  }

  async up(): Promise<void> {
    const hub = this.#space(SWITCH);
    await ip('netns', 'add', hub);
    await ip('-n', hub, 'link', 'add', 'br0', 'type', 'bridge');
    await ip('-n', hub, 'link', 'set', 'br0', 'up');
    for (let n = 1; n <= this.#count; n += 1) {
      const space = this.#space(n);
      const cable = ['netns', hub, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space];
      await ip('netns', 'add', space);
      await ip('link', 'add', `p${n}`, ...cable);
      await ip('-n', hub, 'link', 'set', `p${n}`, 'master', 'br0', 'up');
      await ip('-n', space, 'addr', 'add', `10.77.0.${n}/24`, 'dev', 'eth0');
      await ip('-n', space, 'link', 'set', 'eth0', 'up');
      await ip('-n', space, 'link', 'set', 'lo', 'up');
    }
  }

  /** Starts `sheep` on a host by hand; its sockets lie in its directory. */
  startNode(n: number, ...more: string[]): void {
    const data = this.dataDir(n);
    fs.mkdirSync(data, { recursive: true });
    const log = fs.openSync(path.join(this.dir, `n${n}.log`), 'a');
    const sheep = [process.execPath, path.join(ROOT, 'bin', 'sheep'), '--data', data];
    const place = ['--listen', `/ip4/10.77.0.${n}/tcp/7001`, '--zone', `rack-${n}`];
    const args = ['netns', 'exec', this.#space(n), ...sheep, ...place, '--nbd', this.#nbd(n)];
    const child = spawn('ip', [...args, ...more], { stdio: ['ignore', log, log] });
    fs.closeSync(log);
    this.#nodes.set(n, child);
  }

  dataDir(n: number): string {
    return path.join(this.dir, `n${n}`);
  }

  #nbd(n: number): string {
    return `unix:${path.join(this.dataDir(n), 'nbd.sock')}`;
  }

  uri(n: number, volume: string): string {
    return `nbd+unix:///${volume}?socket=${path.join(this.dataDir(n), 'nbd.sock')}`;
  }

  /** What `dog` prints when it asks that host's node. Rejects with what it says when it fails. */
  async dog(n: number, ...args: string[]): Promise<string> {
    const dog = [process.execPath, path.join(ROOT, 'bin', 'dog'), ...args];
    const { code, stdout, stderr } = await run('env', [`SHEEPDOG_API=${this.#api(n)}`, ...dog]);
    if (code !== 0) throw new Error(`dog ${args.join(' ')}: ${stderr}`);
    return stdout.trim();
  }

  /** What `dog` prints, also where its exit code says that something is wrong. */
  async said(n: number, ...args: string[]): Promise<string> {
    const dog = [process.execPath, path.join(ROOT, 'bin', 'dog'), ...args];
    const { stdout, stderr } = await run('env', [`SHEEPDOG_API=${this.#api(n)}`, ...dog]);
    return stdout + stderr;
  }

  async status(n: number): Promise<StatusData> {
    return (await ask<StatusData>(parseTarget(this.#api(n)), '/v1/status')).data;
  }

  async cluster(n: number): Promise<ClusterData> {
    return (await ask<ClusterData>(parseTarget(this.#api(n)), '/v1/cluster')).data;
  }

  async members(n: number): Promise<readonly NodeData[]> {
    return (await ask<readonly NodeData[]>(parseTarget(this.#api(n)), '/v1/nodes')).data;
  }

  #api(n: number): string {
    return `unix:${path.join(this.dataDir(n), 'sheep.sock')}`;
  }

  /** Pulls the cable of a host at the switch, or plugs it in: nobody is told, packets are just gone. */
  cable(n: number, state: 'up' | 'down'): Promise<void> {
    return ip('-n', this.#space(SWITCH), 'link', 'set', `p${n}`, state);
  }

  /** Host `n` no longer hears `others`; they hear it, unless they are made deaf, too. */
  deafen(n: number, others: readonly number[]): void {
    deafen(this.#space(n), others);
  }

  /** All that `deafen` did at that host is undone. */
  heal(n: number): void {
    heal(this.#space(n));
  }

  signal(n: number, signal: NodeJS.Signals): void {
    this.#nodes.get(n)?.kill(signal);
  }

  /** SIGKILL, all at once; resolves when they are gone. */
  async kill(which: readonly number[]): Promise<void> {
    const gone = which.map((n) => {
      const child = this.#nodes.get(n);
      return new Promise<void>((resolve) => child?.once('exit', () => resolve()) ?? resolve());
    });
    for (const n of which) this.signal(n, 'SIGKILL');
    await Promise.all(gone);
  }

  /** The end of each node's log, for the message of a failure. */
  logs(): string {
    const tail = (n: number) =>
      fs.readFileSync(path.join(this.dir, `n${n}.log`), 'utf8').slice(-SHOWN_LOG_CHARACTERS);
    return [...this.#nodes.keys()].map((n) => `n${n}:\n${tail(n)}`).join('\n');
  }

  /** Ends the nodes, then removes namespaces and data. */
  async down(): Promise<void> {
    await Promise.all([...this.#nodes.values()].map(ended));
    for (const name of [SWITCH, ...Array.from({ length: this.#count }, (_, i) => i + 1)]) {
      await run('ip', ['netns', 'del', this.#space(name)]);
    }
    fs.rmSync(this.dir, { recursive: true, force: true });
  }

  #space(name: number | string): string {
    return typeof name === 'number' ? `${this.#prefix}-n${name}` : `${this.#prefix}-${name}`;
  }
}

async function ip(...args: string[]): Promise<void> {
  const { code, stderr } = await run('ip', args);
  if (code !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`);
}

/** SIGTERM, then SIGKILL. `ip netns exec` becomes the program, so the pid is the node's. */
function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    child.once('exit', () => {
      clearTimeout(timer);
      resolve();
    });
    child.kill('SIGTERM');
  });
}
