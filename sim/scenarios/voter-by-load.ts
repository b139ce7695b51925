// Goal (1.3): of several members that could vote the one that is less loaded is chosen, by what members say of themselves
// (topic `stats`). The one with the lower id pauses again and again, not so long that it would be called down.

import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

/** Answers are late, and still within the deadline of a ping. */
const PAUSE_MS = 350;
const ROUNDS = 40;
/** Never in step with the pings. */
const MIN_ROUND_S = 0.4;
const MAX_ROUND_S = 1.1;
const PATIENCE_S = 8;

async function whileBusy(stage: Stage, busy: SimNode, isDone: () => boolean): Promise<void> {
  for (let round = 0; round < 2 * ROUNDS && !isDone(); round += 1) {
    busy.running().process.pause(PAUSE_MS);
    const seconds = MIN_ROUND_S + stage.random.unit() * (MAX_ROUND_S - MIN_ROUND_S);
    await stage.run({ seconds });
  }
}

export const voterByLoad = scenario(
  'voter-by-load',
  { nodes: 7, copies: 3, smokeSeeds: 4 },
  async (stage) => {
    await stage.form();
    const votersNow = () => stage.running[0]?.running().handle.view()?.voters ?? [];
    const isVoter = (node: SimNode): boolean => votersNow().includes(stage.numberOf(node));
    const [busy, idle] = stage.nodes.filter((node) => !isVoter(node));
    if (busy === undefined || idle === undefined) throw new RunFailure('all vote');
    const any = stage.anyRunning();
    const patience = `${PATIENCE_S}s`;
    await stage.operate(any, 'set', (admin) => admin.set('replace-voter-after', patience));
    let rounds = 0;
    await whileBusy(stage, busy, () => {
      rounds += 1;
      return rounds > ROUNDS;
    });
    const victim = stage.random.pick(stage.nodes.filter(isVoter));
    const old = stage.numberOf(victim);
    victim.losePower();
    await whileBusy(stage, busy, () => !votersNow().includes(old));
    if (votersNow().includes(old)) throw new RunFailure('the dead voter was not replaced');
    if (isVoter(busy)) throw new RunFailure('the busy one was chosen');
    if (!isVoter(idle)) throw new RunFailure('nobody was chosen');
    await victim.start();
    await stage.check.converges({ seconds: 120 });
  },
);
