// Goal: a link between two nodes that carries no blocks for two seconds and a half is nobody's death. Each of the two
// accuses the other; one observer's word is below the high mark, and is taken back before it counts (C1.5).

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

const CUT_S = 2.4;
const LOOK_S = 15;

export const shortCutLink = scenario(
  'short-cut-link',
  { nodes: 4, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    await stage.run({ seconds: 2 });
    const { epoch } = stage;
    const one = stage.anyRunning();
    const other = stage.anyRunning(one);
    stage.cable.paths.cut(one.name, other.name, ['data']);
    await stage.run({ seconds: CUT_S });
    stage.heal();
    await stage.run({ seconds: LOOK_S });
    if (stage.epoch !== epoch)
      throw new RunFailure(`C-detect: epoch ${stage.epoch} for a short cut`);
    await stage.check.converges({ seconds: 10 });
  },
);
