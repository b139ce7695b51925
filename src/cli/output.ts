// What goes to the terminal: tables for people, tab-separated rows for scripts, one JSON document for programs.

import type { AdminAnswer, Warning } from '../core/admin-shapes.ts';

export type Format = 'human' | 'raw' | 'json';

/** One column: its title, and a cell for people and one for scripts (sizes in bytes). */
export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => string;
  readonly raw?: (row: Row) => string | number;
  readonly align?: 'right';
}

export interface Output {
  readonly format: Format;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** `1.5 GiB`; exact where it is a whole number of the unit. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

/** The document as it is, renamed to `dog/...`; or whatever `human` and `raw` make of it. */
export function show<Data>(
  output: Output,
  answer: AdminAnswer<Data>,
  schema: string,
  texts: {
    readonly human: (data: Data) => string;
    readonly raw: (data: Data) => string;
    /** The warnings are what was asked for: they come behind the text, where a pipe takes them. */
    readonly areWarningsResult?: true;
  },
): void {
  if (output.format === 'json') {
    output.out(`${JSON.stringify({ ...answer, schema: `dog/${schema}/1` })}\n`);
    return;
  }
  output.out(texts[output.format](answer.data));
  if (output.format !== 'human') return;
  const tell = texts.areWarningsResult === true ? output.out : output.err;
  tell(warningsText(answer.warnings));
}

export function warningsText(warnings: readonly Warning[]): string {
  return warnings
    .map(({ code, severity, message, remedy }) => {
      return `${severity} ${code}: ${message}\n${remedy === '' ? '' : `  cure: ${remedy}\n`}`;
    })
    .join('');
}

/** Plain columns, two spaces apart: easier to search than boxes. */
export function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const lines = [columns.map((column) => column.title)];
  for (const row of rows) lines.push(columns.map((column) => column.cell(row)));
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)));
  return lines.map((line) => `${padded(line, columns, widths)}\n`).join('');
}

function padded<Row>(
  line: readonly string[],
  columns: readonly Column<Row>[],
  widths: readonly number[],
): string {
  const cells = line.map((cell, at) => {
    const width = widths[at] ?? 0;
    return columns[at]?.align === 'right' ? cell.padStart(width) : cell.padEnd(width);
  });
  return cells.join('  ').trimEnd();
}

/** Tab-separated, no header. A tab inside a cell would break a row: names can not hold one. */
export function rawRows<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  return rows
    .map((row) => `${columns.map(({ raw, cell }) => (raw ?? cell)(row)).join('\t')}\n`)
    .join('');
}

/** `name: value` lines with the values in one column. */
export function facts(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}

/** `name TAB value` lines. */
export function rawFacts(pairs: readonly (readonly [string, string | number])[]): string {
  return pairs.map(([name, value]) => `${name}\t${value}\n`).join('');
}
