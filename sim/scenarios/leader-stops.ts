// Goal: an orderly stop of the leader costs no election time-out: when its process is gone, another one leads already.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

const ROUNDS = 4;
const QUICK_MS = 500;

export const leaderStops = scenario(
  'leader-stops',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    for (let round = 0; round < ROUNDS; round += 1) {
      await stage.until('somebody leads', () => stage.leader !== undefined, { seconds: 10 });
      const old = stage.leader;
      if (old === undefined) throw new RunFailure('nobody leads');
      await old.stop();
      if (stage.leader === undefined) throw new RunFailure('nobody leads after an orderly stop');
      const startedMs = stage.world.nowMs;
      await stage.fillLog(1);
      const tookMs = stage.world.nowMs - startedMs;
      if (tookMs > QUICK_MS) throw new RunFailure(`the first entry took ${tookMs} ms`);
      await old.start();
      await stage.check.converges({ seconds: 60 });
    }
  },
);
