// The arguments of `npm run sim`: what is played, how often, and what is shown of it.

import { randomInt } from 'node:crypto';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { messageOf } from '../src/core/errors.ts';
import type { ScaleRun } from './scale.ts';
import type { Scenario } from './scenario.ts';
import { ALSO_CALLED, LONG_SCENARIOS, SCENARIOS, scenarioNamed } from './scenario-list.ts';
import { MAX_SHRINK_RUNS } from './schedule/shrink.ts';

const DEFAULT_SEEDS = 200;
/** Drawn clusters of a run that names no story, and where their seeds begin: behind those that people pick. */
const DEFAULT_CLUSTERS = 500;
const DRAWN_FROM = 1_000_000;
const DRAWN_TO = 999_000_000;
const DEFAULT_SCALE = 300;
const DEFAULT_QUIET_S = 60;
const DEFAULT_ZONES = 3;
/** Few: what a node does at rest does not depend on them, and at the bootstrap data moves. */
const DEFAULT_PARTITIONS = 16;

export const HELP = `npm run sim -- [options]: simulated clusters by seed; a failure prints the line that replays it

Without --scenario: every seed that ever failed, every story once, and ${DEFAULT_CLUSTERS} drawn clusters from a seed that chance picks.

  --seeds K            how many drawn clusters; with --scenario: seeds of that story, default ${DEFAULT_SEEDS}
  --seed N             the first seed; with --scenario and without --seeds: this one only
  --scenario NAME      one story, see below; all: every story on K seeds
  --jobs J             processes that share the seeds, default: one for each processor
  --until-failure      seed after seed until a story fails
  --coverage FILE      what was reached: faults, states and transitions of actors, log entries; added to what FILE has

one seed, looked at closely (with --seed and --scenario, or --schedule):

  --timeline           every event of the run, a column for each node
  --timeline FILE.html node by time, to scroll in a browser
  --print-schedule     what a drawn story did, one step a line
  --schedule FILE      plays such a list instead of drawing one
  --shrink             the smallest schedule that fails by the same checker
  --shrink-runs R      runs that this may take, default ${MAX_SHRINK_RUNS}
  --mutant NAME        with this rule broken (npm run sim:mutants); default story: its own

npm run sim -- --scale NODES [options]: one large cluster without volumes, one trouble after the other

  --trouble NAME       killed, dark, loss, flapping, data, zone, silent; may be given more than once
  --quiet SECONDS      simulated time at rest, default ${DEFAULT_QUIET_S}
  --zones Z, --partitions P, --seed N

npm run sim -- --determinism K: K seeds (from --seed on) of all stories in turn, each twice in fresh processes and once in a
used one; their hashes must be equal
npm run sim -- --profile: how fast the simulator is on this host, against its aims; about two minutes

exit codes: 0 all held, 1 something failed, 2 wrong usage
stories: ${storyNames()}
also called: ${Object.entries(ALSO_CALLED)
  .map(([other, name]) => `${other} (${name})`)
  .join(', ')}`;

function storyNames(): string {
  return [...SCENARIOS, ...LONG_SCENARIOS].map((story) => story.name).join(', ');
}

export interface RunOptions {
  /** No story was named: what failed once, all stories, drawn clusters. */
  readonly isEverything: boolean;
  readonly first: number;
  readonly count: number;
  readonly stories: readonly Scenario[];
  readonly jobs: number;
  /** As text. */
  readonly timeline: boolean;
  readonly html: string | undefined;
  readonly schedule: string | undefined;
  readonly printsSchedule: boolean;
  /** Runs of a shrinking; undefined = none is asked for. */
  readonly shrinkRuns: number | undefined;
  readonly coverage: string | undefined;
  readonly mutant: string | undefined;
  readonly scale: ScaleRun | undefined;
  /** So many seeds are compared between processes. */
  readonly determinism: number | undefined;
  /** Speed is measured, nothing else. */
  readonly profile: boolean;
}

const OPTIONS = {
  seed: { type: 'string' },
  seeds: { type: 'string' },
  scenario: { type: 'string' },
  jobs: { type: 'string' },
  timeline: { type: 'string' },
  'until-failure': { type: 'boolean', default: false },
  schedule: { type: 'string' },
  'print-schedule': { type: 'boolean', default: false },
  shrink: { type: 'boolean', default: false },
  'shrink-runs': { type: 'string' },
  coverage: { type: 'string' },
  mutant: { type: 'string' },
  scale: { type: 'string' },
  profile: { type: 'boolean', default: false },
  determinism: { type: 'string' },
  quiet: { type: 'string' },
  zones: { type: 'string' },
  partitions: { type: 'string' },
  trouble: { type: 'string', multiple: true },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

const AS_TEXT = 'text';
const ALL = 'all';

export function usage(message: string): never {
  process.stderr.write(`sim: ${message}\n`);
  process.exit(2);
}

function wholeNumber(text: string | undefined, fallback: number, option: string): number {
  if (text === undefined) return fallback;
  if (!/^\d{1,9}$/.test(text)) usage(`--${option} needs a whole number, not '${text}'`);
  return Number(text);
}

function countOf(text: string): number {
  return wholeNumber(text, DEFAULT_SEEDS, 'determinism');
}

/** `--timeline` alone is the text; a name after it is that of a page. */
function withTimelineValue(args: readonly string[]): string[] {
  return args.map((arg, at) => {
    const isBare = arg === '--timeline' && args[at + 1]?.endsWith('.html') !== true;
    return isBare ? `--timeline=${AS_TEXT}` : arg;
  });
}

function readFlags(args: readonly string[]) {
  try {
    return parseArgs({ args: withTimelineValue(args), options: OPTIONS }).values;
  } catch (error) {
    return usage(`${messageOf(error)}; npm run sim -- --help`);
  }
}

type Flags = ReturnType<typeof readFlags>;

/** @returns undefined when help was asked for */
export function parseRun(args: readonly string[]): RunOptions | undefined {
  const flags = readFlags(args);
  if (flags.help) return undefined;
  checkTogether(flags);
  const isPage = flags.timeline?.endsWith('.html') === true;
  const runs = wholeNumber(flags['shrink-runs'], MAX_SHRINK_RUNS, 'shrink-runs');
  return {
    isEverything: isEverything(flags),
    ...seedsOf(flags),
    stories: storiesOf(flags.scenario),
    jobs: Math.max(1, wholeNumber(flags.jobs, availableParallelism(), 'jobs')),
    timeline: flags.timeline === AS_TEXT,
    html: isPage ? flags.timeline : undefined,
    schedule: flags.schedule,
    printsSchedule: flags['print-schedule'],
    shrinkRuns: flags.shrink ? runs : undefined,
    coverage: flags.coverage,
    mutant: flags.mutant,
    scale: flags.scale === undefined ? undefined : scaleOf(flags),
    profile: flags.profile,
    determinism: flags.determinism === undefined ? undefined : countOf(flags.determinism),
  };
}

function isEverything(flags: Flags): boolean {
  return flags.scenario === undefined && flags.mutant === undefined && !flags['until-failure'];
}

function seedsOf(flags: Flags): Pick<RunOptions, 'first' | 'count'> {
  const drawsAll = isEverything(flags);
  const unsaid = flags.seed === undefined ? DEFAULT_SEEDS : 1;
  const count = flags['until-failure']
    ? Number.POSITIVE_INFINITY
    : wholeNumber(flags.seeds, drawsAll ? DEFAULT_CLUSTERS : unsaid, 'seeds');
  const first = drawsAll && flags.seed === undefined ? randomInt(DRAWN_FROM, DRAWN_TO) : 1;
  return { first: wholeNumber(flags.seed, first, 'seed'), count };
}

function storiesOf(name: string | undefined): readonly Scenario[] {
  if (name === undefined || name === ALL) return SCENARIOS;
  const story = scenarioNamed(name);
  if (story !== undefined) return [story];
  return usage(`no scenario '${name}'; there are ${storyNames()}`);
}

function checkTogether(flags: Flags): void {
  const { schedule, timeline } = flags;
  if (schedule !== undefined && !existsSync(schedule)) usage(`no file ${schedule}`);
  if (schedule !== undefined) return;
  const hasStory = flags.scenario !== undefined || flags.mutant !== undefined;
  if (flags.shrink && !hasStory) usage('--shrink needs --scenario, --mutant or --schedule');
  const isOne = flags['print-schedule'] || timeline?.endsWith('.html') === true;
  const hasSeed = flags.seed !== undefined && flags.seeds === undefined;
  if (isOne && !(hasStory && hasSeed))
    usage('one run is shown: --seed and --scenario, or --schedule');
}

function scaleOf(flags: Flags): ScaleRun {
  return {
    nodes: wholeNumber(flags.scale, DEFAULT_SCALE, 'scale'),
    seed: wholeNumber(flags.seed, 1, 'seed'),
    quietS: wholeNumber(flags.quiet, DEFAULT_QUIET_S, 'quiet'),
    zones: wholeNumber(flags.zones, DEFAULT_ZONES, 'zones'),
    partitions: wholeNumber(flags.partitions, DEFAULT_PARTITIONS, 'partitions'),
    ...(flags.trouble === undefined ? {} : { troubles: flags.trouble }),
  };
}
