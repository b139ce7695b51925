// Goal: down is not out for ten minutes, and is then: the ring changes, its data moves to the others, copies are complete
// without it; a maintenance puts that off. When it returns it is taken back by its own start, compares, and holds its
// share again. No guest sees an error.

import { OUT_AFTER_MS } from '../../src/core/cluster-settings.ts';
import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

/** Of the simulated clocks: they run up to 5 % fast or slow. */
const DRIFT = 0.06;
const MAINTENANCE_MS = 30_000;
const SHORT_MS = 10_000;

export const outAndBack = scenario(
  'out-and-back',
  { nodes: 4, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    stage.check.watchRecovery();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever();
    await stage.run({ seconds: 1 });
    const victim = stage.anyRunning(gateway);
    const node = stage.numberOf(victim);
    const isShort = stage.random.chance(0.7);
    let patienceMs = OUT_AFTER_MS;
    if (isShort) {
      patienceMs = SHORT_MS;
      await stage.operate(gateway, 'set', (admin) => admin.set('out-after', `${SHORT_MS}ms`));
    }
    const isPlanned = stage.random.chance(0.5);
    if (isPlanned) {
      await stage.operate(gateway, 'maintenance', (admin) =>
        admin.maintenance(node, MAINTENANCE_MS),
      );
      patienceMs = Math.max(patienceMs, MAINTENANCE_MS);
    }
    const startedMs = stage.world.nowMs;
    victim.kill();
    await stage.until('it is down', () => stage.memberOf(victim)?.state === 'down', {
      seconds: 30,
    });
    // A long wait is for the clock alone.
    if (!isShort) await guest.stop();
    const isOut = (): boolean => stage.memberOf(victim)?.standing === 'out';
    await stage.until('it is out', isOut, { seconds: (patienceMs * (1 + DRIFT)) / 1000 + 30 });
    const waitedMs = stage.world.nowMs - startedMs;
    if (waitedMs < patienceMs * (1 - DRIFT))
      throw new RunFailure(`out after ${waitedMs} ms already`);
    if (!isShort) guest.writeForever();
    await stage.check.converges({ seconds: 120 });
    const view = gateway.running().handle.view();
    if (
      view?.partition(view.policies.keys().next().value ?? (0 as never), 0).targets.includes(node)
    )
      throw new RunFailure('the ring wants what is out');

    await stage.run({ seconds: stage.random.unit() * 3 });
    await victim.start();
    await stage.until('it is back', () => stage.memberOf(victim)?.standing === 'in', {
      seconds: 60,
    });
    await stage.check.converges({ seconds: 120 });
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`guest: ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
