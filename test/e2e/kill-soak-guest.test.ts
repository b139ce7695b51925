// As kill-soak.test.ts, with the gateway among those that are killed, under a booted guest: QEMU connects again and sends
// again what was not answered (reconnect-delay). The guest writes numbered records, each synced before it counts, reads
// all of them back at its end, and what it counted is looked for through another node. Only where SOAK_SECONDS asks for it:
// an emulated guest needs a minute to boot and to read. SOAK_EVERY, SOAK_SEED as there; ten minutes: `npm run soak:guest`.

import { declareUnless } from '../nbd/tools.ts';
import type { Cluster } from './cluster.ts';
import { declareWithGuest, guestOf, ledgerProblems } from './guest.ts';
import { GATEWAY, killSoak, type Workload } from './kill-soak.ts';
import { withCluster } from './with-cluster.ts';

const { env } = process;
const seconds = Number(env['SOAK_SECONDS'] ?? 0);
const every = Number(env['SOAK_EVERY'] ?? 6);
const WARM_UP_MS = seconds > 60 ? 30_000 : 4000;
const SLACK_MS = 5 * 60_000;
const BOOT_MS = 120_000;
/** A guest that was promised a rest of 0.2 s between two records never writes more than this. */
const RECORDS_PER_SECOND = 5;
const REST = 0.2;
const SLOTS = 1024;
/** The slowest that is waited for at its end: emulated, each record starts three programs. */
const SLOWEST = 4;

const declare =
  seconds > 0 ? declareWithGuest : declareUnless('SOAK_SECONDS is not given', 'expected');

declare(
  'nodes are killed one after the other, the gateway among them: the guest reads all that it wrote, and no node grows',
  withCluster({ nodes: 5, copies: 3, volume: 'disk:256MiB' }, async (t, cluster) => {
    t.timeout(SLOWEST * seconds * 1000 + SLACK_MS);
    const load = await ledger(cluster);
    const result = await killSoak(cluster, load, {
      warmUpMs: WARM_UP_MS,
      durationMs: seconds * 1000,
      everyMs: every * 1000,
      seed: Number(env['SOAK_SEED'] ?? 1),
      withGateway: true,
      log: (line) => t.log(line),
    });
    t.log(JSON.stringify(result));
    t.deepEqual(result.problems, []);
    t.true(result.kills >= Math.floor(seconds / every / 4));
  }),
);

/** A guest that has begun to write records. */
async function ledger(cluster: Cluster): Promise<Workload> {
  const start = await guestOf(cluster);
  const count = RECORDS_PER_SECOND * (seconds + WARM_UP_MS / 1000);
  const { volume } = cluster;
  const job = { job: 'ledger', count, slots: SLOTS, rest: REST } as const;
  const guest = start({ node: GATEWAY, volume }, job);
  await guest.records(1, BOOT_MS);
  const finish = async (): Promise<readonly string[]> => {
    const verdict = await guest.verdict(SLOWEST * seconds * 1000 + BOOT_MS);
    const lost = await ledgerProblems(guest, cluster.node(GATEWAY + 1).nbd.unix, volume);
    return [...(verdict === 'good' ? [] : [`the guest: ${verdict}`]), ...lost];
  };
  return { acknowledged: () => guest.written, finish };
}
