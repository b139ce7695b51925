// One seed is one history: two fresh processes, and one that ran another seed before, come to the same rolling hash.

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'ava';

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
