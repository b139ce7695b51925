// Goal: C4.2. The gateway is cut off until the map calls it down, and comes back before anybody wants its volume: the
// same process goes on in a new incarnation, its lock moves with it, and its guest has seen a pause, but no error.

import { scenario } from '../scenario.ts';
import { isCalledDown } from '../stage.ts';

export const cutGatewayReturns = scenario(
  'cut-gateway-returns',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever({ workingSet: 64 });
    await stage.run({ seconds: 1 + stage.random.unit() });

    stage.partition([gateway]);
    await stage.until('the gateway is called down', () => isCalledDown(stage, gateway), {
      seconds: 30,
    });
    await stage.run({ seconds: stage.random.unit() * 5 });
    stage.heal();
    await stage.check.converges({ seconds: 120 });
    await stage.run({ seconds: 2 });
    await guest.stop();
    if (guest.errors.length > 0) stage.world.fail(`the guest saw ${guest.errors[0]}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
