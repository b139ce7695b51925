// Goal: the memory of all replicas is lost while the gateway lives (R8). Two copies on three hosts: of the partitions that
// the gateway does not hold, both members lose power at once, right after writes that nobody flushed. Either the session
// goes on, and then nothing that it acknowledged is missing; or it is over, with its own error, and the next one finds
// all that was flushed and goes on.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

const BLOCKS_PER_OBJECT = 1024;
const OBJECTS = 16;

export const cacheLost = scenario(
  'cache-lost',
  { nodes: 3, copies: 2, smokeSeeds: 6 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const sizeMiB = OBJECTS * 4;
    const guest = await stage.createVolume({
      name: 'disk',
      sizeMiB,
      at: gateway,
      mode: 'writeback',
    });
    guest.writeForever({ depth: 8, workingSet: OBJECTS * BLOCKS_PER_OBJECT, maxBlocks: 1 });
    await stage.run({ seconds: stage.random.unit() });
    await guest.stop();
    for (let i = 0; i < OBJECTS; i += 1) await guest.write(i * BLOCKS_PER_OBJECT);
    for (const node of stage.nodes) if (node !== gateway) node.losePower();
    for (const node of stage.nodes) if (node !== gateway) await node.start();
    await stage.check.converges({ seconds: 120 });

    const code = await guest.tryWrite(0);
    if (code !== undefined && code !== 'cache-lost') throw new RunFailure(`answered ${code}`);
    let last = guest;
    if (code === 'cache-lost') {
      stage.cachesAreLost();
      last = stage.guestOf(guest.volume);
      last.attach(gateway);
    }
    await stage.check.everyAcknowledgedWriteIsReadable(last);
    await last.write(0);
    await last.flush();
    await stage.check.replicasAreIdentical();
  },
);
