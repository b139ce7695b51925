// The matrix: fresh clusters of real nodes, and in the same run, test by test, qemu-nbd and nbdkit on a file beside them.
// Hosts are noisy: the ratio to qemu-nbd is what counts. Prints tables in Markdown. Flags: options.ts, or
//
//   npm run bench -- --help
//
// Tests (matrix.ts) come in sets that share a cluster; with --tls each set has a second cluster whose data channels are
// encrypted. Passes are interleaved: every server in turn for one test, then the next test, then the next pass.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { MIB } from '../src/core/units.ts';
import { compare, parseReport } from './compare.ts';
import { type Figures, measure, memoryOf, prefill, type Target } from './fio-run.ts';
import { MATRIX, type Test, type VolumeKind } from './matrix.ts';
import {
  type BenchNode,
  createVolume,
  pause,
  pidsOf,
  startNodes,
  stopNodes,
  targetOf,
} from './nodes.ts';
import { type BenchOptions, benchOptions, HELP } from './options.ts';
import { missing, type Peer, startNbdkit, startQemuNbd } from './peers.ts';
import { REPORT_FORMAT, type Report, type Row, rateText, tableOf } from './report.ts';
import { ended, withScratch } from './scratch.ts';

interface ClusterSet {
  readonly name: string;
  readonly nodes: number;
  readonly copies: number;
  /** Where the guest is. */
  readonly gateway: number;
  readonly volumes: readonly VolumeKind[];
  readonly flags: (number: number) => readonly string[];
}

const SETS: readonly ClusterSet[] = [
  {
    name: '3 nodes, 3 copies',
    nodes: 3,
    copies: 3,
    gateway: 1,
    volumes: ['durable', 'writeback', 'thin'],
    flags: () => [],
  },
  {
    name: '4 nodes, 2 copies, the gateway holds none',
    nodes: 4,
    copies: 2,
    gateway: 4,
    volumes: ['remote'],
    flags: (number) => (number === 4 ? ['--weight', '0'] : []),
  },
];

type Starter = (dir: string, sizeMib: number) => Promise<Peer>;

/** A server of the bench beside ours. */
interface Rival {
  readonly column: 'raw' | 'nbdkit';
  readonly start: Starter;
  /** On a file that was written once. */
  readonly filled: Target;
}

interface Bench {
  readonly dir: string;
  readonly options: BenchOptions;
  readonly rivals: readonly Rival[];
}

async function startRivals(dir: string, { sizeMib }: BenchOptions): Promise<Rival[]> {
  const rivals: Rival[] = [await rivalOf(dir, sizeMib, 'raw', startQemuNbd)];
  const reason = missing('nbdkit');
  if (reason !== undefined) say(`${reason}: its column is left out\n`);
  else rivals.push(await rivalOf(dir, sizeMib, 'nbdkit', startNbdkit));
  return rivals;
}

async function rivalOf(
  dir: string,
  sizeMib: number,
  column: Rival['column'],
  start: Starter,
): Promise<Rival> {
  const { target } = await start(path.join(dir, column), sizeMib);
  await prefill(target, sizeMib);
  return { column, start, filled: target };
}

/** A cluster with the volumes of its set, written once but for the thin ones. */
class Cluster {
  readonly #set: ClusterSet;
  readonly #sizeMib: number;
  readonly nodes: readonly BenchNode[];

  private constructor(set: ClusterSet, sizeMib: number, nodes: readonly BenchNode[]) {
    this.#set = set;
    this.#sizeMib = sizeMib;
    this.nodes = nodes;
  }

  static async start(
    dir: string,
    set: ClusterSet,
    sizeMib: number,
    options: { readonly tests: readonly Test[]; readonly tls?: 'always' },
  ): Promise<Cluster> {
    const tls = options.tls === undefined ? [] : ['--data-tls', options.tls];
    const flags = (number: number) => [...set.flags(number), ...tls];
    const nodes = await startNodes(dir, { nodes: set.nodes, copies: set.copies, flags });
    const cluster = new Cluster(set, sizeMib, nodes);
    const kinds = new Set(options.tests.map(({ volume }) => volume));
    for (const kind of kinds) {
      if (kind !== 'thin') await prefill(await cluster.#make(kind, kind), sizeMib);
    }
    return cluster;
  }

  /** Where the test is made; of a thin one, a fresh volume each time. */
  async targetOf(kind: VolumeKind, pass: number): Promise<Target> {
    if (kind === 'thin') return this.#make(kind, `thin${pass}`);
    return targetOf(this.nodes, kind, this.#set.gateway);
  }

  async #make(kind: VolumeKind, name: string): Promise<Target> {
    const mode = kind === 'writeback' ? 'writeback' : 'durable';
    await createVolume(this.nodes[0] as BenchNode, name, this.#sizeMib * MIB, { mode });
    return targetOf(this.nodes, name, this.#set.gateway);
  }
}

async function runSet(bench: Bench, set: ClusterSet, tests: readonly Test[]): Promise<SetResult> {
  const { dir, options } = bench;
  const { sizeMib } = options;
  say(`${set.name}: starting, filling\n`);
  const folder = path.join(dir, `c${set.nodes}`);
  const plain = await Cluster.start(folder, set, sizeMib, { tests });
  const tls = options.hasTls
    ? await Cluster.start(`${folder}t`, set, sizeMib, { tests, tls: 'always' })
    : undefined;
  const rows = tests.map((test): Row => ({ test, sheep: [], tls: [], raw: [], nbdkit: [] }));
  for (let pass = 1; pass <= options.passes; pass += 1) {
    for (const row of rows) await runRow(bench, row, { plain, tls, pass });
  }
  const memory = await memoryText(set, plain.nodes, options.restSeconds);
  for (const cluster of [plain, tls]) if (cluster !== undefined) await stopNodes(cluster.nodes);
  return { rows, memory };
}

interface SetResult {
  readonly rows: readonly Row[];
  readonly memory: string;
}

async function runRow(
  bench: Bench,
  row: Row,
  at: { readonly plain: Cluster; readonly tls: Cluster | undefined; readonly pass: number },
): Promise<void> {
  const { test } = row;
  const run = (target: Target): Promise<Figures> => measure(target, test, bench.options);
  row.sheep.push(await run(await at.plain.targetOf(test.volume, at.pass)));
  if (at.tls !== undefined) row.tls.push(await run(await at.tls.targetOf(test.volume, at.pass)));
  for (const rival of bench.rivals) row[rival.column].push(await rivalRun(bench, rival, test));
  say(`${test.name}: ${rateText(test, row.sheep)} ${test.unit}\n`);
}

/** Thin volumes are set beside a fresh file. */
async function rivalRun(
  bench: Bench,
  { column, start, filled }: Rival,
  test: Test,
): Promise<Figures> {
  const { options } = bench;
  if (test.volume !== 'thin') return measure(filled, test, options);
  const dir = path.join(bench.dir, `thin-${column}`);
  const { target, child } = await start(dir, options.sizeMib);
  try {
    return await measure(target, test, options);
  } finally {
    await ended(child);
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

async function memoryText(
  { name }: ClusterSet,
  nodes: readonly BenchNode[],
  restSeconds: number,
): Promise<string> {
  const pids = pidsOf(nodes);
  const line = (when: string): string => {
    const each = pids.map(memoryOf).map(({ nowMib, peakMib }) => `${nowMib} (peak ${peakMib})`);
    return `Memory, ${name}, ${when}, MiB: ${each.join(', ')}.\n`;
  };
  const loaded = line('right after');
  if (restSeconds === 0) return loaded;
  say(`waiting ${restSeconds} s for memory at rest\n`);
  await pause(restSeconds * 1000);
  return loaded + line(`${restSeconds} s later`);
}

function hostFacts({ seconds, passes, sizeMib }: BenchOptions): string {
  const [cpu] = os.cpus();
  const memory = Math.round(os.totalmem() / 1024 / MIB);
  const facts = [`${os.cpus().length} x ${cpu?.model}`, `${memory} GiB`, `Linux ${os.release()}`];
  const load = `load before ${os.loadavg()[0]?.toFixed(1)}`;
  const how = `${seconds} s per test, median of ${passes}, ${sizeMib} MiB`;
  return `Host: ${[...facts, `node ${process.version}`, load].join(', ')}; ${how}.`;
}

async function run(options: BenchOptions): Promise<void> {
  for (const program of ['fio', 'qemu-nbd']) {
    const reason = missing(program);
    if (reason !== undefined) throw new RangeError(reason);
  }
  const wanted = MATRIX.filter(({ name }) => options.tests.test(name));
  if (wanted.length === 0) throw new RangeError(`--tests ${options.tests.source}: no such test`);
  const host = hostFacts(options);
  const results = await withScratch(async (dir) => {
    const bench: Bench = { dir, options, rivals: await startRivals(dir, options) };
    const found: SetResult[] = [];
    for (const set of SETS) {
      const tests = wanted.filter(({ volume }) => set.volumes.includes(volume));
      if (tests.length > 0) found.push(await runSet(bench, set, tests));
    }
    return found;
  });
  const rows = results.flatMap((one) => one.rows);
  const memory = results.map((one) => one.memory).join('');
  process.stdout.write(`${host}\n\n${tableOf(rows)}\n${memory}`);
  const report: Report = { format: REPORT_FORMAT, host, rows };
  if (options.json !== undefined) fs.writeFileSync(options.json, JSON.stringify(report, null, 2));
  if (options.compare !== undefined) judge(options.compare, report);
}

function judge(file: string, report: Report): void {
  const { table, worse } = compare(parseReport(fs.readFileSync(file, 'utf8')), report);
  process.stdout.write(`\nAgainst ${file}.\n${table}`);
  for (const line of worse) process.stdout.write(`WORSE: ${line}\n`);
  if (worse.length > 0) process.exitCode = 1;
}

function say(line: string): void {
  process.stderr.write(line);
}

const USAGE = 64;

async function main(): Promise<void> {
  let options: BenchOptions | undefined;
  try {
    options = benchOptions(process.argv.slice(2), process.env);
    // An earlier run that can not be read is told before the measurement, not after it.
    if (options?.compare !== undefined) parseReport(fs.readFileSync(options.compare, 'utf8'));
  } catch (error) {
    say(`bench: ${error instanceof Error ? error.message : error}\n`);
    process.exitCode = USAGE;
    return;
  }
  if (options === undefined) process.stdout.write(HELP);
  else await run(options);
}

await main();
