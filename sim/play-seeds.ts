// Plays many seeds, in this process or in several, and hands the results on in the order of the seeds, so that the report
// of a run does not depend on how many processes played it. seed-worker.ts is one of the several, player.ts plays.

import { type ChildProcess, fork } from 'node:child_process';
import { OperatingError } from '../src/core/errors.ts';
import type { Reached } from './reach/reached.ts';

/** One seed of one story. */
export interface SeedTask {
  readonly story: string;
  readonly seed: number;
  readonly timeline: boolean;
}

/** What became of it. */
export interface SeedResult {
  readonly story: string;
  readonly seed: number;
  readonly failure: string | undefined;
  readonly hash: string;
  readonly simulatedMs: number;
  /** When it was asked for. */
  readonly timeline: readonly string[];
  readonly reached: Reached;
}

export type PlaySeed = (task: SeedTask) => Promise<SeedResult>;

/** A process that plays one seed after the other; ends with this one, or when it is told. */
export class SeedWorker {
  readonly #child: ChildProcess = fork(new URL('./seed-worker.ts', import.meta.url));
  #task = 'its first task';
  #resolve: (result: SeedResult) => void = () => {};
  #reject: (error: OperatingError) => void = () => {};

  constructor() {
    this.#child.on('message', (result) => this.#resolve(result as SeedResult));
    this.#child.once('exit', () => {
      this.#reject(new OperatingError('gone', `the process ended that played ${this.#task}`));
    });
  }

  readonly play: PlaySeed = (task) => {
    this.#task = `${task.story} seed ${task.seed}`;
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#child.send(task);
    });
  };

  end(): void {
    this.#child.disconnect();
  }
}

/** Gives each player the next task when it is done with one. `take` gets the results in order, until it returns false. */
export async function playAll(
  tasks: Iterator<SeedTask>,
  players: readonly PlaySeed[],
  take: (result: SeedResult) => boolean,
): Promise<void> {
  const early = new Map<number, SeedResult>();
  let given = 0;
  let taken = 0;
  let isOver = false;
  const work = async (playOne: PlaySeed): Promise<void> => {
    while (!isOver) {
      const next = tasks.next();
      if (next.done === true) return;
      const place = given;
      given += 1;
      early.set(place, await playOne(next.value));
      for (let result = early.get(taken); result !== undefined && !isOver; ) {
        early.delete(taken);
        taken += 1;
        isOver = !take(result);
        result = early.get(taken);
      }
    }
  };
  await Promise.all(players.map(work));
}
