// npm run sim -- [--seed N] [--seeds K] [--scenario NAME] [--jobs J] ... (sim/run-options.ts has all of them)
//
// Runs every story (or one) on K seeds from N on; 200 seeds from 1 unless told. A failure prints its reason and the line
// that replays it; the last line is a summary. Exit code 1 when anything failed, 2 for bad arguments.
//
// npm run sim -- --scale NODES [--seed N] [--quiet SECONDS] [--zones Z] [--partitions P] [--trouble NAME]...
//
// One cluster of hundreds of nodes without volumes, one trouble after the other, with figures (sim/scale.ts).

import { enableCompileCache } from 'node:module';
import { messageOf } from '../src/core/errors.ts';
import { realNowMs } from './bans.ts';
import { playAll, type SeedTask, SeedWorker } from './play-seeds.ts';
import { addToFile, neverReached, type Reached, summary } from './reach/reached.ts';
import { HELP, parseRun, type RunOptions, usage } from './run-options.ts';
import type { ScaleRun } from './scale.ts';
import { Tally } from './tally.ts';

/** A process more is worth its start from so many runs on. */
const RUNS_PER_JOB = 4;

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

function* tasksOf({ first, count, stories, timeline }: RunOptions): Generator<SeedTask> {
  for (let i = 0; i < count; i += 1) {
    for (const { name } of stories) yield { story: name, seed: first + i, timeline };
  }
}

async function manySeeds(options: RunOptions): Promise<number> {
  const startedMs = realNowMs();
  const tally = new Tally(options.count, print);
  const take: Parameters<typeof playAll>[2] = (result) => tally.take(result);
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
    const { playerHere } = await import('./player.ts');
    await playAll(tasksOf(options), [playerHere(buildNode)], take);
  }
  const realMs = realNowMs() - startedMs;
  await printCoverage(tally.reached, options.coverage);
  return tally.sum(realMs) > 0 ? 1 : 0;
}

async function printCoverage(reached: Reached, file: string | undefined): Promise<void> {
  const { watch } = await import('./reach/watch.ts');
  const all = watch();
  for (const line of summary(reached, all)) print(line);
  if (file === undefined) return;
  const total = addToFile(file, reached);
  print(`all runs that ${file} has:`);
  for (const line of [...summary(total, all), ...neverReached(total, all)]) print(line);
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
  return isClose(options) ? closely(options) : manySeeds(options);
}

process.exitCode = await main();
