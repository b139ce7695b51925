// Declares an end-to-end test around one dev cluster: started before, ended and removed after, whatever happens.

import type { ExecutionContext } from 'ava';
import { type Cluster, type ClusterOptions, startCluster } from './cluster.ts';

const TEST_TIMEOUT_MS = 5 * 60_000;

export function withCluster(
  options: ClusterOptions,
  body: (t: ExecutionContext, cluster: Cluster) => Promise<void>,
): (t: ExecutionContext) => Promise<void> {
  return async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    const cluster = await startCluster(options);
    try {
      await body(t, cluster);
    } catch (error) {
      t.log(cluster.logs());
      throw error;
    } finally {
      await cluster.stop();
    }
  };
}
