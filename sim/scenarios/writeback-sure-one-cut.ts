// Goal: doubtful members do not count as live (R8). Two hosts lose power right after writes that nobody flushed, and a
// third is cut off in the same instant: where the three hold a block, what was acknowledged is in the memory of the third
// alone. The two are back at once, the third is called down, and stays in sync until it is back: the guest waits, and
// misses nothing. Its fourth host, the gateway, goes on all the time.

import { scenario } from '../scenario.ts';
import { isCalledDown } from '../stage.ts';
import { RunFailure } from '../world.ts';

const BLOCKS_PER_OBJECT = 1024;
const OBJECTS = 16;

export const writebackSureOneCut = scenario(
  'writeback-sure-one-cut',
  { nodes: 4, copies: 3, smokeSeeds: 3 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({
      name: 'disk',
      sizeMiB: OBJECTS * 4,
      at: gateway,
      mode: 'writeback',
    });
    guest.writeForever({ depth: 8, workingSet: OBJECTS * BLOCKS_PER_OBJECT, maxBlocks: 1 });
    await stage.run({ seconds: stage.random.unit() });
    await guest.stop();
    for (let i = 0; i < OBJECTS; i += 1) await guest.write(i * BLOCKS_PER_OBJECT);

    const sure = stage.anyRunning(gateway);
    stage.partition([sure]);
    const forgetful = stage.nodes.filter((node) => node !== gateway && node !== sure);
    for (const node of forgetful) node.losePower();
    for (const node of forgetful) await node.start();
    await stage.until('the one that knows is called down', () => isCalledDown(stage, sure), {
      seconds: 40,
    });
    await stage.run({ seconds: stage.random.unit() * 10 });
    stage.heal();
    await stage.check.converges({ seconds: 120 });

    for (let i = 0; i < OBJECTS; i += 1) await guest.write(i * BLOCKS_PER_OBJECT + 1);
    await guest.flush();
    if (guest.errors.length > 0) throw new RunFailure(`the guest saw ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
