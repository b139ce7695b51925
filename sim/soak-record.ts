// What many soaks of this tree came to: runs and simulated hours by story, where the next seeds begin, every failure with
// the line that replays it. Kept in a file between soaks, so that nights add up. Which story is next is a rule of the
// record alone: mostly drawn clusters, a quarter locks and migrations, an hour now and then, a whole day when there is time.

import { NOTHING, type Reached, sum } from './reach/reached.ts';

const FORMAT = 1;
const HOUR_MS = 3_600_000;
/** Failures that are kept; the count goes on. */
const MAX_FAILURES = 200;
/** A day is begun only when so much of the soak is left: it takes minutes. */
export const DAY_NEEDS_MS = 15 * 60_000;
/** Locks, writers and hand-overs, with deaths and cuts at every step. */
const MIGRATIONS = [
  ...['migration', 'migration-prepared', 'migration-broken', 'migration-cut', 'silent-holder'],
  ...['lock-busy', 'lock-exclusive', 'lock-unlock', 'lock-shared-read', 'locks-come-and-go'],
];
/** Stories beside the small clusters, and how many runs of all stories together there are for each run of them. */
const EVERY: readonly (readonly [story: string, runs: number])[] = [
  ['a-day', 300],
  ['an-hour', 40],
  ['random-faults', 40],
  ['may-halt', 24],
  ['swarm-rare', 40],
  ['swarm', 24],
  ['snapshots', 20],
  // C-lock, C-writer, C-migrate: a quarter of all runs.
  ...MIGRATIONS.map((story) => [story, 40] as const),
];
const USUAL = 'swarm-small';
const DAY = 'a-day';

export interface SoakFailure {
  readonly story: string;
  readonly seed: number;
  /** Of the tree that failed. */
  readonly commit: string;
  readonly reason: string;
}

export interface StoryCount {
  readonly runs: number;
  readonly failed: number;
  readonly simulatedHours: number;
  readonly longestHours: number;
}

export interface SoakRecord {
  readonly format: typeof FORMAT;
  /** The first seed of all; stories go on from where they are. */
  readonly first: number;
  readonly stories: Readonly<Record<string, StoryCount>>;
  /** Seeds that were begun, by story: the next one is `first` plus that. */
  readonly begun: Readonly<Record<string, number>>;
  readonly realHours: number;
  readonly commits: readonly string[];
  readonly failures: readonly SoakFailure[];
  readonly reached: Reached;
}

const NO_RUNS: StoryCount = { runs: 0, failed: 0, simulatedHours: 0, longestHours: 0 };

export function newRecord(first: number): SoakRecord {
  return {
    ...{ format: FORMAT, first, stories: {}, begun: {}, realHours: 0 },
    ...{ commits: [], failures: [], reached: NOTHING },
  };
}

/** @returns undefined when the text is no record of this format */
export function parseRecord(text: string): SoakRecord | undefined {
  try {
    const record = JSON.parse(text) as SoakRecord;
    return record.format === FORMAT && Number.isInteger(record.first) ? record : undefined;
  } catch {
    return undefined;
  }
}

export interface Next {
  readonly story: string;
  readonly seed: number;
  readonly record: SoakRecord;
}

/** The seed to play next, and the record that knows of it. */
export function nextSeed(record: SoakRecord, leftMs: number): Next {
  const story = nextStory(record, leftMs);
  const begun = record.begun[story] ?? 0;
  return {
    story,
    seed: record.first + begun,
    record: { ...record, begun: { ...record.begun, [story]: begun + 1 } },
  };
}

function nextStory({ begun }: SoakRecord, leftMs: number): string {
  const all = Object.values(begun).reduce((total, count) => total + count, 0);
  const due = EVERY.find(([story, runs]) => {
    const hasTime = story !== DAY || leftMs >= DAY_NEEDS_MS;
    return hasTime && (begun[story] ?? 0) * runs <= all;
  });
  return due?.[0] ?? USUAL;
}

export interface Played {
  readonly story: string;
  readonly seed: number;
  readonly failure: string | undefined;
  readonly simulatedMs: number;
  readonly reached: Reached;
}

/** The record with one more run. */
export function withRun(record: SoakRecord, played: Played, commit: string): SoakRecord {
  const { story, seed, failure, simulatedMs, reached } = played;
  const before = record.stories[story] ?? NO_RUNS;
  const hours = simulatedMs / HOUR_MS;
  const count = {
    runs: before.runs + 1,
    failed: before.failed + (failure === undefined ? 0 : 1),
    simulatedHours: before.simulatedHours + hours,
    longestHours: Math.max(before.longestHours, hours),
  };
  const [reason = ''] = failure?.split('\n') ?? [];
  const failures =
    failure === undefined || record.failures.length >= MAX_FAILURES
      ? record.failures
      : [...record.failures, { story, seed, commit, reason }];
  const commits = record.commits.includes(commit) ? record.commits : [...record.commits, commit];
  const stories = { ...record.stories, [story]: count };
  return { ...record, stories, failures, commits, reached: sum(record.reached, reached) };
}

export interface SoakTotals {
  readonly runs: number;
  readonly failed: number;
  readonly simulatedMs: number;
}

export function totalsOf({ stories }: SoakRecord): SoakTotals {
  const all = Object.values(stories);
  return {
    runs: all.reduce((total, { runs }) => total + runs, 0),
    failed: all.reduce((total, { failed }) => total + failed, 0),
    simulatedMs: all.reduce((total, { simulatedHours }) => total + simulatedHours * HOUR_MS, 0),
  };
}

/** What a person reads at the end: all soaks together, story by story, and how to see what failed. */
export function sayRecord(record: SoakRecord): readonly string[] {
  const { runs, failed, simulatedMs } = totalsOf(record);
  const hours = (simulatedMs / HOUR_MS).toFixed(1);
  return [
    `all soaks of this record: ${runs} seeds, ${hours} simulated hours, ${failed} failed, in ${record.realHours.toFixed(2)} h`,
    ...Object.entries(record.stories).map(
      ([name, count]) =>
        `  ${name}: ${count.runs} seeds, ${count.simulatedHours.toFixed(1)} simulated hours, ` +
        `the longest ${count.longestHours.toFixed(2)}, ${count.failed} failed`,
    ),
    ...record.failures.flatMap(sayFailure),
  ];
}

/** The same as a table of a document; nothing in it is of the host. */
export function tableOf(record: SoakRecord): readonly string[] {
  const { runs, failed, simulatedMs } = totalsOf(record);
  const cells = (count: Omit<StoryCount, 'longestHours'>, longest: string): string =>
    `${count.runs} | ${count.simulatedHours.toFixed(1)} | ${longest} | ${count.failed} |`;
  const all = { runs, failed, simulatedHours: simulatedMs / HOUR_MS };
  return [
    '| story | seeds | simulated hours | the longest | failed |',
    '|---|---|---|---|---|',
    ...Object.entries(record.stories)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, count]) => `| ${name} | ${cells(count, count.longestHours.toFixed(2))}`),
    `| all, at ${record.commits.length} commits | ${cells(all, '')}`,
  ];
}

export function sayFailure({ story, seed, commit, reason }: SoakFailure): readonly string[] {
  return [
    `FAILED ${story}: ${reason}`,
    `  at commit ${commit}: npm run sim -- --seed ${seed} --scenario ${story}`,
  ];
}
