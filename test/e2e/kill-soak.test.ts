// Nodes other than the gateway are killed one after the other under a writer that verifies: no request fails, no write is
// lost, all is in sync soon after the last kill, and no node grows. Here less than half a minute of it; `npm run soak:kill`
// takes ten minutes. Environment: SOAK_SECONDS of killing, SOAK_EVERY seconds between kills, SOAK_SEED of the choice.

import test from 'ava';
import { killSoak, verifyingWriter } from './kill-soak.ts';
import { withCluster } from './with-cluster.ts';

const { env } = process;
const seconds = Number(env['SOAK_SECONDS'] ?? 24);
const every = Number(env['SOAK_EVERY'] ?? 6);
/** A process fills its caches in this time; a short run has less of it than ten minutes ask for. */
const WARM_UP_MS = seconds > 60 ? 30_000 : 8000;
const SLACK_MS = 5 * 60_000;

test(
  'nodes are killed one after the other: nothing is lost, no request fails, no node grows',
  withCluster({ nodes: 5, copies: 3, volume: 'disk:256MiB' }, async (t, cluster) => {
    t.timeout(seconds * 1000 + SLACK_MS);
    const result = await killSoak(cluster, await verifyingWriter(cluster), {
      warmUpMs: WARM_UP_MS,
      durationMs: seconds * 1000,
      everyMs: every * 1000,
      seed: Number(env['SOAK_SEED'] ?? 1),
      log: (line) => t.log(line),
    });
    t.log(JSON.stringify(result));
    t.deepEqual(result.problems, []);
    // A start takes longer than `every` where the host is busy.
    t.true(result.kills >= Math.floor(seconds / every / 4));
  }),
);
