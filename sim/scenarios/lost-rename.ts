// Goal: a rename is not there until its folder is synced, and some disks lose it even then. First hosts lose power between a
// rename (a snapshot of the map, a log that was begun anew) and the sync of its folder, until one was undone by it: each
// comes back with what it had before and misses nothing that it had promised. Then a copy of an object that came to a new
// node whole, by a rename, is gone after a restart, though the rename was synced: that is damage, found and mended.

import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { healed } from './disk-faults.ts';

/** More entries than a node lets its log grow by: it is begun anew, with a snapshot before it. */
const ENTRIES = 30;
const RENAME_S = 20;
/** Each power loss undoes the rename half of the time. */
const MAX_TRIES = 20;
const WORKING_SET = 2048;

/** Settings through any node, nobody waits for the answers. */
function askForEntries(stage: Stage): void {
  const { process, handle } = stage.anyRunning().running();
  stage.world.enter(process, () => {
    for (let i = 0; i < ENTRIES; i += 1) {
      handle
        .admin()
        .set('out-after', `${700 + i}s`)
        .catch(() => {});
    }
  });
}

async function untilOneIsLost(stage: Stage): Promise<void> {
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const victim = stage.anyRunning();
    askForEntries(stage);
    const isUnderWay = (): boolean => victim.disk.hasPendingRename;
    if (!(await stage.world.runUntil(isUnderWay, RENAME_S * 1000))) continue;
    victim.losePower();
    await stage.run({ seconds: stage.random.exponential(1) });
    await victim.start();
    await stage.check.converges({ seconds: 120 });
    if (stage.world.faults.has('rename-lost')) return;
  }
  throw new RunFailure('no rename was lost');
}

/** The last copy that was put in its place by a rename is gone, and the node does not know. */
function losesARename(stage: Stage, { name, disk }: SimNode): void {
  const path = disk.filePaths('objects').findLast((one) => disk.loseRename(one));
  if (path === undefined) throw new RunFailure(`${name} has no copy that came by a rename`);
  stage.world.note('stage', 'rename lost', `${name} ${path}`);
}

export const lostRename = scenario(
  'lost-rename',
  { nodes: 3, copies: 2, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    await untilOneIsLost(stage);

    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    await guest.fill(WORKING_SET);
    const newcomer = stage.addNode();
    await stage.join(newcomer);
    await stage.check.converges({ seconds: 120 });
    await newcomer.stop();
    losesARename(stage, newcomer);
    await newcomer.start();
    await stage.check.converges({ seconds: 120 });
    // Its own copies are asked first.
    await guest.detach();
    guest.attach(newcomer);
    await guest.readAll();
    for (let block = 0; block < WORKING_SET; block += 512) await guest.write(block);
    await healed(stage);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
