// Goal: damage of copies is never seen by a guest and does not last. Under load, round by round, one node's copies rot:
// bits of data or sums turn, sectors become unreadable, object files vanish. The guest sees no error; a scrub finds what
// nobody read; every copy is whole in the end. Then a sector rots on all copies: its read fails, nothing else does, the
// nodes say so, and an overwrite heals it. The seed picks victims, places and kinds.

import { OBJECT_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import type { Guest } from '../guest.ts';
import { scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { harm, scrubbed } from './disk-faults.ts';

const ROUNDS = 3;
const HARMS_PER_ROUND = 6;
const DATA_OFFSET = 4 * SECTOR_BYTES;
/** Written before anything rots: two objects. */
const WORKING_SET = 1100;
const OBJECT_SECTORS = OBJECT_BYTES / SECTOR_BYTES;
/** Busy, so that repairs meet copies that are ahead and behind. */
const WORKLOAD = { workingSet: WORKING_SET, thinkMs: 10 };

export const bitRot = scenario('bit-rot', { nodes: 3, copies: 3, smokeSeeds: 5 }, async (stage) => {
  const { random } = stage;
  await stage.form();
  let gateway = stage.anyRunning();
  const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
  await guest.fill(WORKING_SET);
  guest.writeForever(WORKLOAD);
  await stage.run({ seconds: 1 });
  for (let round = 0; round < ROUNDS; round += 1) {
    const victim = stage.anyRunning();
    for (let i = 0; i < HARMS_PER_ROUND; i += 1) {
      harm(stage, victim);
      await stage.run({ seconds: random.exponential(0.2) });
    }
    // Some nodes die with their rot. The guest is silent meanwhile, for what it writes would be copied to the node anew;
    // then the node's copies are read and written before anything else looks at them.
    if (victim !== gateway && random.chance(0.6)) {
      await guest.stop();
      victim.kill();
      await stage.run({ seconds: random.unit() });
      await victim.start();
      await stage.check.converges({ seconds: 120 });
      await guest.detach();
      guest.attach(victim);
      guest.writeForever(WORKLOAD);
      gateway = victim;
      await stage.run({ seconds: 1 });
    }
    await scrubbed(stage, 'deep');
  }
  await guest.stop();
  if (guest.errors.length > 0) throw new RunFailure(`guest saw errors: ${guest.errors.join(', ')}`);
  await stage.run({ seconds: 1 });
  await scrubbed(stage, 'light');
  await scrubbed(stage, 'deep');
  await rotOnAllCopies(stage, guest);
  await stage.check.everyAcknowledgedWriteIsReadable(guest);
  await stage.check.noCopyIsSuspect();
  await stage.check.replicasAreIdentical();
});

/** One sector of all copies: an error for it alone, told by every node, healed by an overwrite. */
async function rotOnAllCopies(stage: Stage, guest: Guest): Promise<void> {
  const block = stage.random.between(1, OBJECT_SECTORS - 2);
  const [path] = stage.running[0]?.disk.filePaths('objects').filter(isFirstObject) ?? [];
  if (path === undefined) throw new RunFailure('the first object has no file');
  // Not trimmed, and not in memory only: the bytes that rot are those of the file.
  await guest.write(block);
  await stage.run({ seconds: 1 });
  for (const node of stage.running) node.disk.rot(path, DATA_OFFSET + block * SECTOR_BYTES + 7);
  const code = await guest.tryRead(block, 1);
  if (code !== 'corrupt') throw new RunFailure(`a read of what all copies lost: ${code ?? 'ok'}`);
  for (const near of [block - 1, block + 1]) await guest.read(near);
  await stage.until('all nodes tell of the lost sector', () => whoIsSilent(stage, block), {
    seconds: 60,
  });
  await guest.write(block);
  await stage.check.noCopyIsSuspect();
  guest.errors.length = 0;
}

function isFirstObject(path: string): boolean {
  return path.endsWith('00000000');
}

function whoIsSilent(stage: Stage, sector: number): string | true {
  for (const node of stage.running) {
    const { condition } = node.running().handle.inspect();
    const isTold = condition?.damaged.some(({ lost }) => lost.includes(sector)) === true;
    if (!isTold) return `${node.name} is silent`;
  }
  return true;
}
