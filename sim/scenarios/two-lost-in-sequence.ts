// Goal: redundancy is rebuilt. Of five nodes one is lost for good, called out by an operator, and its copies are made anew
// on the others; then the same befalls a second one. At no time are there fewer than minCopies of anything, so the guest
// sees no error and no long wait, and every acknowledged write is there though both disks never come back.

import { scenario } from '../scenario.ts';
import { isCalledDown } from '../stage.ts';
import { RunFailure } from '../world.ts';

export const twoLostInSequence = scenario(
  'two-lost-in-sequence',
  { nodes: 5, copies: 3, smokeSeeds: 6 },
  async (stage) => {
    const { random } = stage;
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 32, at: gateway });
    guest.writeForever({ workingSet: 4096 });
    await stage.run({ seconds: 1 + random.unit() });
    for (let lost = 0; lost < 2; lost += 1) {
      const victim = stage.anyRunning(gateway);
      const number = stage.numberOf(victim);
      await stage.inMidWrite(guest);
      if (random.chance(0.5)) victim.kill();
      else victim.losePower();
      await stage.until('it is called down', () => isCalledDown(stage, victim), { seconds: 30 });
      const answered = guest.volume.history.acknowledgedWrites;
      const goOn = (): boolean => guest.volume.history.acknowledgedWrites > answered + 50;
      await stage.until('writes go on', goOn, { seconds: 30 });
      await stage.operate(gateway, 'out', (admin) => admin.out(number));
      await stage.check.converges({ seconds: 120 });
    }
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`guest: ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
