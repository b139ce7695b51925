// Goal: C-flush. All hosts lose power in one instant, in mid-write, under a guest that writes, flushes and forces. What
// had ended before the last acknowledged flush began is there, so are writes that were forced, now and then up to that
// moment; of what came later any part, and no block is torn. Three times, so that what a recovery wrote is tried, too.

import { scenario } from '../scenario.ts';

const ROUNDS = 3;
/** One after the other, up to the instant of the loss. */
const FORCED = 3;

export const writebackPowerLoss = scenario(
  'writeback-power-loss',
  { nodes: 3, copies: 3, smokeSeeds: 6 },
  async (stage) => {
    await stage.form();
    const at = stage.anyRunning();
    let guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at, mode: 'writeback' });
    for (let round = 0; round < ROUNDS; round += 1) {
      guest.writeForever({ depth: 8, workingSet: 128 });
      await stage.run({ seconds: 0.5 + stage.random.unit() });
      await stage.inMidWrite(guest);
      guest.freeze();
      // Not each time: what is forced is synced together with all before it, and would hide a flush that is not.
      const forced = round % 2 === 0 ? 0 : FORCED;
      for (let i = 0; i < forced; i += 1) await guest.forceWrite(stage.random.between(0, 127));
      for (const node of stage.nodes) node.losePower();
      stage.cachesAreLost();
      await stage.run({ seconds: stage.random.unit() });

      const order = [...stage.nodes].sort((a, b) => a.lives - b.lives);
      while (order.length > 0) {
        const [node] = order.splice(stage.random.between(0, order.length - 1), 1);
        await node?.start();
        await stage.run({ seconds: stage.random.unit() * 2 });
      }
      await stage.check.converges({ seconds: 120 });
      guest = stage.guestOf(guest.volume);
      guest.attach(stage.anyRunning());
      await stage.check.everyAcknowledgedWriteIsReadable(guest);
    }
    await stage.check.replicasAreIdentical();
  },
);
