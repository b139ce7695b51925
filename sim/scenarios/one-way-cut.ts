// Goal: a path that lets nothing through in one direction for good. The cluster settles: one leader, and the guest whose
// gateway is not behind the cut goes on writing. After healing everybody is in sync again.

import { scenario } from '../scenario.ts';

export const oneWayCut = scenario(
  'one-way-cut',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const deaf = stage.anyRunning(gateway);
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever();
    await stage.run({ seconds: 1 });

    for (const node of stage.nodes) if (node !== deaf) stage.cable.paths.cut(node.name, deaf.name);
    const answered = guest.volume.history.acknowledgedWrites;
    await stage.until(
      'writes go on',
      () => guest.volume.history.acknowledgedWrites > answered + 100,
      { seconds: 60 },
    );
    stage.heal();
    await stage.check.converges({ seconds: 120 });
    await guest.stop();
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
