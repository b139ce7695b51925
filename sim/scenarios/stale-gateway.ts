// Goal: I1. A gateway that hears nothing of the control plane goes on under an old config while a fourth node joins: what
// the new config's members do not know of is never acknowledged, and after healing the guest goes on without an error.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

const SLOWNESS = 50;

export const staleGateway = scenario(
  'stale-gateway',
  { nodes: 3, copies: 2, partitions: 32, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const leader = stage.nodes.find((node) => node.running().handle.status().role === 'leader');
    const gateway = stage.anyRunning(leader);
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 32, at: gateway });
    await guest.fill(512);
    for (let object = 1; object < 8; object += 1) await guest.write(object * 1024);
    guest.writeForever({ workingSet: 8192, thinkMs: 4 });
    await stage.run({ seconds: stage.random.unit() });

    const newcomer = stage.addNode();
    for (const other of stage.nodes) {
      if (other === gateway) continue;
      stage.cable.paths.cut(other.name, gateway.name, ['control']);
    }
    // It copies for long: many writes come between the joining of a partition and its promotion.
    newcomer.disk.slowness = SLOWNESS;
    await stage.join(newcomer);
    await stage.run({ seconds: 1 + stage.random.unit() * 3 });
    newcomer.disk.slowness = 1;
    stage.heal();
    await stage.check.converges({ seconds: 120 });
    await guest.stop();

    if (guest.errors.length > 0)
      throw new RunFailure(`guest saw errors: ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
