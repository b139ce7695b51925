// Every story on 12 fixed seeds, and on each seed that ever failed (test/seeds.txt). A failure prints the line that
// replays it. What these runs reach of the actors' machines is counted: a machine below nine of ten is a failure, too.

import '../sim/bans.ts';
import test from 'ava';
import { seedsThatFailed } from '../sim/known-seeds.ts';
import { NOTHING, type Reached, reachOfMachines, sum } from '../sim/reach/reached.ts';
import { takeReached, watch } from '../sim/reach/watch.ts';
import { play } from '../sim/scenario.ts';
import { SCENARIOS } from '../sim/scenario-list.ts';

const FIXED_SEEDS = 12;
/** Of the states, and of the transitions, of each machine. */
const LEAST_REACHED = 0.9;

const known = seedsThatFailed();
const all = watch();
let reached: Reached = NOTHING;
let storiesPlayed = 0;

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
      reached = sum(reached, takeReached(outcome));
    }
    storiesPlayed += 1;
  });
}

test.serial('simulator: these runs reach nine of ten states and transitions of each actor', (t) => {
  if (storiesPlayed < SCENARIOS.length) {
    t.log('counted only when every story was played to its end');
    return t.pass();
  }
  for (const { actor, share, missing } of reachOfMachines(reached, all)) {
    const names = missing.map((name) => `\n  ${name}`).join('');
    t.log(`${actor}: ${(100 * share).toFixed(0)} %${names}`);
    t.true(share >= LEAST_REACHED, `${actor}: not reached:${names}`);
  }
});
