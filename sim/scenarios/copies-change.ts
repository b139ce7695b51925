// Goal: the number of copies is an operator's word, under load (decision 16). `alter-copy` makes more and fewer of them,
// again and again, while a guest writes, sometimes before the last change is done, sometimes with a member that dies and
// returns in between. The guest sees no error, redundancy follows (I5, I6 in every view), and surplus copies go.

import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const CHANGES = 5;
const MOST_COPIES = 5;

export const copiesChange = scenario(
  'copies-change',
  { nodes: 6, copies: 2, smokeSeeds: 6 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 32, at: gateway });
    guest.writeForever({ workingSet: 8 * 1024 });
    let copies = 2;
    for (let at = 0; at < CHANGES; at += 1) {
      await stage.run({ seconds: stage.random.unit() });
      copies = otherThan(stage, copies);
      const { victim, copies: held } = await begin(stage, gateway, copies);
      if (stage.random.chance(0.3)) continue;
      if (victim !== undefined) await victim.start();
      await stage.check.converges({ seconds: 240 });
      hasCopies(stage, held);
    }
    for (const node of stage.nodes) if (!node.isRunning) await node.start();
    await stage.check.converges({ seconds: 240 });
    hasCopies(stage, copies);
    const answered = guest.volume.history.acknowledgedWrites;
    const goOn = (): boolean => guest.volume.history.acknowledgedWrites > answered + 50;
    await stage.until('writes go on', goOn, { seconds: 60 });
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`guest saw ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical({ seconds: 120 });
  },
);

function otherThan(stage: Stage, copies: number): number {
  const others = Array.from({ length: MOST_COPIES }, (_, i) => i + 1).filter((n) => n !== copies);
  return stage.random.pick(others);
}

/** Changes the number, and perhaps kills a member right then: one at a time, and none where one copy is all there is. */
async function begin(
  stage: Stage,
  gateway: SimNode,
  copies: number,
): Promise<{ readonly victim: SimNode | undefined; readonly copies: number }> {
  const dead = stage.nodes.find((node) => !node.isRunning);
  if (dead !== undefined) await dead.start();
  await stage.operate(gateway, 'copies', (admin) => admin.alterCopies(copies, undefined));
  const isRisky = copies < 3 || dead !== undefined || copiesNow(stage) < 3;
  if (isRisky || stage.random.chance(0.5)) return { victim: undefined, copies };
  const victim = stage.anyRunning(gateway);
  await stage.run({ seconds: stage.random.unit() });
  victim.kill();
  return { victim, copies };
}

/** The fewest in-sync members of any partition. */
function copiesNow(stage: Stage): number {
  const view = stage.running[0]?.running().handle.view();
  const sets = Array.from({ length: view?.partitions ?? 0 }, (_, p) => {
    return view?.partition(0 as never, p).inSync.length ?? 0;
  });
  return Math.min(...sets);
}

function hasCopies(stage: Stage, copies: number): void {
  if (copiesNow(stage) !== copies) {
    throw new RunFailure(`${copiesNow(stage)} copies after a change to ${copies}`);
  }
}
