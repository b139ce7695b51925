// npm run sim:mutants -- [--trials T] [--only NAME] [--write FILE]
//
// Hunts every mutant T times, each time from another seed on, and prints the table: what it breaks, which story catches it,
// how many seeds that took. --write renews the table in a document, between its marks; with --only its row. Exit code 1 if
// one was not caught within MAX_HUNT_SEEDS.

import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { withPart } from '../marked-part.ts';
import { MUTANTS } from './list.ts';
import { SOURCE_MUTANTS } from './source-mutants.ts';

const DEFAULT_TRIALS = 3;
/** Trials begin at seeds so far apart that none sees another's. */
const TRIAL_SEEDS = 1000;
/** A hunt that takes longer hangs. */
const MAX_HUNT_MS = 15 * 60 * 1000;
const HERE = import.meta.dirname;
/** Of the document that has the table. */
const PART = 'mutants';

export interface Hunted {
  readonly name: string;
  readonly breaks: string;
  readonly story: string;
  readonly isOfSource: boolean;
}

export interface Catch {
  readonly seeds?: number;
  readonly by?: string;
}

export function allMutants(): readonly Hunted[] {
  const outside = MUTANTS.map(({ name, breaks, story }) => {
    return { name, breaks, story: story.name, isOfSource: false };
  });
  const inside = SOURCE_MUTANTS.map(({ name, breaks, story }) => {
    return { name, breaks, story, isOfSource: true };
  });
  return [...outside, ...inside];
}

/** @param trial each begins at other seeds */
export function huntOne(mutant: Hunted, trial: number): Promise<Catch> {
  const hook = mutant.isOfSource ? ['--import', path.join(HERE, 'break-source.ts')] : [];
  const first = String(1 + trial * TRIAL_SEEDS);
  const what = [mutant.name, mutant.story, first];
  const child = spawn(process.execPath, [...hook, path.join(HERE, 'hunt-one.ts'), ...what], {
    env: { ...process.env, SIM_MUTANT: mutant.name },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: MAX_HUNT_MS,
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(JSON.parse(output) as Catch);
      else reject(new Error(`${mutant.name}: its hunt ended with ${code}`));
    });
  });
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.POSITIVE_INFINITY;
}

export const HEAD: readonly string[] = [
  '| mutant | breaks | story | caught by | seeds until caught | median |',
  '|---|---|---|---|---|---|',
];

/** @param catches one for each trial */
export function rowOf(mutant: Hunted, catches: readonly Catch[]): string {
  const seeds = catches.map((one) => one.seeds ?? Number.POSITIVE_INFINITY);
  const text = (count: number): string => (Number.isFinite(count) ? String(count) : 'none');
  const by = [...new Set(catches.flatMap((one) => one.by ?? []))].join(', ');
  const cells = [
    mutant.name,
    mutant.breaks,
    mutant.story,
    by,
    seeds.map(text).join(', '),
    text(median(seeds)),
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

/** The document with this row in the place of that of the same mutant. */
export function withRow(document: string, row: string): string {
  const [, name = ''] = row.split(' ');
  const lines = document.split('\n');
  const at = lines.findIndex((line) => line.startsWith(`| ${name} |`));
  if (at < 0) throw new RangeError(`no row of ${name} in the document`);
  return lines.with(at, row).join('\n');
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      trials: { type: 'string', default: String(DEFAULT_TRIALS) },
      only: { type: 'string' },
      write: { type: 'string' },
    },
  });
  const mutants = allMutants().filter(
    ({ name }) => values.only === undefined || name === values.only,
  );
  const rows = [...HEAD];
  let missed = mutants.length === 0 ? 1 : 0;
  for (const line of HEAD) process.stdout.write(`${line}\n`);
  for (const mutant of mutants) {
    const catches: Catch[] = [];
    for (let trial = 0; trial < Number(values.trials); trial += 1) {
      catches.push(await huntOne(mutant, trial));
    }
    if (catches[0]?.seeds === undefined) missed += 1;
    rows.push(rowOf(mutant, catches));
    process.stdout.write(`${rows.at(-1)}\n`);
  }
  process.stdout.write(`${mutants.length} mutants, ${missed} not caught from seed 1 on\n`);
  if (values.write !== undefined) {
    const document = readFileSync(values.write, 'utf8');
    const [row = ''] = rows.slice(HEAD.length);
    const isOne = values.only !== undefined;
    writeFileSync(values.write, isOne ? withRow(document, row) : withPart(document, PART, rows));
  }
  return missed > 0 ? 1 : 0;
}

if (import.meta.main) process.exitCode = await main();
