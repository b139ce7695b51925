// Goal: a node that died and came back is not called down again for what its former life missed (C1.6): words and verdicts
// name lives. One epoch for its death at most, one for its return.

import { scenario } from '../scenario.ts';
import { isCalledDown } from '../stage.ts';
import { RunFailure } from '../world.ts';

const LOOK_S = 15;

export const backForGood = scenario(
  'back-for-good',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const { epoch } = stage;
    const victim = stage.anyRunning();
    victim.kill();
    // At once, or when the map knows: both must end well.
    if (stage.random.chance(0.8)) {
      await stage.until('it is down', () => isCalledDown(stage, victim), { seconds: 30 });
    }
    await victim.start();
    await stage.check.converges({ seconds: 60 });
    await stage.run({ seconds: LOOK_S });
    await stage.check.converges({ seconds: 1 });
    if (stage.epoch - epoch > 2)
      throw new RunFailure(`${stage.epoch - epoch} epochs for one death`);
  },
);
