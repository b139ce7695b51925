// Goal: durable means durable. All hosts lose power in one instant, in mid-write, with unsynced bytes lost, torn and
// reordered; they come back in any order; every acknowledged write is readable. Twice, so that what a recovery wrote is
// tried, too.

import { scenario } from '../scenario.ts';

export const powerLossAll = scenario('power-loss-all', { nodes: 3, copies: 3 }, async (stage) => {
  await stage.form();
  let guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: stage.anyRunning() });
  for (let round = 0; round < 2; round += 1) {
    guest.writeForever({ depth: 8, workingSet: 128 });
    await stage.run({ seconds: 0.5 + stage.random.unit() });
    await stage.inMidWrite(guest);
    guest.freeze();
    for (const node of stage.nodes) node.losePower();
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
});
