// Goal: gossip suggests, a quorum decides. With gossip delivering nothing at all the cluster forms, a node is lost and
// returns: only latency changes (C8.5).

import { scenario } from '../scenario.ts';
import { oneNodeLost } from './one-node-lost.ts';

export const gossipSilent = scenario(
  'gossip-silent',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage, players) => {
    stage.cable.gossipRate = 0;
    await oneNodeLost.body(stage, players);
  },
);
