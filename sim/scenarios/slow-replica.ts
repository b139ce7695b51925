// Goal (C1.7): the disk of a replica becomes slow, not dead: it answers pings and confirms every write, late. Its writers
// say so, and it leaves the in-sync sets that keep minCopies without it; guests write as before, nobody is called down.
// When the disk is well again it comes back by itself.

import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

/** A sync takes about this many times longer: a few tenths of a second. */
const SLOWNESS = 400;
const OUT_S = 60;
/** Well below a hold of the leader. */
const STAYS_S = 15;
/** A hold of the leader, its doubling, and the catch-up. */
const BACK_S = 400;

/** Partitions that count on this node, by the newest view. */
function holdings(stage: Stage, node: SimNode): number {
  const views = stage.running.map((each) => each.running().handle.view());
  const [view] = views.filter((one) => one !== undefined).sort((a, b) => b.index - a.index);
  if (view === undefined) return 0;
  const self = stage.numberOf(node);
  let count = 0;
  for (const policy of view.policies.keys()) {
    for (let p = 0; p < view.partitions; p += 1) {
      if (view.partition(policy, p).inSync.includes(self)) count += 1;
    }
  }
  return count;
}

export const slowReplica = scenario(
  'slow-replica',
  { nodes: 4, copies: 3, smokeSeeds: 3 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 64, at: gateway });
    guest.writeForever({ thinkMs: 10, workingSet: 16384 });
    await stage.run({ seconds: 3 });
    const victim = stage.anyRunning(gateway);
    const { epoch } = stage;
    const before = guest.volume.history.acknowledgedWrites;
    victim.disk.slowness = SLOWNESS;
    const isOut = (): boolean | string => holdings(stage, victim) === 0 || 'it holds copies still';
    await stage.until('the slow one leaves', isOut, { seconds: OUT_S });
    for (let second = 0; second < STAYS_S; second += 1) {
      await stage.run({ seconds: 1 });
      if (holdings(stage, victim) > 0) throw new RunFailure('it came back as slow as it left');
    }
    if (stage.epoch !== epoch) throw new RunFailure('a slow disk is no death');
    const out = guest.volume.history.acknowledgedWrites;
    if (out === before) throw new RunFailure('guests stood still');

    victim.disk.slowness = 1;
    const isBack = (): boolean | string => holdings(stage, victim) > 0 || 'it holds nothing';
    await stage.until('it is back', isBack, { seconds: BACK_S });
    await stage.check.converges({ seconds: 120 });
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`guest saw: ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
