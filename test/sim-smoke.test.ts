// Every story on 20 fixed seeds, and on each seed that ever failed (test/seeds.txt). A failure prints the line that
// replays it.

import '../sim/bans.ts';
import { readFileSync } from 'node:fs';
import test from 'ava';
import { play } from '../sim/scenario.ts';
import { SCENARIOS } from '../sim/scenario-list.ts';

const FIXED_SEEDS = 20;

/** Lines of `scenario seed`, `#` starts a comment. */
function seedsThatFailed(): ReadonlyMap<string, readonly number[]> {
  const seeds = new Map<string, number[]>();
  for (const line of readFileSync(new URL('seeds.txt', import.meta.url), 'utf8').split('\n')) {
    const [name, seed] = line.replace(/#.*/, '').trim().split(/\s+/);
    if (name === undefined || seed === undefined) continue;
    seeds.set(name, [...(seeds.get(name) ?? []), Number(seed)]);
  }
  return seeds;
}

const old = seedsThatFailed();

test('every seed that ever failed belongs to a story that exists', (t) => {
  const names = SCENARIOS.map((story) => story.name);
  for (const name of old.keys()) t.true(names.includes(name), name);
});

for (const story of SCENARIOS) {
  const { smokeSeeds = FIXED_SEEDS } = story.options;
  test.serial(`simulator: ${story.name} holds on ${smokeSeeds} seeds`, async (t) => {
    t.timeout(480_000);
    const { buildNode } = await import('../src/build-node.ts');
    const fixed = Array.from({ length: smokeSeeds }, (_, i) => i + 1);
    for (const seed of new Set([...fixed, ...(old.get(story.name) ?? [])])) {
      const outcome = await play(story, { build: buildNode, seed });
      const replay = `npm run sim -- --seed ${seed} --scenario ${story.name}`;
      t.is(outcome.failure, undefined, replay);
    }
  });
}
