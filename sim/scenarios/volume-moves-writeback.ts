// Goal: a volume with a write cache moves to another number of copies under a guest that writes, flushes and forces (S8,
// R5). Right after the move, or in the middle of it, all hosts lose power. What had ended before the last acknowledged flush
// began is there, in whichever copies are the volume then.

import { scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

const BLOCKS = (16 * 2 ** 20) / 4096;

export const volumeMovesWriteback = scenario(
  'volume-moves-writeback',
  { nodes: 4, copies: 3, smokeSeeds: 4 },
  async (stage) => {
    await stage.form();
    const at = stage.anyRunning();
    let guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at, mode: 'writeback' });
    for (const copies of [2, 4]) {
      guest.writeForever({ depth: 8, workingSet: BLOCKS, thinkMs: 4 });
      await stage.run({ seconds: 0.5 + stage.random.unit() });
      const isQuiet = stage.random.chance(0.5);
      if (isQuiet) {
        // Nothing else makes the copy durable then.
        await guest.stop();
        await guest.flush();
      }
      await stage.ask(stage.anyRunning(), 'alter-copy', (handle) => {
        return handle.moveVolume('disk', { copies });
      });
      // In the instant in which the first node knows, or later, or before.
      if (isQuiet) await stage.world.runUntil(() => isMoved(stage, copies, 'somewhere'), 60_000);
      else if (stage.random.chance(0.7)) await moved(stage, copies);
      if (!isQuiet) await stage.run({ seconds: stage.random.unit() * 0.3 });
      guest.freeze();
      for (const node of stage.nodes) node.losePower();
      stage.cachesAreLost();
      await stage.run({ seconds: stage.random.unit() });
      for (const node of stage.nodes) await node.start();
      await stage.check.converges({ seconds: 120 });
      guest = stage.guestOf(guest.volume);
      guest.attach(stage.anyRunning());
      await stage.check.everyAcknowledgedWriteIsReadable(guest);
      await moved(stage, copies);
    }
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);

async function moved(stage: Stage, copies: number): Promise<void> {
  const isThere = (): boolean => isMoved(stage, copies, 'everywhere');
  await stage.until(`it has ${copies} copies`, isThere, { seconds: 120 });
}

function isMoved(stage: Stage, copies: number, where: 'somewhere' | 'everywhere'): boolean {
  const knows = stage.running.map((node) => {
    const view = node.running().handle.view();
    const volume = view?.volumeByName('disk');
    const policy = volume === undefined ? undefined : view?.policies.get(volume.policy);
    return view?.moves.size === 0 && policy?.copies === copies;
  });
  return where === 'everywhere' ? !knows.includes(false) : knows.includes(true);
}
