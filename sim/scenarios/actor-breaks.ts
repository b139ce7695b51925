// Goal: an actor of a node that throws ends that node, at once and alone: a node that is down is cheaper than one that goes
// on without its ring or its replicator. The others call it down, guests elsewhere go on, and it comes back as after any
// crash. Which actor, when and on which node: by the seed.

import { breakActor } from '../break-actor.ts';
import { scenario } from '../scenario.ts';
import { isCalledDown } from '../stage.ts';
import { RunFailure } from '../world.ts';

const ACTORS = ['membership', 'voter', 'ring', 'replicator', 'recovery', 'scrub'] as const;

export const actorBreaks = scenario(
  'actor-breaks',
  { nodes: 5, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    const { random } = stage;
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever();
    await stage.run({ seconds: 0.5 + random.unit() });
    const victim = stage.anyRunning(gateway);
    const actor = ACTORS[(stage.world.seed - 1) % ACTORS.length] ?? 'ring';
    victim.mayFail = true;
    breakActor(stage.world, victim.running().process, actor);
    // News for all actors.
    await stage.operate(gateway, 'set', (admin) => admin.set('out-after', '900s'));
    const other = stage.anyRunning(victim);
    if (other !== gateway) other.kill();
    await stage.until('the node ends itself', () => !victim.isRunning, { seconds: 60 });
    await stage.until('it is called down', () => isCalledDown(stage, victim), { seconds: 60 });
    victim.mayFail = false;
    await victim.start();
    if (!other.isRunning) await other.start();
    await stage.check.converges({ seconds: 120 });
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`the guest saw ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
