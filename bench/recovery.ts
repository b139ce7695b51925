// What recovery costs and how fast it is, on real processes: four nodes, three copies, a volume full of data. `npm run
// bench:recovery`; prints a table in Markdown. Stories:
//   disk   what the file system below takes: as many bytes as a recovery of this size, written and synced file by file
//   out    one of four nodes is killed and called out: its copies are made anew on the others
//   guest  the same beside a guest at half of what it can do; its latency before is that with the node dead, not yet out
//   join   a fourth node joins three: what moves, against its share, and how long that takes
//
// Environment: SIZE of the volume in MiB (1024), STORIES (disk,out,guest,join), GUEST seconds of each look at the guest, DIR
// where data goes, PROFILES a folder for CPU profiles. Ends only what it started and removes what it wrote.

import { once } from 'node:events';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import type { ClusterData, NodeData, StatusData } from '../src/core/admin-shapes.ts';
import { KIB, MIB, OBJECT_BYTES } from '../src/core/units.ts';
import { type Figures, measure, prefill, type Workload } from './fio-run.ts';
import {
  type BenchNode,
  cpuMsOf,
  createVolume,
  get,
  join,
  type NodesOptions,
  pause,
  post,
  settled,
  startNodes,
  stopNodes,
  targetOf,
  until,
} from './nodes.ts';
import { markdown } from './report.ts';
import { withScratch } from './scratch.ts';

const COPIES = 3;
/** Writes of the fill are closed and checkpointed, caches are at rest. */
const REST_MS = 3000;
const GUEST_DEPTH = 8;
/** As many as the copies that three nodes may sync at once; no more threads are in the pool. */
const FILES_AT_ONCE = 4;
const env = process.env;
const sizeMib = Number(env['SIZE'] ?? 1024);
const guestSeconds = Number(env['GUEST'] ?? 10);
const stories = (env['STORIES'] ?? 'disk,out,guest,join').split(',');
const profiles = env['PROFILES'];

const rows: string[][] = [];

const sizeOf = (nodes: number): NodesOptions => ({ nodes, copies: COPIES, profiles });

function note(what: string, value: string, target = ''): void {
  rows.push([what, value, target]);
  process.stderr.write(`${what}: ${value}${target === '' ? '' : ` (${target})`}\n`);
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

async function fill(nodes: readonly BenchNode[]): Promise<void> {
  const [first] = nodes as [BenchNode];
  await createVolume(first, 'bench', sizeMib * MIB);
  await prefill(targetOf(nodes, 'bench'), sizeMib);
  await pause(REST_MS);
}

interface Copied {
  readonly bytes: number;
  /** Until all was in sync by the map. */
  readonly seconds: number;
  readonly cpuMsPerMib: number;
}

/** Runs `act`, waits until all is settled, and says what was copied meanwhile and how fast. */
async function recovery(alive: readonly BenchNode[], act: () => Promise<unknown>): Promise<Copied> {
  const [first] = alive as [BenchNode];
  const before = await copied(alive);
  const cpuBefore = cpuMsOf(alive);
  const since = performance.now();
  await act();
  await settled([first]);
  const seconds = (performance.now() - since) / 1000;
  const bytes = (await copied(alive)) - before;
  return { bytes, seconds, cpuMsPerMib: (cpuMsOf(alive) - cpuBefore) / (bytes / MIB) };
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
  return measure(targetOf(nodes, 'bench'), half(perSecond), { seconds, sizeMib });
}

async function killed(node: BenchNode): Promise<void> {
  node.child.kill('SIGKILL');
  await once(node.child, 'exit');
}

async function isDown(alive: readonly BenchNode[], node: BenchNode): Promise<void> {
  const [first] = alive as [BenchNode];
  await until('it is down', async () => {
    const members = await get<readonly NodeData[]>(first, '/v1/nodes');
    return members.some(({ name, state }) => name === node.name && state === 'down');
  });
}

function sayCopied(what: string, found: Copied, target = ''): void {
  const rate = found.bytes / MIB / found.seconds;
  note(`${what}: rate`, `${rate.toFixed(0)} MiB/s`, target);
  note(`${what}: copied`, `${(found.bytes / MIB).toFixed(0)} MiB in ${found.seconds.toFixed(1)} s`);
  note(`${what}: CPU of all nodes`, `${found.cpuMsPerMib.toFixed(1)} ms/MiB`);
}

/** Three of four copies of everything, in files of an object, each synced, from one process. */
async function diskStory(dir: string): Promise<void> {
  const folder = path.join(dir, 'disk');
  fs.mkdirSync(folder);
  const bytes = Buffer.alloc(64 * KIB, 1);
  const objects = Math.ceil((sizeMib * MIB * COPIES) / (COPIES + 1) / OBJECT_BYTES);
  const since = performance.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < objects) {
      next += 1;
      const fd = fs.openSync(path.join(folder, String(next)), 'w');
      for (let at = 0; at < OBJECT_BYTES; at += bytes.length) fs.writeSync(fd, bytes);
      await new Promise<void>((resolve, reject) => {
        fs.fsync(fd, (error) => (error === null ? resolve() : reject(error)));
      });
      fs.closeSync(fd);
    }
  };
  await Promise.all(Array.from({ length: FILES_AT_ONCE }, worker));
  const seconds = (performance.now() - since) / 1000;
  fs.rmSync(folder, { recursive: true });
  const rate = (objects * OBJECT_BYTES) / MIB / seconds;
  const what = `files of 4 MiB, each synced, ${FILES_AT_ONCE} at once`;
  note(`the file system alone: ${what}`, `${rate.toFixed(0)} MiB/s`);
}

async function outStory(dir: string): Promise<void> {
  const nodes = await startNodes(path.join(dir, 'out'), sizeOf(COPIES + 1));
  try {
    await fill(nodes);
    const victim = nodes[COPIES] as BenchNode;
    const alive = nodes.slice(0, COPIES);
    const lost = (await objectsOf(victim)) * OBJECT_BYTES;
    await killed(victim);
    await isDown(alive, victim);
    await pause(REST_MS);
    const idle = await recovery(alive, () => callOut(alive, victim));
    sayCopied('out, idle', idle, '>= 300 MiB/s');
    note('out, idle: copied of what was lost', (idle.bytes / lost).toFixed(3), '<= 1.1');
  } finally {
    await stopNodes(nodes);
  }
}

async function callOut(alive: readonly BenchNode[], node: BenchNode): Promise<void> {
  await post(alive[0] as BenchNode, `/v1/nodes/${node.name}/out`);
}

async function guestStory(dir: string): Promise<void> {
  const nodes = await startNodes(path.join(dir, 'guest'), sizeOf(COPIES + 1));
  try {
    await fill(nodes);
    const victim = nodes[COPIES] as BenchNode;
    const alive = nodes.slice(0, COPIES);
    await killed(victim);
    await isDown(alive, victim);
    await pause(REST_MS);
    const most = await guest(alive, 0, guestSeconds);
    note('guest at its most', `${(most.iops / 0.7).toFixed(0)} IOPS, 70 % reads`);
    const perSecond = most.iops / 0.7 / 2;
    const calm = await guest(alive, perSecond, guestSeconds);
    note('guest at half load, before', sayGuest(calm));
    const looks: Figures[] = [];
    let isOver = false;
    // The guest is at work when the node is called out: the first look begins before.
    const recovering = recovery(alive, async () => {
      await pause(REST_MS);
      await callOut(alive, victim);
    }).finally(() => {
      isOver = true;
    });
    // A look that began before the end of the recovery and ended after it counts only if there is no other.
    for (let last: Figures | undefined; !isOver; ) {
      last = await guest(alive, perSecond, guestSeconds);
      if (!isOver || looks.length === 0) looks.push(last);
    }
    sayCopied('out, under a guest', await recovering);
    sayLooks(looks, calm);
  } finally {
    await stopNodes(nodes);
  }
}

function sayGuest({ iops, p99Us, writeP99Us }: Figures): string {
  const ms = (us: number): string => (us / 1000).toFixed(1);
  return `${iops.toFixed(0)} reads/s, p99 of reads ${ms(p99Us)} ms, of writes ${ms(writeP99Us)} ms`;
}

function sayLooks(looks: readonly Figures[], calm: Figures): void {
  const middle = (of: (look: Figures) => number): number => {
    const sorted = looks.map(of).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  };
  for (const look of looks)
    process.stderr.write(`  look: ${sayGuest(look)}, longest ${look.maxMs.toFixed(0)} ms\n`);
  const looked = `the middle of ${looks.length} looks of ${guestSeconds} s`;
  const [reads, writes] = [middle(({ p99Us }) => p99Us), middle(({ writeP99Us }) => writeP99Us)];
  note(
    'guest meanwhile',
    `p99 of reads ${(reads / 1000).toFixed(1)} ms, of writes ${(writes / 1000).toFixed(1)} ms: ${looked}`,
  );
  note('p99 of reads to that before', (reads / calm.p99Us).toFixed(2), '<= 2');
  note('p99 of writes to that before', (writes / calm.writeP99Us).toFixed(2), '<= 2');
}

async function joinStory(dir: string): Promise<void> {
  const nodes = await startNodes(path.join(dir, 'join'), sizeOf(COPIES));
  try {
    await fill(nodes);
    const [first] = nodes as [BenchNode];
    const objects = (await objectsOf(first)) * COPIES;
    const found = await recovery(nodes, async () => {
      nodes.push(await join(path.join(dir, 'join'), first, COPIES + 1, { profiles }));
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
    await stopNodes(nodes);
  }
}

await withScratch(async (dir) => {
  const loadBefore = os.loadavg()[0]?.toFixed(1);
  if (stories.includes('disk')) await diskStory(dir);
  if (stories.includes('out')) await outStory(dir);
  if (stories.includes('guest')) await guestStory(dir);
  if (stories.includes('join')) await joinStory(dir);
  const machine = `${os.cpus().length} x ${os.cpus()[0]?.model}, node ${process.version}`;
  const host = `${machine}, ${sizeMib} MiB, load before ${loadBefore}`;
  process.stdout.write(`Host: ${host}\n\n${markdown(['what', 'measured', 'target'], rows)}`);
});
