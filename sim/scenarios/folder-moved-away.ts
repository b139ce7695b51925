// Goal: the data folder of a running node is moved away. What it holds open goes on; whatever it has to find or make in the
// folder fails, and ends the node: nothing is written beside the data, the others know the cause, the guest sees no error.
// While the folder is away nobody starts there as this member. Put back, it is the same store, and the node is soon in sync.

import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { breakDisk } from './disk-faults.ts';

const OBJECT_BLOCKS = 1024;
const OBJECTS = 4;

/** Blocks of objects that have no file yet: a copy of each is to be made on every node. */
async function writesNewObjects(stage: Stage, write: (block: number) => void): Promise<void> {
  for (let object = 1; object < OBJECTS; object += 1) {
    write(object * OBJECT_BLOCKS + stage.random.between(0, OBJECT_BLOCKS - 1));
    await stage.run({ seconds: 0.2 });
  }
}

/** Without its folder a process is blank at best: it knows no cluster, and nobody takes it for the one that was here. */
async function startsAsNobody(victim: SimNode): Promise<void> {
  await victim.start().catch(() => {});
  if (!victim.isRunning) return;
  if (victim.running().handle.view() !== undefined) throw new RunFailure('it is who it was');
  victim.kill();
}

export const folderMovedAway = scenario(
  'folder-moved-away',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever({ workingSet: OBJECT_BLOCKS / 2 });
    await stage.run({ seconds: 1 + stage.random.unit() });

    const victim = stage.anyRunning(gateway);
    const files = victim.disk.filePaths();
    victim.mayFail = true;
    const putBack = breakDisk(victim, 'moved');
    await writesNewObjects(stage, (block) => guest.startWrite(block));
    await stage.until('the node ends', () => !victim.isRunning, { seconds: 30 });
    if (!stage.world.faults.has('folder-moved-away')) throw new RunFailure('nobody missed it');
    const answered = guest.volume.history.acknowledgedWrites;
    const goOn = (): boolean => guest.volume.history.acknowledgedWrites > answered + 50;
    await stage.until('writes go on without it', goOn, { seconds: 30 });

    await startsAsNobody(victim);
    putBack();
    const missing = files.filter((path) => !victim.disk.filePaths().includes(path));
    if (missing.length > 0) throw new RunFailure(`${missing[0]} is gone from the folder`);
    victim.mayFail = false;
    await victim.start();
    await stage.check.converges({ seconds: 120 });
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`guest saw ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
