// Goal: channels and control links break now and then and lose their tails, packets are lost, while nobody dies. Every
// request is answered without an error, and all copies are equal in the end.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

export const lostChannel = scenario(
  'lost-channel',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: stage.anyRunning() });
    stage.cable.paths.breakRate = 0.0005;
    stage.cable.paths.lossRate = 0.001;
    guest.writeForever();
    await stage.run({ seconds: 5 });
    stage.cable.paths.breakRate = 0;
    stage.cable.paths.lossRate = 0;
    await guest.stop();
    if (guest.errors.length > 0)
      throw new RunFailure(`guest saw errors: ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
