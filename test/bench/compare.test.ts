// What `npm run bench` says of two runs, of targets, and of its own command line.

import test from 'ava';
import { compare, MAX_CPU_CHANGE, MIN_RATIO_CHANGE, parseReport } from '../../bench/compare.ts';
import type { Figures } from '../../bench/fio-run.ts';
import { MATRIX } from '../../bench/matrix.ts';
import { benchOptions } from '../../bench/options.ts';
import { median, type Report, type Row, tableOf } from '../../bench/report.ts';

const NAME = '4k randwrite qd64';
const figures = (iops: number, cpu: number): Figures => ({
  ...{ iops, mibPerSecond: iops / 256, p50Us: 1, p99Us: 2, p999Us: 3, maxMs: 4 },
  ...{ writeP99Us: 2, writeP999Us: 3, cpuMsPerThousand: cpu, stealPercent: 0 },
});

function rowOf(iops: number, cpu: number, raw = 20_000): Row {
  const found = MATRIX.find(({ name }) => name === NAME);
  if (found === undefined) throw new TypeError(`no ${NAME}`);
  return {
    test: found,
    sheep: [figures(iops, cpu)],
    tls: [],
    raw: [figures(raw, 50)],
    nbdkit: [],
  };
}

const reportOf = (...rows: Row[]): Report => ({ format: 1, host: 'here', rows });

test('a run is compared by its ratio to qemu-nbd and by CPU, not by its rate', (t) => {
  const before = reportOf(rowOf(10_000, 100));
  t.deepEqual(compare(before, reportOf(rowOf(5000, 100, 10_000))).worse, []);
  const slow = compare(before, reportOf(rowOf(10_000 * MIN_RATIO_CHANGE * 0.99, 100)));
  t.deepEqual(slow.worse, [`${NAME}: ratio to qemu-nbd x0.66`]);
  t.regex(slow.table, /\| worse \|/);
  const dear = compare(before, reportOf(rowOf(10_000, 100 * MAX_CPU_CHANGE + 1)));
  t.deepEqual(dear.worse, [`${NAME}: CPU per operation x1.26`]);
  t.deepEqual(compare(before, reportOf(rowOf(10_000, 100 * MAX_CPU_CHANGE))).worse, []);
});

test('what is no report is refused, the array of earlier versions too', (t) => {
  t.throws(() => parseReport('[]'), { message: /format 1/ });
  t.throws(() => parseReport('{"format":2,"rows":[]}'), { message: /format 1/ });
  t.deepEqual(parseReport(JSON.stringify(reportOf())).rows, []);
});

test('a row says whether its targets of rate and of CPU are met', (t) => {
  const line = (row: Row) => tableOf([row]).split('\n')[2] ?? '';
  t.regex(line(rowOf(13_000, 75)), /\| met \|/);
  t.regex(line(rowOf(12_999, 75)), /\| no: rate \|/);
  t.regex(line(rowOf(13_000, 76)), /\| no: CPU \|/);
  t.is(median([3, 1, 2]), 2);
  t.is(median([4, 1, 2, 3]), 2);
});

test('flags win over environment variables, and nonsense is told', (t) => {
  const env = { RUNTIME: '3', SIZE: '64', TESTS: 'qd1' };
  const options = benchOptions(['--size', '128'], env);
  t.like(options, { seconds: 3, sizeMib: 128, passes: 1, hasTls: false });
  t.true(options?.tests.test(MATRIX[0]?.name ?? ''));
  t.is(benchOptions(['--help'], {}), undefined);
  t.throws(() => benchOptions(['--passes', 'two'], {}), { message: /--passes/ });
  t.throws(() => benchOptions(['--nonsense'], {}));
  t.throws(() => benchOptions(['--compare', '/nowhere/x.json'], {}), { message: /--compare/ });
});

test('each test has its own name', (t) => {
  t.is(new Set(MATRIX.map(({ name }) => name)).size, MATRIX.length);
});
