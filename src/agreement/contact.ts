// Whether a majority of the voters is there (C1.3): who has an alert to send asks first. Known as soon as enough have
// answered: the one that an alert is about is often among them, and never will. Many alerts of one moment ask once.

import type { NodeId } from '../core/ids.ts';
import type { Clock } from '../ports/ports.ts';

/** An answer holds for the alerts of this long: ten suspicions in one round of pings ask the voters once. */
export const CONTACT_FRESH_MS = 500;

export interface ContactOptions {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly voters: () => readonly NodeId[];
  /** Resolves when that voter answers "I am here"; rejects when it does not. */
  readonly ask: (voter: NodeId) => Promise<unknown>;
}

/** Asks the voters, at most once at a time. */
export class Contact {
  readonly #options: ContactOptions;
  #answer: Promise<boolean> | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;

  constructor(options: ContactOptions) {
    this.#options = options;
  }

  /** True when a majority of the voters, this node counted, answers now or did within CONTACT_FRESH_MS. */
  isMajorityInReach(): Promise<boolean> {
    const now = this.#options.clock.now();
    if (this.#answer === undefined || now - this.#askedAt >= CONTACT_FRESH_MS) {
      this.#askedAt = now;
      this.#answer = this.#ask();
    }
    return this.#answer;
  }

  #ask(): Promise<boolean> {
    const { self, ask } = this.#options;
    const voters = this.#options.voters();
    const others = voters.filter((voter) => voter !== self);
    const needed = Math.floor(voters.length / 2) + 1 - (voters.length - others.length);
    return doAnswer(others.map(ask), needed);
  }
}

/** True once `needed` of the questions were answered, false when too few are left to make it. Never rejects. */
export function doAnswer(asked: readonly Promise<unknown>[], needed: number): Promise<boolean> {
  let answers = 0;
  let failures = 0;
  return new Promise((resolve) => {
    const judge = (): void => {
      if (answers >= needed) resolve(true);
      else if (failures > asked.length - needed) resolve(false);
    };
    judge();
    for (const one of asked) {
      one.then(
        () => {
          answers += 1;
          judge();
        },
        () => {
          failures += 1;
          judge();
        },
      );
    }
  });
}
