// npm run sim -- [--seed N] [--seeds K] [--scenario NAME] [--jobs J] ... (sim/run-options.ts has all of them)
//
// Every seed that ever failed, every story once, and 500 drawn clusters; or K seeds of one story. A failure prints its
// reason and the line that replays it; the last line is a summary. Exit code 1 when anything failed, 2 for bad arguments.
//
// npm run sim -- --scale NODES [--seed N] [--quiet SECONDS] [--zones Z] [--partitions P] [--trouble NAME]...
//
// One cluster of hundreds of nodes without volumes, one trouble after the other, with figures (sim/scale.ts).

import { enableCompileCache } from 'node:module';
import { messageOf } from '../src/core/errors.ts';
import './bans.ts';
import { checkDeterminism, seedsOfAll } from './determinism.ts';
import { seedsThatFailed } from './known-seeds.ts';
import { playMany } from './many-seeds.ts';
import { type PlaySeed, type SeedTask, SeedWorker } from './play-seeds.ts';
import { HELP, parseRun, type RunOptions, usage } from './run-options.ts';
import type { ScaleRun } from './scale.ts';
import { everything, seedsOf } from './what-to-play.ts';

/** Few enough seeds that the hash of each run is news. */
const MAX_HASHES = 5;

function print(line: string): void {
  process.stdout.write(`${line}\n`);
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

async function determinism({ first, stories }: RunOptions, count: number): Promise<number> {
  const names = stories.map(({ name }) => name);
  const fresh: PlaySeed = async (task) => {
    const worker = new SeedWorker();
    const result = await worker.play(task);
    worker.end();
    return result;
  };
  const one = new SeedWorker();
  const tasks = seedsOfAll(names, first, count);
  const differing = await checkDeterminism(tasks, { fresh, used: one.play }, print);
  one.end();
  return differing > 0 ? 1 : 0;
}

async function speed(): Promise<number> {
  const { buildNode } = await import('../src/build-node.ts');
  const { profile } = await import('./profile.ts');
  return (await profile(buildNode, print)) > 0 ? 1 : 0;
}

function* tasksOf(options: RunOptions): Generator<SeedTask> {
  const { first, count, stories, timeline } = options;
  const names = stories.map(({ name }) => name);
  const seeds = options.isEverything
    ? everything({ first, count, known: seedsThatFailed(), stories: names })
    : seedsOf(names, first, count);
  for (const one of seeds) yield { ...one, timeline };
}

function manySeeds(options: RunOptions): Promise<number> {
  const { first, count, stories, jobs, coverage } = options;
  if (options.isEverything) {
    const old = seedsThatFailed().length;
    print(`${old} seeds that once failed, ${stories.length} stories, ${count} drawn clusters`);
    print(`the same again: npm run sim -- --seed ${first} --seeds ${count}`);
    const all = old + stories.length + count;
    return playMany(
      { tasks: tasksOf(options), count: all, jobs, saysHashes: false, coverage },
      print,
    );
  }
  const runs = count * stories.length;
  const saysHashes = count <= MAX_HASHES;
  return playMany({ tasks: tasksOf(options), count: runs, jobs, saysHashes, coverage }, print);
}

async function closely(options: RunOptions): Promise<number> {
  const { buildNode } = await import('../src/build-node.ts');
  const { lookClosely } = await import('./look-closely.ts');
  try {
    return await lookClosely(options, buildNode, print);
  } catch (error) {
    return usage(messageOf(error));
  }
}

function isClose({ schedule, printsSchedule, shrinkRuns, html, mutant }: RunOptions): boolean {
  const isOne = printsSchedule || [schedule, shrinkRuns, html].some((one) => one !== undefined);
  return isOne || mutant !== undefined;
}

async function main(): Promise<number> {
  const options = parseRun(process.argv.slice(2));
  if (options === undefined) {
    print(HELP);
    return 0;
  }
  enableCompileCache();
  if (options.scale !== undefined) return atSize(options.scale);
  if (options.profile) return speed();
  if (options.determinism !== undefined) return determinism(options, options.determinism);
  if (isClose(options)) return closely(options);
  return (await manySeeds(options)) > 0 ? 1 : 0;
}

process.exitCode = await main();
