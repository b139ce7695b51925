// Goal: a node is away (killed, without power, stopped, or cut off) while the others write many entries and compact their
// logs. What it needs is nowhere but in a snapshot: it fetches one, is the same as the others again (A4), and serves.
// The seed may kill it in the middle of that, and picks whether the node votes.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

const MIN_ENTRIES = 60;
const MAX_ENTRIES = 300;

export const awayTooLong = scenario(
  'away-too-long',
  { nodes: 4, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    const { random, world } = stage;
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever({ thinkMs: 20 });
    const victim = stage.anyRunning(gateway);
    const how = random.pick(['kill', 'power', 'stop', 'cut'] as const);
    world.note('stage', 'away', `${victim.name} ${how}`);
    if (how === 'kill') victim.kill();
    else if (how === 'power') victim.losePower();
    else if (how === 'stop') await victim.stop();
    else stage.partition([victim]);

    await stage.run({ seconds: 5 });
    const others = stage.nodes.filter((node) => node !== victim && node.isRunning);
    const entries = random.between(MIN_ENTRIES, MAX_ENTRIES);
    for (let at = 0; at < entries; at += 1) {
      const value = `${700 + (at % 100)}s`;
      await stage.operate(random.pick(others), 'set', (admin) => admin.set('out-after', value));
    }
    if (how === 'cut') stage.heal();
    else await victim.start();
    if (random.chance(0.5)) {
      await stage.run({ seconds: random.unit() * 0.3 });
      victim.kill();
      await victim.start();
    }
    await stage.check.converges({ seconds: 120 });
    const isInstalled = world.records.some(
      ({ node, name }) => node === victim.name && name === 'map.snapshot.installed',
    );
    if (!isInstalled) throw new RunFailure('it came back without a snapshot');
    await guest.stop();
    if (guest.errors.length > 0)
      throw new RunFailure(`guest saw errors: ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
