// Full load on a cluster of three nodes with three copies: npm run soak:load. Ten minutes of 4 KiB reads and writes at depth
// 64, look by look: p99.9, the longest stall, heap and memory at the start and at the end. Then a minute with the processors
// taken by busy loops as well: no member may be suspected, nobody may stand for election. Exit 1 when one of that fails.
//
// Environment: SECONDS_LOAD (600), SECONDS_BUSY (60), SIZE of the volume in MiB (1024), LOOK seconds of each look (20), DIR
// where data goes. Ends only what it started and removes what it wrote.

import { type ChildProcess, spawn } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { MIB } from '../src/core/units.ts';
import { type Figures, measure, prefill, type Workload } from './fio-run.ts';
import { eventsOf, figuresOf, logBytesOf, type NodeFigures } from './metrics.ts';
import { type BenchNode, createVolume, startNodes, targetOf } from './nodes.ts';
import { numberOf } from './options.ts';
import { missing } from './peers.ts';
import { markdown } from './report.ts';
import { ended, owned, withScratch } from './scratch.ts';

const { env } = process;
const loadSeconds = numberOf('SECONDS_LOAD', env['SECONDS_LOAD'] ?? '600', 1);
const busySeconds = numberOf('SECONDS_BUSY', env['SECONDS_BUSY'] ?? '60', 1);
const lookSeconds = numberOf('LOOK', env['LOOK'] ?? '20', 1);
const sizeMib = numberOf('SIZE', env['SIZE'] ?? '1024', 16);
/** No request may take longer. */
const MAX_STALL_MS = 1000;
/** Largest growth of heap and memory, from the end of the first quarter of the load to its end. */
const MAX_GROWTH = 1.25;
/** What the heap may grow by whatever the factor: where garbage is collected in small rounds, looks differ by some. */
const LOOSE_MIB = 16;
/** A suspicion, a node that stands for election or leads, and a change of members: none of it while all are well. */
const TROUBLE = ['peer.suspicion', 'raft.role', 'nodes.down.failed', 'node.slow'];

const FULL: Workload = {
  name: 'full load',
  options: ['--rw=randrw', '--rwmixread=50', '--bs=4k', '--iodepth=64'],
  unit: 'IOPS',
};

interface Look {
  readonly figures: Figures;
  readonly nodes: readonly NodeFigures[];
}

async function lookAt(nodes: readonly BenchNode[], seconds: number): Promise<Look> {
  const figures = await measure(targetOf(nodes, 'load'), FULL, { seconds, sizeMib });
  return { figures, nodes: await Promise.all(nodes.map(figuresOf)) };
}

async function looks(nodes: readonly BenchNode[], seconds: number): Promise<Look[]> {
  const found: Look[] = [];
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    const left = Math.ceil((end - performance.now()) / 1000);
    found.push(await lookAt(nodes, Math.min(lookSeconds, left)));
    process.stderr.write(`${lineOf(found.at(-1) as Look)}\n`);
  }
  return found;
}

function lineOf({ figures, nodes }: Look): string {
  const each = nodes.map(({ rssMib, heapMib, maxLagMs }) => {
    return `${rssMib.toFixed(0)} MiB (heap ${heapMib.toFixed(0)}), late by ${maxLagMs.toFixed(0)} ms`;
  });
  const [read, write] = [figures.p999Us, figures.writeP999Us].map((us) => (us / 1000).toFixed(1));
  const reads = `${figures.iops.toFixed(0)} reads/s, p99.9 ${read} ms, of writes ${write} ms`;
  return `${reads}, longest ${figures.maxMs.toFixed(0)} ms; ${each.join('; ')}`;
}

/** Of the growth since the end of the first quarter, by which memory has found its level. */
function judgeGrowth(found: readonly Look[]): string[] {
  const [early, late] = [found[Math.floor((found.length - 1) / 4)], found.at(-1)];
  return (['heapMib', 'rssMib'] as const).flatMap((field) =>
    (late?.nodes ?? []).flatMap((node, n) => {
      const before = early?.nodes[n]?.[field] ?? 0;
      if (node[field] <= Math.max(before * MAX_GROWTH, before + LOOSE_MIB)) return [];
      return [`n${n + 1}: ${field} from ${before.toFixed(0)} to ${node[field].toFixed(0)}`];
    }),
  );
}

function judgeStalls(found: readonly Look[]): string[] {
  const longest = Math.max(...found.map(({ figures }) => figures.maxMs));
  return longest <= MAX_STALL_MS ? [] : [`a request took ${longest.toFixed(0)} ms`];
}

function report(nodes: readonly BenchNode[], found: readonly Look[], busy: readonly Look[]): void {
  const of = (all: readonly Look[], field: 'p999Us' | 'writeP999Us' | 'maxMs'): number =>
    Math.max(...all.map(({ figures }) => figures[field]));
  const text = (all: readonly Look[]): string =>
    `p99.9 of the worst look ${(of(all, 'p999Us') / 1000).toFixed(1)} ms for reads, ` +
    `${(of(all, 'writeP999Us') / 1000).toFixed(1)} ms for writes, longest request ${of(all, 'maxMs').toFixed(0)} ms`;
  const lag = (all: readonly Look[], n: number): string =>
    Math.max(...all.map((one) => one.nodes[n]?.maxLagMs ?? 0)).toFixed(0);
  const heads = ['node', 'heap MiB first', 'last', 'RSS MiB first', 'last', 'late by ms', 'busy'];
  const lines = nodes.map((_, n) => {
    const [first, last] = [found[0]?.nodes[n], found.at(-1)?.nodes[n]];
    const sizes = [first?.heapMib, last?.heapMib, first?.rssMib, last?.rssMib];
    const cells = sizes.map((mib) => mib?.toFixed(0) ?? '');
    return [`n${n + 1}`, ...cells, lag(found, n), lag(busy, n)];
  });
  process.stdout.write(
    `${loadSeconds} s of full load: ${text(found)}\n${busySeconds} s beside busy loops: ${text(busy)}\n\n` +
      markdown(heads, lines),
  );
}

/** As many as there are processors: with the load itself they are all taken. */
function busyLoops(): ChildProcess[] {
  const count = os.availableParallelism();
  const loop = ['-c', 'while :; do :; done'];
  return Array.from({ length: count }, () => owned(spawn('sh', loop, { stdio: 'ignore' })));
}

async function busyLooks(
  nodes: readonly BenchNode[],
): Promise<{ busy: Look[]; trouble: string[] }> {
  const [logs, before] = [nodes.map(logBytesOf), await Promise.all(nodes.map(figuresOf))];
  const loops = busyLoops();
  const busy = await looks(nodes, busySeconds);
  await Promise.all(loops.map(ended));
  const trouble = nodes.flatMap((node, n) => eventsOf(node, TROUBLE, logs[n] ?? 0));
  const after = await Promise.all(nodes.map(figuresOf));
  const epochs = after.flatMap(({ epoch }, n) => {
    const was = before[n]?.epoch;
    return epoch === was ? [] : [`n${n + 1}: epoch ${was} became ${epoch}`];
  });
  return { busy, trouble: [...trouble, ...epochs] };
}

const reason = missing('fio');
if (reason !== undefined) throw new RangeError(reason);
await withScratch(async (dir) => {
  const nodes = await startNodes(path.join(dir, 'c'), { nodes: 3, copies: 3 });
  await createVolume(nodes[0] as BenchNode, 'load', sizeMib * MIB);
  await prefill(targetOf(nodes, 'load'), sizeMib);
  // The lag since the start is not of the load.
  await Promise.all(nodes.map(figuresOf));
  const found = await looks(nodes, loadSeconds);
  const { busy, trouble } = await busyLooks(nodes);
  report(nodes, found, busy);
  const wrong = [...judgeStalls(found), ...judgeGrowth(found), ...trouble];
  for (const line of wrong) process.stdout.write(`WRONG: ${line}\n`);
  process.exitCode = wrong.length === 0 ? 0 : 1;
});
