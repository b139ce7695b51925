// npm run sim -- [--seed N] [--seeds K] [--scenario NAME] [--jobs J] [--timeline] [--until-failure]
//
// Runs every story (or one) on K seeds from N on; 200 seeds from 1 unless told. A failure prints its reason and the line
// that replays it; the last line is a summary. Exit code 1 when anything failed, 2 for bad arguments.
//
// npm run sim -- --scale NODES [--seed N] [--quiet SECONDS] [--zones Z] [--partitions P] [--trouble NAME]...
//
// One cluster of hundreds of nodes without volumes, one trouble after the other, with figures (sim/scale.ts).

import { enableCompileCache } from 'node:module';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { messageOf } from '../src/core/errors.ts';
import { realNowMs } from './bans.ts';
import { playAll, playerHere, type SeedResult, type SeedTask, SeedWorker } from './play-seeds.ts';
import type { ScaleRun } from './scale.ts';
import type { Scenario } from './scenario.ts';
import { SCENARIOS, scenarioNamed } from './scenario-list.ts';

const DEFAULT_SEEDS = 200;
const DEFAULT_SCALE = 300;
const DEFAULT_QUIET_S = 60;
const DEFAULT_ZONES = 3;
/** Few: what a node does at rest does not depend on them, and at the bootstrap data moves. */
const DEFAULT_PARTITIONS = 16;
/** A process more is worth its start from so many runs on. */
const RUNS_PER_JOB = 4;
/** Most failures printed in full for one story. */
const MAX_PRINTED = 5;

const HELP = `npm run sim -- [options]: simulated clusters by seed; a failure prints the line that replays it

  --seeds K          seeds of each story, default ${DEFAULT_SEEDS}
  --seed N           the first seed; alone: this one only
  --scenario NAME    one story, see below; default: all
  --jobs J           processes that share the seeds, default: one for each processor
  --timeline         every event of the run, a column for each node
  --until-failure    seed after seed until a story fails

npm run sim -- --scale NODES [options]: one large cluster without volumes, one trouble after the other

  --trouble NAME     killed, dark, loss, flapping, data, zone, silent; may be given more than once
  --quiet SECONDS    simulated time at rest, default ${DEFAULT_QUIET_S}
  --zones Z, --partitions P, --seed N

exit codes: 0 all held, 1 something failed, 2 wrong usage
stories: ${SCENARIOS.map((story) => story.name).join(', ')}`;

interface RunOptions {
  readonly first: number;
  readonly count: number;
  readonly stories: readonly Scenario[];
  readonly jobs: number;
  readonly timeline: boolean;
  readonly scale: ScaleRun | undefined;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function usage(message: string): never {
  process.stderr.write(`sim: ${message}\n`);
  process.stderr.write(`scenarios: ${SCENARIOS.map((story) => story.name).join(', ')}\n`);
  process.exit(2);
}

function wholeNumber(text: string | undefined, fallback: number, option: string): number {
  if (text === undefined) return fallback;
  if (!/^\d{1,9}$/.test(text)) usage(`--${option} needs a whole number, not '${text}'`);
  return Number(text);
}

const OPTIONS = {
  seed: { type: 'string' },
  seeds: { type: 'string' },
  scenario: { type: 'string' },
  jobs: { type: 'string' },
  timeline: { type: 'boolean', default: false },
  'until-failure': { type: 'boolean', default: false },
  scale: { type: 'string' },
  quiet: { type: 'string' },
  zones: { type: 'string' },
  partitions: { type: 'string' },
  trouble: { type: 'string', multiple: true },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

function readFlags() {
  try {
    return parseArgs({ options: OPTIONS }).values;
  } catch (error) {
    return usage(`${messageOf(error)}; npm run sim -- --help`);
  }
}

function parse(): RunOptions {
  const values = readFlags();
  if (values.help) {
    print(HELP);
    process.exit(0);
  }
  const stories = values.scenario === undefined ? SCENARIOS : [scenarioNamed(values.scenario)];
  const [only] = stories;
  if (only === undefined) usage(`no scenario '${values.scenario}'`);
  const oneSeed = values.seed === undefined ? DEFAULT_SEEDS : 1;
  return {
    first: wholeNumber(values.seed, 1, 'seed'),
    count: values['until-failure']
      ? Number.POSITIVE_INFINITY
      : wholeNumber(values.seeds, oneSeed, 'seeds'),
    stories: stories.filter((story) => story !== undefined),
    jobs: Math.max(1, wholeNumber(values.jobs, availableParallelism(), 'jobs')),
    timeline: values.timeline,
    scale: values.scale === undefined ? undefined : scaleOf(values),
  };
}

type Texts = Readonly<Record<string, string | boolean | undefined | string[]>>;

function scaleOf(values: Texts): ScaleRun {
  const number = (option: string, fallback: number): number =>
    wholeNumber(values[option] as string | undefined, fallback, option);
  return {
    nodes: number('scale', DEFAULT_SCALE),
    seed: number('seed', 1),
    quietS: number('quiet', DEFAULT_QUIET_S),
    zones: number('zones', DEFAULT_ZONES),
    partitions: number('partitions', DEFAULT_PARTITIONS),
    ...(Array.isArray(values.trouble) ? { troubles: values.trouble } : {}),
  };
}

async function atSize(run: ScaleRun): Promise<number> {
  // Before any product code: the nodes of this process share equal states.
  await import('./share-states.ts');
  const { buildNode } = await import('../src/build-node.ts');
  const { runAtSize } = await import('./scale.ts');
  print(`${run.nodes} nodes, ${run.zones} zones, ${run.partitions} partitions, seed ${run.seed}`);
  const { failure, hash } = await runAtSize(buildNode, run, ({ what, value }) => {
    print(`${what.padEnd(34)} ${value}`);
  });
  print(failure === undefined ? `ok, hash ${hash}` : `FAILED: ${failure}`);
  return failure === undefined ? 0 : 1;
}

function report(result: SeedResult): void {
  for (const line of result.timeline) print(line);
  if (result.failure === undefined) return;
  print(`FAILED ${result.story}: ${result.failure}`);
  print(`  npm run sim -- --seed ${result.seed} --scenario ${result.story}`);
}

function* tasksOf({ first, count, stories, timeline }: RunOptions): Generator<SeedTask> {
  for (let i = 0; i < count; i += 1) {
    for (const { name } of stories) yield { story: name, seed: first + i, timeline };
  }
}

/** What a run comes to. */
class Tally {
  readonly failures = new Map<string, number>();
  readonly #options: RunOptions;
  runs = 0;
  simulatedMs = 0;

  constructor(options: RunOptions) {
    this.#options = options;
  }

  /** @returns whether to go on */
  take(result: SeedResult): boolean {
    const { count } = this.#options;
    this.runs += 1;
    this.simulatedMs += result.simulatedMs;
    const failed = this.failures.get(result.story) ?? 0;
    if (result.failure !== undefined) this.failures.set(result.story, failed + 1);
    if (failed < MAX_PRINTED) report(result);
    if (count <= MAX_PRINTED) print(`${result.story} seed ${result.seed} hash ${result.hash}`);
    return this.failures.size === 0 || count < Number.POSITIVE_INFINITY;
  }

  /** @returns how many failed */
  sum(realMs: number): number {
    const seconds = realMs / 1000;
    const failed = [...this.failures.values()].reduce((sum, count) => sum + count, 0);
    for (const [name, count] of this.failures) print(`${name}: ${count} seeds failed`);
    print(
      `${this.runs} runs, ${failed} failed, ${(this.runs / seconds).toFixed(1)} seeds/s, ` +
        `${(this.simulatedMs / 1000).toFixed(0)} simulated seconds in ${seconds.toFixed(1)} s`,
    );
    return failed;
  }
}

async function main(): Promise<number> {
  const options = parse();
  enableCompileCache();
  if (options.scale !== undefined) return atSize(options.scale);
  const startedMs = realNowMs();
  const tally = new Tally(options);
  const take = (result: SeedResult): boolean => tally.take(result);
  const jobs = Math.min(
    options.jobs,
    Math.ceil((options.count * options.stories.length) / RUNS_PER_JOB),
  );
  if (jobs > 1) {
    const workers = Array.from({ length: jobs }, () => new SeedWorker());
    await playAll(
      tasksOf(options),
      workers.map((worker) => worker.play),
      take,
    );
    for (const worker of workers) worker.end();
  } else {
    // Only now: the guards of bans.ts are in place before product code is loaded.
    const { buildNode } = await import('../src/build-node.ts');
    await playAll(tasksOf(options), [playerHere(buildNode)], take);
  }
  return tally.sum(realNowMs() - startedMs) > 0 ? 1 : 0;
}

process.exitCode = await main();
