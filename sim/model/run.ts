// node sim/model/run.ts [--episodes N] [--seed N] [--patient] [--only NAME]...
//
// Plays N episodes (20,000 unless told) of the sound rules, and of each broken one; `sound` names the former. With
// --patient a forbidden step passes, and only what it leads to counts. Exit code 1 when the sound rules have a violation,
// or a broken one has none; 2 for bad arguments.

import { parseArgs } from 'node:util';
import { survey } from './episode.ts';
import { BROKEN_RULES, RULE_NAMES, type RuleName } from './rules.ts';

const DEFAULT_EPISODES = 20_000;
const SOUND = 'sound';

function usage(message: string): never {
  process.stderr.write(`model: ${message}\nrules: ${[SOUND, ...RULE_NAMES].join(', ')}\n`);
  process.exit(2);
}

function wholeNumber(text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  return /^\d{1,9}$/.test(text) ? Number(text) : usage(`not a whole number: ${text}`);
}

function ruleOf(name: string): RuleName | undefined {
  if (name === SOUND) return undefined;
  return RULE_NAMES.find((rule) => rule === name) ?? usage(`no rule ${name}`);
}

function main(): number {
  const { values } = parseArgs({
    options: {
      episodes: { type: 'string' },
      seed: { type: 'string' },
      only: { type: 'string', multiple: true },
      patient: { type: 'boolean', default: false },
    },
  });
  const episodes = wholeNumber(values.episodes, DEFAULT_EPISODES);
  const seed = wholeNumber(values.seed, 1);
  let exitCode = 0;
  for (const name of values.only ?? [SOUND, ...RULE_NAMES]) {
    const broken = ruleOf(name);
    const options = { seed, episodes, isPatient: values.patient };
    const { found, tally } = survey({ ...options, ...(broken === undefined ? {} : { broken }) });
    // Nothing else than the promise itself breaks.
    const isSilent = broken !== undefined && values.patient && BROKEN_RULES[broken].isPromise;
    const isWrong = broken === undefined ? found.length > 0 : found.length === 0 && !isSilent;
    if (isWrong) exitCode = 1;
    const by = new Map<string, number>();
    for (const { invariant } of found) by.set(invariant, (by.get(invariant) ?? 0) + 1);
    const counts = [...by].map(([invariant, count]) => `${invariant} ${count}`).join(', ');
    const first = found[0] === undefined ? '' : `first ${found[0].episode}`;
    const { acknowledged, promoted, touched } = tally;
    process.stdout.write(
      `${name.padEnd(17)} ${String(found.length).padStart(6)} ${first} ${counts} ` +
        `(${acknowledged} writes, ${promoted} promotions, ${touched} touches)` +
        `${isWrong ? '  WRONG' : ''}\n`,
    );
  }
  return exitCode;
}

process.exitCode = main();
