// Goal (story 18): a voter's disk is gone. Its host joins as a new node, the operator retires the old id; the new one
// votes in its place, and the cluster bears the loss of another voter again.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

export const voterLosesDisk = scenario(
  'voter-loses-disk',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever({ thinkMs: 20 });
    const victim = stage.anyRunning(gateway);
    const old = stage.numberOf(victim);
    await stage.fillLog(stage.random.between(5, 40));
    // Its key was on that disk, too: what starts there next is another node.
    victim.losePower();
    await stage.until('it is down', () => stage.memberOf(victim)?.state === 'down', {
      seconds: 30,
    });
    await stage.operate(gateway, 'forget', (admin) => admin.forget(old));
    victim.loseDisk();
    stage.viewChecker.forget(victim.name);
    const fresh = victim;
    await stage.join(fresh);
    const votersNow = () => stage.running[0]?.running().handle.view()?.voters ?? [];
    const isReplaced = (): boolean =>
      votersNow().length === 3 && votersNow().includes(stage.numberOf(fresh));
    await stage.until('the new node votes', isReplaced, { seconds: 60 });
    await stage.check.converges({ seconds: 120 });

    const other = stage.running.find((node) => node !== fresh && node !== gateway);
    other?.kill();
    await stage.fillLog(5);
    await other?.start();
    await stage.check.converges({ seconds: 120 });
    await guest.stop();
    if (guest.errors.length > 0)
      throw new RunFailure(`guest saw errors: ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
