// The judges are judged: each deliberately broken rule is caught by its story within a few seeds.

import '../../sim/bans.ts';
import test from 'ava';
import { MUTANTS } from '../../sim/mutants/list.ts';
import { hunt, MAX_HUNT_SEEDS } from '../../sim/mutants/mutant.ts';

for (const mutant of MUTANTS) {
  test.serial(`mutant ${mutant.name} is caught (${mutant.breaks})`, async (t) => {
    t.timeout(480_000);
    const { buildNode } = await import('../../src/build-node.ts');
    const outcome = await hunt(mutant, buildNode);
    t.not(outcome, undefined, `not caught in ${MAX_HUNT_SEEDS} seeds`);
    t.log(`seed ${outcome?.seed}: ${outcome?.failure?.split('\n')[0]}`);
  });
}
