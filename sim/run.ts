// npm run sim -- [--seed N] [--seeds K] [--scenario NAME] [--timeline] [--until-failure]
//
// Runs every story (or one) on K seeds from N on; 200 seeds from 1 unless told. A failure prints its reason and the line
// that replays it; the last line is a summary. Exit code 1 when anything failed, 2 for bad arguments.
//
// npm run sim -- --scale NODES [--seed N] [--quiet SECONDS] [--zones Z] [--partitions P] [--trouble NAME]...
//
// One cluster of hundreds of nodes without volumes, one trouble after the other, with figures (sim/scale.ts).

import { parseArgs } from 'node:util';
import { messageOf } from '../src/core/errors.ts';
import { realNowMs } from './bans.ts';
import type { ScaleRun } from './scale.ts';
import { type Outcome, play, type Scenario } from './scenario.ts';
import { SCENARIOS, scenarioNamed } from './scenario-list.ts';
import { formatTimeline } from './timeline.ts';

const DEFAULT_SEEDS = 200;
const DEFAULT_SCALE = 300;
const DEFAULT_QUIET_S = 60;
const DEFAULT_ZONES = 3;
/** Few: what a node does at rest does not depend on them, and at the bootstrap data moves. */
const DEFAULT_PARTITIONS = 16;
/** Most failures printed in full for one story. */
const MAX_PRINTED = 5;

const HELP = `npm run sim -- [options]: simulated clusters by seed; a failure prints the line that replays it

  --seeds K          seeds of each story, default ${DEFAULT_SEEDS}
  --seed N           the first seed; alone: this one only
  --scenario NAME    one story, see below; default: all
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

function report(outcome: Outcome, options: RunOptions): void {
  if (options.timeline) for (const line of formatTimeline(outcome.records)) print(line);
  if (outcome.failure === undefined) return;
  print(`FAILED ${outcome.scenario}: ${outcome.failure}`);
  print(`  npm run sim -- --seed ${outcome.seed} --scenario ${outcome.scenario}`);
}

async function main(): Promise<number> {
  const options = parse();
  if (options.scale !== undefined) return atSize(options.scale);
  // Only now: the guards of bans.ts are in place before product code is loaded.
  const { buildNode } = await import('../src/build-node.ts');
  const startedMs = realNowMs();
  const failures = new Map<string, number>();
  let runs = 0;
  let simulatedMs = 0;
  for (let i = 0; i < options.count; i += 1) {
    for (const story of options.stories) {
      const outcome = await play(story, { build: buildNode, seed: options.first + i });
      runs += 1;
      simulatedMs += outcome.simulatedMs;
      const failed = failures.get(story.name) ?? 0;
      if (outcome.failure !== undefined) failures.set(story.name, failed + 1);
      if (failed < MAX_PRINTED) report(outcome, options);
      if (options.count <= MAX_PRINTED)
        print(`${story.name} seed ${outcome.seed} hash ${outcome.hash}`);
    }
    if (failures.size > 0 && options.count === Number.POSITIVE_INFINITY) break;
  }
  const seconds = (realNowMs() - startedMs) / 1000;
  const failed = [...failures.values()].reduce((sum, count) => sum + count, 0);
  for (const [name, count] of failures) print(`${name}: ${count} seeds failed`);
  print(
    `${runs} runs, ${failed} failed, ${(runs / seconds).toFixed(1)} seeds/s, ` +
      `${(simulatedMs / 1000).toFixed(0)} simulated seconds in ${seconds.toFixed(1)} s`,
  );
  return failed > 0 ? 1 : 0;
}

process.exitCode = await main();
