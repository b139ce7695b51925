// The rules of replication and fencing, as an executable model: sound as they are, each of them needed.

import test from 'ava';
import { survey } from '../../sim/model/episode.ts';
import { BROKEN_RULES, RULE_NAMES } from '../../sim/model/rules.ts';

const SOUND_EPISODES = 20_000;

test('model: the rules hold, and the episodes are about something', (t) => {
  t.timeout(120_000);
  const { found, tally } = survey({ seed: 1, episodes: SOUND_EPISODES });
  t.deepEqual(found, []);
  t.true(tally.acknowledged > SOUND_EPISODES / 2);
  t.true(tally.promoted > SOUND_EPISODES / 10);
  t.true(tally.touched > SOUND_EPISODES / 4);
});

test('model: the same seed finds the same', (t) => {
  const options = { seed: 7, episodes: 300, broken: 'touchUnsealed' } as const;
  t.deepEqual(survey(options), survey(options));
});

for (const name of RULE_NAMES) {
  const { breaks, seed, episodes, isPromise } = BROKEN_RULES[name];
  test(`model: ${name} is caught in ${episodes} episodes (${breaks})`, (t) => {
    t.timeout(120_000);
    // A rule that is no promise by itself must be missed where it leads: the forbidden step alone does not count.
    const isPatient = !isPromise;
    const { found } = survey({ seed, episodes, broken: name, isEnough: true, isPatient });
    t.is(found.length, 1);
    t.log(`episode ${found[0]?.episode}: ${found[0]?.invariant}`);
  });
}
