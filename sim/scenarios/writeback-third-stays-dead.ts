// Goal: doubtful members count after all (R8). All three hosts lose power, one stays dead. The other two are doubtful, and
// nobody is sure: no reads, no shrink. After a minute without a sure member the dead one is shrunk away on their word,
// they settle by each other, and the guest goes on with all that it had flushed. Later the third is back.

import { scenario } from '../scenario.ts';

export const writebackThirdStaysDead = scenario(
  'writeback-third-stays-dead',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const at = stage.anyRunning();
    const first = await stage.createVolume({ name: 'disk', sizeMiB: 16, at, mode: 'writeback' });
    first.writeForever({ depth: 8, workingSet: 128 });
    await stage.run({ seconds: 0.3 + stage.random.unit() });
    await stage.inMidWrite(first);
    first.freeze();
    for (const node of stage.nodes) node.losePower();
    stage.cachesAreLost();
    const third = stage.random.pick(stage.nodes);
    const others = stage.nodes.filter((node) => node !== third);
    for (const node of others) await node.start();

    await stage.check.converges({ seconds: 180 });
    const guest = stage.guestOf(first.volume);
    guest.attach(stage.anyRunning());
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await guest.write(3);
    await guest.flush();

    await third.start();
    await stage.check.replicasAreIdentical({ seconds: 180 });
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
  },
);
