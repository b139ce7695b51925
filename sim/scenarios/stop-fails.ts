// Goal: a disk that takes no write any more in the last moments of an orderly stop. The node says what went wrong and
// ends as by a crash: its next start must not pass for one after a clean stop. Nothing is lost, in mode durable and in
// writeback.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

/** A stop takes longer than this, and the disk fails within it. */
const MAX_LATE_MS = 20;
const SLOWNESS = 100;
const ENDS_S = 30;

export const stopFails = scenario(
  'stop-fails',
  { nodes: 4, copies: 3, smokeSeeds: 4 },
  async (stage) => {
    await stage.form();
    const { world, random } = stage;
    const mode = random.chance(0.5) ? 'writeback' : 'durable';
    const gateway = stage.anyRunning(stage.leader);
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway, mode });
    guest.writeForever();
    await stage.run({ seconds: 1 + random.unit() });
    const victim = stage.anyRunning(gateway);
    const { process, handle } = victim.running();
    victim.mayFail = true;
    victim.disk.slowness = SLOWNESS;
    let isRefused: boolean | undefined;
    world.enter(process, () => {
      handle.stop().then(
        () => {
          isRefused = false;
        },
        () => {
          isRefused = true;
        },
      );
    });
    await stage.run({ seconds: (random.unit() * MAX_LATE_MS) / 1000 });
    victim.disk.failsWrites = true;
    await stage.until('it ends', () => !victim.isRunning || isRefused !== undefined, {
      seconds: ENDS_S,
    });
    if (isRefused === false) throw new RunFailure('it called this a clean stop');
    await stage.until('it is gone', () => !victim.isRunning, { seconds: ENDS_S });
    victim.disk.failsWrites = false;
    victim.disk.slowness = 1;
    victim.mayFail = false;
    await victim.start();
    await stage.check.converges({ seconds: 120 });
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`the guest saw ${guest.errors[0]}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
