// npm run soak -- --minutes N [--record FILE] [--jobs J] [--write DOCUMENT]
//
// Seeds of mixed length, one after the other, for N minutes: drawn clusters, most of them small, faults one at a time,
// locks, migrations, snapshots, an hour with a guest that thinks, and a whole simulated day once there is time for it.
// Counts are kept in FILE and add up, soak by soak; the next soak goes on with the next seed. What failed is named with
// the line that replays it. Exit code 1 when something failed, 2 for bad arguments. A run that is under way at the end is
// waited for.

import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { messageOf } from '../src/core/errors.ts';
import { realNowMs } from './bans.ts';
import { withPlayers } from './many-seeds.ts';
import { withPart } from './marked-part.ts';
import type { PlaySeed } from './play-seeds.ts';
import { Progress } from './progress.ts';
import { summary } from './reach/reached.ts';
import {
  newRecord,
  nextSeed,
  parseRecord,
  type SoakRecord,
  sayFailure,
  sayRecord,
  tableOf,
  totalsOf,
  withRun,
} from './soak-record.ts';

const DEFAULT_RECORD = 'soak.json';
/** Of the document that has the counts. */
const PART = 'soaks';
const FIRST_FROM = 1_000_000;
const FIRST_TO = 900_000_000;
const SAVE_EVERY_MS = 20_000;
const MINUTE_MS = 60_000;

const HELP = `npm run soak -- --minutes N [options]: seeds of mixed length for N minutes

  --minutes N          how long; a run that is under way then is waited for
  --record FILE        counts that add up over soaks, default ${DEFAULT_RECORD}
  --jobs J             processes, default: one for each processor
  --write DOCUMENT     renews the table of counts in a document; with --minutes 0 nothing is played`;

interface Plan {
  readonly minutes: number;
  readonly path: string;
  readonly jobs: number;
  readonly document: string | undefined;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function usage(message: string): never {
  process.stderr.write(`soak: ${message}\n`);
  process.exit(2);
}

function flagsOf(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        minutes: { type: 'string' },
        record: { type: 'string', default: DEFAULT_RECORD },
        jobs: { type: 'string' },
        write: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    return usage(`${messageOf(error)}; npm run soak -- --help`);
  }
}

function planOf(args: readonly string[]): Plan | undefined {
  const { minutes, record, jobs, write, help } = flagsOf(args);
  if (help) return undefined;
  if (minutes === undefined) usage('--minutes N: how long?');
  if (!/^\d{1,5}(\.\d+)?$/.test(minutes)) usage(`--minutes needs a number, not '${minutes}'`);
  if (jobs !== undefined && !/^[1-9]\d{0,2}$/.test(jobs))
    usage(`--jobs needs a number, not '${jobs}'`);
  return {
    minutes: Number(minutes),
    path: record,
    jobs: Number(jobs ?? availableParallelism()),
    document: write,
  };
}

function load(path: string): SoakRecord {
  if (!existsSync(path)) return newRecord(randomInt(FIRST_FROM, FIRST_TO));
  return parseRecord(readFileSync(path, 'utf8')) ?? usage(`${path} is no record of soaks`);
}

function save(path: string, record: SoakRecord): void {
  writeFileSync(`${path}.new`, `${JSON.stringify(record, undefined, 1)}\n`);
  renameSync(`${path}.new`, path);
}

function writeTable(path: string, record: SoakRecord): void {
  writeFileSync(path, withPart(readFileSync(path, 'utf8'), PART, tableOf(record)));
}

/** Of the tree that is played; with changes that no commit has it says so. */
function commitOf(): string {
  try {
    const what = ['describe', '--always', '--dirty=-changed', '--exclude', '*'];
    return execFileSync('git', what, { cwd: import.meta.dirname, encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

/** One soak: hands out seeds until its time is over. */
class Soak {
  record: SoakRecord;
  readonly #plan: Plan;
  readonly #before: SoakRecord;
  readonly #commit = commitOf();
  readonly #progress: Progress;
  #savedMs = realNowMs();

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#before = load(plan.path);
    this.record = this.#before;
    this.#progress = new Progress(Number.POSITIVE_INFINITY, print, realNowMs);
  }

  /** Failures of this soak alone. */
  get failed(): number {
    return totalsOf(this.record).failed - totalsOf(this.#before).failed;
  }

  async work(play: PlaySeed): Promise<void> {
    for (let leftMs = this.#leftMs; leftMs > 0; leftMs = this.#leftMs) {
      const { story, seed, record } = nextSeed(this.record, leftMs);
      this.record = record;
      const result = await play({ story, seed, timeline: false });
      this.record = withRun(this.record, result, this.#commit);
      const { failure } = result;
      if (failure !== undefined) {
        const reason = failure.split('\n')[0] ?? '';
        for (const line of sayFailure({ story, seed, commit: this.#commit, reason })) print(line);
      }
      this.#note(failure !== undefined);
    }
  }

  save(): void {
    const realHours = this.#before.realHours + this.#progress.realMs / (60 * MINUTE_MS);
    this.record = { ...this.record, realHours };
    save(this.#plan.path, this.record);
  }

  #note(isNews: boolean): void {
    const [all, old] = [totalsOf(this.record), totalsOf(this.#before)];
    const simulatedMs = all.simulatedMs - old.simulatedMs;
    this.#progress.note({ runs: all.runs - old.runs, failed: this.failed, simulatedMs });
    if (!isNews && realNowMs() - this.#savedMs < SAVE_EVERY_MS) return;
    this.#savedMs = realNowMs();
    this.save();
  }

  get #leftMs(): number {
    return this.#plan.minutes * MINUTE_MS - this.#progress.realMs;
  }
}

async function main(): Promise<number> {
  const plan = planOf(process.argv.slice(2));
  if (plan === undefined) {
    print(HELP);
    return 0;
  }
  enableCompileCache();
  const soak = new Soak(plan);
  print(`${plan.minutes} minutes in ${plan.jobs} processes; counts go to ${plan.path}`);
  await withPlayers(plan.jobs, async (players) => {
    await Promise.all(players.map((play) => soak.work(play)));
  });
  soak.save();
  if (plan.document !== undefined) writeTable(plan.document, soak.record);
  const { watch } = await import('./reach/watch.ts');
  for (const line of summary(soak.record.reached, watch())) print(line);
  for (const line of sayRecord(soak.record)) print(line);
  return soak.failed > 0 ? 1 : 0;
}

process.exitCode = await main();
