// Measures the NBD front alone: a volume in memory behind src/nbd, next to `nbdkit memory` in the same run, both driven by
// fio over a unix socket. No verdict by IOPS; the figures show whether the front is a bottleneck.
//
//   node bench/nbd-memory.ts [seconds per test, default 5]       prints a table, and one JSON line per measurement
//   node bench/nbd-memory.ts --serve SOCKET                      the server half, started by the first

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { invariant } from '../src/core/invariant.ts';
import { GIB, MIB } from '../src/core/units.ts';
import { createRealClock } from '../src/io/real-clock.ts';
import { NbdServer } from '../src/nbd/nbd-server.ts';
import { MemoryVolume, memorySource } from '../test/nbd/memory-volume.ts';

const VOLUME_BYTES = GIB / 2;
const CLOCK_TICKS_PER_SECOND = 100;
const START_TIMEOUT_MS = 10_000;

interface Workload {
  readonly name: string;
  readonly options: readonly string[];
}

const WORKLOADS: readonly Workload[] = [
  ...[1, 16, 64].map((depth) => random('randread', depth)),
  ...[1, 16, 64].map((depth) => random('randwrite', depth)),
  { name: '1m-read-qd4', options: ['--rw=read', '--bs=1m', '--iodepth=4'] },
  { name: '1m-write-qd4', options: ['--rw=write', '--bs=1m', '--iodepth=4'] },
];

function random(rw: string, depth: number): Workload {
  return { name: `4k-${rw}-qd${depth}`, options: [`--rw=${rw}`, '--bs=4k', `--iodepth=${depth}`] };
}

interface Figures {
  readonly server: string;
  readonly test: string;
  readonly iops: number;
  readonly mibPerSecond: number;
  /** CPU of the server alone. */
  readonly cpuMicrosecondsPerIo: number;
}

async function serve(socket: string): Promise<void> {
  const nothing = () => undefined;
  const server = new NbdServer({
    source: memorySource([new MemoryVolume('vol', VOLUME_BYTES)]),
    clock: createRealClock(),
    trace: { event: nothing, warn: nothing, count: nothing },
    removeSocket: nothing,
  });
  await server.listen({ kind: 'unix', path: socket });
  process.once('SIGTERM', () => void server.stop().then(() => process.exit(0)));
}

function cpuSeconds(pid: number): number {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
}

function measure(
  server: string,
  target: { pid: number; uri: string },
  work: Workload,
  seconds: number,
): Figures {
  const common = ['--name=bench', '--ioengine=nbd', `--uri=${target.uri}`, '--size=512m'];
  const timed = ['--time_based=1', `--runtime=${seconds}`, '--output-format=json'];
  const before = cpuSeconds(target.pid);
  const fio = spawnSync('fio', [...common, ...timed, ...work.options], {
    encoding: 'utf8',
    cwd: os.tmpdir(),
  });
  invariant(fio.status === 0, `fio ends well: ${fio.stderr}`);
  const cpu = cpuSeconds(target.pid) - before;
  const [job] = JSON.parse(fio.stdout.slice(fio.stdout.indexOf('{'))).jobs;
  const side = job.read.total_ios > 0 ? job.read : job.write;
  return {
    server,
    test: work.name,
    iops: Math.round(side.iops),
    mibPerSecond: Math.round(side.bw_bytes / MIB),
    cpuMicrosecondsPerIo: Math.round((cpu * 1e7) / side.total_ios) / 10,
  };
}

async function started(child: ChildProcess, socket: string): Promise<number> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (!fs.existsSync(socket)) {
    invariant(performance.now() < deadline && child.exitCode === null, `${socket} appears`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  invariant(child.pid !== undefined, 'the server runs');
  return child.pid;
}

async function compare(seconds: number): Promise<void> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-bench-'));
  const ours = path.join(dir, 'sheep.sock');
  const theirs = path.join(dir, 'nbdkit.sock');
  const quiet = { stdio: ['ignore', 'ignore', 'inherit'] as const };
  const children = [
    spawn(process.execPath, [import.meta.filename, '--serve', ours], { stdio: [...quiet.stdio] }),
    spawn('nbdkit', ['-f', '-U', theirs, 'memory', String(VOLUME_BYTES)], {
      stdio: [...quiet.stdio],
    }),
  ] as const;
  try {
    const sheep = { pid: await started(children[0], ours), uri: `nbd+unix:///vol?socket=${ours}` };
    const nbdkit = {
      pid: await started(children[1], theirs),
      uri: `nbd+unix:///?socket=${theirs}`,
    };
    for (const work of WORKLOADS) {
      report(measure('sheep', sheep, work, seconds), measure('nbdkit', nbdkit, work, seconds));
    }
  } finally {
    for (const child of children) child.kill('SIGTERM');
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

function report(sheep: Figures, nbdkit: Figures): void {
  for (const one of [sheep, nbdkit]) process.stdout.write(`${JSON.stringify(one)}\n`);
  const ratio = (sheep.iops / nbdkit.iops).toFixed(2);
  process.stdout.write(
    `# ${sheep.test}: ${sheep.iops} against ${nbdkit.iops} per second, ${ratio} times\n`,
  );
}

if (process.argv[2] === '--serve') await serve(process.argv[3] ?? '');
else await compare(Number(process.argv[2] ?? 5));
