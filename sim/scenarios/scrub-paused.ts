// Goal: a scrub that an operator pauses in the middle of what it reads, and lets go on, again and again, beside a guest that
// writes: it looks at everything all the same. A round that was cut short is done again; the run ends, and what is rotten is
// found and repaired, wherever the pauses fell.

import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { harm } from './disk-faults.ts';

const FILLED = 2048;
const HARMS = 8;
/** Objects that nobody writes are closed within this: a scrub leaves out what is open. */
const CLOSE_S = 6;
const PAUSES = 40;
const PAUSE_MS = 20;
const ENDS_S = 60;

function command(stage: Stage, node: SimNode, action: 'pause' | 'resume'): void {
  const { process, handle } = node.running();
  stage.world.enter(process, () => void handle.scrub({ action }));
}

export const scrubPaused = scenario(
  'scrub-paused',
  { nodes: 3, copies: 3, smokeSeeds: 3 },
  async (stage) => {
    const { random, world } = stage;
    await stage.form();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16 });
    await guest.fill(FILLED);
    await stage.run({ seconds: CLOSE_S });
    const busy = await stage.createVolume({ name: 'busy', sizeMiB: 16 });
    busy.writeForever({ workingSet: 64 });
    const victim = stage.anyRunning();
    for (let harms = 0; harms < HARMS; harms += 1) harm(stage, victim);
    const { process, handle } = victim.running();
    world.enter(process, () => handle.scrub({ action: 'start', kind: 'deep' }));
    for (let pauses = 0; pauses < PAUSES; pauses += 1) {
      await stage.run({ seconds: (random.unit() * PAUSE_MS) / 1000 });
      command(stage, victim, 'pause');
      await stage.run({ seconds: (random.unit() * PAUSE_MS) / 1000 });
      command(stage, victim, 'resume');
    }
    const isOver = () => handle.scrub().run === undefined || 'it scrubs';
    await stage.until('the scrub ends', isOver, { seconds: ENDS_S });
    await stage.check.noCopyIsSuspect();
    await busy.stop();
    const errors = [...guest.errors, ...busy.errors];
    if (errors.length > 0) throw new RunFailure(`the guests saw ${errors[0]}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.everyAcknowledgedWriteIsReadable(busy);
    await stage.check.replicasAreIdentical();
  },
);
