// Goal: one node grows to nine and back to one under load: at each step the voters are as many as the size asks for, the
// copies are where the ring says, and no guest sees an error. Copies are one before the last steps down (1.5): two
// copies that both must take writes leave no room for one node.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

const SIZES_UP = [2, 3, 5, 9];
const SIZES_DOWN = [5, 3, 2, 1];
const VOTERS = new Map([
  [1, 1],
  [2, 2],
  [3, 3],
  [5, 5],
  [9, 5],
]);

export const growAndShrink = scenario(
  'grow-1-to-9-and-back',
  { nodes: 1, copies: 1, smokeSeeds: 3 },
  async (stage) => {
    await stage.form();
    const [first] = stage.nodes;
    if (first === undefined) throw new RunFailure('no node');
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 32, at: first });
    guest.writeForever({ workingSet: 4096 });
    const rest = async (size: number): Promise<void> => {
      await stage.check.converges({ seconds: 120 });
      const view = first.running().handle.view();
      const voters = view?.voters.length;
      if (voters !== VOTERS.get(size)) throw new RunFailure(`${size} members, ${voters} voters`);
    };
    await rest(1);
    let size = 1;
    for (const wanted of SIZES_UP) {
      for (; size < wanted; size += 1) await stage.join(stage.addNode());
      await rest(size);
      await stage.run({ seconds: stage.random.unit() });
      if (size === 3) await stage.operate(first, 'copies', (admin) => admin.alterCopies(3, 2));
    }
    for (const wanted of SIZES_DOWN) {
      if (wanted === 2) await stage.operate(first, 'copies', (admin) => admin.alterCopies(1, 1));
      for (; size > wanted; size -= 1) {
        const leaver = stage.anyRunning(first);
        const node = stage.numberOf(leaver);
        await stage.operate(first, 'drain', (admin) => admin.drain(node));
        const isGone = (): boolean => stage.memberOf(leaver)?.standing === 'gone';
        await stage.until(`${leaver.name} is gone`, isGone, { seconds: 180 });
        leaver.kill();
        await stage.until('down', () => stage.memberOf(leaver)?.state === 'down', { seconds: 30 });
        await stage.operate(first, 'forget', (admin) => admin.forget(node));
      }
      await rest(size);
      await stage.run({ seconds: stage.random.unit() });
    }
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`guest: ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
