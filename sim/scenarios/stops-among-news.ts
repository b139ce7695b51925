// Goal: an orderly stop that takes long, because the disk is slow, is not disturbed by what comes meanwhile: a link is
// back, a neighbour dies, a guest asks for a lock, an operator for a scrub, the map goes on. The node ends when it has
// closed its store, starts again from a clean one, and nothing is lost.

import { OperatingError } from '../../src/core/errors.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { connect, untilKnown } from './lock-beside.ts';

/** A sync takes some hundred milliseconds. */
const SLOWNESS = 400;
const LOST_S = 8;
const MAX_LATE_MS = 3000;

/** All of it comes while the node stops, if it does not stop before. */
function newsFor(stage: Stage, victim: SimNode, all: readonly (() => void)[]): void {
  const { process } = victim.running();
  for (const one of all) {
    const lateMs = stage.random.unit() * MAX_LATE_MS;
    stage.world.schedule(lateMs, undefined, () => {
      if (victim.isRunning && victim.running().process === process) one();
    });
  }
}

function attempt(fn: () => void): void {
  try {
    fn();
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
  }
}

export const stopsAmongNews = scenario(
  'stops-among-news',
  { nodes: 5, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const { world, random, cable } = stage;
    const gateway = stage.anyRunning(stage.leader);
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever();
    await untilKnown(stage, 'disk');
    const victim = random.pick(
      stage.nodes.filter((one) => one !== gateway && one !== stage.leader),
    );
    const others = stage.nodes.filter((one) => one !== gateway && one !== victim);
    const [muted, dies] = others;
    if (muted === undefined || dies === undefined) return;
    cable.paths.cut(muted.name, victim.name, ['data']);
    await stage.run({ seconds: LOST_S });
    const visitor = connect(stage, victim, 'disk');
    const { process, handle } = victim.running();
    victim.disk.slowness = SLOWNESS;
    // Whatever is asked of a node that stops may be refused.
    const inVictim = (fn: () => void) => () => world.enter(process, () => attempt(fn));
    newsFor(stage, victim, [
      () => cable.paths.healAll(),
      () => dies.isRunning && dies.kill(),
      inVictim(() => visitor.write(0, new Uint8Array(4096), () => {})),
      inVictim(() => handle.scrub({ action: 'start', kind: 'light' })),
    ]);
    await victim.stop();
    cable.paths.healAll();
    victim.disk.slowness = 1;
    await stage.run({ seconds: random.exponential(1) });
    await victim.start();
    if (!dies.isRunning) await dies.start();
    await stage.check.converges({ seconds: 120 });
    await guest.stop();
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
