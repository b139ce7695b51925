// One seed is one history: two fresh processes, and one that ran another seed before, come to the same rolling hash.

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { checkDeterminism, seedsOfAll } from '../../sim/determinism.ts';
import type { SeedResult, SeedTask } from '../../sim/play-seeds.ts';
import { NOTHING } from '../../sim/reach/reached.ts';

const RUN = fileURLToPath(new URL('../../sim/run.ts', import.meta.url));

function hashOf(seed: number, ...options: string[]): string | undefined {
  const output = execFileSync(process.execPath, [RUN, ...options], { encoding: 'utf8' });
  return new RegExp(` seed ${seed} hash (\\w+)`).exec(output)?.[1];
}

for (const scenario of ['one-node-lost', 'power-loss-all']) {
  test.serial(
    `determinism: ${scenario}: the same seed gives the same hash in every process`,
    (t) => {
      const first = hashOf(8, '--seed', '8', '--scenario', scenario);
      t.truthy(first);
      t.is(hashOf(8, '--seed', '8', '--scenario', scenario), first);
      t.is(hashOf(8, '--seed', '7', '--seeds', '2', '--scenario', scenario), first);
      t.not(hashOf(7, '--seed', '7', '--scenario', scenario), first);
    },
  );
}

function result(task: SeedTask, hash: string): SeedResult {
  const { story, seed } = task;
  return { story, seed, failure: undefined, hash, simulatedMs: 1, timeline: [], reached: NOTHING };
}

test('determinism: a hash that a used process alone has is told', async (t) => {
  let played = 0;
  const lines: string[] = [];
  const play = {
    fresh: (task: SeedTask) => Promise.resolve(result(task, `h${task.seed}`)),
    used: (task: SeedTask) => {
      played += 1;
      return Promise.resolve(result(task, played === 2 ? 'other' : `h${task.seed}`));
    },
  };
  const tasks = [...seedsOfAll(['a', 'b'], 5, 3)];
  t.deepEqual(
    tasks.map(({ story, seed }) => `${story} ${seed}`),
    ['b 5', 'a 6', 'b 7'],
  );
  const differing = await checkDeterminism(tasks, play, (line) => lines.push(line));
  t.is(differing, 1);
  t.is(lines[0], 'DIFFERS a seed 6: fresh | fresh | used: h6 | h6 | other');
  t.regex(lines.at(-1) ?? '', /3 seeds, .* 2 have one hash, 1 differ/);
});
