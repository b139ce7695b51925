// One run, looked at closely: played from a printed schedule, with a rule broken, shrunk to its smallest story, shown as a
// time line. Everything happens in this process.

import { readFileSync, writeFileSync } from 'node:fs';
import { OperatingError } from '../src/core/errors.ts';
import { LifeLines } from './life-lines.ts';
import { MUTANTS } from './mutants/list.ts';
import { type Mutant, playBroken } from './mutants/mutant.ts';
import type { RunOptions } from './run-options.ts';
import type { Outcome, Scenario } from './scenario.ts';
import { play } from './scenario.ts';
import { scenarioNamed } from './scenario-list.ts';
import { checkerOf, faultCount, shrink } from './schedule/shrink.ts';
import { formatSchedule, parseSchedule, type Step, sayStep } from './schedule/step.ts';
import type { BuildNode } from './sim-node.ts';
import type { Stage } from './stage.ts';
import { printFailure } from './tally.ts';
import { formatTimeline } from './timeline.ts';
import { timelinePage } from './timeline-page.ts';

type Print = (line: string) => void;

/** What is played, as often as the shrinking asks for it. */
interface Case {
  readonly story: Scenario;
  readonly seed: number;
  readonly steps: readonly Step[] | undefined;
  readonly play: (seed: number, steps: readonly Step[] | undefined) => Promise<Outcome>;
}

/** Follows the run that is played now, for a page. */
class Watcher {
  #lines: LifeLines | undefined;
  readonly #path: string | undefined;

  constructor(path: string | undefined) {
    this.#path = path;
  }

  readonly begin = (stage: Stage): void => {
    if (this.#path !== undefined) this.#lines = new LifeLines(stage);
  };

  writePage(story: Scenario, outcome: Outcome, print: Print): void {
    if (this.#path === undefined || this.#lines === undefined) return;
    const { seed, hash, failure } = outcome;
    const [line] = failure?.split('\n') ?? [];
    const lines = this.#lines.end(outcome);
    writeFileSync(
      this.#path,
      timelinePage({ story: story.name, seed, hash, failure: line, lines }),
    );
    print(`time line: ${this.#path}`);
  }
}

/** @returns the exit code: 1 when a run failed */
export async function lookClosely(
  options: RunOptions,
  build: BuildNode,
  print: Print,
): Promise<number> {
  const watcher = new Watcher(options.html);
  const one = caseOf(options, build, watcher);
  const last = options.schedule === undefined ? options.first + options.count : one.seed + 1;
  for (let seed = one.seed; seed < last; seed += 1) {
    const outcome = await one.play(seed, one.steps);
    show(one.story, outcome, options, print);
    if (options.shrinkRuns === undefined || outcome.failure === undefined) {
      watcher.writePage(one.story, outcome, print);
    }
    if (outcome.failure === undefined) continue;
    if (options.shrinkRuns === undefined) return 1;
    const small = await shrunk(one, outcome, options.shrinkRuns, print);
    if (small !== undefined) watcher.writePage(one.story, small, print);
    return 1;
  }
  return 0;
}

function caseOf(options: RunOptions, build: BuildNode, { begin }: Watcher): Case {
  const mutant = mutantNamed(options.mutant);
  const given = options.schedule === undefined ? undefined : readSchedule(options.schedule);
  const first =
    mutant === undefined || options.stories.length === 1 ? options.stories[0] : mutant.story;
  const story = given === undefined ? first : scenarioNamed(given.scenario);
  if (story === undefined) throw new OperatingError('usage', 'the schedule names no story of ours');
  return {
    story,
    seed: given?.seed ?? options.first,
    steps: given?.steps,
    play: (seed, steps) => {
      const how = { build, seed, prepare: begin, ...(steps === undefined ? {} : { steps }) };
      return mutant === undefined ? play(story, how) : playBroken(mutant, story, how);
    },
  };
}

function mutantNamed(name: string | undefined): Mutant | undefined {
  if (name === undefined) return undefined;
  const mutant = MUTANTS.find((one) => one.name === name);
  if (mutant !== undefined) return mutant;
  const known = MUTANTS.map((one) => one.name).join(', ');
  throw new OperatingError('usage', `no mutant '${name}'; there are ${known}`);
}

function readSchedule(path: string): ReturnType<typeof parseSchedule> {
  return parseSchedule(readFileSync(path, 'utf8'));
}

function show(story: Scenario, outcome: Outcome, options: RunOptions, print: Print): void {
  const { seed, steps, hash, failure } = outcome;
  if (options.printsSchedule) {
    if (steps.length === 0) {
      throw new OperatingError(
        'usage',
        `${story.name} is written by hand: its file is its schedule`,
      );
    }
    for (const line of formatSchedule({ scenario: story.name, seed, steps })) print(line);
  }
  if (options.timeline) for (const line of formatTimeline(outcome.records)) print(line);
  const isPlain = options.schedule === undefined && options.mutant === undefined;
  if (isPlain) printFailure({ ...outcome, story: story.name }, print);
  else if (failure !== undefined) print(`FAILED ${story.name}: ${failure}`);
  print(`${story.name} seed ${seed} hash ${hash}${failure === undefined ? '' : ' failed'}`);
}

/** @returns the smallest run, or undefined when the schedule alone does not fail */
async function shrunk(
  one: Case,
  outcome: Outcome,
  maxRuns: number,
  print: Print,
): Promise<Outcome | undefined> {
  const { seed, steps, failure = '' } = outcome;
  if (steps.length === 0) {
    throw new OperatingError('usage', `${one.story.name} is written by hand: it has no schedule`);
  }
  print(`${sizeOf(steps)}, ${checkerOf(failure)}; at most ${maxRuns} runs to make it smaller`);
  const small = await shrink(
    { steps, failure },
    {
      maxRuns,
      play: async (some) => (await one.play(seed, some)).failure,
      onSmaller: (some, runs) => print(`  run ${runs}: ${sizeOf(some)}`),
    },
  );
  if (small === undefined) {
    print('played from its schedule it does not fail: a step draws on its own');
    return undefined;
  }
  print(`after ${small.runs} runs: ${sizeOf(small.steps)}: ${small.failure.split('\n')[0]}`);
  const again = await one.play(seed, small.steps);
  for (const step of again.steps) print(`  ${sayStep(step)}`);
  print('to play it again save these lines: npm run sim -- --schedule FILE');
  const schedule = { scenario: one.story.name, seed, steps: again.steps };
  for (const line of formatSchedule(schedule)) print(line);
  return again;
}

function sizeOf(steps: readonly Step[]): string {
  return `${steps.length} steps, ${faultCount(steps)} faults`;
}
