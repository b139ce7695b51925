// Which sectors of a piece a backup must say: those with data, those that became zeroes, those that are not as they were
// before. Pure.

import { SECTOR_BYTES } from '../core/units.ts';
import type { Run } from './backup-format.ts';

const ZEROES = Buffer.alloc(SECTOR_BYTES);

type Kind = 'data' | 'zero' | 'same';

/**
 * Runs of all that is not zeroes, in steps of `stepBytes`: shorter ones of zeroes are given as data.
 * @param stepBytes a multiple of a sector
 */
export function dataRuns(bytes: Uint8Array, stepBytes: number): Run[] {
  const now = viewOf(bytes);
  return runsOf(bytes.length, stepBytes, (from, to) => (isZero(now, from, to) ? 'same' : 'data'));
}

/** Runs of all that differs from what was there before, sector by sector. Both have the same length. */
export function changedRuns(bytes: Uint8Array, before: Uint8Array): Run[] {
  const now = viewOf(bytes);
  return runsOf(bytes.length, SECTOR_BYTES, (from, to) => {
    if (now.compare(before, from, to, from, to) === 0) return 'same';
    return isZero(now, from, to) ? 'zero' : 'data';
  });
}

function runsOf(
  length: number,
  stepBytes: number,
  kindOf: (from: number, to: number) => Kind,
): Run[] {
  const runs: { sector: number; sectors: number; isZero: boolean }[] = [];
  let former: Kind = 'same';
  for (let from = 0; from < length; from += stepBytes) {
    const to = Math.min(length, from + stepBytes);
    const kind = kindOf(from, to);
    const sectors = Math.ceil((to - from) / SECTOR_BYTES);
    const last = runs.at(-1);
    if (kind === former && kind !== 'same' && last !== undefined) last.sectors += sectors;
    else if (kind !== 'same') {
      runs.push({ sector: from / SECTOR_BYTES, sectors, isZero: kind === 'zero' });
    }
    former = kind;
  }
  return runs;
}

function isZero(view: Buffer, from: number, to: number): boolean {
  // Most data shows itself at once.
  if (view[from] !== 0) return false;
  for (let at = from; at < to; at += SECTOR_BYTES) {
    const end = Math.min(to, at + SECTOR_BYTES);
    if (view.compare(ZEROES, 0, end - at, at, end) !== 0) return false;
  }
  return true;
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The bytes of all runs that are no zeroes, one behind the other; the very piece where it is one run of all. */
export function gathered(bytes: Uint8Array, runs: readonly Run[]): Uint8Array {
  const data = runs.filter((run) => !run.isZero);
  const [first] = data;
  if (first !== undefined && data.length === 1) {
    return bytes.subarray(first.sector * SECTOR_BYTES, endOf(first, bytes.length));
  }
  const parts = data.map((run) =>
    bytes.subarray(run.sector * SECTOR_BYTES, endOf(run, bytes.length)),
  );
  return Buffer.concat(parts);
}

function endOf({ sector, sectors }: Run, length: number): number {
  return Math.min(length, (sector + sectors) * SECTOR_BYTES);
}
