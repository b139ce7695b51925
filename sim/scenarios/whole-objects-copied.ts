// Goal (R4, decision 52): a copy is an object when all of its bytes are durable, not sooner. A node that was away gets whole
// objects, in runs that are written past the page cache, and loses power in the middle of that, and once more right after
// it. Whatever its disk has kept then: no copy that counts has a bad sector, and nothing needs a repair. The seed picks
// the moments.

import { MIB, OBJECT_BYTES } from '../../src/core/units.ts';
import type { Guest } from '../guest.ts';
import { BLOCK_BYTES } from '../guest-block.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { scrubbed } from './disk-faults.ts';

const SIZE_MIB = 16;
const BLOCKS = (SIZE_MIB * MIB) / BLOCK_BYTES;
/** A write of 256 KiB; four fill a run that is written at once. */
const LONG_BLOCKS = 64;
const ROUNDS = 2;
/** Copied when the power goes: something, and not all. */
const MOST_COPIED_BYTES = SIZE_MIB * MIB - OBJECT_BYTES;
const LIMIT_MS = 120_000;

async function fillObjects(guest: Guest): Promise<void> {
  for (let block = 0; block < BLOCKS; block += LONG_BLOCKS) await guest.write(block, LONG_BLOCKS);
}

/** Brought in sync, and dark in the middle of it. */
async function copiesAndLosesPower(stage: Stage, target: SimNode): Promise<void> {
  const wanted = MIB + stage.random.unit() * (MOST_COPIED_BYTES - MIB);
  await target.start();
  const isMidway = () => target.running().handle.status().catchUp.bytesCopied >= wanted;
  if (!(await stage.world.runUntil(isMidway, LIMIT_MS))) throw new RunFailure('it copies nothing');
  target.losePower();
  await stage.until('it is down', () => isCalledDown(stage, target), { seconds: 30 });
}

export const wholeObjectsCopied = scenario(
  'whole-objects-copied',
  { nodes: 3, copies: 3, smokeSeeds: 3 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const target = stage.anyRunning(gateway);
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: SIZE_MIB, at: gateway });
    await fillObjects(guest);
    target.losePower();
    await stage.until('it is down', () => isCalledDown(stage, target), { seconds: 30 });
    for (let rounds = 0; rounds < ROUNDS; rounds += 1) {
      // Everything anew: it misses all that it holds.
      await fillObjects(guest);
      await copiesAndLosesPower(stage, target);
    }
    await target.start();
    await stage.check.converges({ seconds: 180 });
    target.losePower();
    await stage.run({ seconds: stage.random.exponential(1) });
    await target.start();
    await stage.check.converges({ seconds: 180 });
    await scrubbed(stage, 'deep');
    const { badSectors } = target.running().handle.scrub();
    if (badSectors > 0) throw new RunFailure(`R4: ${badSectors} sectors of its copies are bad`);
    if (guest.errors.length > 0) throw new RunFailure(`the guest saw ${guest.errors[0]}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
