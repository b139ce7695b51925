// Goal: every node is stopped in order and started again, one after the other, while a guest writes through a node that
// is restarted last. The guest sees no error until its own gateway goes, and then goes on through another one.

import { scenario } from '../scenario.ts';

export const rollingRestart = scenario(
  'rolling-restart',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever();
    for (const node of stage.nodes.filter((each) => each !== gateway)) {
      await stage.run({ seconds: stage.random.unit() });
      await node.stop();
      await stage.run({ seconds: stage.random.unit() * 3 });
      await node.start();
      await stage.check.converges({ seconds: 120 });
    }
    await guest.stop();
    await guest.detach();
    await gateway.stop();

    const other = stage.guestOf(guest.volume);
    other.attach(stage.anyRunning());
    await stage.check.everyAcknowledgedWriteIsReadable(other);
    await gateway.start();
    await stage.check.replicasAreIdentical({ seconds: 120 });
  },
);
