// Goal (R4, decision 52): a copy is an object when all of its bytes are durable, not sooner. A node that was away gets whole
// objects that it never had, in runs that are written past the page cache of a slow disk, and loses power in the middle
// of that, and once more right after it. Whatever its disk has kept then: no copy that counts has a bad sector, and nothing
// needs a repair. The seed picks the moments.

import { MIB, OBJECT_BYTES } from '../../src/core/units.ts';
import type { Guest } from '../guest.ts';
import { BLOCK_BYTES } from '../guest-block.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { scrubbed } from './disk-faults.ts';

const SIZE_MIB = 8;
const BLOCKS = (SIZE_MIB * MIB) / BLOCK_BYTES;
/** A write of 256 KiB. */
const LONG_BLOCKS = 64;
const ROUNDS = 2;
/** Copied of one volume when the power goes: something, and not all. */
const MOST_COPIED_BYTES = SIZE_MIB * MIB - OBJECT_BYTES;
/** Bytes are on their way for milliseconds. */
const SLOWNESS = 20;
const LIMIT_MS = 120_000;

/** A volume that the node which is away has nothing of, every sector of it written. */
async function madeFull(stage: Stage, name: string, at: SimNode): Promise<Guest> {
  const guest = await stage.createVolume({ name, sizeMiB: SIZE_MIB, at });
  for (let block = 0; block < BLOCKS; block += LONG_BLOCKS) await guest.write(block, LONG_BLOCKS);
  return guest;
}

async function losesPower(stage: Stage, target: SimNode): Promise<void> {
  target.losePower();
  await stage.until('it is down', () => isCalledDown(stage, target), { seconds: 30 });
}

/** Brought in sync, and dark in the middle of it. */
async function copiesAndLosesPower(stage: Stage, target: SimNode): Promise<void> {
  const wanted = MIB + stage.random.unit() * (MOST_COPIED_BYTES - MIB);
  await target.start();
  const isMidway = () => target.running().handle.status().catchUp.bytesCopied >= wanted;
  if (!(await stage.world.runUntil(isMidway, LIMIT_MS))) throw new RunFailure('it copies nothing');
  await losesPower(stage, target);
}

export const wholeObjectsCopied = scenario(
  'whole-objects-copied',
  { nodes: 3, copies: 3, smokeSeeds: 3 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const target = stage.anyRunning(gateway);
    await losesPower(stage, target);
    target.disk.slowness = SLOWNESS;
    const guests: Guest[] = [];
    for (let rounds = 0; rounds < ROUNDS; rounds += 1) {
      guests.push(await madeFull(stage, `disk-${rounds}`, gateway));
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
    if (target.disk.bulkCount === 0) throw new RunFailure('nothing went past the page cache');
    target.disk.slowness = 1;
    for (const guest of guests) {
      if (guest.errors.length > 0) throw new RunFailure(`the guest saw ${guest.errors[0]}`);
      await stage.check.everyAcknowledgedWriteIsReadable(guest);
    }
    await stage.check.replicasAreIdentical();
  },
);
