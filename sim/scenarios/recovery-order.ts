// Goal: partitions that could not lose one more copy, and those below minCopies, are recovered before anything is moved
// (4.8), and what is told of it is honest. A node of five dies, or two at once; then a fresh one joins: the ring gives it
// partitions that lack a copy, and others that are whole and only move.

import { checkOrder } from '../checkers/recovery.ts';
import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

const SIZE_MIB = 128;
/** One block of each object is written: it is there, and small. */
const BLOCKS_PER_OBJECT = 1024;

export const recoveryOrder = scenario(
  'recovery-order',
  { nodes: 5, copies: 3, partitions: 128, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    stage.check.watchRecovery();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: SIZE_MIB, at: gateway });
    for (let object = 0; object < SIZE_MIB / 4; object += 1) {
      await guest.write(object * BLOCKS_PER_OBJECT);
    }
    const victims = [stage.anyRunning(gateway)];
    if (stage.random.chance(0.5)) {
      victims.push(
        stage.random.pick(stage.running.filter((one) => one !== gateway && one !== victims[0])),
      );
    }
    for (const victim of victims) victim.kill();
    const areDown = (): boolean =>
      victims.every((victim) => stage.memberOf(victim)?.state === 'down');
    await stage.until('they are down', areDown, { seconds: 30 });
    await stage.run({ seconds: 2 });

    const newcomer = stage.addNode();
    let isWatched = true;
    const leaderView = () => gateway.running().handle.view();
    let last = leaderView();
    gateway.running().handle.onView((view) => {
      const id = newcomer.isRunning ? newcomer.running().handle.status().node : undefined;
      const before = last;
      last = view;
      if (!isWatched || id === undefined || before === undefined) return;
      const wrong = checkOrder(before, view, id);
      if (wrong !== undefined) stage.world.fail(wrong);
    });
    await stage.join(newcomer);
    const id = stage.numberOf(newcomer);
    const isIn = (): boolean | string => {
      const view = leaderView();
      if (view === undefined) return false;
      const { partitionsLeft } = newcomer.running().handle.status().catchUp;
      const policies = [...view.policies.keys()];
      const hasSome = policies.some((policy) => {
        for (let p = 0; p < view.partitions; p += 1) {
          if (view.partition(policy, p).inSync.includes(id)) return true;
        }
        return false;
      });
      return (hasSome && partitionsLeft === 0) || `${partitionsLeft} partitions are left`;
    };
    await stage.until('the newcomer has its share', isIn, { seconds: 60 });
    isWatched = false;
    for (const victim of victims) await victim.start();
    await stage.check.converges({ seconds: 120 });
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`guest: ${guest.errors.join(', ')}`);
    await stage.check.replicasAreIdentical();
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
  },
);
