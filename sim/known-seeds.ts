// Every seed that ever failed (test/seeds.txt): lines of `scenario seed`, `#` starts a comment. `npm test` plays them, and
// `npm run sim` before anything else.

import { readFileSync } from 'node:fs';

export interface KnownSeed {
  readonly story: string;
  readonly seed: number;
}

const FILE = new URL('../test/seeds.txt', import.meta.url);

export function parseSeeds(text: string): readonly KnownSeed[] {
  return text.split('\n').flatMap((line) => {
    const [story, seed] = line.replace(/#.*/, '').trim().split(/\s+/);
    return story === undefined || seed === undefined ? [] : [{ story, seed: Number(seed) }];
  });
}

export function seedsThatFailed(): readonly KnownSeed[] {
  return parseSeeds(readFileSync(FILE, 'utf8'));
}
