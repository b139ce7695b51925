// Goal (story 20): the disk of the leader becomes so slow that a sync takes about a second. It gives the lead to a voter
// with a better disk (C2.7), without an election time-out, and what the cluster decides is quick again.

import { ELECTION_MIN_MS } from '../../src/core/raft/state.ts';
import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

/** A sync takes about half a millisecond on a disk that is well. */
const SLOWNESS = 3000;
/** Apart, so that they do not share a sync; hand-over needs a majority of ten slow ones. */
const ENTRIES = 60;
const APART_SECONDS = 0.5;
const QUICK_MS = 1000;

export const slowLeader = scenario(
  'slow-leader',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    const { world } = stage;
    await stage.form();
    const slow = stage.leader;
    if (slow === undefined) throw new RunFailure('nobody leads');
    slow.disk.slowness = SLOWNESS;
    const others = stage.running.filter((node) => node !== slow);
    const isOver = (): boolean => stage.leader !== undefined && stage.leader !== slow;
    for (let at = 0; at < ENTRIES && !isOver(); at += 1) {
      await stage.operate(stage.random.pick(others), 'set', (admin) =>
        admin.set('out-after', `${700 + at}s`),
      );
      await stage.run({ seconds: APART_SECONDS });
    }
    await stage.until('another one leads', isOver, { seconds: 30 });
    const handOver = world.records.findLast(({ name }) => name === 'warn raft.slow-log');
    if (handOver === undefined) throw new RunFailure('the lead was lost, not given');
    const withoutMs = world.nowMs - handOver.atMs;
    if (withoutMs > ELECTION_MIN_MS) throw new RunFailure(`${withoutMs} ms without a leader`);
    const startedMs = world.nowMs;
    await stage.operate(stage.random.pick(others), 'set', (admin) =>
      admin.set('out-after', '900s'),
    );
    const tookMs = world.nowMs - startedMs;
    if (tookMs > QUICK_MS) throw new RunFailure(`an entry took ${tookMs} ms after the hand-over`);
    slow.disk.slowness = 1;
    await stage.check.converges({ seconds: 120 });
  },
);
