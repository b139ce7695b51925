// The record of a run as text: one row per event, one column per node; the newest part of a long run.

import type { TraceRecord } from './world.ts';

const COLUMN = 16;
const MAX_TEXT = 100;

/** Rows of time, a mark under the node it happened on, and what it was. */
export function formatTimeline(records: readonly TraceRecord[]): readonly string[] {
  const names = [...new Set(records.map((record) => record.node))].sort();
  const header = `${'time'.padStart(10)} ${names.map((name) => name.padEnd(COLUMN)).join('')}`;
  const rows = records.map(({ atMs, node, name, text }) => {
    const marks = names.map((each) =>
      (each === node ? name.slice(0, COLUMN - 1) : '.').padEnd(COLUMN),
    );
    return `${(atMs / 1000).toFixed(3).padStart(10)} ${marks.join('')} ${text.slice(0, MAX_TEXT)}`;
  });
  return [header, ...rows];
}
