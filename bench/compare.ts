// Two runs beside each other: rates only as their ratios to qemu-nbd in the same run, and CPU per operation. Pure.

import { markdown, medianOf, REPORT_FORMAT, type Report, type Row, ratioOf } from './report.ts';

/** Rates of noisy hosts differ by so much without a reason: a ratio may fall to this share of the earlier one. */
export const MIN_RATIO_CHANGE = 1 / 1.5;
/** CPU per operation may grow by a quarter against the last good run. */
export const MAX_CPU_CHANGE = 1.25;

export interface Comparison {
  readonly table: string;
  /** What is worse than the bounds; empty: nothing. */
  readonly worse: readonly string[];
}

/** @throws RangeError when the text is no report of ours */
export function parseReport(text: string): Report {
  const found = JSON.parse(text) as Partial<Report>;
  if (found.format !== REPORT_FORMAT || !Array.isArray(found.rows)) {
    throw new RangeError(`not a report of format ${REPORT_FORMAT}: make one with --json`);
  }
  return found as Report;
}

/** Tests that both have. */
export function compare(before: Report, now: Report): Comparison {
  const earlier = new Map(before.rows.map((row) => [row.test.name, row]));
  const worse: string[] = [];
  const lines = now.rows.flatMap((row) => {
    const old = earlier.get(row.test.name);
    if (old === undefined) return [];
    const line = lineOf(old, row);
    worse.push(...line.worse);
    return [line.cells];
  });
  const heads = ['test', 'ratio before', 'now', 'change', 'CPU us before', 'now', 'change', ''];
  const bounds = `Bounds: the ratio to qemu-nbd x${MIN_RATIO_CHANGE.toFixed(2)}, CPU per operation x${MAX_CPU_CHANGE}.\n`;
  return { table: `${bounds}\n${markdown(heads, lines)}`, worse };
}

function lineOf(old: Row, row: Row): { cells: string[]; worse: string[] } {
  const [ratioBefore, ratioNow] = [ratioOf(old), ratioOf(row)];
  const [cpuBefore, cpuNow] = [old, row].map(({ sheep }) => medianOf(sheep, 'cpuMsPerThousand'));
  const ratio = ratioNow / ratioBefore;
  const cpu = (cpuNow ?? Number.NaN) / (cpuBefore ?? Number.NaN);
  const { name } = row.test;
  const worse = [
    ...(ratio < MIN_RATIO_CHANGE ? [`${name}: ratio to qemu-nbd x${ratio.toFixed(2)}`] : []),
    ...(cpu > MAX_CPU_CHANGE ? [`${name}: CPU per operation x${cpu.toFixed(2)}`] : []),
  ];
  const figures = [
    ...[ratioBefore.toFixed(2), ratioNow.toFixed(2), `x${ratio.toFixed(2)}`],
    ...[cpuBefore?.toFixed(1) ?? '', cpuNow?.toFixed(1) ?? '', `x${cpu.toFixed(2)}`],
  ];
  return { cells: [name, ...figures, worse.length === 0 ? '' : 'worse'], worse };
}
