// Every operation of several parts, interrupted at random moments by kill -9 of the command, of the node it asks, or of the
// leader: it happened or it did not, it can be asked for again, nothing is left over. Only where SOAK_INTERRUPTIONS says
// how many: `npm run soak:interrupt` does 200. SOAK_SEED of the choice, SOAK_ONLY the title of one operation,
// SOAK_LOG a file that gets a line at each round.

import fs from 'node:fs';
import { declareUnless } from '../nbd/tools.ts';
import { interruptSoak } from './interrupt-soak.ts';
import { withCluster } from './with-cluster.ts';

const { env } = process;
const interruptions = Number(env['SOAK_INTERRUPTIONS'] ?? 0);
const file = env['SOAK_LOG'];
const ROUND_MS = 30_000;
const SLACK_MS = 10 * 60_000;

const declare = declareUnless(
  interruptions > 0 ? '' : 'SOAK_INTERRUPTIONS is not given',
  'expected',
);

declare(
  'an operation that is interrupted happened or did not, can be asked for again, and leaves nothing',
  withCluster({ nodes: 3, copies: 3, volume: 'gold:16MiB' }, async (t, cluster) => {
    t.timeout(interruptions * ROUND_MS + SLACK_MS);
    const result = await interruptSoak(cluster, {
      interruptions,
      seed: Number(env['SOAK_SEED'] ?? 1),
      only: env['SOAK_ONLY'],
      log: (line) => (file === undefined ? t.log(line) : fs.appendFileSync(file, `${line}\n`)),
    });
    t.log(JSON.stringify(result));
    t.deepEqual(result.problems, []);
    t.true(result.hit > interruptions / 3, 'most of the kills come while it is under way');
  }),
);
