// Plays seeds in this process, and counts what each of them reached. Import it when the guards of bans.ts are in place: it
// loads the product's actors.

import { OperatingError } from '../src/core/errors.ts';
import type { PlaySeed } from './play-seeds.ts';
import { takeReached, watch } from './reach/watch.ts';
import { play } from './scenario.ts';
import { scenarioNamed } from './scenario-list.ts';
import type { BuildNode } from './sim-node.ts';
import { formatTimeline } from './timeline.ts';

export function playerHere(build: BuildNode): PlaySeed {
  watch();
  return async ({ story, seed, timeline }) => {
    const found = scenarioNamed(story);
    if (found === undefined) throw new OperatingError('missing', `no scenario '${story}'`);
    const outcome = await play(found, { build, seed });
    const { failure, hash, simulatedMs, records } = outcome;
    const rows = timeline ? [...formatTimeline(records)] : [];
    const reached = takeReached(outcome);
    return { story, seed, failure, hash, simulatedMs, timeline: rows, reached };
  };
}
