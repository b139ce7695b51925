// How cost grows with what a cluster has: npm run bench:scale. Three nodes, three copies; CPU and memory of all. Stories:
//   volumes   one to four volumes under load at once, at one gateway
//   gateways  one to three gateways at once, each with a volume of its own
//   idle      a thousand volumes that nobody uses, and some of them attached: CPU and memory for each
//   index     a node that holds an object for each 4 MiB of a TiB (262,144 rows): its memory, before and after a start
//
// Environment: STORIES (all), RUNTIME seconds of each load (6), SIZE of a volume in MiB (256), IDLE volumes (1000), ATTACHED
// of them (200), ROWS of the index (262144), DIR where data goes. Ends only what it started and removes what it wrote.

import os from 'node:os';
import path from 'node:path';
import { MIB, OBJECT_BYTES } from '../src/core/units.ts';
import { NbdClient } from '../test/e2e/nbd-client.ts';
import { type Figures, measure, memoryOf, prefill, type Workload } from './fio-run.ts';
import { MATRIX } from './matrix.ts';
import {
  type BenchNode,
  cpuMsOf,
  createVolume,
  isUp,
  pause,
  pidsOf,
  startNode,
  startNodes,
  stopNodes,
  targetOf,
} from './nodes.ts';
import { numberOf } from './options.ts';
import { missing } from './peers.ts';
import { markdown } from './report.ts';
import { withScratch } from './scratch.ts';

const { env } = process;
const stories = (env['STORIES'] ?? 'volumes,gateways,idle,index').split(',');
const seconds = numberOf('RUNTIME', env['RUNTIME'] ?? '6', 1);
const sizeMib = numberOf('SIZE', env['SIZE'] ?? '256', 16);
const idleCount = numberOf('IDLE', env['IDLE'] ?? '1000', 1);
const attachedCount = Math.min(numberOf('ATTACHED', env['ATTACHED'] ?? '200', 0), idleCount);
const rowCount = numberOf('ROWS', env['ROWS'] ?? '262144', 1);
const NODES = 3;
const MAX_VOLUMES = 4;
/** CPU at rest is taken over this time, after as long a rest. */
const REST_MS = 10_000;
/** Of a node that holds a TiB, at the default of its cache. */
const MAX_INDEX_RSS_MIB = 256;
const BLOCK_BYTES = 4096;
/** Writes in flight while the objects of the index are made. */
const INDEX_DEPTH = 64;

const rows: string[][] = [];

function note(what: string, value: string, target = ''): void {
  rows.push([what, value, target]);
  process.stderr.write(`${what}: ${value}${target === '' ? '' : ` (${target})`}\n`);
}

function works(): readonly Workload[] {
  return MATRIX.filter(({ name }) => /^4k rand(read|write) qd64$/.test(name));
}

interface Place {
  readonly volume: string;
  /** Number of the node. */
  readonly at: number;
}

/** All places at once; rates are summed, CPU is that of all nodes for one operation. */
async function together(
  nodes: readonly BenchNode[],
  what: string,
  places: readonly Place[],
): Promise<void> {
  for (const work of works()) {
    const before = cpuMsOf(nodes);
    const each = await Promise.all(
      places.map(({ volume, at }): Promise<Figures> => {
        return measure(targetOf(nodes, volume, at), work, { seconds, sizeMib });
      }),
    );
    const iops = each.reduce((sum, one) => sum + one.iops, 0);
    const cpuUs = ((cpuMsOf(nodes) - before) * 1000) / (iops * seconds);
    const p99Ms = Math.max(...each.map(({ p99Us }) => p99Us)) / 1000;
    const rate = `${Math.round(iops).toLocaleString('en')} IOPS`;
    note(
      `${what}: ${work.name}`,
      `${rate}, ${cpuUs.toFixed(1)} us CPU, p99 ${p99Ms.toFixed(1)} ms`,
    );
  }
  const memory = pidsOf(nodes).map((pid) => memoryOf(pid).nowMib);
  note(`${what}: memory of the nodes`, `${memory.join(', ')} MiB`);
}

async function withNodes(dir: string, run: (nodes: BenchNode[]) => Promise<void>): Promise<void> {
  const nodes = await startNodes(dir, { nodes: NODES, copies: NODES });
  await run(nodes);
  await stopNodes(nodes);
}

async function filled(nodes: readonly BenchNode[], count: number): Promise<void> {
  for (let n = 1; n <= count; n += 1) {
    await createVolume(nodes[0] as BenchNode, `v${n}`, sizeMib * MIB);
    await prefill(targetOf(nodes, `v${n}`), sizeMib);
  }
}

async function volumesStory(nodes: readonly BenchNode[]): Promise<void> {
  for (let count = 1; count <= MAX_VOLUMES; count += 1) {
    const places = Array.from({ length: count }, (_, n) => ({ volume: `v${n + 1}`, at: 1 }));
    await together(nodes, `${count} of a gateway's volumes`, places);
  }
}

async function gatewaysStory(nodes: readonly BenchNode[]): Promise<void> {
  for (let count = 1; count <= NODES; count += 1) {
    const places = Array.from({ length: count }, (_, n) => ({ volume: `v${n + 1}`, at: n + 1 }));
    await together(nodes, `${count} gateways`, places);
  }
}

interface AtRest {
  /** Of all nodes, for one second. */
  readonly cpuMs: number;
  /** Of all nodes. */
  readonly mib: number;
}

async function atRest(nodes: readonly BenchNode[]): Promise<AtRest> {
  await pause(REST_MS);
  const [before, since] = [cpuMsOf(nodes), performance.now()];
  await pause(REST_MS);
  const cpuMs = ((cpuMsOf(nodes) - before) * 1000) / (performance.now() - since);
  const mib = pidsOf(nodes).reduce((sum, pid) => sum + memoryOf(pid).nowMib, 0);
  return { cpuMs, mib };
}

function noteMore(what: string, before: AtRest, now: AtRest, count: number): void {
  const cpu = `${before.cpuMs.toFixed(0)} to ${now.cpuMs.toFixed(0)} ms CPU a second`;
  const each = `${(((now.mib - before.mib) * 1024) / count).toFixed(1)} KiB and ${(((now.cpuMs - before.cpuMs) * 1000) / count).toFixed(1)} us CPU a second each`;
  note(what, `${cpu}, ${before.mib} to ${now.mib} MiB, all nodes together; ${each}`);
}

async function idleStory(nodes: readonly BenchNode[]): Promise<void> {
  const [first] = nodes as [BenchNode];
  const empty = await atRest(nodes);
  const since = performance.now();
  for (let n = 1; n <= idleCount; n += 1) await createVolume(first, `idle${n}`, 1024 * MIB);
  note(`${idleCount} volumes: made in`, `${((performance.now() - since) / 1000).toFixed(1)} s`);
  const made = await atRest(nodes);
  noteMore(`${idleCount} idle volumes`, empty, made, idleCount);
  if (attachedCount === 0) return;
  const clients: NbdClient[] = [];
  for (let n = 1; n <= attachedCount; n += 1) {
    clients.push(await NbdClient.connect(first.nbd, `idle${n}`));
  }
  noteMore(`${attachedCount} of them attached, idle`, made, await atRest(nodes), attachedCount);
  for (const client of clients) await client.close();
}

/** One node, one copy: it holds all rows, as each of many nodes does that has a TiB. Real objects of one block each. */
async function indexStory(dir: string): Promise<void> {
  const nodes = await startNodes(dir, { nodes: 1, copies: 1 });
  const [node] = nodes as [BenchNode];
  const before = await atRest(nodes);
  await createVolume(node, 'large', rowCount * OBJECT_BYTES);
  const since = performance.now();
  await writeEach(await NbdClient.connect(node.nbd, 'large'));
  note(
    `index of ${rowCount} rows: made in`,
    `${((performance.now() - since) / 1000).toFixed(0)} s`,
  );
  const after = await atRest(nodes);
  const bytes = ((after.mib - before.mib) * MIB) / rowCount;
  const limit = `<= ${MAX_INDEX_RSS_MIB} MiB at 262,144`;
  note(
    'index: memory of the node',
    `${before.mib} to ${after.mib} MiB, ${bytes.toFixed(0)} bytes a row`,
    limit,
  );
  await stopNodes(nodes);
  const startedAt = performance.now();
  const again = startNode(dir, 1);
  await isUp(again);
  note('index: a start takes', `${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
  const fresh = await atRest([again]);
  note('index: memory after that start', `${fresh.mib} MiB`, limit);
  await stopNodes([again]);
}

/** A block into each object, INDEX_DEPTH at once. */
async function writeEach(client: NbdClient): Promise<void> {
  const data = Buffer.alloc(BLOCK_BYTES, 7);
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < rowCount) {
      next += 1;
      await client.write((next - 1) * OBJECT_BYTES, data);
    }
  };
  await Promise.all(Array.from({ length: INDEX_DEPTH }, lane));
  await client.flush();
  await client.close();
}

const reason = missing('fio');
if (reason !== undefined) throw new RangeError(reason);
await withScratch(async (dir) => {
  const has = (...names: readonly string[]) => names.some((name) => stories.includes(name));
  if (has('volumes', 'gateways', 'idle')) {
    await withNodes(path.join(dir, 'c'), async (nodes) => {
      if (has('idle')) await idleStory(nodes);
      if (has('volumes', 'gateways')) await filled(nodes, MAX_VOLUMES);
      if (has('volumes')) await volumesStory(nodes);
      if (has('gateways')) await gatewaysStory(nodes);
    });
  }
  if (has('index')) await indexStory(path.join(dir, 'i'));
  const [cpu] = os.cpus();
  const host = `${os.cpus().length} x ${cpu?.model}, node ${process.version}, load ${os.loadavg()[0]?.toFixed(1)}`;
  process.stdout.write(`Host: ${host}\n\n${markdown(['what', 'measured', 'target'], rows)}`);
});
