// Goal: a volume is deleted under clients that are beside it: one that reads along while another holds it, one whose holder
// left before it asked for anything more, one that asks the moment it is gone. Each is told that it is gone, no lock of it
// is held or waited for, and a volume of the same name that is made at once is another one: empty, and to be had.

import { scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { connect, readFrom, untilHeld, untilKnown, writeTo } from './lock-beside.ts';

const ROUNDS = 4;

async function deletes(stage: Stage, name: string): Promise<void> {
  await stage.ask(stage.anyRunning(), 'delete', (handle) => handle.deleteVolume(name));
  const isGone = (): boolean =>
    stage.running.every((node) => node.running().handle.view()?.volumeByName(name) === undefined);
  await stage.until(`${name} is gone everywhere`, isGone, { seconds: 30 });
}

export const deletedBeside = scenario(
  'deleted-beside',
  { nodes: 4, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    for (let round = 0; round < ROUNDS; round += 1) {
      const gateway = stage.anyRunning();
      const beside = stage.anyRunning(gateway);
      const name = `disk-${round % 2}`;
      const guest = await stage.createVolume({ name, sizeMiB: 16, at: gateway });
      await guest.write(round);
      await untilKnown(stage, name);
      await untilHeld(stage, name, gateway);
      const second = connect(stage, beside, name);
      const read = await readFrom(stage, beside, second, round);
      if (read instanceof Error) throw new RunFailure(`it could not read along: ${read.message}`);
      await guest.detach();
      if (stage.random.chance(0.5)) await stage.run({ seconds: stage.random.exponential(0.2) });
      await deletes(stage, name);
      const answer = await writeTo(stage, beside, second, round);
      if (answer === undefined)
        throw new RunFailure('a write to a deleted volume was acknowledged');
      stage.world.enter(beside.running().process, () => void second.disconnect());
    }
    const last = await stage.createVolume({ name: 'disk-0', sizeMiB: 16, at: stage.anyRunning() });
    await last.fill(16);
    await stage.check.everyAcknowledgedWriteIsReadable(last);
    await stage.check.converges({ seconds: 60 });
    await stage.check.replicasAreIdentical();
  },
);
