// What many runs come to: failures with the lines that replay them, and a summary.

import type { SeedResult } from './play-seeds.ts';
import { sayStanding } from './progress.ts';
import { NOTHING, type Reached, sum } from './reach/reached.ts';

/** Most failures printed in full for one story. */
const MAX_PRINTED = 5;

type Print = (line: string) => void;

/** A failure and how to see it again. */
export function printFailure(
  result: Pick<SeedResult, 'story' | 'seed' | 'failure'>,
  print: Print,
): void {
  if (result.failure === undefined) return;
  print(`FAILED ${result.story}: ${result.failure}`);
  print(`  npm run sim -- --seed ${result.seed} --scenario ${result.story}`);
}

export interface TallyOptions {
  /** Few runs: the hash of each is news. */
  readonly saysHashes: boolean;
  /** Nothing is played after the first failure. */
  readonly endsAtFailure: boolean;
}

export class Tally {
  readonly failures = new Map<string, number>();
  readonly #how: TallyOptions;
  readonly #print: Print;
  runs = 0;
  simulatedMs = 0;
  reached: Reached = NOTHING;

  constructor(how: TallyOptions, print: Print) {
    this.#how = how;
    this.#print = print;
  }

  /** @returns whether to go on */
  take(result: SeedResult): boolean {
    this.runs += 1;
    this.simulatedMs += result.simulatedMs;
    this.reached = sum(this.reached, result.reached);
    const failed = this.failures.get(result.story) ?? 0;
    if (result.failure !== undefined) this.failures.set(result.story, failed + 1);
    if (failed < MAX_PRINTED) {
      for (const line of result.timeline) this.#print(line);
      printFailure(result, this.#print);
    }
    if (this.#how.saysHashes) {
      this.#print(`${result.story} seed ${result.seed} hash ${result.hash}`);
    }
    return this.failures.size === 0 || !this.#how.endsAtFailure;
  }

  get failed(): number {
    return [...this.failures.values()].reduce((sum, count) => sum + count, 0);
  }

  /** @returns how many failed */
  sum(realMs: number): number {
    for (const [name, count] of this.failures) this.#print(`${name}: ${count} seeds failed`);
    this.#print(sayStanding(this, realMs));
    return this.failed;
  }
}
