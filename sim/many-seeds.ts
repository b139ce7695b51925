// Plays many seeds in as many processes as are worth it, with progress, and ends with what they come to.

import { realNowMs } from './bans.ts';
import { type PlaySeed, playAll, type SeedTask, SeedWorker } from './play-seeds.ts';
import { Progress } from './progress.ts';
import { addToFile, neverReached, type Reached, summary } from './reach/reached.ts';
import { Tally } from './tally.ts';

/** A process more is worth its start from so many runs on. */
const RUNS_PER_JOB = 4;

type Print = (line: string) => void;

export interface ManySeeds {
  readonly tasks: Iterator<SeedTask>;
  /** How many there are; Infinity = until one fails. */
  readonly count: number;
  readonly jobs: number;
  /** Names the hash of each run. */
  readonly saysHashes: boolean;
  readonly coverage: string | undefined;
}

/** @returns how many failed */
export async function playMany(many: ManySeeds, print: Print): Promise<number> {
  const { tasks, count, saysHashes, coverage } = many;
  const progress = new Progress(count, print, realNowMs);
  const tally = new Tally({ saysHashes, endsAtFailure: !Number.isFinite(count) }, print);
  const take: Parameters<typeof playAll>[2] = (result) => {
    const goesOn = tally.take(result);
    progress.note(tally);
    return goesOn;
  };
  await withPlayers(Math.min(many.jobs, Math.ceil(count / RUNS_PER_JOB)), (players) =>
    playAll(tasks, players, take),
  );
  await printCoverage(tally.reached, coverage, print);
  return tally.sum(progress.realMs);
}

/** One player is this process; more are processes of their own, which end with `work`. */
export async function withPlayers(
  jobs: number,
  work: (players: readonly PlaySeed[]) => Promise<void>,
): Promise<void> {
  if (jobs > 1) {
    const workers = Array.from({ length: jobs }, () => new SeedWorker());
    await work(workers.map((worker) => worker.play));
    for (const worker of workers) worker.end();
    return;
  }
  // Only now: the guards of bans.ts are in place before product code is loaded.
  const { buildNode } = await import('../src/build-node.ts');
  const { playerHere } = await import('./player.ts');
  await work([playerHere(buildNode)]);
}

export async function printCoverage(
  reached: Reached,
  file: string | undefined,
  print: Print,
): Promise<void> {
  const { watch } = await import('./reach/watch.ts');
  const all = watch();
  for (const line of summary(reached, all)) print(line);
  if (file === undefined) return;
  const total = addToFile(file, reached);
  print(`all runs that ${file} has:`);
  for (const line of [...summary(total, all), ...neverReached(total, all)]) print(line);
}
