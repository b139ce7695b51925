// Goal: show 3 of the locks. A second client is started by mistake beside a guest that sends a request at least every
// 200 ms, in mode `handover`: the second one reads along, what it writes waits and is refused with the holder's name;
// the first goes on and sees nothing of it, however often that happens. When the first is gone in order, the second one
// writes.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';
import { connect, expectHeld, lockAt, readFrom, untilHeld, writeTo } from './lock-beside.ts';

/** Time to think between two requests, at most: below it a guest is busy. */
const BUSY_MS = 60;
const TRIES = 3;

export const lockBusy = scenario(
  'lock-busy',
  { nodes: 3, copies: 3, smokeSeeds: 6 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    await guest.fill(64);
    guest.writeForever({ workingSet: 64, depth: 2, thinkMs: BUSY_MS });
    await untilHeld(stage, 'disk', gateway);

    const elsewhere = stage.anyRunning(gateway);
    const second = connect(stage, elsewhere, 'disk');
    const { token } = lockAt(elsewhere, 'disk');
    for (let tries = 0; tries < TRIES; tries += 1) {
      const bytes = await readFrom(stage, elsewhere, second, tries);
      if (bytes instanceof Error) throw new RunFailure(`it could not read: ${bytes.message}`);
      const refusal = await writeTo(stage, elsewhere, second, tries);
      expectHeld('a write beside a busy guest', refusal, lockAt(elsewhere, 'disk'));
    }
    if (lockAt(elsewhere, 'disk').token !== token) throw new RunFailure('C-lock: the lock moved');
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`the first saw ${guest.errors[0]}`);
    await guest.detach();
    const next = stage.guestOf(guest.volume);
    next.attach(elsewhere);
    await stage.check.lockIsReachable(next, { seconds: 10 });
    await stage.check.everyAcknowledgedWriteIsReadable(next);
    await stage.check.replicasAreIdentical();
  },
);
