// Goal: an acknowledged write survives the loss of any one node that is not the gateway, even one lost in mid-write; the
// guest sees no error; the node returns and is in sync again. The seed picks the victim, its bad moment, and whether its
// process is killed or its host loses power.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

export const oneNodeLost = scenario('one-node-lost', { nodes: 3, copies: 3 }, async (stage) => {
  await stage.form();
  const gateway = stage.anyRunning();
  const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
  guest.writeForever();
  await stage.run({ seconds: 1 + stage.random.unit() });

  const victim = stage.anyRunning(gateway);
  await stage.inMidWrite(guest);
  if (stage.random.chance(0.5)) victim.kill();
  else victim.losePower();
  const answered = guest.volume.history.acknowledgedWrites;
  await stage.until(
    'writes go on without the victim',
    () => guest.volume.history.acknowledgedWrites > answered + 50,
    { seconds: 30 },
  );
  await stage.run({ seconds: stage.random.unit() * 5 });
  const epoch = stage.epoch;
  await victim.start();
  await stage.check.converges({ seconds: 120 });
  await stage.run({ seconds: 3 });
  await guest.stop();
  if (stage.epoch > epoch + 1)
    throw new RunFailure('C-conv: a returning node was called down again');

  if (guest.errors.length > 0) throw new RunFailure(`guest saw errors: ${guest.errors.join(', ')}`);
  await stage.check.everyAcknowledgedWriteIsReadable(guest);
  await stage.check.replicasAreIdentical();
});
