// The judges are judged, part two: rules broken in the source of the product are caught by their stories.

import test from 'ava';
import { MAX_HUNT_SEEDS } from '../../sim/mutants/mutant.ts';
import { allMutants, huntOne } from '../../sim/mutants/table.ts';

for (const mutant of allMutants().filter(({ isOfSource }) => isOfSource)) {
  test.serial(`mutant ${mutant.name} is caught (${mutant.breaks})`, async (t) => {
    t.timeout(480_000);
    const { seeds, by } = await huntOne(mutant, 0);
    t.not(seeds, undefined, `not caught in ${MAX_HUNT_SEEDS} seeds`);
    t.log(`seed ${seeds}: ${by}`);
  });
}
