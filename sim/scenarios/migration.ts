// Goal: C-migrate. A guest moves with its QEMU to another node and back while it writes, with no hook: the volume follows at
// the destination's first write after the source's last flush. No request of it is refused, the black-out is short, and
// the process that is left behind gets nothing written any more.

import { scenario } from '../scenario.ts';
import {
  arrives,
  BLACK_OUT_MS,
  isFencedForGood,
  runs,
  sawNothing,
  stops,
  WORK,
  wasHandedOver,
} from './migrate.ts';

/** Longer than a drained holder waits for the log's word: who goes on by itself is seen. */
const AFTER_S = 12;

export const migration = scenario(
  'migration',
  { nodes: 3, copies: 3, smokeSeeds: 4 },
  async (stage) => {
    const { random } = stage;
    await stage.form();
    const home = stage.anyRunning();
    const away = stage.anyRunning(home);
    const mode = random.chance(0.3) ? 'writeback' : 'durable';
    let guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: home, mode });
    await guest.fill(WORK.workingSet);
    guest.writeForever(WORK);
    for (const node of [away, home]) {
      await stage.run({ seconds: random.unit() });
      const dest = await arrives(stage, node, guest);
      await stage.run({ seconds: random.unit() });
      await stops(guest);
      sawNothing('the source', guest);
      await runs(stage, dest, BLACK_OUT_MS);
      wasHandedOver(stage, node);
      await isFencedForGood(guest);
      if (node === away) await stage.run({ seconds: AFTER_S });
      guest = dest;
      sawNothing('the destination', guest);
    }
    await stage.run({ seconds: 1 });
    await guest.stop();
    sawNothing('the destination', guest);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
