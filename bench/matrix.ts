// What `npm run bench` measures: the tests, which volume each is made on, and the targets they are held against. The targets
// are those of a quiet host of two cores with three nodes and three copies; between hosts only ratios count.

import type { Workload } from './fio-run.ts';

/**
 * durable, writeback: a volume of that mode, written once before. thin: a fresh durable one for each pass, nothing written.
 * remote: at a gateway that holds no copy (4 nodes, 2 copies).
 */
export type VolumeKind = 'durable' | 'writeback' | 'thin' | 'remote';

export interface Test extends Workload {
  readonly volume: VolumeKind;
  /** IOPS or MiB/s that it should reach. */
  readonly target?: number;
  /** CPU time of all nodes for one operation, in us, that it should stay below. */
  readonly cpuTargetUs?: number;
}

const READ_CPU_US = 9;
const WRITE_CPU_US = 75;

function random(rw: 'randread' | 'randwrite', depth: number): Workload {
  const options = [`--rw=${rw}`, '--bs=4k', `--iodepth=${depth}`];
  return { name: `4k ${rw} qd${depth}`, options, unit: 'IOPS' };
}

function large(rw: 'read' | 'write'): Workload {
  return {
    name: `1m ${rw} qd4`,
    options: [`--rw=${rw}`, '--bs=1m', '--iodepth=4'],
    unit: 'MiB/s',
  };
}

function flushEach(): Workload {
  const { options } = random('randwrite', 1);
  return {
    name: '4k randwrite qd1 + flush each',
    options: [...options, '--fsync=1'],
    unit: 'IOPS',
  };
}

function named(work: Workload, what: string): Workload {
  return { ...work, name: `${work.name}, ${what}` };
}

const durable = (work: Workload, rest: Partial<Test> = {}): Test => {
  return { ...work, volume: 'durable', ...rest };
};
const writeback = (work: Workload, target?: number): Test => ({
  ...named(work, 'writeback'),
  volume: 'writeback',
  ...(target === undefined ? {} : { target }),
});

export const MATRIX: readonly Test[] = [
  durable(random('randread', 1), { target: 25_000 }),
  durable(random('randread', 16), { target: 80_000, cpuTargetUs: READ_CPU_US }),
  durable(random('randread', 64), { target: 80_000, cpuTargetUs: READ_CPU_US }),
  durable(random('randwrite', 1), { target: 2000 }),
  durable(random('randwrite', 16), { target: 8000 }),
  durable(random('randwrite', 64), { target: 13_000, cpuTargetUs: WRITE_CPU_US }),
  durable(large('read'), { target: 1100 }),
  durable(large('write'), { target: 250 }),
  durable(flushEach()),
  writeback(random('randwrite', 1), 5000),
  writeback(random('randwrite', 16), 18_000),
  writeback(random('randwrite', 64), 25_000),
  writeback(large('write'), 350),
  writeback(flushEach(), 1500),
  { ...named(random('randwrite', 64), 'empty thin volume'), volume: 'thin', target: 6000 },
  { ...named(random('randread', 1), 'no local copy'), volume: 'remote', target: 10_000 },
  { ...named(random('randread', 64), 'no local copy'), volume: 'remote', target: 35_000 },
];
