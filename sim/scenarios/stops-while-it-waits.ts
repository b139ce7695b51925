// Goal: a node is stopped in order while a client of it waits for a volume that another node holds. It takes as long as
// its sessions may take to drain, and in that time the news comes that they waited for: the holder's guest falls silent
// and the volume is offered, or the holder dies, which may have led the others; links come and go. A node that stops
// takes nothing any more: the guest of the holder goes on, or the next one has the volume, and the clean stop is one.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';
import { untilHeld } from './lock-beside.ts';

const BLOCKS = 16;
/** Two pings are lost, and nobody is called down; four in a row end the accusation, while the node stops. */
const MUTED_S = 2.5;
const BACK_S = 2.2;
/** After the stop has begun. */
const NEWS_MS = 300;
const FLUSH_LATER_MS = 300;
/** Until the drained holder has given its successor up. */
const GOES_ON_S = 30;

export const stopsWhileItWaits = scenario(
  'stops-while-it-waits',
  { nodes: 5, copies: 3, smokeSeeds: 4 },
  async (stage) => {
    await stage.form();
    const { world, random, cable } = stage;
    const isOffered = world.seed % 2 === 1;
    const { leader } = stage;
    const isLeader = world.seed % 4 === 2;
    const gateway = isLeader && leader !== undefined ? leader : stage.anyRunning(leader);
    const others = stage.nodes.filter((one) => one !== gateway && one !== leader);
    const victim = random.pick(others);
    const muted = random.pick(others.filter((one) => one !== victim));
    const other = random.pick(others.filter((one) => one !== victim && one !== muted));
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    await guest.fill(BLOCKS);
    await untilHeld(stage, 'disk', gateway);
    guest.writeForever({ workingSet: BLOCKS });
    cable.paths.cut(muted.name, victim.name, ['data']);
    await stage.run({ seconds: MUTED_S });
    const waits = stage.guestOf(guest.volume);
    waits.attach(victim);
    waits.startWrite(0);
    cable.paths.healAll();
    await stage.run({ seconds: BACK_S });

    const news = (ms: number, fn: () => void) => world.schedule(ms, undefined, fn);
    if (isOffered) {
      news(NEWS_MS, () => guest.freeze());
      news(NEWS_MS + FLUSH_LATER_MS, () => guest.startFlush());
    } else news(NEWS_MS, () => gateway.kill());
    news(NEWS_MS, () => cable.paths.cut(other.name, victim.name, ['data']));
    await victim.stop();
    cable.paths.healAll();
    if (waits.writesInFlight > 0) throw new RunFailure('what waited was left without an answer');
    await stage.run({ seconds: random.exponential(1) });
    if (isOffered) {
      const code = await guest.tryWrite(0);
      if (code !== undefined) throw new RunFailure(`H4: the guest was given ${code}`);
      await guest.stop();
      if (guest.errors.length > 0) throw new RunFailure(`the guest saw ${guest.errors[0]}`);
      await guest.detach();
    }
    const next = stage.guestOf(guest.volume);
    next.attach(other);
    await stage.check.lockIsReachable(next, { seconds: GOES_ON_S });
    for (const node of stage.nodes) if (!node.isRunning) await node.start();
    await stage.check.converges({ seconds: 120 });
    await stage.check.everyAcknowledgedWriteIsReadable(next);
    await stage.check.replicasAreIdentical();
  },
);
