// Times how a cluster of N real processes comes to be: one formats, all others start at once with one reusable token and
// join over libp2p. `node bench/bootstrap.ts 30`; PROFILES=DIR writes a CPU profile of the first node, which is asked by
// all, and of the last one there. Prints the phases, what a node spent, and the size of the log.

import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { ask, parseTarget } from '../src/cli/client.ts';
import type { ClusterData, InviteData, StatusData } from '../src/core/admin-shapes.ts';

const ROOT = path.join(import.meta.dirname, '..');
const POLL_MS = 100;
const GIVE_UP_MS = 300_000;
const STOP_MS = 20_000;
/** Fields 14 and 15 of /proc/PID/stat, in ticks of 10 ms; counted from behind the name. */
const CPU_FIELDS = [11, 12] as const;
const TICK_MS = 10;
const COUNT = Number(process.argv[2] ?? 30);
const COPIES = Math.min(3, COUNT);
const PARTITIONS = 256;
const PROFILES = process.env['PROFILES'];

interface BenchNode {
  readonly number: number;
  readonly data: string;
  readonly api: string;
  readonly log: string;
  child: ChildProcess;
}

function startNode(dir: string, number: number, ...more: string[]): BenchNode {
  const data = path.join(dir, `n${number}`);
  fs.mkdirSync(data);
  const log = path.join(dir, `n${number}.log`);
  const out = fs.openSync(log, 'a');
  const place = ['--listen', '/ip4/127.0.0.1/tcp/0', '--zone', `z${number % 3}`];
  const args = ['--data', data, '--journal', '16MiB', ...place, ...more];
  const isProfiled = PROFILES !== undefined && (number === 1 || number === COUNT);
  const flags = `--cpu-prof --cpu-prof-dir=${PROFILES} --cpu-prof-name=n${number}.cpuprofile`;
  const env = isProfiled ? { ...process.env, NODE_OPTIONS: flags } : process.env;
  const sheep = path.join(ROOT, 'bin', 'sheep');
  const child = spawn(sheep, args, { stdio: ['ignore', out, out], env });
  fs.closeSync(out);
  return { number, data, api: `unix:${path.join(data, 'sheep.sock')}`, log, child };
}

async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + GIVE_UP_MS;
  while (!(await check().catch(() => false))) {
    if (performance.now() > end) throw new RangeError(`not in ${GIVE_UP_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function get<T>(node: BenchNode, where: string): Promise<T> {
  return (await ask<T>(parseTarget(node.api), where)).data;
}

async function post<T>(node: BenchNode, where: string, body: unknown): Promise<T> {
  return (await ask<T>(parseTarget(node.api), where, { method: 'POST', body })).data;
}

function cpuMs({ child }: BenchNode): number {
  const stat = fs.readFileSync(`/proc/${child.pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return CPU_FIELDS.reduce((sum, field) => sum + Number(fields[field]), 0) * TICK_MS;
}

function residentMib({ child }: BenchNode): number {
  const status = fs.readFileSync(`/proc/${child.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

const phase = (wanted: string) => async (node: BenchNode) =>
  (await get<StatusData>(node, '/v1/status')).phase === wanted;

async function all(nodes: readonly BenchNode[], check: (node: BenchNode) => Promise<boolean>) {
  return (await Promise.all(nodes.map(check))).every(Boolean);
}

async function bootstrap(dir: string, nodes: BenchNode[]): Promise<void> {
  const since = performance.now();
  const say = (what: string, detail = ''): void => {
    const seconds = ((performance.now() - since) / 1000).toFixed(1);
    const cpu = (nodes.reduce((sum, node) => sum + cpuMs(node), 0) / 1000).toFixed(1);
    const figures = `${seconds.padStart(7)} s ${cpu.padStart(7)} s CPU`;
    process.stdout.write(`${what.padEnd(26)} ${figures}  ${detail}\n`);
  };
  const first = startNode(dir, 1);
  nodes.push(first);
  await until('the first node answers', () => phase('blank')(first));
  say('first node answers');
  const options = { name: 'bench', copies: COPIES, partitions: PARTITIONS };
  await post<unknown>(first, '/v1/cluster/format', options);
  await until('the first node is up', () => phase('up')(first));
  say('first node is up');
  const { token } = await post<InviteData>(first, '/v1/cluster/invite', {});
  for (let n = 2; n <= COUNT; n += 1) nodes.push(startNode(dir, n, '--join', token));
  const answers = async (node: BenchNode) => (await get<StatusData>(node, '/v1/status')).pid > 0;
  await until('all answer', () => all(nodes, answers));
  say('all processes answer');
  await until('all are members', async () => (await clusterOf(first)).members.total === COUNT);
  say('all are members', `log ${(await clusterOf(first)).appliedIndex}`);
  await until('all are up', async () => (await clusterOf(first)).members.up === COUNT);
  say('all are up');
  await until('every node knows all', () =>
    all(nodes, async (node) => (await clusterOf(node)).members.up === COUNT),
  );
  say('every node has all as up');
  await until('all partitions are in sync', async () => {
    const { partitions } = await clusterOf(first);
    return partitions.settled === partitions.total;
  });
  const { epoch, appliedIndex } = await clusterOf(first);
  say('all partitions in sync', `epoch ${epoch}, log ${appliedIndex}`);
  const spent = nodes.map(cpuMs);
  const others = spent.slice(1);
  process.stdout.write(
    `CPU: first node ${spent[0]} ms, others ${Math.min(...others)} / ${median(others)} / ${Math.max(...others)} ms\n` +
      `resident: median ${median(nodes.map(residentMib)).toFixed(0)} MiB\n`,
  );
}

function clusterOf(node: BenchNode): Promise<ClusterData> {
  return get<ClusterData>(node, '/v1/cluster');
}

function ended({ child }: BenchNode): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    child.once('exit', () => {
      clearTimeout(timer);
      resolve();
    });
    child.kill('SIGTERM');
  });
}

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-boot-'));
const nodes: BenchNode[] = [];
try {
  await bootstrap(dir, nodes);
} catch (error) {
  const tail = (node: BenchNode) => fs.readFileSync(node.log, 'utf8').slice(-1500);
  process.stderr.write(nodes.map((node) => `n${node.number}:\n${tail(node)}\n`).join(''));
  throw error;
} finally {
  await Promise.all(nodes.map(ended));
  if (process.env['KEEP'] === undefined) fs.rmSync(dir, { recursive: true, force: true });
}
