// Goal: a disk that can be written but not read (every read fails with EIO) costs no guest a byte. The gateway's own disk is
// the one: what it would read of its own copies comes from other nodes, a scrub meanwhile calls its copies suspect and no
// good copy is harmed by that. A process that starts on such a disk ends by itself, for a reason that it names. Cured, it
// comes back, and every copy is whole.

import { OperatingError } from '../../src/core/errors.ts';
import type { Guest } from '../guest.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { breakDisk, healed } from './disk-faults.ts';

/** Two objects. */
const WORKING_SET = 1100;
const READS = 40;
const MAX_BLOCKS = 8;

async function readsAreAnswered(stage: Stage, guest: Guest): Promise<void> {
  for (let i = 0; i < READS; i += 1) {
    const count = stage.random.between(1, MAX_BLOCKS);
    await guest.read(stage.random.between(0, WORKING_SET - count), count);
  }
}

/** The superblock is the first thing that a start reads: it fails, and not by taking the disk for an empty one. */
async function saysWhyItCanNotStart(victim: SimNode): Promise<void> {
  victim.mayFail = true;
  const reason: unknown = await victim.start().then(
    () => 'it started',
    (error: unknown) => error,
  );
  if (victim.isRunning) victim.kill();
  if (!(reason instanceof OperatingError) || reason.code !== 'io') {
    throw new RunFailure(`${victim.name} on a disk that it can not read: ${String(reason)}`);
  }
  victim.mayFail = false;
}

export const readsFail = scenario(
  'reads-fail',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const victim = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: victim });
    await guest.fill(WORKING_SET);
    guest.writeForever({ workingSet: WORKING_SET });
    await stage.run({ seconds: 1 });
    const repair = breakDisk(victim, 'read');
    await stage.run({ seconds: 2 });
    await guest.stop();
    await readsAreAnswered(stage, guest);
    if (!stage.world.faults.has('failed-read')) throw new RunFailure('no read failed');
    if (guest.errors.length > 0) throw new RunFailure(`the guest saw ${guest.errors.join(', ')}`);
    if (stage.random.chance(0.5)) {
      victim.kill();
      await saysWhyItCanNotStart(victim);
      repair();
      await victim.start();
      await stage.check.converges({ seconds: 120 });
      guest.attach(victim);
      await stage.check.lockIsReachable(guest, { seconds: 60 });
    } else repair();
    await guest.write(0);
    await healed(stage);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
