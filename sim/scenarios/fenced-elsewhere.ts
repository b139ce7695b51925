// Goal: fencing by the token alone. Four nodes, three copies: the cut-off gateway holds no copy of some partitions, so
// their config does not change when it is called down. The majority takes the volume over and only reads it. Then the
// old gateway reaches the replicas again, but hears nothing of the map: nothing that it sends is acknowledged (A11).

import { scenario } from '../scenario.ts';
import { isCalledDown } from '../stage.ts';

const OBJECTS = 12;
const BLOCKS_PER_OBJECT = 1024;
/** Longer than a dial that waits. */
const DEAF_SECONDS = 12;

export const fencedElsewhere = scenario(
  'fenced-elsewhere',
  { nodes: 4, copies: 3, partitions: 32, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const oldGuest = await stage.createVolume({ name: 'disk', sizeMiB: OBJECTS * 4, at: gateway });
    for (let i = 0; i < OBJECTS; i += 1) await oldGuest.write(i * BLOCKS_PER_OBJECT);

    stage.partition([gateway]);
    await stage.until('the gateway is called down', () => isCalledDown(stage, gateway), {
      seconds: 30,
    });
    const newGuest = stage.guestOf(oldGuest.volume);
    newGuest.attach(stage.anyRunning(gateway));
    await stage.check.everyAcknowledgedWriteIsReadable(newGuest);

    stage.heal();
    stage.partition([gateway], ['control']);
    for (let i = 0; i < OBJECTS; i += 1) oldGuest.startWrite(i * BLOCKS_PER_OBJECT);
    await stage.run({ seconds: DEAF_SECONDS });
    stage.heal();
    await stage.check.converges({ seconds: 120 });
    await stage.check.everyAcknowledgedWriteIsReadable(newGuest);
    await stage.check.replicasAreIdentical();
  },
);
