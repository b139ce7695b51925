// The matrix: a fresh dev cluster of three nodes with three copies, and in the same run, test by test, qemu-nbd on a raw
// file beside it; what writes, once more on a volume in mode writeback. Hosts are noisy: the ratio of the two is what
// counts. Prints tables in Markdown.
//
//   npm run bench               six seconds per test; needs fio and qemu-nbd
//
// Environment: RUNTIME seconds per test (6), PASSES over the matrix, the median counts (1), SIZE of the volume in MiB
// (1024), TESTS a regular expression, DIR where data goes (a new folder of the system's for such), JSON a file for all
// figures. Ends only what it started and removes what it wrote.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { MIB } from '../src/core/units.ts';
import {
  type Figures,
  MATRIX,
  measure,
  memoryOf,
  prefill,
  type Target,
  type Workload,
} from './fio-run.ts';

const DOG = path.join(import.meta.dirname, '..', 'bin', 'dog');
const NODES = 3;
const COPIES = 3;
const READY_TIMEOUT_MS = 60_000;
const POLL_MS = 50;
/** Quiet time before memory at rest is read. */
const REST_MS = 60_000;

const env = process.env;
const seconds = Number(env['RUNTIME'] ?? 6);
const passes = Number(env['PASSES'] ?? 1);
const sizeMib = Number(env['SIZE'] ?? 1024);
const wanted = new RegExp(env['TESTS'] ?? '');

/** A name that ends so is measured on a volume in mode writeback. */
const WRITEBACK = ', writeback';

interface Server {
  readonly target: Target;
  /** A second volume of it. */
  readonly writeback?: Target;
  readonly child: ChildProcess;
}

interface Row {
  readonly work: Workload;
  readonly sheep: Figures[];
  readonly raw: Figures[];
}

async function startSheep(dir: string): Promise<Server> {
  const size = ['--nodes', String(NODES), '--copies', String(COPIES)];
  const args = ['dev', 'up', '--dir', dir, ...size, '--volume', `bench:${sizeMib}M`, '--json'];
  const child = spawn(DOG, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout });
  const ended = once(child, 'exit').then(([code]) =>
    Promise.reject(new RangeError(`dog dev up ended with ${code}`)),
  );
  const [line] = (await Promise.race([once(lines, 'line'), ended])) as [string];
  ended.catch(() => undefined);
  const { nodes } = JSON.parse(line) as {
    nodes: { pid: number; nbd: { unix: string } }[];
  };
  const made = ['--dir', dir, 'vdi', 'create', 'cache', `${sizeMib}M`, '--mode', 'writeback'];
  const { status } = spawnSync(DOG, made, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new RangeError(`dog vdi create ended with ${status}`);
  const pids = nodes.map(({ pid }) => pid);
  const targetOf = (volume: string): Target => {
    const uri = `nbd+unix:///${volume}?socket=${nodes[0]?.nbd.unix}`;
    return { name: `sheepdog ${volume}`, uri, pids };
  };
  return { child, target: targetOf('bench'), writeback: targetOf('cache') };
}

/** The matrix, and what writes in it once more on the volume in mode writeback. */
function worksOf(): readonly Workload[] {
  const again = MATRIX.filter(({ name }) => /write/.test(name)).map((work) => ({
    ...work,
    name: work.name + WRITEBACK,
  }));
  return [...MATRIX, ...again].filter(({ name }) => wanted.test(name));
}

async function startRaw(dir: string): Promise<Server> {
  fs.mkdirSync(dir, { recursive: true });
  const file = path.join(dir, 'volume.raw');
  fs.writeFileSync(file, '');
  fs.truncateSync(file, sizeMib * MIB);
  const socket = path.join(dir, 'nbd.sock');
  const how = ['--format=raw', '--cache=writeback', '--persistent', '--shared=8'];
  const args = [...how, '--export-name=bench', `--socket=${socket}`, file];
  const child = spawn('qemu-nbd', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  child.on('error', (error) => {
    throw error;
  });
  const until = performance.now() + READY_TIMEOUT_MS;
  while (!fs.existsSync(socket)) {
    if (performance.now() > until || child.exitCode !== null) {
      throw new RangeError('qemu-nbd does not listen');
    }
    await pause(POLL_MS);
  }
  const uri = `nbd+unix:///bench?socket=${socket}`;
  return { child, target: { name: 'qemu-nbd', uri, pids: [child.pid as number] } };
}

async function runMatrix(
  { target: durable, writeback = durable }: Server,
  raw: Target,
): Promise<readonly Row[]> {
  const rows = worksOf().map((work): Row => ({ work, sheep: [], raw: [] }));
  for (let pass = 0; pass < passes; pass += 1) {
    for (const row of rows) {
      const sheep = row.work.name.endsWith(WRITEBACK) ? writeback : durable;
      row.sheep.push(await measure(sheep, row.work, { seconds, sizeMib }));
      row.raw.push(await measure(raw, row.work, { seconds, sizeMib }));
      say(`${row.work.name}: ${text(row, row.sheep)} ${row.work.unit}\n`);
    }
  }
  return rows;
}

function tableOf(rows: readonly Row[]): string {
  const titles = ['test', 'sheepdog x3', 'qemu-nbd raw', 'ratio', 'p50 us', 'p99 us', 'max ms'];
  const heads = [...titles, 'CPU ms/1000', 'qemu-nbd CPU', 'steal %'];
  const lines = rows.map((row) => {
    const ratio = rate(row, row.sheep) / rate(row, row.raw);
    const of = (field: keyof Figures, digits = 0) => median(row.sheep, field).toFixed(digits);
    const cells = [
      row.work.name,
      `${text(row, row.sheep)} ${row.work.unit}`,
      text(row, row.raw),
      ratio.toFixed(2),
      ...[of('p50Us'), of('p99Us'), of('maxMs', 1), of('cpuMsPerThousand', 1)],
      median(row.raw, 'cpuMsPerThousand').toFixed(1),
      of('stealPercent'),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return [`| ${heads.join(' | ')} |`, `|${'---|'.repeat(heads.length)}`, ...lines, ''].join('\n');
}

function rate({ work }: Row, figures: readonly Figures[]): number {
  return median(figures, work.unit === 'IOPS' ? 'iops' : 'mibPerSecond');
}

function text(row: Row, figures: readonly Figures[]): string {
  return Math.round(rate(row, figures)).toLocaleString('en');
}

function median(figures: readonly Figures[], field: keyof Figures): number {
  const sorted = figures.map((one) => one[field]).sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
}

function hostFacts(): string {
  const [cpu] = os.cpus();
  const memory = Math.round(os.totalmem() / 1024 / MIB);
  const facts = [`${os.cpus().length} x ${cpu?.model}`, `${memory} GiB`, `Linux ${os.release()}`];
  return `Host: ${facts.join(', ')}, node ${process.version}; ${seconds} s per test, median of ${passes}, ${sizeMib} MiB.\n`;
}

function memoryText(when: string, pids: readonly number[]): string {
  const each = pids.map(memoryOf).map(({ nowMib, peakMib }) => `${nowMib} (peak ${peakMib})`);
  return `Memory of the nodes ${when}, MiB: ${each.join(', ')}.\n`;
}

async function main(): Promise<void> {
  const base = env['DIR'] ?? os.tmpdir();
  const dir = fs.mkdtempSync(path.join(base, 'sheep-bench-'));
  const servers: Server[] = [];
  try {
    servers.push(await startSheep(path.join(dir, 'c')));
    servers.push(await startRaw(path.join(dir, 'raw')));
    const [sheep, raw] = servers as [Server, Server];
    say('filling the volumes\n');
    for (const one of [sheep.target, sheep.writeback, raw.target]) {
      if (one !== undefined) await prefill(one, sizeMib);
    }
    const rows = await runMatrix(sheep, raw.target);
    const { pids } = sheep.target;
    const loaded = memoryText('right after', pids);
    say('waiting a minute for memory at rest\n');
    await pause(REST_MS);
    const rest = memoryText('a minute later', pids);
    process.stdout.write(`${hostFacts()}\n${tableOf(rows)}\n${loaded}${rest}`);
    if (env['JSON'] !== undefined) fs.writeFileSync(env['JSON'], JSON.stringify(rows, null, 2));
  } finally {
    for (const { child } of servers.reverse()) await end(child);
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function say(line: string): void {
  process.stderr.write(line);
}

await main();
