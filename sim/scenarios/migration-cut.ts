// Goal: H4, 3.3.6. The destination's word to the log does not come through: the source is drained, nobody completes. What
// its guest asks for then is executed under no token: it waits. The destination falls silent altogether: the source goes on
// by the log, under the next token, and its guest has seen a pause and nothing else. Who was told `drained` is too late.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';
import { lockAt } from './lock-beside.ts';
import { arrives, sawNothing, stops, WORK, wasSaid } from './migrate.ts';

const WAITS_MS = 1500;
/** The verdict on a node that is cut off, or the patience of a drained holder, and one entry. */
const GOES_ON_MS = 20_000;

export const migrationCut = scenario(
  'migration-cut',
  { nodes: 4, copies: 3, smokeSeeds: 4 },
  async (stage) => {
    const { world, random } = stage;
    await stage.form();
    const leader = stage.leader;
    if (leader === undefined) throw new RunFailure('nobody leads');
    const home = leader;
    const away = stage.anyRunning(home);
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: home });
    await guest.fill(WORK.workingSet);
    const dest = await arrives(stage, away, guest);
    await stops(guest);
    const { token } = lockAt(home, 'disk');
    const since = world.records.length;
    stage.partition([away], ['control']);
    dest.takeOff();
    dest.startWrite(0);
    const isDrained = await world.runUntil(() => wasSaid(stage, 'handover.drained', since), 5000);
    if (!isDrained) throw new RunFailure('the destination was not told that all is drained');

    let answers = 0;
    const count = 6;
    const asked = world.nowMs;
    for (let block = 1; block <= count; block += 1) guest.startWrite(block, 1, () => answers++);
    guest.startRead(1, 1, () => answers++);
    await world.runUntil(() => answers > 0, WAITS_MS);
    const isUndecided = lockAt(home, 'disk').token === token;
    if (answers > 0 && isUndecided) {
      throw new RunFailure('H4: drained, it executed a request under its old token');
    }
    await stage.run({ seconds: random.unit() * 3 });
    stage.partition([away]);
    const isOn = await world.runUntil(() => answers === count + 1, GOES_ON_MS);
    if (!isOn) throw new RunFailure(`C-migrate: ${answers} answers of the source`);
    sawNothing(`the source, after ${Math.round(world.nowMs - asked)} ms,`, guest);
    if (lockAt(home, 'disk').token <= token)
      throw new RunFailure('H2: it went on under its old token');
    guest.writeForever(WORK);
    await stage.run({ seconds: 2 });
    stage.heal();
    await stage.check.converges({ seconds: 120 });
    await stage.run({ seconds: 3 });
    await guest.stop();
    sawNothing('the source', guest);
    dest.freeze();
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
