// Goal: two nodes and a witness (r=2, m=1, 1.5) go on when either of the three is off: the witness votes, holds no copy
// and serves nobody; without it two nodes would stop. Whoever returns is in sync again.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

export const twoAndWitness = scenario('two-and-witness', { nodes: 2, copies: 2 }, async (stage) => {
  await stage.form();
  const [one, two] = stage.nodes;
  if (one === undefined || two === undefined) throw new RunFailure('no nodes');
  await stage.operate(one, 'alter copies', (admin) => admin.alterCopies(2, 1));
  const witness = stage.addNode();
  await stage.join(witness, { weight: 0, isWitness: true });
  await stage.check.converges({ seconds: 60 });
  const voters = one.running().handle.view()?.voters ?? [];
  if (voters.length !== 3) throw new RunFailure(`${voters.length} voters`);
  const gateway = stage.random.pick([one, two]);
  const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
  guest.writeForever();
  await stage.run({ seconds: 1 });

  const victim = stage.random.pick([one, two, witness].filter((each) => each !== gateway));
  if (stage.random.chance(0.5)) victim.kill();
  else victim.losePower();
  const answered = guest.volume.history.acknowledgedWrites;
  const goesOn = (): boolean => guest.volume.history.acknowledgedWrites > answered + 50;
  await stage.until('writes go on', goesOn, { seconds: 30 });
  await victim.start();
  await stage.check.converges({ seconds: 60 });
  await guest.stop();
  if (guest.errors.length > 0) throw new RunFailure(`guest: ${guest.errors.join(', ')}`);
  const held = witness.running().handle.status().objects;
  if (held > 0) throw new RunFailure(`the witness holds ${held} objects`);

  const other = gateway === one ? two : one;
  gateway.losePower();
  guest.attach(other);
  await stage.check.lockIsReachable(guest, { seconds: 60 });
  await gateway.start();
  await stage.check.everyAcknowledgedWriteIsReadable(guest);
  await stage.check.replicasAreIdentical();
});
