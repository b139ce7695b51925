// Runs the body of a test with bare `sheep` processes; their logs are shown when it fails, and all end after it.

import type { ExecutionContext } from 'ava';
import { Hosts, type Sheep } from './sheep-process.ts';

const TEST_TIMEOUT_MS = 3 * 60_000;
/** A node that is refused hears of it within seconds. */
const ENDS_MS = 30_000;

export function withHosts(body: (t: ExecutionContext, hosts: Hosts) => Promise<void>) {
  return async (t: ExecutionContext) => {
    t.timeout(TEST_TIMEOUT_MS);
    const hosts = new Hosts();
    try {
      await body(t, hosts);
      if (!t.passed) t.log(hosts.logs);
    } catch (error) {
      t.log(hosts.logs);
      throw error;
    } finally {
      await hosts.stop();
    }
  };
}

/** A start that must end by itself; its exit code, or 'it runs'. */
export async function endOf(
  sheep: Sheep,
  ...flags: readonly string[]
): Promise<number | null | 'it runs'> {
  await sheep.start(...flags).catch(() => {});
  const patience = AbortSignal.timeout(ENDS_MS);
  const late = new Promise<'it runs'>((resolve) => {
    patience.addEventListener('abort', () => resolve('it runs'));
  });
  return Promise.race([sheep.ended(), late]);
}
