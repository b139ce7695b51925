// Goal: a flush beside a change of the in-sync set (R5). While a guest writes and flushes, a member dies and is shrunk
// away, comes back and joins; at a drawn moment all hosts lose power. What the last acknowledged flush covers is there.

import { scenario } from '../scenario.ts';

export const writebackFlushBeside = scenario(
  'writeback-flush-beside',
  { nodes: 4, copies: 3, smokeSeeds: 6 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const first = await stage.createVolume({
      name: 'disk',
      sizeMiB: 64,
      at: gateway,
      mode: 'writeback',
    });
    first.writeForever({ depth: 8, workingSet: 16384, maxBlocks: 2 });
    const victim = stage.anyRunning(gateway);
    victim.losePower();
    await stage.run({ seconds: 1 + stage.random.unit() * 5 });
    await victim.start();
    await stage.run({ seconds: stage.random.unit() * 2 });
    await stage.inMidWrite(first);
    first.freeze();
    for (const node of stage.nodes) if (node.isRunning) node.losePower();
    stage.cachesAreLost();
    for (const node of stage.nodes) await node.start();
    await stage.check.converges({ seconds: 120 });
    const guest = stage.guestOf(first.volume);
    guest.attach(stage.anyRunning());
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
