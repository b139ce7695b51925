// A mutant breaks one rule on purpose, from outside of the product: through its ports, its wire, the sessions that its
// guests hold, or a method of one of its classes. Each names the story that must catch it; a judge that lets it pass is
// blind (SIMULATOR.md, 5).

import type { Outcome, PlayOptions, Scenario } from '../scenario.ts';
import { play } from '../scenario.ts';
import type { BuildNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';

/**
 * Seeds within which a mutant must be caught. Most are at the first; what is caught by luck of few seeds (the table tells)
 * is no judge: another change of the product moves every run.
 */
export const MAX_HUNT_SEEDS = 60;

export interface Mutant {
  readonly name: string;
  /** The rule that it breaks. */
  readonly breaks: string;
  readonly story: Scenario;
  /** Breaks disks or the wire before the story begins. */
  readonly prepare?: (stage: Stage) => void;
  /** Replaces a method of a product class for the time of one seed; returns what puts it back. */
  readonly patch?: (stage: Stage) => () => void;
  /** Breaks what a built node hands out. */
  readonly wrapBuild?: (build: BuildNode) => BuildNode;
}

/** One run with this rule broken. */
export async function playBroken(
  mutant: Mutant,
  story: Scenario,
  options: PlayOptions,
): Promise<Outcome> {
  let undo = (): void => {};
  const outcome = await play(story, {
    ...options,
    build: mutant.wrapBuild?.(options.build) ?? options.build,
    prepare: (stage) => {
      options.prepare?.(stage);
      mutant.prepare?.(stage);
      undo = mutant.patch?.(stage) ?? undo;
    },
  });
  undo();
  return outcome;
}

/** @returns the outcome of the first seed that caught it, or undefined when none did */
export async function hunt(mutant: Mutant, build: BuildNode): Promise<Outcome | undefined> {
  for (let seed = 1; seed <= MAX_HUNT_SEEDS; seed += 1) {
    const outcome = await playBroken(mutant, mutant.story, { build, seed });
    if (outcome.failure !== undefined) return outcome;
  }
  return undefined;
}
