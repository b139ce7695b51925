// Goal: three nodes form a cluster, a guest writes through one of them, and all three end with the same bytes.
// The seed picks clocks, delays, disk times, lost gossip, and what the guest does.

import { scenario } from '../scenario.ts';

export const threeNodesWrite = scenario(
  'three-nodes-write',
  { nodes: 3, copies: 3 },
  async (stage) => {
    await stage.form();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16 });
    guest.writeForever();
    await stage.run({ seconds: 2 });
    await guest.stop();

    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await guest.detach();
    const other = stage.guestOf(guest.volume);
    other.attach(stage.anyRunning());
    await stage.check.everyAcknowledgedWriteIsReadable(other);
    await stage.check.replicasAreIdentical();
  },
);
