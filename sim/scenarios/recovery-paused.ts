// Goal: a pause holds recovery and nothing else. A fresh node joins and recovery is paused at once or a little later: from
// then on it copies nothing, and nothing is taken from others, but for the one object that a guest's write waits for; the
// guest goes on. The pause outlives a restart of the leader. Enabled again, everything gets to its place.

import { joinsOf as joinsOfView } from '../../src/core/recovery-work.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const SIZE_MIB = 256;
const BLOCKS_PER_OBJECT = 1024;
const OBJECTS = SIZE_MIB / 4;
/** Of each object: a region, so that at the least rate all of them take seconds. */
const BLOCKS = 16;
/** What was under way when the pause came may end. */
const GRACE_SECONDS = 0.5;
/** A write that waits for one object, and not for a partition that nobody recovers. */
const WRITE_MS = 3000;

function copiesOf(node: SimNode): number {
  return node.running().handle.inspect().recovery?.objectsCopied ?? 0;
}

/** Partitions that a node joins, as it knows. */
function joinsOf(node: SimNode): number {
  const { recovery, view } = node.running().handle.inspect();
  if (recovery === undefined || view === undefined) return 0;
  return joinsOfView(view, recovery.node).length;
}

/** An object that the newcomer joins and lacks, so that a write to it must copy it first. */
function lackingObject(stage: Stage, newcomer: SimNode): number | undefined {
  const { store, view } = newcomer.running().handle.inspect();
  const id = stage.numberOf(newcomer);
  const [volume] = view?.volumes.values() ?? [];
  if (view === undefined || store === undefined || volume === undefined) return undefined;
  for (const node of stage.running.filter((one) => one !== newcomer)) {
    const other = node.running().handle.inspect().store;
    for (const key of other?.partitionsHeld() ?? []) {
      const p = key % 65536;
      if (!view.partition(volume.policy, p).joining.includes(id)) continue;
      const row = other
        ?.rowsOf(key)
        .find((one) => store.row(one.generation, one.index) === undefined);
      if (row !== undefined) return row.index;
    }
  }
  return undefined;
}

export const recoveryPaused = scenario(
  'recovery-paused',
  { nodes: 3, copies: 3, partitions: 16, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    stage.check.watchRecovery();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: SIZE_MIB, at: gateway });
    for (let object = 0; object < OBJECTS; object += 1) {
      await guest.write(object * BLOCKS_PER_OBJECT, BLOCKS);
    }
    await stage.operate(gateway, 'set', (admin) => admin.set('recovery-rate', '1MiB'));
    await stage.run({ seconds: 1 });

    const isPausedFirst = stage.random.chance(0.4);
    const pause = (isEnabled: boolean) =>
      stage.operate(gateway, 'recover', (admin) => admin.enableRecovery(isEnabled));
    if (isPausedFirst) await pause(false);
    const newcomer = stage.addNode();
    await stage.join(newcomer);
    const before = gateway.running().handle.inspect().store?.objectCount;
    if (!isPausedFirst) {
      await stage.run({ seconds: stage.random.unit() * 0.5 });
      await pause(false);
    }
    await stage.run({ seconds: GRACE_SECONDS });
    const copied = copiesOf(newcomer);
    if (isPausedFirst && joinsOf(newcomer) > 0) throw new RunFailure('it joins though paused');
    if (isPausedFirst && copied > 0) throw new RunFailure(`${copied} objects copied though paused`);
    const index = lackingObject(stage, newcomer);
    if (index !== undefined) {
      const { nowMs } = stage.world;
      await guest.write(index * BLOCKS_PER_OBJECT + 1);
      const tookMs = stage.world.nowMs - nowMs;
      if (tookMs > WRITE_MS) throw new RunFailure(`the write waited ${tookMs} ms`);
      const more = copiesOf(newcomer) - copied;
      if (more !== 1) throw new RunFailure(`the write waited for ${more} objects, not for one`);
    }
    const settled = copiesOf(newcomer);
    if (stage.random.chance(0.5)) {
      const leader = stage.leader;
      if (leader !== undefined && leader !== gateway && leader !== newcomer) {
        leader.kill();
        await stage.run({ seconds: 2 });
        await leader.start();
      }
    }
    await stage.run({ seconds: 3 });
    if (copiesOf(newcomer) !== settled) throw new RunFailure('copies were made during the pause');
    const now = gateway.running().handle.inspect().store?.objectCount;
    if (isPausedFirst && now !== before)
      throw new RunFailure('copies were taken away during the pause');
    await guest.write(5);

    await pause(true);
    await stage.operate(gateway, 'set', (admin) => admin.set('recovery-rate', 'auto'));
    await stage.check.converges({ seconds: 120 });
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`guest: ${guest.errors.join(', ')}`);
    await stage.check.replicasAreIdentical();
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
  },
);
