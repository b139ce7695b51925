// Goal: a volume is deleted while a node is away, for long or for seconds, perhaps so long that its log has only a snapshot
// for it. When it returns nothing of the volume comes back: not on the others, not by what it still has, not by a newcomer
// that copies from it; and what it had goes (S5, C-gc). A volume that is made under the same name has only its own bytes.

import type { GenerationId } from '../../src/core/ids.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const SIZE_MIB = 16;
const BLOCKS = (SIZE_MIB * 2 ** 20) / 4096;
/** More than the log keeps behind a snapshot. */
const LONG_LOG = 60;
const LOOK_EVERY_MS = 50;

export const deletedStaysDeleted = scenario(
  'deleted-stays-deleted',
  { nodes: 4, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const kept = await stage.createVolume({ name: 'kept', sizeMiB: SIZE_MIB, at: gateway });
    const gone = await stage.createVolume({ name: 'gone', sizeMiB: SIZE_MIB, at: gateway });
    await kept.fill(BLOCKS);
    await gone.fill(BLOCKS);
    const generation = headOf(stage, 'gone');
    await gone.detach();
    kept.writeForever({ workingSet: BLOCKS });

    const away = stage.anyRunning(gateway);
    if (stage.random.chance(0.5)) away.kill();
    else away.losePower();
    if (stage.random.chance(0.7)) {
      await stage.until('it is down', () => isCalledDown(stage, away), { seconds: 30 });
    }
    await stage.ask(gateway, 'delete', (handle) => handle.deleteVolume('gone'));
    const others = stage.running;
    await stage.until('the others have dropped it', () => noneHolds(others, generation), {
      seconds: 60,
    });
    const isAgain = stage.random.chance(0.5);
    const again = isAgain
      ? await stage.createVolume({ name: 'gone', sizeMiB: SIZE_MIB, at: gateway })
      : undefined;
    await again?.write(3);
    if (stage.random.chance(0.5)) await stage.fillLog(LONG_LOG);
    await stage.run({ seconds: stage.random.unit() * 3 });

    watch(stage, others, generation);
    await away.start();
    if (stage.random.chance(0.5)) await stage.join(stage.addNode());
    await stage.check.converges({ seconds: 120 });
    await stage.until('nobody has any of it', () => noneHolds(stage.running, generation), {
      seconds: 60,
    });
    await kept.stop();
    for (const guest of again === undefined ? [kept] : [kept, again]) {
      if (guest.errors.length > 0) throw new RunFailure(`guest saw ${guest.errors.join(', ')}`);
      await stage.check.everyAcknowledgedWriteIsReadable(guest);
    }
    await again?.read(0, 64);
    stage.check.historyIsLinearizable();
    await stage.check.replicasAreIdentical({ seconds: 120 });
  },
);

function headOf(stage: Stage, name: string): GenerationId {
  const volume = stage.running[0]?.running().handle.view()?.volumeByName(name);
  if (volume === undefined) throw new RunFailure(`there is no ${name}`);
  return volume.head;
}

function rowsOf(node: SimNode, generation: GenerationId): number {
  const { store } = node.running().handle.inspect();
  const keys = store?.partitionsHeld() ?? [];
  const rows = keys.flatMap((key) => store?.rowsOf(key) ?? []);
  return rows.filter((row) => row.generation === generation).length;
}

function noneHolds(nodes: readonly SimNode[], generation: GenerationId): string | true {
  const holder = nodes.find((node) => node.isRunning && rowsOf(node, generation) > 0);
  return holder === undefined ? true : `${holder.name} has ${rowsOf(holder, generation)}`;
}

/** From now on, all the time: on these nodes none of it comes back. */
function watch(stage: Stage, nodes: readonly SimNode[], generation: GenerationId): void {
  const look = (): void => {
    const wrong = noneHolds(nodes, generation);
    if (wrong !== true) stage.world.fail(`C-gc: a deleted object came back: ${wrong}`);
    else stage.world.schedule(LOOK_EVERY_MS, undefined, look);
  };
  look();
}
