// Goal: the first touch. A gateway dies when its writes have reached one replica and not the other. Whoever takes the
// volume over settles each of them once for all: it happened or it did not, on all copies alike (I2, A11b).

import { scenario } from '../scenario.ts';
import { isCalledDown } from '../stage.ts';

const OBJECTS = 12;
const OBJECT_BLOCKS = 1024;
/** Of each object. */
const BLOCKS = 16;
const CLOSE_SECONDS = 3;

/** Numbers go round the objects. */
function blockOf(i: number): number {
  return (i % OBJECTS) * OBJECT_BLOCKS + Math.floor(i / OBJECTS);
}

export const halfWritten = scenario(
  'half-written',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 64, at: gateway });
    for (let i = 0; i < OBJECTS * BLOCKS; i += 1) await guest.write(blockOf(i));
    // All is closed by then: only the replica that got the writes has anything open.
    await stage.run({ seconds: CLOSE_SECONDS });

    const missed = stage.anyRunning(gateway);
    stage.cable.paths.cut(gateway.name, missed.name, ['data']);
    for (let object = 0; object < OBJECTS; object += 1) {
      guest.startWrite(blockOf(object + OBJECTS * stage.random.between(0, BLOCKS - 1)));
    }
    await stage.run({ seconds: 0.02 });
    if (stage.random.chance(0.5)) gateway.kill();
    else gateway.losePower();
    stage.heal();
    await stage.until('the holder is called down', () => isCalledDown(stage, gateway), {
      seconds: 30,
    });

    // The one that knows of none of the writes: what it is told is all that it settles by.
    const successor = stage.guestOf(guest.volume);
    successor.attach(missed);
    await stage.check.everyAcknowledgedWriteIsReadable(successor);
    await gateway.start();
    await stage.check.converges({ seconds: 120 });
    await stage.check.everyAcknowledgedWriteIsReadable(successor);
    await stage.check.replicasAreIdentical();
  },
);
