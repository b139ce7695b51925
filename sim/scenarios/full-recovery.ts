// Goal (story 36): a disk fills up while its node is brought in sync. One of three was away while much was written, and has
// no room for it when it is back: it copies what fits, is called full, and serves nothing that it lacks; the guest sees
// no error, also when the node dies once more in the middle. With space it gets the rest: equal everywhere, nothing copied
// by halves. The seed picks the victim, the room, and whether it dies.

import { DEFAULT_SPACE_RULE, spaceLimits } from '../../src/core/space.ts';
import { MIB } from '../../src/core/units.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { fill } from './disk-faults.ts';

const BLOCKS = 6 * 1024;
/** Map log and index of the node itself, which may grow. */
const OWN_RECORDS_BYTES = MIB;
/** Beside the recovery: overwrites, so that what is copied changes meanwhile. */
const WORKLOAD = { workingSet: BLOCKS, thinkMs: 20 };

/** By the maps of the others. */
function isCalledFull(stage: Stage, node: SimNode): boolean {
  return stage.memberOf(node)?.space === 'full';
}

/** What the node needs for itself is no room for copies. */
function reserveIsLeft({ disk, name }: SimNode): void {
  const { overwrite } = spaceLimits(disk.capacityBytes, DEFAULT_SPACE_RULE);
  const freeBytes = disk.capacityBytes - disk.usedBytes;
  if (freeBytes >= overwrite - OWN_RECORDS_BYTES) return;
  throw new RunFailure(`4.9: copies took the reserve of ${name}: ${freeBytes} bytes are free`);
}

export const fullRecovery = scenario(
  'full-recovery',
  { nodes: 3, copies: 3, smokeSeeds: 4 },
  async (stage) => {
    const { random } = stage;
    await stage.form();
    const gateway = stage.anyRunning();
    const victim = stage.anyRunning(gateway);
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 32, at: gateway });
    await guest.fill(256);
    victim.kill();
    await guest.fill(BLOCKS);
    const space = fill(victim, random.between(8, 14) * MIB);
    await victim.start();
    guest.writeForever(WORKLOAD);
    await stage.until('it is called full', () => isCalledFull(stage, victim), { seconds: 120 });
    await stage.run({ seconds: random.unit() * 10 });
    if (random.chance(0.5)) {
      victim.kill();
      await stage.run({ seconds: random.unit() * 3 });
      await victim.start();
      await stage.run({ seconds: random.unit() * 10 });
    }
    const answered = guest.volume.history.acknowledgedWrites;
    await stage.until(
      'writes go on beside it',
      () => guest.volume.history.acknowledgedWrites > answered + 50,
      { seconds: 60 },
    );
    if (guest.errors.length > 0) throw new RunFailure(`the guest saw ${guest.errors.join(', ')}`);
    reserveIsLeft(victim);
    space();
    await stage.check.converges({ seconds: 240 });
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`the guest saw ${guest.errors.join(', ')}`);
    await guest.detach();
    const last = stage.guestOf(guest.volume);
    last.attach(victim);
    await stage.check.everyAcknowledgedWriteIsReadable(last);
    await stage.check.replicasAreIdentical();
  },
);
