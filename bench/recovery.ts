// What recovery costs and how fast it is, on real processes: four nodes, three copies, a volume full of data. `npm run
// bench:recovery`; prints a table in Markdown. Two stories:
//   out    one of four nodes is killed and called out: its copies are made anew on the others, idle, then under a guest
//   join   a fourth node joins three: what moves, against its share, and how long that takes
//
// Environment: SIZE of the volume in MiB (1024), STORIES (out,join), GUEST seconds of each look at the guest (10), DIR
// where data goes, PROFILES a folder for CPU profiles. Ends only what it started and removes what it wrote.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { ask, parseTarget } from '../src/cli/client.ts';
import type { ClusterData, InviteData, NodeData, StatusData } from '../src/core/admin-shapes.ts';
import { MIB, OBJECT_BYTES } from '../src/core/units.ts';
import { type Figures, measure, prefill, type Target, type Workload } from './fio-run.ts';

const ROOT = path.join(import.meta.dirname, '..');
const COPIES = 3;
const POLL_MS = 50;
const GIVE_UP_MS = 240_000;
const STOP_MS = 20_000;
/** Writes of the fill are closed and checkpointed, caches are at rest. */
const REST_MS = 3000;
const TICK_MS = 10;
const CPU_FIELDS = [11, 12] as const;
const GUEST_DEPTH = 8;
const env = process.env;
const sizeMib = Number(env['SIZE'] ?? 1024);
const guestSeconds = Number(env['GUEST'] ?? 10);
const stories = (env['STORIES'] ?? 'out,join').split(',');
const profiles = env['PROFILES'];

interface BenchNode {
  readonly number: number;
  /** As the cluster calls it; known once it is up. */
  name: string;
  readonly data: string;
  readonly api: string;
  readonly nbd: string;
  child: ChildProcess;
}

interface Row {
  readonly what: string;
  readonly value: string;
  readonly target: string;
}

const rows: Row[] = [];

function note(what: string, value: string, target = ''): void {
  rows.push({ what, value, target });
  process.stderr.write(`${what}: ${value}${target === '' ? '' : ` (${target})`}\n`);
}

function startNode(dir: string, number: number, ...more: string[]): BenchNode {
  const data = path.join(dir, `n${number}`);
  fs.mkdirSync(data, { recursive: true });
  const out = fs.openSync(path.join(dir, `n${number}.log`), 'a');
  const nbd = path.join(data, 'nbd.sock');
  const place = [
    '--listen',
    '/ip4/127.0.0.1/tcp/0',
    '--zone',
    `z${number}`,
    '--nbd',
    `unix:${nbd}`,
  ];
  const args = ['--data', data, '--journal', '64MiB', ...place, ...more];
  const flags = `--cpu-prof --cpu-prof-dir=${profiles} --cpu-prof-name=n${number}.cpuprofile`;
  const environment = profiles === undefined ? env : { ...env, NODE_OPTIONS: flags };
  const stdio: ['ignore', number, number] = ['ignore', out, out];
  const child = spawn(path.join(ROOT, 'bin', 'sheep'), args, { stdio, env: environment });
  fs.closeSync(out);
  return { number, name: '', data, nbd, api: `unix:${path.join(data, 'sheep.sock')}`, child };
}

async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + GIVE_UP_MS;
  while (!(await check().catch(() => false))) {
    if (performance.now() > end) throw new RangeError(`not in ${GIVE_UP_MS} ms: ${what}`);
    await pause(POLL_MS);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function get<T>(node: BenchNode, where: string): Promise<T> {
  return (await ask<T>(parseTarget(node.api), where)).data;
}

async function post<T>(node: BenchNode, where: string, body?: unknown): Promise<T> {
  return (await ask<T>(parseTarget(node.api), where, { method: 'POST', body })).data;
}

async function bootstrap(dir: string, count: number): Promise<BenchNode[]> {
  const first = startNode(dir, 1);
  const nodes = [first];
  const phaseOf = async (node: BenchNode) => (await get<StatusData>(node, '/v1/status')).phase;
  await until('the first node answers', async () => (await phaseOf(first)) === 'blank');
  await post(first, '/v1/cluster/format', { name: 'bench', copies: COPIES });
  await until('the first node is up', async () => (await phaseOf(first)) === 'up');
  for (let n = 2; n <= count; n += 1) nodes.push(await join(dir, first, n));
  await until('all are up', async () => {
    return (await get<ClusterData>(first, '/v1/cluster')).members.up === count;
  });
  for (const node of nodes) node.name = (await get<StatusData>(node, '/v1/status')).name;
  await settled(nodes);
  return nodes;
}

async function join(dir: string, first: BenchNode, number: number): Promise<BenchNode> {
  const { token } = await post<InviteData>(first, '/v1/cluster/invite', {});
  return startNode(dir, number, '--join', token);
}

/** All partitions are where the ring wants them. */
async function settled(nodes: readonly BenchNode[]): Promise<void> {
  await until('all is in sync', async () => {
    const { partitions } = await get<ClusterData>(nodes[0] as BenchNode, '/v1/cluster');
    return partitions.settled === partitions.total;
  });
}

async function copied(nodes: readonly BenchNode[]): Promise<number> {
  const each = nodes.map(async (node) => {
    return (await get<StatusData>(node, '/v1/status')).catchUp.bytesCopied;
  });
  return (await Promise.all(each)).reduce((sum, one) => sum + one, 0);
}

async function objectsOf(node: BenchNode): Promise<number> {
  return (await get<StatusData>(node, '/v1/status')).objects;
}

function cpuMs(nodes: readonly BenchNode[]): number {
  let ticks = 0;
  for (const { child } of nodes) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const stat = fs.readFileSync(`/proc/${child.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += CPU_FIELDS.reduce((sum, field) => sum + Number(fields[field]), 0);
  }
  return ticks * TICK_MS;
}

function targetOf(nodes: readonly BenchNode[]): Target {
  const uri = `nbd+unix:///bench?socket=${nodes[0]?.nbd}`;
  const alive = nodes.filter(({ child }) => child.exitCode === null && child.signalCode === null);
  return { name: 'sheepdog', uri, pids: alive.map(({ child }) => child.pid as number) };
}

async function fill(nodes: readonly BenchNode[]): Promise<void> {
  const [first] = nodes as [BenchNode];
  await post(first, '/v1/volumes', { name: 'bench', sizeBytes: sizeMib * MIB });
  await prefill(targetOf(nodes), sizeMib);
  await pause(REST_MS);
}

interface Copied {
  readonly bytes: number;
  readonly seconds: number;
  readonly cpuMsPerMib: number;
}

/** Runs `act`, waits until all is settled, and says what was copied meanwhile and how fast. */
async function recovery(alive: readonly BenchNode[], act: () => Promise<unknown>): Promise<Copied> {
  const before = await copied(alive);
  const cpuBefore = cpuMs(alive);
  await act();
  const since = performance.now();
  let last = before;
  let lastAt = since;
  await until('all is in sync', async () => {
    const now = await copied(alive);
    if (now !== last) lastAt = performance.now();
    last = now;
    const { partitions } = await get<ClusterData>(alive[0] as BenchNode, '/v1/cluster');
    return partitions.settled === partitions.total;
  });
  const bytes = (await copied(alive)) - before;
  const seconds = (Math.max(lastAt, since + 1) - since) / 1000;
  return { bytes, seconds, cpuMsPerMib: (cpuMs(alive) - cpuBefore) / (bytes / MIB) };
}

const half = (perSecond: number): Workload => ({
  name: 'guest at half load',
  options: [
    ...['--rw=randrw', '--rwmixread=70', '--bs=4k', `--iodepth=${GUEST_DEPTH}`],
    ...(perSecond === 0
      ? []
      : [`--rate_iops=${Math.round(perSecond * 0.7)},${Math.round(perSecond * 0.3)}`]),
  ],
  unit: 'IOPS',
});

/** A guest at half of what it could do, and its write latencies. */
async function guest(
  nodes: readonly BenchNode[],
  perSecond: number,
  seconds: number,
): Promise<Figures> {
  return measure(targetOf(nodes), half(perSecond), { seconds, sizeMib });
}

async function killed(node: BenchNode): Promise<void> {
  node.child.kill('SIGKILL');
  await once(node.child, 'exit');
}

async function callOut(alive: readonly BenchNode[], node: BenchNode): Promise<void> {
  const [first] = alive as [BenchNode];
  await until('it is down', async () => {
    const members = await get<readonly NodeData[]>(first, '/v1/nodes');
    return members.some(({ name, state }) => name === node.name && state === 'down');
  });
  await post(first, `/v1/nodes/${node.name}/out`);
}

function sayCopied(what: string, found: Copied, target = ''): void {
  const rate = found.bytes / MIB / found.seconds;
  note(`${what}: rate`, `${rate.toFixed(0)} MiB/s`, target);
  note(`${what}: copied`, `${(found.bytes / MIB).toFixed(0)} MiB in ${found.seconds.toFixed(1)} s`);
  note(`${what}: CPU of all nodes`, `${found.cpuMsPerMib.toFixed(1)} ms/MiB`);
}

async function outStory(dir: string): Promise<void> {
  const nodes = await bootstrap(path.join(dir, 'out'), COPIES + 1);
  try {
    await fill(nodes);
    const victim = nodes[COPIES] as BenchNode;
    const alive = nodes.slice(0, COPIES);
    const lost = (await objectsOf(victim)) * OBJECT_BYTES;
    await killed(victim);
    const idle = await recovery(alive, () => callOut(alive, victim));
    sayCopied('out, idle', idle, '>= 300 MiB/s');
    note('out, idle: copied of what was lost', (idle.bytes / lost).toFixed(3), '<= 1.1');

    victim.child = startNode(path.join(dir, 'out'), victim.number).child;
    await until('it is back', async () => {
      const { members } = await get<ClusterData>(alive[0] as BenchNode, '/v1/cluster');
      return members.up === COPIES + 1;
    });
    await post(alive[0] as BenchNode, `/v1/nodes/${victim.name}/in`);
    const back = await recovery(nodes, async () => undefined);
    sayCopied('back again', back);
    await pause(REST_MS);
    const most = await guest(nodes, 0, guestSeconds);
    note(
      'guest at its most',
      `${most.iops.toFixed(0)} reads/s of a 70/30 mix, p99 ${most.p99Us.toFixed(0)} us`,
    );
    const calm = await guest(nodes, most.iops / 0.7 / 2, guestSeconds);
    note('guest at half load', `${calm.iops.toFixed(0)} reads/s, p99 ${calm.p99Us.toFixed(0)} us`);
    await killed(victim);
    const found: Figures[] = [];
    let isOver = false;
    const looking = (async () => {
      while (!isOver) found.push(await guest(alive, most.iops / 0.7 / 2, guestSeconds));
    })();
    const loaded = await recovery(alive, () => callOut(alive, victim));
    isOver = true;
    await looking;
    sayCopied('out, under a guest', loaded);
    const worst = Math.max(...found.map(({ p99Us }) => p99Us));
    const first = found[0]?.p99Us ?? Number.NaN;
    note('guest meanwhile', `p99 ${first.toFixed(0)} us, the worst look ${worst.toFixed(0)} us`);
    note('p99 meanwhile to p99 before', (first / calm.p99Us).toFixed(2), '<= 2');
  } finally {
    await stopAll(nodes);
  }
}

async function joinStory(dir: string): Promise<void> {
  const nodes = await bootstrap(path.join(dir, 'join'), COPIES);
  try {
    await fill(nodes);
    const [first] = nodes as [BenchNode];
    const objects = (await objectsOf(first)) * COPIES;
    const found = await recovery(nodes, async () => {
      nodes.push(await join(path.join(dir, 'join'), first, COPIES + 1));
      await until('it is up', async () => {
        return (await get<ClusterData>(first, '/v1/cluster')).members.up === COPIES + 1;
      });
    });
    void found;
    const newcomer = nodes[COPIES] as BenchNode;
    const bytes = await copied(nodes);
    const moved = (await objectsOf(newcomer)) * OBJECT_BYTES;
    note(
      'join: it holds',
      `${((moved / OBJECT_BYTES / objects) * 100).toFixed(1)} % of all copies`,
      'its share: 25 %',
    );
    note('join: copied to what it holds', (bytes / moved).toFixed(3), '<= 1.1');
    note('join: rate', `${(bytes / MIB / found.seconds).toFixed(0)} MiB/s, one joiner`);
  } finally {
    await stopAll(nodes);
  }
}

async function stopAll(nodes: readonly BenchNode[]): Promise<void> {
  const ends = nodes.map(async ({ child }) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    child.kill('SIGTERM');
    await once(child, 'exit');
    clearTimeout(timer);
  });
  await Promise.all(ends);
}

function table(): string {
  const lines = rows.map(({ what, value, target }) => `| ${what} | ${value} | ${target} |`);
  return ['| what | measured | target |', '|---|---|---|', ...lines, ''].join('\n');
}

async function main(): Promise<void> {
  const dir = fs.mkdtempSync(path.join(env['DIR'] ?? os.tmpdir(), 'sheep-recovery-'));
  try {
    if (stories.includes('out')) await outStory(dir);
    if (stories.includes('join')) await joinStory(dir);
    const host = `${os.cpus().length} x ${os.cpus()[0]?.model}, node ${process.version}, ${sizeMib} MiB`;
    process.stdout.write(`Host: ${host}\n\n${table()}`);
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

await main();
