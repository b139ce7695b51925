// Goal: fencing by the log, not by time (C4.2, A11). The holder's whole process stands still with writes under way, so long
// that the others call it down; in half of the runs somebody takes its volume over meanwhile. Then it wakes up with all its
// timers late at once. Overtaken, it gets nothing acknowledged any more (C-writer); not overtaken, the same process goes on
// with its lock and its guest has seen a pause, but no error.

import { scenario } from '../scenario.ts';
import { isCalledDown } from '../stage.ts';
import { RunFailure } from '../world.ts';

const WORK = { workingSet: 64, depth: 8 };

export const pauseOfTheHolder = scenario(
  'pause-of-the-holder',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    const { random } = stage;
    await stage.form();
    const holder = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: holder });
    guest.writeForever(WORK);
    await stage.run({ seconds: 1 + random.unit() });
    await stage.inMidWrite(guest);
    holder.running().process.pause(30_000 + random.unit() * 60_000);
    await stage.until('the holder is called down', () => isCalledDown(stage, holder), {
      seconds: 29,
    });

    const isOvertaken = random.chance(0.5);
    const other = stage.guestOf(guest.volume);
    if (isOvertaken) {
      await stage.run({ seconds: random.unit() * 3 });
      other.attach(stage.anyRunning(holder));
      await stage.check.lockIsReachable(other, { seconds: 30 });
      other.writeForever(WORK);
    }
    const { process } = holder.running();
    await stage.world.runUntil(() => process.pausedUntilMs <= stage.world.nowMs, 120_000);
    await stage.check.converges({ seconds: 120 });
    await stage.run({ seconds: 3 });
    const last = isOvertaken ? other : guest;
    if (isOvertaken) guest.freeze();
    else if (guest.errors.length > 0) throw new RunFailure(`the guest saw ${guest.errors[0]}`);
    await last.stop();
    await stage.check.everyAcknowledgedWriteIsReadable(last);
    await stage.check.replicasAreIdentical();
  },
);
