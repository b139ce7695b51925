// Goal: the data directory of a member is copied to another host, and both run. At most one of the two goes on, whether the
// copy was made of a running node, of a stopped one, or both were started at once; members tell of it; no guest sees an
// error and nothing acknowledged is lost. In the end one process of that identity is an ordinary member.

import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

/** Longer than a node takes to start, to ask and to be called up. */
const SETTLE_S = 30;

const WAYS = ['of a running node', 'of a stopped node', 'both at once'] as const;

async function makeCopy(stage: Stage, victim: SimNode): Promise<SimNode> {
  const way = stage.random.pick(WAYS);
  if (way === 'of a running node') {
    const copy = stage.addCopyOf(victim);
    await stage.run({ seconds: stage.random.unit() * 3 });
    await copy.start();
    return copy;
  }
  if (stage.random.chance(0.5)) victim.kill();
  else await victim.stop();
  const copy = stage.addCopyOf(victim);
  await victim.start();
  if (way === 'of a stopped node') {
    await stage.until('it is up', () => stage.memberOf(victim)?.state === 'up', { seconds: 60 });
  }
  await copy.start();
  return copy;
}

function isTold(stage: Stage): boolean {
  return stage.running.some((node) => {
    const { condition } = node.running().handle.inspect();
    return condition?.mixUps.some(({ kind }) => kind === 'identity-twice') === true;
  });
}

export const identityTwice = scenario(
  'identity-twice',
  { nodes: 4, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 32, at: gateway });
    guest.writeForever({ thinkMs: 20 });
    const victim = stage.anyRunning(gateway);
    await stage.run({ seconds: 1 + stage.random.unit() * 2 });
    victim.mayFail = true;
    const wasUp = stage.memberOf(victim)?.incarnation ?? 0;
    const copy = await makeCopy(stage, victim);
    copy.mayFail = true;
    await stage.run({ seconds: SETTLE_S });

    const alive = [victim, copy].filter((node) => node.isRunning);
    if (alive.length > 1) throw new RunFailure('both run');
    if (!isTold(stage)) throw new RunFailure('nobody tells of it');
    const isNext = (stage.memberOf(victim)?.incarnation ?? 0) >= wasUp;
    if (!isNext) throw new RunFailure('its life went back');
    if (alive.length === 0) await victim.start();
    await stage.check.converges({ seconds: 180 });
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`guest saw: ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
