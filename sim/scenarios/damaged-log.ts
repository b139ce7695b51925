// Goal (story 19): a voter's log is damaged on its disk. It does not vote or answer as if the log were shorter (C2.6): it
// says so, learns from the others, and takes part again once it knows an entry that is later than the damage. Then the
// cluster bears the loss of another voter. The seed picks the victim (the leader, too) and the place of the damage.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

/** Behind the header; the end of the log may pass for what a crash left. */
const FIRST_BYTE = 64;
const LAST_BYTE = 400;

export const damagedLog = scenario(
  'damaged-log',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    const { random, world } = stage;
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever({ thinkMs: 20 });
    await stage.fillLog(random.between(25, 60));
    const victim = stage.anyRunning(gateway);
    if (random.chance(0.5)) victim.kill();
    else victim.losePower();
    victim.disk.rot('map.log', random.between(FIRST_BYTE, LAST_BYTE));
    await stage.run({ seconds: random.unit() * 4 });
    if (random.chance(0.5)) await stage.fillLog(random.between(1, 40));
    // What it had applied is partly gone: it says less than before, and serves nobody until it has caught up (A10).
    stage.viewChecker.forget(victim.name);
    await victim.start();
    await stage.check.converges({ seconds: 120 });
    const said = (what: string): boolean =>
      world.records.some(({ node, name }) => node === victim.name && name === what);
    const isWhole = !said('warn map.log.damaged');
    if (!isWhole && !said('raft.unmuted')) throw new RunFailure('it never voted again');

    const other = stage.running.find((node) => node !== victim && node !== gateway);
    other?.kill();
    await stage.fillLog(10);
    const answered = guest.volume.history.acknowledgedWrites;
    await stage.until(
      'writes go on without the other one',
      () => guest.volume.history.acknowledgedWrites > answered + 20,
      { seconds: 30 },
    );
    await other?.start();
    await stage.check.converges({ seconds: 120 });
    await guest.stop();
    if (guest.errors.length > 0)
      throw new RunFailure(`guest saw errors: ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
