// Runs the body of a test with bare `sheep` processes; their logs are shown when it fails, and all end after it.

import type { ExecutionContext } from 'ava';
import { Hosts, type Sheep } from './sheep-process.ts';

const TEST_TIMEOUT_MS = 3 * 60_000;

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

/** A start that ends by itself; its exit code. */
export async function endOf(sheep: Sheep, ...flags: readonly string[]): Promise<number | null> {
  await sheep.start(...flags).catch(() => {});
  return sheep.ended();
}
