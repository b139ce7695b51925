// Goal: a fourth node joins under load and receives exactly its fair share: T'(p) minus T(p) is {} or {new} for every
// partition, old holders serve until it is in sync, and their surplus copies go only then. No more bytes are copied than
// those of the objects that moved (C-move), and nobody else copies anything.

import {
  checkBytesCopied,
  checkJoinMoves,
  checkShare,
  placementsOf,
} from '../checkers/movement.ts';
import { scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const NODES_BEFORE = 3;

function placementsSeenBy(stage: Stage): ReturnType<typeof placementsOf> {
  const view = stage.running[0]?.running().handle.view();
  if (view === undefined) throw new RunFailure('no view');
  return placementsOf(view);
}

export const fourthJoins = scenario(
  'fourth-joins',
  { nodes: NODES_BEFORE, copies: 2, partitions: 32 },
  async (stage) => {
    await stage.form();
    stage.check.watchRecovery();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 64 });
    guest.writeForever({ workingSet: 16384 });
    await stage.run({ seconds: 2 });
    const before = placementsSeenBy(stage);

    const newcomer = stage.addNode();
    await stage.join(newcomer);
    await stage.check.converges({ seconds: 120 });
    await guest.stop();
    await stage.check.replicasAreIdentical();

    const after = placementsSeenBy(stage);
    const joined = newcomer.running().handle.status().node;
    if (joined === undefined) throw new RunFailure('the newcomer has no id');
    const copies = stage.running.map((node) => {
      const { objects, catchUp } = node.running().handle.status();
      const isNew = node === newcomer;
      return { name: node.name, objectsGained: isNew ? objects : 0, bytes: catchUp.bytesCopied };
    });
    const wrong =
      checkJoinMoves(before, after, joined) ??
      checkShare(after, joined, 1 / (NODES_BEFORE + 1)) ??
      checkBytesCopied(copies);
    if (wrong !== undefined) throw new RunFailure(wrong);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
  },
);
