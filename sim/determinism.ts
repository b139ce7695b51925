// npm run sim -- --determinism K: one seed is one history (SIMULATOR.md, section 2). Each of K seeds runs twice in a
// process of its own that ran nothing before, and once in a process that ran all the seeds before it. Their hashes must
// be equal: what is counted per process, ordered by chance, or asked of the machine would show.

import type { PlaySeed, SeedResult, SeedTask } from './play-seeds.ts';

type Print = (line: string) => void;

const SAY_EVERY = 5;

/** Seeds of all stories in turn, so that each rule of the product is in it; a seed has its story wherever one begins. */
export function* seedsOfAll(
  stories: readonly string[],
  first: number,
  count: number,
): Generator<SeedTask> {
  for (let i = 0; i < count; i += 1) {
    const story = stories[(first + i) % stories.length];
    if (story !== undefined) yield { story, seed: first + i, timeline: false };
  }
}

/** What differs between runs of one seed; undefined = nothing does. */
export function differenceOf(runs: readonly SeedResult[]): string | undefined {
  const seen = runs.map(({ hash, failure }) => `${hash}${failure === undefined ? '' : ', failed'}`);
  return new Set(seen).size === 1 ? undefined : seen.join(' | ');
}

/** @returns how many seeds were not the same everywhere */
export async function checkDeterminism(
  tasks: Iterable<SeedTask>,
  play: { readonly fresh: PlaySeed; readonly used: PlaySeed },
  print: Print,
): Promise<number> {
  let seeds = 0;
  let differing = 0;
  for (const task of tasks) {
    const runs = [await play.fresh(task), await play.fresh(task), await play.used(task)];
    const difference = differenceOf(runs);
    seeds += 1;
    if (difference !== undefined) {
      differing += 1;
      print(`DIFFERS ${task.story} seed ${task.seed}: fresh | fresh | used: ${difference}`);
    }
    if (seeds % SAY_EVERY === 0) print(`… ${seeds} seeds, ${differing} differ`);
  }
  print(
    `${seeds} seeds, each twice in fresh processes and once in a used one: ` +
      `${seeds - differing} have one hash, ${differing} differ`,
  );
  return differing;
}
