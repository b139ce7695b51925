// Goal: a doubtful member answers no reads (R7, R8). A host loses its page cache right after writes that nobody flushed and
// is back at once, still in sync and cut off from the others that hold the blocks: it can not settle. The guest, on a host
// that holds none of some blocks, reads them all meanwhile, again and again: it gets what it wrote, or waits.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

const BLOCKS_PER_OBJECT = 1024;
const OBJECTS = 16;
const ROUNDS = 4;

export const writebackDoubtfulReads = scenario(
  'writeback-doubtful-reads',
  { nodes: 4, copies: 3, smokeSeeds: 4 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({
      name: 'disk',
      sizeMiB: OBJECTS * 4,
      at: gateway,
      mode: 'writeback',
    });
    for (let i = 0; i < OBJECTS; i += 1) await guest.write(i * BLOCKS_PER_OBJECT);
    await guest.flush();
    await stage.run({ seconds: stage.random.unit() });
    for (let i = 0; i < OBJECTS; i += 1) await guest.write(i * BLOCKS_PER_OBJECT);

    const victim = stage.anyRunning(gateway);
    victim.losePower();
    for (const other of stage.nodes) {
      if (other === victim || other === gateway) continue;
      stage.cable.paths.cut(victim.name, other.name, ['data']);
      stage.cable.paths.cut(other.name, victim.name, ['data']);
    }
    await victim.start();
    for (let round = 0; round < ROUNDS; round += 1) {
      for (let i = 0; i < OBJECTS; i += 1) guest.startRead(i * BLOCKS_PER_OBJECT);
      await stage.run({ seconds: 0.3 + stage.random.unit() });
    }
    stage.heal();
    await stage.until('every read is answered', () => guest.inFlight === 0, { seconds: 60 });
    if (guest.errors.length > 0) throw new RunFailure(`the guest saw ${guest.errors.join(', ')}`);
    await stage.check.converges({ seconds: 120 });
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
