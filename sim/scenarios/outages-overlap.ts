// Goal: two outages that overlap. Who returns first was not there when the other one left: it can not tell what that one
// misses, and says so. Everybody has everything at the end, nobody's notes are taken for more than they are (4.7, since).

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

const SIZE_MIB = 16;
const LOAD = { workingSet: SIZE_MIB * 256, depth: 2, thinkMs: 60 };

export const outagesOverlap = scenario(
  'outages-overlap',
  { nodes: 5, copies: 5, smokeSeeds: 4 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: SIZE_MIB, at: gateway });
    await guest.fill(LOAD.workingSet);
    guest.writeForever(LOAD);
    const first = stage.anyRunning(gateway);
    const second = stage.random.pick(
      stage.running.filter((node) => node !== gateway && node !== first),
    );
    for (const victim of [first, second]) {
      await stage.run({ seconds: stage.random.unit() });
      if (stage.random.chance(0.5)) victim.kill();
      else victim.losePower();
      const isDown = (): boolean => stage.memberOf(victim)?.state === 'down';
      await stage.until(`${victim.name} is down`, isDown, { seconds: 30 });
    }
    await stage.run({ seconds: stage.random.unit() * 2 });
    const order = stage.random.chance(0.7) ? [second, first] : [first, second];
    for (const victim of order) {
      await victim.start();
      await stage.check.converges({ seconds: 120 });
      await stage.run({ seconds: stage.random.unit() });
    }
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`guest: ${guest.errors.join(', ')}`);
    await stage.check.replicasAreIdentical();
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
  },
);
