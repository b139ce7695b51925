// Goal: an operator takes a volume from its holder (lockBreak): a holder that is busy, or one whose process stands
// still with writes under way and that nobody has called down yet. Another guest takes over at once. The old one gets
// errors, and none of its late writes lands (C-writer, C-lin), however long it stood still. A new connection of it
// waits its turn as anybody.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';
import { lockAt } from './lock-beside.ts';

const WORK = { workingSet: 64, depth: 8 };
/** From the entry on: no election is owed, and nobody has called the old holder down yet. */
const LOCK_LIMIT_SECONDS = 1;
/** Until the node that stands still is called down. */
const WRITE_LIMIT_SECONDS = 10;

export const lockUnlock = scenario(
  'lock-unlock',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    const { random } = stage;
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever(WORK);
    await stage.run({ seconds: 1 + random.unit() });
    await stage.inMidWrite(guest);
    const isPaused = random.chance(0.7);
    if (isPaused) gateway.running().process.pause(500 + random.unit() * 20_000);

    const operator = stage.anyRunning(gateway);
    const { token } = lockAt(operator, 'disk');
    const answer = await stage.ask(operator, 'unlock', (handle) =>
      handle.unlockVolume('disk', { by: 'a story', expected: token }),
    );
    if (answer.did !== 'unlocked') throw new RunFailure('it was held, and it was not unlocked');
    const next = stage.guestOf(guest.volume);
    const elsewhere = stage.anyRunning(gateway);
    next.attach(elsewhere);
    next.startWrite(0);
    // Its write may wait for a copy on the node that stands still; the lock does not.
    const isTheirs = () => lockAt(elsewhere, 'disk').node === stage.numberOf(elsewhere);
    await stage.until('C-lock: what was unlocked is to be had at once', isTheirs, {
      seconds: LOCK_LIMIT_SECONDS,
    });
    await stage.check.lockIsReachable(next, { seconds: WRITE_LIMIT_SECONDS });
    next.writeForever(WORK);

    const { process } = gateway.running();
    await stage.world.runUntil(() => process.pausedUntilMs <= stage.world.nowMs, 60_000);
    // What it issues now is refused, as is what was under way.
    for (let block = 0; block < 8; block += 1) guest.startWrite(block);
    await stage.run({ seconds: 3 });
    guest.freeze();
    if (guest.errors.length === 0) throw new RunFailure('C-writer: the old holder saw no error');
    await stage.check.converges({ seconds: 120 });
    await next.stop();
    if (next.errors.length > 0) throw new RunFailure(`the next one saw ${next.errors[0]}`);
    await stage.check.everyAcknowledgedWriteIsReadable(next);
    await stage.check.replicasAreIdentical();
  },
);
