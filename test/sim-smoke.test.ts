// Every story on 20 fixed seeds, and on each seed that ever failed (test/seeds.txt). A failure prints the line that
// replays it.

import '../sim/bans.ts';
import test from 'ava';
import { seedsThatFailed } from '../sim/known-seeds.ts';
import { play } from '../sim/scenario.ts';
import { SCENARIOS } from '../sim/scenario-list.ts';

const FIXED_SEEDS = 20;

const known = seedsThatFailed();

test('every seed that ever failed belongs to a story that exists', (t) => {
  const names = SCENARIOS.map((story) => story.name);
  t.true(known.length > 0);
  for (const { story } of known) t.true(names.includes(story), story);
});

for (const story of SCENARIOS) {
  const { smokeSeeds = FIXED_SEEDS } = story.options;
  test.serial(`simulator: ${story.name} holds on ${smokeSeeds} seeds`, async (t) => {
    t.timeout(480_000);
    const { buildNode } = await import('../src/build-node.ts');
    const fixed = Array.from({ length: smokeSeeds }, (_, i) => i + 1);
    const old = known.filter((one) => one.story === story.name).map((one) => one.seed);
    for (const seed of new Set([...fixed, ...old])) {
      const outcome = await play(story, { build: buildNode, seed });
      const replay = `npm run sim -- --seed ${seed} --scenario ${story.name}`;
      t.is(outcome.failure, undefined, replay);
    }
  });
}
