// Goal: a vote is given once per term, whatever its giver forgets (A1, C2.1). The leader is gone; a voter whose disk is
// slow gives its vote, and loses power the moment its candidate leads, while that one is cut off. What comes back elects
// a leader of its own: of a later term.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

/** A sync takes about 50 ms. */
const SLOWNESS = 100;
const ROUNDS = 3;

export const halfAVote = scenario(
  'half-a-vote',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    for (let round = 0; round < ROUNDS; round += 1) {
      await stage.until('somebody leads', () => stage.leader !== undefined, { seconds: 30 });
      const old = stage.leader;
      if (old === undefined) throw new RunFailure('nobody leads');
      for (const node of stage.nodes) node.disk.slowness = stage.random.chance(0.5) ? SLOWNESS : 1;
      old.kill();
      const hasLeader = (): boolean => stage.leader !== undefined;
      if (!(await stage.world.runUntil(hasLeader, 30_000))) throw new RunFailure('nobody leads');
      const next = stage.leader;
      const voter = stage.running.find((node) => node !== next);
      if (next === undefined || voter === undefined) throw new RunFailure('two are left');
      stage.partition([next]);
      voter.losePower();
      for (const node of stage.nodes) node.disk.slowness = 1;
      await voter.start();
      await old.start();
      const isOther = (): boolean => stage.leader !== undefined && stage.leader !== next;
      await stage.world.runUntil(isOther, 10_000);
      stage.heal();
      await stage.check.converges({ seconds: 120 });
    }
  },
);
