// Goal: R8. One host at a time loses its process and its page cache under load and is back at once, or after it was
// called down: while it is still in sync it lacks what it confirmed, is doubtful, and settles. Nothing that was
// acknowledged is missed by anybody, flushed or not: the others have it.

import { scenario } from '../scenario.ts';

const ROUNDS = 3;

export const writebackNodeCrash = scenario(
  'writeback-node-crash',
  { nodes: 3, copies: 3, smokeSeeds: 3 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({
      name: 'disk',
      sizeMiB: 32,
      at: gateway,
      mode: 'writeback',
    });
    for (let round = 0; round < ROUNDS; round += 1) {
      guest.writeForever({ depth: 8, workingSet: 8192, maxBlocks: 2 });
      await stage.run({ seconds: 0.3 + stage.random.unit() });
      await stage.inMidWrite(guest);
      const victim = stage.anyRunning(gateway);
      victim.losePower();
      const isQuick = stage.random.chance(0.6);
      await stage.run({ seconds: isQuick ? stage.random.unit() * 0.3 : 8 });
      await victim.start();
      await stage.run({ seconds: 1 + stage.random.unit() });
      await stage.check.converges({ seconds: 120 });
      await guest.stop();
      await guest.flush();
    }
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
