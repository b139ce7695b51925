// Goal: a sync that fails once is never asked for again: the kernel may have dropped the pages and say "done" the next
// time. The node whose disk fails one sync, in the middle of writes, ends itself; what it had not confirmed counts for
// nothing, and after a loss of power, so that nothing unsynced is left, it comes back as one that has to catch up. Twice,
// on two nodes, the second time perhaps the gateway.

import type { Guest } from '../guest.ts';
import { scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

const ENDS_S = 20;

async function onAnother(stage: Stage, guest: Guest): Promise<Guest> {
  guest.freeze();
  const successor = stage.guestOf(guest.volume);
  successor.attach(stage.anyRunning());
  await stage.check.lockIsReachable(successor, { seconds: 60 });
  successor.writeForever();
  return successor;
}

export const lostSync = scenario(
  'lost-sync',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    const { random } = stage;
    await stage.form();
    const gateway = stage.anyRunning();
    let guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever();
    for (const victim of [stage.anyRunning(gateway), stage.anyRunning()]) {
      await stage.run({ seconds: 0.5 + random.unit() });
      await stage.inMidWrite(guest);
      victim.mayFail = true;
      victim.disk.failSyncs = 1;
      await stage.until('the node ends itself', () => !victim.isRunning, { seconds: ENDS_S });
      victim.disk.losePower();
      if (!guest.gatewayIsAlive) guest = await onAnother(stage, guest);
      await stage.run({ seconds: random.exponential(2) });
      victim.mayFail = false;
      await victim.start();
      await stage.check.converges({ seconds: 120 });
    }
    await guest.stop();
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
