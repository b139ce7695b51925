// Goal (1.4, DATAPLANE 2): nothing of a volume is in memory any more, and the disks take most of a second for each read.
// Guests wait, heartbeats do not: nobody is suspected, nobody called down, nobody stands for election. Every read comes to
// its end with what was written, and the time that reads took from everybody is bounded.

import { MAX_LAG_MS } from '../../src/agreement/prober.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const READ_MS = 600;
/** Eight objects. */
const BLOCKS = 8192;
const WRITTEN = 64;
const IN_FLIGHT = 16;
const SECONDS = 40;
/** Of these seconds: one read for each doubling of the time in which nothing is waited for. */
const MAX_BLOCKED_SHARE = 0.1;
/** What is told only when somebody was late. */
const TROUBLE = ['peer.suspicion', 'nodes.down', 'raft.role'];

/** Reads blocks that were written, `IN_FLIGHT` at once, for as long as told. Returns how many. */
async function readsOf(stage: Stage, start: (done: () => void) => void): Promise<number> {
  let [answered, isOver, inFlight] = [0, false, 0];
  const next = (): void => {
    if (isOver) return;
    inFlight += 1;
    start(() => {
      inFlight -= 1;
      answered += 1;
      next();
    });
  };
  for (let n = 0; n < IN_FLIGHT; n += 1) next();
  await stage.run({ seconds: SECONDS });
  isOver = true;
  await stage.until('reads end', () => inFlight === 0 || `${inFlight} are open`, { seconds: 60 });
  return answered;
}

function blockedMs(node: SimNode): number {
  return node.running().process.blockedMs;
}

export const coldDisk = scenario(
  'cold-disk',
  { nodes: 4, copies: 3, smokeSeeds: 3 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 64, at: gateway });
    const step = BLOCKS / WRITTEN;
    for (let n = 0; n < WRITTEN; n += 1) await guest.write(n * step);
    await stage.check.converges({ seconds: 60 });
    const { epoch, world } = stage;
    const from = world.records.length;
    for (const node of stage.running) node.disk.coldReadMs = READ_MS;
    const answered = await readsOf(stage, (done) => {
      guest.startRead(stage.random.between(0, WRITTEN - 1) * step, 1, done);
    });
    const wrong = world.records
      .slice(from)
      .filter(({ name }) => TROUBLE.some((word) => name.includes(word)));
    if (wrong[0] !== undefined) throw new RunFailure(`${wrong[0].name}: ${wrong[0].text}`);
    if (stage.epoch !== epoch) throw new RunFailure('a disk that is cold is no death');
    for (const node of stage.running) {
      const ms = blockedMs(node);
      if (ms > MAX_BLOCKED_SHARE * SECONDS * 1000 + 2 * MAX_LAG_MS) {
        throw new RunFailure(`reads stopped ${node.name} for ${ms} ms of ${SECONDS} s`);
      }
    }
    if (answered < SECONDS) throw new RunFailure(`only ${answered} reads came to an end`);
    if (blockedMs(gateway) === 0) throw new RunFailure('the disk was not cold');
    for (const node of stage.running) node.disk.coldReadMs = 0;
    if (guest.errors.length > 0) throw new RunFailure(`guest saw: ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
