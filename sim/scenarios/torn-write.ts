// Goal: no block is ever half of one write and half of another. Guests write large pieces over each other, past the
// journal, and one host after the other loses power in the middle of them: sectors of what was under way are kept, lost
// and mixed by a draw. Each comes back at once and repairs itself; in the last round all go dark together.

import { scenario } from '../scenario.ts';

const ROUNDS = 4;
/** 128 KiB over each other, in a quarter of an object. */
const WORK = { depth: 8, maxBlocks: 32, workingSet: 256, thinkMs: 4 };

export const tornWrite = scenario(
  'torn-write',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    const { random } = stage;
    await stage.form();
    const gateway = stage.anyRunning();
    const first = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    first.writeForever(WORK);
    for (let round = 0; round < ROUNDS; round += 1) {
      await stage.run({ seconds: 0.2 + random.unit() });
      await stage.inMidWrite(first);
      const victim = stage.anyRunning(gateway);
      victim.losePower();
      await stage.run({ seconds: random.exponential(1) });
      await victim.start();
      await stage.check.converges({ seconds: 120 });
    }
    await stage.inMidWrite(first);
    first.freeze();
    for (const node of stage.nodes) node.losePower();
    for (const node of stage.nodes) await node.start();
    await stage.check.converges({ seconds: 120 });
    const last = stage.guestOf(first.volume);
    last.attach(stage.anyRunning());
    await stage.check.everyAcknowledgedWriteIsReadable(last);
    await stage.check.replicasAreIdentical();
  },
);
