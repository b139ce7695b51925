// Goal: a drain takes everything off a member while guests write: redundancy never sinks (I5, I6, checked all the time),
// no guest sees an error, the member votes no more, is gone, and may then be stopped and forgotten. The seed decides
// whether it is the leader, the gateway of a guest, or neither, and whether the drain is taken back once on its way.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

export const drainUnderLoad = scenario(
  'drain-under-load',
  { nodes: 5, copies: 3, partitions: 32, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 64, at: gateway });
    guest.writeForever({ workingSet: 8192 });
    await stage.run({ seconds: 2 });

    const leaver = stage.anyRunning();
    const node = stage.numberOf(leaver);
    const asked = stage.anyRunning();
    await stage.operate(asked, 'drain', (admin) => admin.drain(node));
    if (stage.random.chance(0.3)) {
      await stage.run({ seconds: stage.random.unit() });
      if (stage.memberOf(leaver)?.standing === 'leaving') {
        await stage.operate(asked, 'undrain', (admin) => admin.undrain(node));
        await stage.check.converges({ seconds: 60 });
        await stage.operate(asked, 'drain', (admin) => admin.drain(node));
      }
    }
    await stage.until(
      'the drained one is gone',
      () => stage.memberOf(leaver)?.standing === 'gone',
      {
        seconds: 120,
      },
    );
    if (leaver.running().handle.view()?.voters.includes(node) === true)
      throw new RunFailure('what is gone votes still');
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`guest: ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await leaver.stop();
    await stage.until('it is down', () => stage.memberOf(leaver)?.state === 'down', {
      seconds: 30,
    });
    const other = stage.anyRunning();
    await stage.operate(other, 'forget', (admin) => admin.forget(node));
    if (gateway === leaver) guest.attach(other);
    await stage.check.replicasAreIdentical();
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
  },
);
