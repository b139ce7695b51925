// One hunt, in a process of its own: seed after seed of the mutant's story, from the first seed named, until it is caught.
// Prints one line of JSON. table.ts starts it; for mutants of the source with break-source.ts loaded before it.

import '../bans.ts';
import { enableCompileCache } from 'node:module';
import { play } from '../scenario.ts';
import { scenarioNamed } from '../scenario-list.ts';
import { ruleOf } from '../schedule/shrink.ts';
import { MUTANTS } from './list.ts';
import { MAX_HUNT_SEEDS, playBroken } from './mutant.ts';

/** Characters of a failure that names no rule. */
const MAX_WORDS = 48;

enableCompileCache();
const [name = '', storyName = '', first = '1'] = process.argv.slice(2);
const { buildNode: build } = await import('../../src/build-node.ts');
const mutant = MUTANTS.find((one) => one.name === name);
const story = mutant?.story ?? scenarioNamed(storyName);
if (story === undefined) throw new RangeError(`no story '${storyName}'`);

let caught: { readonly seeds: number; readonly by: string } | undefined;
for (let seeds = 1; seeds <= MAX_HUNT_SEEDS && caught === undefined; seeds += 1) {
  const options = { build, seed: Number(first) + seeds - 1 };
  const run = mutant === undefined ? play(story, options) : playBroken(mutant, story, options);
  const { failure } = await run;
  if (failure !== undefined) {
    const [words = ''] = failure.split('\n');
    caught = { seeds, by: ruleOf(failure) ?? `"${words.slice(0, MAX_WORDS)}"` };
  }
}
process.stdout.write(`${JSON.stringify(caught ?? {})}\n`);
