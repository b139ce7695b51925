// Goal: the holder of a volume dies in mid-write; another node takes the lock over; every acknowledged write is there,
// an unacknowledged one happened or not and then stays so. Then the dead node returns and all copies are equal.

import { scenario } from '../scenario.ts';

/** C-lock: from the moment when the map calls the holder down. Two elections fit in. */
const LOCK_LIMIT_SECONDS = 5;

export const gatewayLost = scenario(
  'gateway-lost',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever({ depth: 8, workingSet: 64 });
    await stage.run({ seconds: 1 + stage.random.unit() });

    await stage.inMidWrite(guest);
    if (stage.random.chance(0.5)) gateway.kill();
    else gateway.losePower();
    const successor = stage.guestOf(guest.volume);
    await stage.until(
      'the map calls the holder down',
      () =>
        stage.running.every((node) => {
          const view = node.running().handle.view();
          return [...(view?.members.values() ?? [])].some((member) => member.state === 'down');
        }),
      { seconds: 30 },
    );
    successor.attach(stage.anyRunning());
    await stage.check.lockIsReachable(successor, { seconds: LOCK_LIMIT_SECONDS });
    await stage.check.everyAcknowledgedWriteIsReadable(successor);
    successor.writeForever({ workingSet: 64 });
    await stage.run({ seconds: 1 });
    await gateway.start();
    await stage.check.converges({ seconds: 120 });
    await successor.stop();

    await stage.check.everyAcknowledgedWriteIsReadable(successor);
    await stage.check.replicasAreIdentical();
  },
);
