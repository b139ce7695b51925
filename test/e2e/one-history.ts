// Compares what nodes have on their disks: `sheep log` of each data directory. Same index, same term and same hash for
// whatever is committed; where two are equally far, the same state.

import path from 'node:path';
import { run } from '../nbd/tools.ts';

const SHEEP = path.join(import.meta.dirname, '..', '..', 'bin', 'sheep');

export interface History {
  /** Committed entries by index: `term type hash`. */
  readonly entries: ReadonlyMap<number, string>;
  readonly commit: number;
  readonly stateHash: string;
}

/** What a data directory says. Rejects when it can not be read. */
export async function historyOf(dir: string): Promise<History> {
  const { code, stdout, stderr } = await run(SHEEP, ['log', dir]);
  if (code !== 0) throw new Error(`sheep log ${dir}: ${stderr}`);
  const lines = stdout.trimEnd().split('\n');
  const rows = lines.map((line) => line.split('\t'));
  const last = rows.pop() ?? [];
  if (last[0] !== 'state') throw new Error(`sheep log ${dir}: no state at its end`);
  const entries = new Map<number, string>();
  for (const [index = '', term, type, hash, open] of rows) {
    if (index !== 'snapshot' && open === undefined) {
      entries.set(Number(index), `${term} ${type} ${hash}`);
    }
  }
  return { entries, commit: Number(last[1]), stateHash: last[2] ?? '' };
}

/** What differs between the histories; empty where all tell one. */
export function differences(histories: readonly History[]): readonly string[] {
  const told = new Map<number, string>();
  const states = new Map<number, string>();
  const found: string[] = [];
  const compare = (known: Map<number, string>, index: number, text: string, what: string): void => {
    const other = known.get(index);
    if (other !== undefined && other !== text) found.push(`${what} ${index}: ${other} / ${text}`);
    known.set(index, text);
  };
  for (const { entries, commit, stateHash } of histories) {
    for (const [index, text] of entries) compare(told, index, text, 'entry');
    compare(states, commit, stateHash, 'state at');
  }
  return found;
}
