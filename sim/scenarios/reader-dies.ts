// Goal: what a read-only touch owes when its promise can not be kept (decision 41). Two of three copies are down, a new
// holder reads the third alone; that one dies, and the two are back without it. After a minute they go on by themselves,
// for a dead member must not block for ever (R8). What the guest read may have changed: it gets an error, the next session
// goes on, and all acknowledged writes are there.

import { partitionOf } from '../../src/core/partition.ts';
import type { PartitionConfig } from '../../src/core/view.ts';
import { scenario } from '../scenario.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const OBJECTS = 16;
const BLOCKS_PER_OBJECT = 1024;
/** Of the minute (UNSURE_AFTER_MS) that they wait for a sure one. */
const SHORTLY_BEFORE_S = 58;
const ALL = Array.from({ length: OBJECTS }, (_, index) => index);

export const readerDies = scenario(
  'reader-dies',
  { nodes: 5, copies: 3, smokeSeeds: 3 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    await stage.operate(gateway, 'weigh', (admin) => admin.weigh(stage.numberOf(gateway), 0));
    await stage.check.converges({ seconds: 60 });
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: OBJECTS * 4, at: gateway });
    for (const i of ALL) await guest.write(i * BLOCKS_PER_OBJECT);
    await stage.run({ seconds: 3 });
    await guest.detach();

    const index = stage.random.pick(ALL);
    const { inSync } = configOf(stage, index);
    const holders = stage.running.filter((node) => inSync.includes(stage.numberOf(node)));
    const [read, ...others] = holders;
    if (read === undefined) throw new RunFailure('nobody holds it');
    const number = stage.numberOf(read);
    // Both fall silent: one entry calls both down, so that none of them leaves.
    for (const node of others) node.losePower();
    const areDown = (): boolean => others.every((node) => isCalledDown(stage, node));
    await stage.until('two are called down', areDown, { seconds: 60 });
    const reader = stage.guestOf(guest.volume);
    reader.attach(gateway);
    await reader.read(index * BLOCKS_PER_OBJECT);
    if (configOf(stage, index).doubtful.length !== 2) throw new RunFailure('nobody was doubted');

    read.kill();
    for (const node of others) await node.start();
    const isDown = (): boolean => isCalledDown(stage, read);
    await stage.until('it is called down', isDown, { seconds: 60 });
    // The reader's own node hears nothing of what comes next until it is over: it sees the end of it as one change.
    await stage.run({ seconds: SHORTLY_BEFORE_S });
    stage.partition([gateway]);
    const isOver = (): boolean => {
      const { inSync, doubtful } = configOf(stage, index);
      return !inSync.includes(number) && doubtful.length < inSync.length;
    };
    await stage.until('the two go on without it', isOver, { seconds: 240 });
    stage.heal();
    let code: string | undefined;
    const isTold = async (): Promise<boolean> => {
      code = await reader.tryRead(index * BLOCKS_PER_OBJECT, 1);
      return code !== undefined;
    };
    for (let tries = 0; tries < 20 && !(await isTold()); tries += 1)
      await stage.run({ seconds: 1 });
    if (code !== 'diverged') throw new RunFailure(`the reader was not told: ${code}`);

    const next = stage.guestOf(guest.volume);
    next.attach(gateway);
    await stage.check.everyAcknowledgedWriteIsReadable(next);
    for (const i of ALL) await next.write(i * BLOCKS_PER_OBJECT);
    await read.start();
    await stage.check.converges({ seconds: 180 });
    await stage.check.everyAcknowledgedWriteIsReadable(next);
    await stage.check.replicasAreIdentical({ seconds: 120 });
  },
);

function configOf(stage: Stage, index: number): PartitionConfig {
  const views = stage.running.map((node) => node.running().handle.view());
  const view = views.reduce((a, b) => ((b?.index ?? 0) > (a?.index ?? 0) ? b : a));
  const volume = view?.volumeByName('disk');
  if (view === undefined || volume === undefined) throw new RunFailure('no volume');
  return view.partition(volume.policy, partitionOf(volume.family, index, view.partitions));
}
