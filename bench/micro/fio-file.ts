// fio on a plain file of the same file system, for comparison in the same run: durable 4 KiB writes with one fdatasync
// per 64 (what a group commit of 64 does), cached 4 KiB reads, and 1 MiB writes with one fdatasync per 4.

import { spawnSync } from 'node:child_process';
import path from 'node:path';

const FILE_BYTES = '256m';
const JOBS: readonly (readonly [string, readonly string[]])[] = [
  ['4 KiB random writes, a sync per 64', ['--rw=randwrite', '--bs=4k', '--fdatasync=64']],
  ['4 KiB random reads, cached', ['--rw=randread', '--bs=4k']],
  ['1 MiB writes, a sync per 4', ['--rw=write', '--bs=1m', '--fdatasync=4']],
];

interface FioSide {
  readonly iops: number;
  readonly total_ios: number;
  readonly runtime: number;
}

interface FioJob {
  readonly read: FioSide;
  readonly write: FioSide;
  readonly usr_cpu: number;
  readonly sys_cpu: number;
}

/** One line per job. The file is made by fio and goes with the folder. */
export function fioLines(folder: string, seconds: number): string[] {
  const file = path.join(folder, 'fio');
  const common = [`--filename=${file}`, `--size=${FILE_BYTES}`, '--overwrite=1', '--invalidate=0'];
  const timed = [
    '--ioengine=psync',
    '--time_based',
    `--runtime=${seconds}`,
    '--output-format=json',
  ];
  const lines: string[] = [];
  for (const [name, options] of JOBS) {
    const run = spawnSync('fio', ['--name=plain', ...common, ...timed, ...options], {
      encoding: 'utf8',
      maxBuffer: 1 << 24,
    });
    if (run.status !== 0) return [...lines, `fio ${name}: not measured (${run.stderr.trim()})`];
    const job = (JSON.parse(run.stdout.slice(run.stdout.indexOf('{'))) as { jobs: [FioJob] })
      .jobs[0];
    const side = job.read.total_ios > 0 ? job.read : job.write;
    const cpuUs = ((job.usr_cpu + job.sys_cpu) * 10 * side.runtime) / side.total_ios;
    lines.push(`fio ${name}: ${Math.round(side.iops)}/s, ${cpuUs.toFixed(1)} us CPU each`);
  }
  return lines;
}
