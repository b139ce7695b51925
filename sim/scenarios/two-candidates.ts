// Goal: one leader a term (A1), also when candidates meet. The leader is gone, and the two voters that are left lose
// their patience at once, again and again for four seconds, over slow ways: both stand for the same term before either
// hears of the other. At most one of them leads in it, one of them does when they are patient again, and what the old
// leader had decided stays.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

const ROUNDS = 3;
const IMPATIENT_S = 4;

export const twoCandidates = scenario(
  'two-candidates',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const { world, cable, random } = stage;
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16 });
    await guest.fill(64);
    for (let round = 0; round < ROUNDS; round += 1) {
      await stage.until('somebody leads', () => stage.leader !== undefined, { seconds: 30 });
      const old = stage.leader;
      if (old === undefined) throw new RunFailure('nobody leads');
      cable.paths.slowness = random.between(20, 200);
      world.rarities = new Map([['election-early', 1]]);
      if (random.chance(0.5)) old.kill();
      else old.losePower();
      await stage.run({ seconds: IMPATIENT_S });
      world.rarities = new Map();
      await stage.until('one of the two leads', () => stage.leader !== undefined, { seconds: 60 });
      cable.paths.slowness = 1;
      await old.start();
      await stage.check.converges({ seconds: 120 });
    }
    const last = stage.guestOf(guest.volume);
    last.attach(stage.anyRunning());
    await stage.check.everyAcknowledgedWriteIsReadable(last);
    await stage.check.replicasAreIdentical();
  },
);
