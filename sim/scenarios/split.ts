// Goal: fencing. The gateway is cut off from the other two with its guest still writing. The majority takes the volume
// over; from then on no write that the cut-off guest issues is acknowledged (C-writer), and after healing its session is
// over for good. Every acknowledged write of both guests stays.

import { scenario } from '../scenario.ts';
import { isCalledDown } from '../stage.ts';

export const split = scenario('split', { nodes: 3, copies: 3 }, async (stage) => {
  await stage.form();
  const gateway = stage.anyRunning();
  const oldGuest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
  oldGuest.writeForever({ workingSet: 64 });
  await stage.run({ seconds: 1 + stage.random.unit() });

  stage.partition([gateway]);
  await stage.until('the gateway is called down', () => isCalledDown(stage, gateway), {
    seconds: 30,
  });
  const newGuest = stage.guestOf(oldGuest.volume);
  newGuest.attach(stage.anyRunning(gateway));
  await stage.check.everyAcknowledgedWriteIsReadable(newGuest);
  newGuest.writeForever({ workingSet: 64 });
  await stage.run({ seconds: 2 + stage.random.unit() * 8 });

  stage.heal();
  await stage.run({ seconds: 2 });
  oldGuest.freeze();
  await stage.check.converges({ seconds: 120 });
  await newGuest.stop();
  await stage.check.everyAcknowledgedWriteIsReadable(newGuest);
  await stage.check.replicasAreIdentical();
});
