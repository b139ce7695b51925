// Goal: the first touch. A gateway dies when its writes have reached one replica and not the other. Whoever takes the
// volume over settles each of them once for all: it happened or it did not, on all copies alike (I2, A11b).

import { scenario } from '../scenario.ts';
import { isCalledDown } from '../stage.ts';

const BLOCKS = 64;
const WRITES = 12;
const CLOSE_SECONDS = 3;

export const halfWritten = scenario(
  'half-written',
  { nodes: 3, copies: 3, smokeSeeds: 10 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    await guest.fill(BLOCKS);
    // All is closed by then: only the replica that got the writes has anything open.
    await stage.run({ seconds: CLOSE_SECONDS });

    const missed = stage.anyRunning(gateway);
    stage.cable.paths.cut(gateway.name, missed.name, ['data']);
    for (let i = 0; i < WRITES; i += 1) guest.startWrite(stage.random.between(0, BLOCKS - 1));
    await stage.run({ seconds: 0.02 });
    if (stage.random.chance(0.5)) gateway.kill();
    else gateway.losePower();
    stage.heal();
    await stage.until('the holder is called down', () => isCalledDown(stage, gateway), {
      seconds: 30,
    });

    const successor = stage.guestOf(guest.volume);
    successor.attach(stage.anyRunning());
    await stage.check.everyAcknowledgedWriteIsReadable(successor);
    await gateway.start();
    await stage.check.converges({ seconds: 120 });
    await stage.check.everyAcknowledgedWriteIsReadable(successor);
    await stage.check.replicasAreIdentical();
  },
);
