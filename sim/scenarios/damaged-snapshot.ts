// Goal (story 19, C2.6): the snapshot of a voter's map is damaged on its disk, or gone, and its log begins behind it:
// nothing of the map is left. It starts all the same: muted, it asks the members of its book for snapshot and log, serves
// nobody before that, votes again after, and the cluster bears the loss of another voter. The seed picks the damage.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

const HEADER_BYTES = 64;
/** Enough that a snapshot was taken and the log is cut behind it. */
const MIN_ENTRIES = 40;
const MAX_ENTRIES = 70;

export const damagedSnapshot = scenario(
  'damaged-snapshot',
  { nodes: 3, copies: 3, smokeSeeds: 6 },
  async (stage) => {
    const { random, world } = stage;
    stage.traceChecker.expected.add('warn map.log.damaged');
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever({ thinkMs: 20 });
    await stage.fillLog(random.between(MIN_ENTRIES, MAX_ENTRIES));
    await stage.run({ seconds: 2 });
    const victim = stage.anyRunning(gateway);
    if (random.chance(0.5)) victim.kill();
    else victim.losePower();
    const isGone = random.chance(0.3);
    if (isGone) victim.disk.drop('map.snapshot');
    else victim.disk.rot('map.snapshot', random.between(0, 2 * HEADER_BYTES));
    await stage.run({ seconds: random.unit() * 4 });
    if (random.chance(0.5)) await stage.fillLog(random.between(1, 40));
    stage.viewChecker.forget(victim.name);
    await victim.start();
    await stage.check.converges({ seconds: 120 });
    const said = (what: string): boolean =>
      world.records.some(({ node, name }) => node === victim.name && name === what);
    // The rotten byte may be one that nobody reads.
    const isDamaged = said('warn map.log.damaged');
    if (isGone && !isDamaged) throw new RunFailure('nobody missed the snapshot');
    if (isDamaged && !said('raft.unmuted')) throw new RunFailure('it never voted again');

    const other = stage.running.find((node) => node !== victim && node !== gateway);
    other?.kill();
    await stage.fillLog(10);
    await other?.start();
    await stage.check.converges({ seconds: 120 });
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`guest saw: ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
