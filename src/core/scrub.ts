// When a node scrubs, and how far it is: pure bookkeeping over a memo that survives restarts. Totals are fixed when a run
// starts; a partition counts once, when it is finished; what appears or vanishes meanwhile moves nothing beyond the total.

import type { OperatingError } from './errors.ts';

/** Light compares rows and sums with another copy; deep reads every byte of the own one. */
export type ScrubKind = 'light' | 'deep';

/** One pass over everything that the node holds. */
export interface ScrubRun {
  readonly kind: ScrubKind;
  /** Date, ms since 1970. */
  readonly startedMs: number;
  /** Partitions up to this key are done; -1 = none yet. */
  readonly position: number;
  readonly totalBytes: number;
  readonly doneBytes: number;
}

/** A repair is told for so long. */
export const REPAIR_TOLD_MS = 24 * 60 * 60 * 1000;

/** What was repaired, since nothing had been for a day. */
export interface RepairTally {
  readonly sectors: number;
  /** Objects that were repaired as a whole. */
  readonly objects: number;
  /** Date of the last repair, ms since 1970; 0 = none. */
  readonly lastMs: number;
}

export const NO_REPAIRS: RepairTally = { sectors: 0, objects: 0, lastMs: 0 };

/** Those of this process after those of earlier ones, as far as they are told still. */
export function addedRepairs(earlier: RepairTally, own: RepairTally, dateMs: number): RepairTally {
  if (dateMs - earlier.lastMs > REPAIR_TOLD_MS) return own;
  return {
    sectors: earlier.sectors + own.sectors,
    objects: earlier.objects + own.objects,
    lastMs: Math.max(earlier.lastMs, own.lastMs),
  };
}

/** What a node remembers of its scrubs, and of what was repaired. */
export interface ScrubMemo {
  readonly repairs: RepairTally;
  readonly isPaused: boolean;
  readonly run: ScrubRun | undefined;
  /** Dates of the last complete runs; before the first one, of the memo itself. */
  readonly lightMs: number;
  readonly deepMs: number;
}

/** Longest time between two runs that is aimed at; Infinity = only when asked. */
export interface ScrubPeriods {
  readonly lightMs: number;
  readonly deepMs: number;
}

/** What a node is told once. */
export interface ScrubSettings {
  readonly periods: ScrubPeriods;
  /** Bytes read per second; guests come first, but a scrub that never ends finds nothing. */
  readonly bytesPerSecond: number;
}

/** What a person may ask for. */
export type ScrubCommand =
  | { readonly action: 'start'; readonly kind: ScrubKind }
  | { readonly action: 'pause' }
  | { readonly action: 'resume' };

/** How one node's scrubs are. */
export interface ScrubStatus extends ScrubMemo {
  readonly periods: ScrubPeriods;
  readonly bytesPerSecond: number;
  /** Kinds whose last complete run is more than twice the period ago. */
  readonly late: readonly ScrubKind[];
  /** Of the run under way, or of the last one: objects that were in use, and what was found. */
  readonly skippedObjects: number;
  readonly badSectors: number;
  readonly lastError: OperatingError | undefined;
}

/** A node that has never scrubbed: the first runs are due a period from now. */
export function freshMemo(dateMs: number): ScrubMemo {
  const repairs = NO_REPAIRS;
  return { isPaused: false, run: undefined, lightMs: dateMs, deepMs: dateMs, repairs };
}

/** The memo with a run that begins now. */
export function withRun(
  memo: ScrubMemo,
  kind: ScrubKind,
  totalBytes: number,
  dateMs: number,
): ScrubMemo {
  const run = { kind, startedMs: dateMs, position: -1, totalBytes, doneBytes: 0 };
  return { ...memo, run };
}

/** The run after one more partition, of which `bytes` were there. Never above the total. */
export function afterPartition(memo: ScrubMemo, position: number, bytes: number): ScrubMemo {
  const { run } = memo;
  if (run === undefined || position <= run.position) return memo;
  const doneBytes = Math.min(run.totalBytes, run.doneBytes + bytes);
  return { ...memo, run: { ...run, position, doneBytes } };
}

/** The memo after the run under way saw everything. */
export function afterRun(memo: ScrubMemo, dateMs: number): ScrubMemo {
  const kind = memo.run?.kind;
  return {
    ...memo,
    run: undefined,
    lightMs: kind === 'light' ? dateMs : memo.lightMs,
    deepMs: kind === 'deep' ? dateMs : memo.deepMs,
  };
}

/** What to do now: the run under way, else the kind whose period is over, deep first. Nothing while paused. */
export function dueKind(
  memo: ScrubMemo,
  periods: ScrubPeriods,
  dateMs: number,
): ScrubKind | undefined {
  if (memo.isPaused) return undefined;
  if (memo.run !== undefined) return memo.run.kind;
  if (dateMs - memo.deepMs >= periods.deepMs) return 'deep';
  return dateMs - memo.lightMs >= periods.lightMs ? 'light' : undefined;
}

/** Kinds that were not completed within twice their period. */
export function lateKinds(memo: ScrubMemo, periods: ScrubPeriods, dateMs: number): ScrubKind[] {
  const isLate = (lastMs: number, periodMs: number): boolean => dateMs - lastMs > 2 * periodMs;
  const late: ScrubKind[] = [];
  if (isLate(memo.lightMs, periods.lightMs)) late.push('light');
  if (isLate(memo.deepMs, periods.deepMs)) late.push('deep');
  return late;
}
