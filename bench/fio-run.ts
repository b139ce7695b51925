// One measurement: fio against an NBD socket, and the CPU time that the daemons behind it took meanwhile. What is measured
// is in matrix.ts.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { invariant } from '../src/core/invariant.ts';
import { MIB } from '../src/core/units.ts';

const CLOCK_TICKS_PER_SECOND = 100;
/** On top of a test's own time: connecting, and draining its queue. */
const FIO_GRACE_MS = 120_000;

export interface Workload {
  readonly name: string;
  readonly options: readonly string[];
  /** IOPS, or MiB/s for large blocks. */
  readonly unit: 'IOPS' | 'MiB/s';
}

/** A server under test. */
export interface Target {
  readonly name: string;
  readonly uri: string;
  readonly pids: readonly number[];
}

export interface Figures {
  readonly iops: number;
  readonly mibPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  /** Of the writes of a mixed workload; 0 where there are none. */
  readonly writeP99Us: number;
  readonly writeP999Us: number;
  readonly maxMs: number;
  /** Of all its daemons: the same number as microseconds of one operation. */
  readonly cpuMsPerThousand: number;
  /** Share of the machine's time that its hypervisor gave to others, in percent. */
  readonly stealPercent: number;
}

interface FioSide {
  readonly total_ios: number;
  readonly iops: number;
  readonly bw_bytes: number;
  readonly lat_ns: { readonly max: number; readonly percentile: Readonly<Record<string, number>> };
}

/** Writes all of the volume once. */
export async function prefill(target: Target, sizeMib: number): Promise<void> {
  const options = ['--rw=write', '--bs=1m', '--iodepth=4', '--end_fsync=1'];
  await fio([...common(target, sizeMib), ...options], FIO_GRACE_MS * 5);
}

/** Runs one workload for some seconds. Rejects when fio saw an error. */
export async function measure(
  target: Target,
  work: Workload,
  options: { readonly seconds: number; readonly sizeMib: number },
): Promise<Figures> {
  const { seconds, sizeMib } = options;
  const timed = ['--time_based=1', `--runtime=${seconds}`, '--output-format=json'];
  const latencies = ['--lat_percentiles=1', '--clat_percentiles=0'];
  const args = [...common(target, sizeMib), ...timed, ...latencies, ...work.options];
  const cpuBefore = cpuSeconds(target.pids);
  const hostBefore = hostTicks();
  const text = await fio(args, seconds * 1000 + FIO_GRACE_MS);
  const cpu = cpuSeconds(target.pids) - cpuBefore;
  const host = hostTicks();
  const [job] = JSON.parse(text.slice(text.indexOf('{'))).jobs;
  const side: FioSide = job.read.total_ios > 0 ? job.read : job.write;
  return {
    iops: side.iops,
    mibPerSecond: side.bw_bytes / MIB,
    p50Us: (side.lat_ns.percentile['50.000000'] ?? 0) / 1000,
    p99Us: (side.lat_ns.percentile['99.000000'] ?? 0) / 1000,
    p999Us: (side.lat_ns.percentile['99.900000'] ?? 0) / 1000,
    writeP99Us: (job.write.lat_ns?.percentile?.['99.000000'] ?? 0) / 1000,
    writeP999Us: (job.write.lat_ns?.percentile?.['99.900000'] ?? 0) / 1000,
    maxMs: Math.max(side.lat_ns.max, job.write.lat_ns?.max ?? 0) / 1e6,
    cpuMsPerThousand: (cpu * 1e6) / side.total_ios,
    stealPercent: ((host.steal - hostBefore.steal) * 100) / (host.all - hostBefore.all + 1),
  };
}

function common(target: Target, sizeMib: number): string[] {
  return ['--name=bench', '--ioengine=nbd', `--uri=${target.uri}`, `--size=${sizeMib}m`];
}

function fio(args: readonly string[], timeoutMs: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const child = spawn('fio', args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutMs });
  const texts = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      texts[stream] += text;
    });
  }
  child.on('error', reject);
  child.on('close', (code) => {
    if (code === 0) resolve(texts.stdout);
    else reject(new RangeError(`fio ended with ${code}: ${texts.stderr.slice(-500)}`));
  });
  return promise;
}

function cpuSeconds(pids: readonly number[]): number {
  return ticksOf(pids) / CLOCK_TICKS_PER_SECOND;
}

/** User and system time of processes, all threads, in ticks of 10 ms. */
export function ticksOf(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks;
}

function hostTicks(): { steal: number; all: number } {
  const line = fs.readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '';
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number);
  return { steal: ticks[7] ?? 0, all: ticks.reduce((sum, one) => sum + one, 0) };
}

/** Resident memory of a process, now and at most, in MiB. */
export function memoryOf(pid: number): { readonly nowMib: number; readonly peakMib: number } {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  const mib = (field: string): number => {
    const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status);
    invariant(match !== null, `/proc knows ${field}`);
    return Math.round(Number(match[1]) / 1024);
  };
  return { nowMib: mib('VmRSS'), peakMib: mib('VmHWM') };
}
