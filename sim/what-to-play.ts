// Which seeds of which stories a run plays, in which order. Asked for nothing in particular: every seed that ever failed,
// every story once, then hundreds of drawn clusters. Asked for a story: so many seeds of it, one after the other. It knows
// names and numbers only.

import type { KnownSeed } from './known-seeds.ts';

/** What is played of a wish that names no story. */
export interface Everything {
  /** The first seed; the stories get it, too. */
  readonly first: number;
  /** Drawn clusters. */
  readonly count: number;
  readonly known: readonly KnownSeed[];
  readonly stories: readonly string[];
}

/** Drawn clusters, and how many of ten are of each kind. Whole numbers that add up to 10. */
const DRAWN: readonly (readonly [story: string, ofTen: number])[] = [
  ['swarm', 6],
  ['swarm-rare', 3],
  ['may-halt', 1],
];

/** The kind of cluster that this seed draws: the same one, whenever it is asked. */
export function drawnStory(seed: number): string {
  let place = seed % 10;
  for (const [story, ofTen] of DRAWN) {
    if (place < ofTen) return story;
    place -= ofTen;
  }
  return 'swarm';
}

/** Known seeds, then each story, then drawn clusters. */
export function* everything({ first, count, known, stories }: Everything): Generator<KnownSeed> {
  yield* known;
  for (const story of stories) yield { story, seed: first };
  for (let i = 0; i < count; i += 1) yield { story: drawnStory(first + i), seed: first + i };
}

/** Seeds of these stories, side by side. */
export function* seedsOf(
  stories: readonly string[],
  first: number,
  count: number,
): Generator<KnownSeed> {
  for (let i = 0; i < count; i += 1) {
    for (const story of stories) yield { story, seed: first + i };
  }
}
