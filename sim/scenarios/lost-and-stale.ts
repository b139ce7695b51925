// Goal: stale copies never win (section 6). A member dies and misses writes; then all who have them burn, and it is back,
// with what it had. It is not in sync, so nothing of it is read: these partitions are lost. It is asked to go on without
// them itself, and drops its stale copies first: what is read then is zeroes, on every copy.

import { isLostIn } from '../../src/core/lost.ts';
import { partitionOf } from '../../src/core/partition.ts';
import type { ClusterView } from '../../src/core/view.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const OBJECTS = 24;
const BLOCKS_PER_OBJECT = 1024;
const ALL = Array.from({ length: OBJECTS }, (_, index) => index);

export const lostAndStale = scenario(
  'lost-and-stale',
  { nodes: 7, copies: 3, smokeSeeds: 4 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: OBJECTS * 4, at: gateway });
    for (const i of ALL) await guest.write(i * BLOCKS_PER_OBJECT, 2);

    const [stale, ...burning] = drawThree(stage, gateway);
    if (stale === undefined) throw new RunFailure('nobody holds a copy');
    stale.kill();
    await stage.until('the first is called down', () => isCalledDown(stage, stale), {
      seconds: 60,
    });
    for (const i of ALL) await guest.write(i * BLOCKS_PER_OBJECT);
    const numbers = burning.map((node) => stage.numberOf(node));
    for (const node of burning) node.losePower();
    await stale.start();
    const areDown = (): boolean => burning.every((node) => isCalledDown(stage, node));
    await stage.until('the others are called down', areDown, { seconds: 90 });
    for (const node of numbers) {
      await stage.operate(gateway, 'forget', (admin) => admin.forget(node));
    }

    const index = (node: SimNode): number => node.running().handle.view()?.index ?? 0;
    const knowAs = (one: SimNode) => (): boolean =>
      stage.running.every((node) => index(node) >= index(one));
    await stage.until('all know of it', knowAs(gateway), { seconds: 30 });
    const lost = ALL.filter((i) => isLost(stage, i));
    const held = lost.filter((i) => hasRow(stage, stale, i));
    if (held.length === 0) throw new RunFailure('no stale copy of anything that is lost');
    for (const i of lost) {
      const code = await guest.tryRead(i * BLOCKS_PER_OBJECT, 1);
      if (code !== 'io') throw new RunFailure(`object ${i} of a lost partition: ${code}`);
    }
    await stage.operate(stale, 'accept', (admin) => admin.acceptLoss());
    guest.volume.history.forget(
      lost.flatMap((i) => [0, 1].map((at) => i * BLOCKS_PER_OBJECT + at)),
    );

    // A real guest's attachment asks for what is current; until then what is lost fails at once.
    await stage.until('all know of that', knowAs(stale), { seconds: 30 });
    const next = stage.guestOf(guest.volume);
    next.attach(stage.anyRunning());
    for (const i of ALL) await next.read(i * BLOCKS_PER_OBJECT, 2);
    for (const i of ALL) await next.write(i * BLOCKS_PER_OBJECT + 1);
    await stage.check.converges({ seconds: 180 });
    await stage.check.everyAcknowledgedWriteIsReadable(next);
    for (const i of ALL) await next.read(i * BLOCKS_PER_OBJECT, 2);
    await stage.check.replicasAreIdentical({ seconds: 120 });
  },
);

/** The three copies of some object; the gateway is none of them. */
function drawThree(stage: Stage, gateway: SimNode): readonly SimNode[] {
  const own = stage.numberOf(gateway);
  const sets = ALL.map((i) => placeOf(stage, i).config.inSync).filter((set) => !set.includes(own));
  if (sets.length === 0) throw new RunFailure('the gateway is everywhere');
  const set = stage.random.pick(sets);
  return stage.running.filter((node) => set.includes(stage.numberOf(node)));
}

function placeOf(stage: Stage, index: number) {
  const view = stage.running[0]?.running().handle.view() as ClusterView;
  const volume = view.volumeByName('disk');
  if (volume === undefined) throw new RunFailure('no volume');
  const p = partitionOf(volume.family, index, view.partitions);
  return { view, volume, config: view.partition(volume.policy, p) };
}

function isLost(stage: Stage, index: number): boolean {
  const { view, config } = placeOf(stage, index);
  return isLostIn(view, config);
}

function hasRow(stage: Stage, node: SimNode, index: number): boolean {
  const { volume } = placeOf(stage, index);
  return node.running().handle.inspect().store?.row(volume.head, index) !== undefined;
}
