// Goal: two of three copies are down for so long that their members are called out. Being out takes nobody out of an
// in-sync set (I6, checked in every view): partitions that hang on one copy wait, copies are made elsewhere from it, and
// writes go on without the dead; when these return they hold nothing against anybody.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

const OUT_AFTER = '5s';

export const twoOut = scenario('two-out', { nodes: 6, copies: 3 }, async (stage) => {
  await stage.form();
  const gateway = stage.anyRunning();
  const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
  await stage.operate(gateway, 'set', (admin) => admin.set('out-after', OUT_AFTER));
  guest.writeForever();
  await stage.run({ seconds: 1 });
  const first = stage.anyRunning(gateway);
  const second = stage.random.pick(
    stage.running.filter((node) => node !== gateway && node !== first),
  );
  const victims = [first, second];
  for (const victim of victims) {
    if (stage.random.chance(0.5)) victim.kill();
    else victim.losePower();
  }
  const areOut = (): boolean =>
    victims.every((victim) => stage.memberOf(victim)?.standing === 'out');
  await stage.until('both are out', areOut, { seconds: 60 });
  await stage.check.converges({ seconds: 120 });
  const answered = guest.volume.history.acknowledgedWrites;
  const goOn = (): boolean => guest.volume.history.acknowledgedWrites > answered + 50;
  await stage.until('writes go on', goOn, { seconds: 30 });
  for (const victim of victims) await victim.start();
  await stage.check.converges({ seconds: 120 });
  await guest.stop();
  if (guest.errors.length > 0) throw new RunFailure(`guest: ${guest.errors.join(', ')}`);
  await stage.check.everyAcknowledgedWriteIsReadable(guest);
  await stage.check.replicasAreIdentical();
});
