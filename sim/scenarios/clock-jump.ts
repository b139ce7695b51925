// Goal: dates are for people, never for decisions. While a guest writes, dates of hosts jump by minutes, hours and years,
// forwards and back, of one node or of all at once, also while one node is away: nobody is called down or out for it, no
// guest sees an error, a scrub that was asked for runs, and whoever was away returns.

import { scenario } from '../scenario.ts';
import { isCalledDown } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { scrubbed } from './disk-faults.ts';

const HOUR_MS = 3_600_000;
const JUMPS_MS = [-1, 1, -60, 60, -24 * 365 * 10, 24 * 365 * 10].map((hours) => hours * HOUR_MS);
const ROUNDS = 5;

export const clockJump = scenario(
  'clock-jump',
  { nodes: 4, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    const { random } = stage;
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever();
    await stage.run({ seconds: 1 });
    const { epoch } = stage;
    const jump = (): void => {
      const hit = random.chance(0.3) ? stage.nodes : [stage.random.pick(stage.nodes)];
      for (const node of hit) node.jumpDate(random.pick(JUMPS_MS));
    };
    for (let round = 0; round < ROUNDS; round += 1) {
      jump();
      await stage.run({ seconds: random.exponential(2) });
    }
    if (stage.epoch !== epoch) throw new RunFailure('C-detect: a date called somebody down');

    const away = stage.anyRunning(gateway);
    away.kill();
    await stage.until('it is called down', () => isCalledDown(stage, away), { seconds: 30 });
    for (const node of stage.nodes) node.jumpDate(random.pick(JUMPS_MS));
    await stage.run({ seconds: 2 + random.exponential(3) });
    if (stage.memberOf(away)?.standing !== 'in') throw new RunFailure('a date called somebody out');
    await away.start();
    jump();
    await stage.check.converges({ seconds: 120 });
    // A date far ahead makes scrubs due.
    const isIdle = (): boolean =>
      stage.running.every((node) => node.running().handle.scrub().run === undefined);
    await stage.until('scrubs that were due are over', isIdle, { seconds: 120 });
    await scrubbed(stage, 'light');
    await guest.stop();
    if (guest.errors.length > 0)
      throw new RunFailure(`guest saw errors: ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
