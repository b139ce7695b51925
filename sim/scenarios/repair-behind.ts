// Goal: a copy is repaired from its own version only (4.10). A write has reached one of three members and hangs on the way
// to the others; then the sector that it wrote rots there, and one beside it, which the guest reads. What the others have
// of the first is older than what the copy's version says: the repair waits for them. Later all have the write, whole.

import { partitionOf } from '../../src/core/partition.ts';
import { OBJECT_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import type { Guest } from '../guest.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { scrubbed } from './disk-faults.ts';

const ROUNDS = 4;
const BLOCKS = 64;
const DATA_OFFSET = 4 * SECTOR_BYTES;
/** The repair has that long to do wrong; the others are not called down before it is over. */
const REPAIR_S = 1;

export const repairBehind = scenario(
  'repair-behind',
  { nodes: 4, copies: 3, smokeSeeds: 4 },
  async (stage) => {
    await stage.form();
    const first = await stage.createVolume({ name: 'disk', sizeMiB: 4 });
    await first.fill(BLOCKS);
    const { holders, outside } = placesOf(stage, first);
    await first.detach();
    const guest = stage.guestOf(first.volume);
    guest.attach(outside);
    await guest.fill(BLOCKS);
    for (let round = 0; round < ROUNDS; round += 1) {
      // Closed, so that nothing but the next write is open; and in place, so that rot meets it there.
      await stage.run({ seconds: 1 });
      await hurtAhead(stage, guest, { outside, ahead: stage.random.pick(holders), holders });
      await stage.check.converges({ seconds: 60 });
      // A read that another member answered found nothing; a scrub looks at closed objects.
      await stage.run({ seconds: 1 });
      await scrubbed(stage, 'deep');
    }
    if (guest.errors.length > 0) throw new RunFailure(`the guest saw ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);

interface Places {
  readonly outside: SimNode;
  readonly ahead: SimNode;
  readonly holders: readonly SimNode[];
}

/** Who holds the only object, and the one host that does not. */
function placesOf(stage: Stage, guest: Guest): Pick<Places, 'holders' | 'outside'> {
  const view = stage.anyRunning().running().handle.view();
  const volume = view?.volumeByName(guest.volume.name);
  if (view === undefined || volume === undefined) throw new RunFailure('no view of the volume');
  const config = view.partition(volume.policy, partitionOf(volume.family, 0, view.partitions));
  const holds = (node: SimNode): boolean => config.inSync.includes(stage.numberOf(node));
  const outside = stage.nodes.find((node) => !holds(node));
  if (outside === undefined) throw new RunFailure('every node holds the object');
  return { holders: stage.nodes.filter(holds), outside };
}

async function hurtAhead(stage: Stage, guest: Guest, places: Places): Promise<void> {
  const { outside, ahead, holders } = places;
  const block = stage.random.between(0, BLOCKS - 3);
  const before = versionAt(ahead);
  for (const node of holders) {
    if (node !== ahead) stage.cable.paths.cut(outside.name, node.name, ['data']);
  }
  guest.startWrite(block);
  await stage.until('one member is ahead', () => versionAt(ahead) > before, { seconds: 5 });
  // What is only in the journal yet is read from there.
  await stage.run({ seconds: 0.05 });
  const [path] = ahead.disk.filePaths('objects');
  if (path === undefined) throw new RunFailure('the object has no file');
  for (const sector of [block, block + 2]) {
    ahead.disk.rot(path, DATA_OFFSET + ((sector * SECTOR_BYTES) % OBJECT_BYTES) + 7);
  }
  guest.startRead(block + 2);
  await stage.run({ seconds: REPAIR_S });
  stage.heal();
  await stage.until('all is answered', () => guest.inFlight === 0, { seconds: 60 });
}

/** The count of the object's version on a node. */
function versionAt(node: SimNode): number {
  const { store } = node.running().handle.inspect();
  const [partition] = store?.partitionsHeld() ?? [];
  return partition === undefined ? 0 : (store?.rowsOf(partition)[0]?.verCount ?? 0);
}
