// The figures of a run as a table in Markdown and as a document that a later run is compared with. Pure.

import type { Figures } from './fio-run.ts';
import type { Test } from './matrix.ts';

export const REPORT_FORMAT = 1;

/** One test: the figures of each pass. */
export interface Row {
  readonly test: Test;
  readonly sheep: Figures[];
  /** With --data-tls always; empty unless asked for. */
  readonly tls: Figures[];
  readonly raw: Figures[];
  /** Empty where it is not installed. */
  readonly nbdkit: Figures[];
}

export interface Report {
  readonly format: typeof REPORT_FORMAT;
  readonly host: string;
  readonly rows: readonly Row[];
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
}

export function medianOf(figures: readonly Figures[], field: keyof Figures): number {
  return median(figures.map((one) => one[field]));
}

/** IOPS or MiB/s, by the unit of the test. */
export function rateOf({ unit }: Test, figures: readonly Figures[]): number {
  return medianOf(figures, unit === 'IOPS' ? 'iops' : 'mibPerSecond');
}

/** Ours to qemu-nbd's in the same run: what may be set beside another run's. */
export function ratioOf({ test, sheep, raw }: Row): number {
  return rateOf(test, sheep) / rateOf(test, raw);
}

export function rateText(test: Test, figures: readonly Figures[]): string {
  return Math.round(rateOf(test, figures)).toLocaleString('en');
}

function isMet({ test, sheep }: Row): string {
  const [rate, cpu] = [rateOf(test, sheep), medianOf(sheep, 'cpuMsPerThousand')];
  const misses = [
    ...(test.target !== undefined && rate < test.target ? ['rate'] : []),
    ...(test.cpuTargetUs !== undefined && cpu > test.cpuTargetUs ? ['CPU'] : []),
  ];
  if (misses.length > 0) return `no: ${misses.join(', ')}`;
  return test.target === undefined ? '' : 'met';
}

function targetText({ target, cpuTargetUs }: Test): string {
  const rate = target === undefined ? '' : target.toLocaleString('en');
  return cpuTargetUs === undefined ? rate : `${rate}, ${cpuTargetUs} us`;
}

interface Column {
  readonly title: string;
  readonly cell: (row: Row) => string;
}

function sheepColumn(title: string, field: keyof Figures, digits = 0): Column {
  return { title, cell: ({ sheep }) => medianOf(sheep, field).toFixed(digits) };
}

function columnsOf(rows: readonly Row[]): readonly Column[] {
  const hasTls = rows.some(({ tls }) => tls.length > 0);
  const hasNbdkit = rows.some(({ nbdkit }) => nbdkit.length > 0);
  const cpu = 'cpuMsPerThousand';
  return [
    { title: 'test', cell: ({ test }) => test.name },
    { title: 'sheepdog', cell: ({ test, sheep }) => `${rateText(test, sheep)} ${test.unit}` },
    { title: 'target', cell: ({ test }) => targetText(test) },
    { title: 'met', cell: isMet },
    { title: 'qemu-nbd', cell: ({ test, raw }) => rateText(test, raw) },
    { title: 'ratio', cell: (row) => ratioOf(row).toFixed(2) },
    ...(hasNbdkit
      ? [{ title: 'nbdkit file', cell: ({ test, nbdkit }: Row) => rateText(test, nbdkit) }]
      : []),
    sheepColumn('p50 us', 'p50Us'),
    sheepColumn('p99 us', 'p99Us'),
    sheepColumn('p99.9 us', 'p999Us'),
    sheepColumn('max ms', 'maxMs', 1),
    sheepColumn('CPU us', cpu, 1),
    { title: 'qemu-nbd CPU', cell: ({ raw }) => medianOf(raw, cpu).toFixed(1) },
    ...(hasTls
      ? [
          { title: 'TLS', cell: ({ test, tls }: Row) => rateText(test, tls) },
          { title: 'TLS CPU us', cell: ({ tls }: Row) => medianOf(tls, cpu).toFixed(1) },
        ]
      : []),
    sheepColumn('steal %', 'stealPercent'),
  ];
}

/** Medians of all passes, a line for each test. */
export function tableOf(rows: readonly Row[]): string {
  const columns = columnsOf(rows);
  return markdown(
    columns.map(({ title }) => title),
    rows.map((row) => columns.map(({ cell }) => cell(row))),
  );
}

export function markdown(heads: readonly string[], lines: readonly (readonly string[])[]): string {
  const rows = lines.map((cells) => `| ${cells.join(' | ')} |`);
  return [`| ${heads.join(' | ')} |`, `|${'---|'.repeat(heads.length)}`, ...rows, ''].join('\n');
}
