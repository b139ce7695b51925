// Snapshots every second under load while nodes are killed: each shows what its writers' histories allow, of a group never
// the second without the first, and deleted in random order they leave nothing. Only where SOAK_SECONDS says how long:
// `npm run soak:snapshots` does 60 s. SOAK_EVERY seconds between kills, SOAK_SEED of the choices, SOAK_LOG a file.

import fs from 'node:fs';
import test from 'ava';
import { declareUnless, missingTools } from '../nbd/tools.ts';
import { snapshotSoak } from './snapshot-soak.ts';
import { chainProblems } from './snapshot-soak-load.ts';
import { withCluster } from './with-cluster.ts';

const { env } = process;
const seconds = Number(env['SOAK_SECONDS'] ?? 0);
const file = env['SOAK_LOG'];
const SLACK_MS = 15 * 60_000;

const numbers = (...all: readonly number[][]) => all.map((one) => Uint32Array.from(one));

test('the judge of a group sees a write without the one it depends on, one that is lost, and one too early', (t) => {
  const least = numbers([4, 2], [4, 2], [1, 2]);
  const most = numbers([4, 5], [4, 2], [4, 2]);
  t.deepEqual(chainProblems(numbers([4, 5], [4, 2], [4, 2]), least, most), []);
  t.is(chainProblems(numbers([4, 2], [4, 2], [0, 2]), least, most).length, 1);
  t.is(chainProblems(numbers([4, 6], [4, 2], [4, 2]), least, most).length, 1);
  const open = numbers([9, 9], [9, 9], [9, 9]);
  const none = numbers([0, 0], [0, 0], [0, 0]);
  t.is(chainProblems(numbers([3, 3], [4, 3], [2, 3]), none, open).length, 1);
});

declareUnless(seconds > 0 ? missingTools('fio') : 'SOAK_SECONDS is not given', 'expected')(
  'snapshots under load and kills show what the history allows, and leave nothing when they are deleted',
  withCluster({ nodes: 4, copies: 3, volume: 'tagged:16MiB' }, async (t, cluster) => {
    t.timeout(seconds * 10_000 + SLACK_MS);
    const result = await snapshotSoak(cluster, {
      seconds,
      killEveryMs: Number(env['SOAK_EVERY'] ?? 6) * 1000,
      seed: Number(env['SOAK_SEED'] ?? 1),
      log: (line) => (file === undefined ? t.log(line) : fs.appendFileSync(file, `${line}\n`)),
    });
    t.log(JSON.stringify(result));
    t.deepEqual(result.problems, []);
    t.true(result.kills > 0 && result.returns > 0);
    for (const count of Object.values(result.taken)) t.true(count >= seconds / 2);
  }),
);
