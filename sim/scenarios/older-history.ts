// Goal: two histories of one cluster never mix (section 6). A node is cut off; the others decide more, and lose their power.
// The one that is left goes on by a forced recovery. Then the others come back with their disks: voters that were given up,
// and one that never voted. They end by themselves, told of by the forced cluster; where they already run together when it
// starts, nothing of either side is heard on the other. In the end new nodes join, and all is there that was acknowledged.

import { messageOf } from '../../src/core/errors.ts';
import type { NodeId } from '../../src/core/ids.ts';
import { NOBODY, onDisk } from '../offline-tool.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

/** Enough that the forced log is longer than the older one, and compacted, or not. */
const MAX_ENTRIES = 60;

async function decide(stage: Stage, at: SimNode, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    await stage
      .operate(at, 'set', (admin) => admin.set('out-after', `${700 + i}s`))
      .catch((error: unknown) => {
        throw new RunFailure(`${at.name} can not decide any more: ${messageOf(error)}`);
      });
  }
}

function knows(node: SimNode, volume: string): boolean {
  return node.running().handle.view()?.volumeByName(volume) !== undefined;
}

/** The cluster without `one` decides what that one does not hear, and loses its power. */
async function goOnWithout(stage: Stage, one: SimNode, others: readonly SimNode[]): Promise<void> {
  const [first] = others as [SimNode];
  stage.partition([one]);
  const isLed = (): boolean => stage.leader !== undefined && stage.leader !== one;
  await stage.until('the others go on', isLed, { seconds: 60 });
  await stage.createVolume({ name: 'later', sizeMiB: 16, at: first });
  await decide(stage, first, stage.random.u32() % MAX_ENTRIES);
  const index = (node: SimNode): number => node.running().handle.view()?.index ?? 0;
  const know = (): boolean => others.every((node) => index(node) >= index(first));
  await stage.until('all others know it', know, { seconds: 10 });
  for (const node of others) {
    stage.leftBehind.add(node);
    node.mayFail = true;
    node.losePower();
  }
  stage.heal();
}

async function force(stage: Stage, one: SimNode): Promise<void> {
  await one.stop();
  await onDisk(stage, one, NOBODY, (recovery) => recovery.force());
  stage.viewChecker.startAnew();
}

async function startForced(stage: Stage, one: SimNode): Promise<void> {
  await one.start();
  const isUp = (): boolean => one.running().handle.status().phase === 'up';
  await stage.until('it goes on alone', isUp, { seconds: 60 });
  await stage.ask(one, 'create', (handle) =>
    handle.createVolume({ name: 'anew', sizeBytes: 2 ** 24 }),
  );
  await decide(stage, one, stage.random.u32() % MAX_ENTRIES);
}

async function end(stage: Stage, others: readonly SimNode[]): Promise<void> {
  const haveEnded = (): true | string => {
    const left = others.filter((node) => node.isRunning);
    const told = left.map((node) => {
      const { phase, waitingFor, appliedIndex } = node.running().handle.status();
      return `${node.name} is ${phase} at ${appliedIndex}, waits for ${waitingFor}`;
    });
    return left.length === 0 || told.join('; ');
  };
  await stage.until('they end', haveEnded, { seconds: 30 });
}

/** Both sides run for a while, each with what it knows. */
async function sideBySide(stage: Stage, one: SimNode, others: readonly SimNode[]): Promise<void> {
  await stage.run({ seconds: 10 });
  for (const node of others.filter(({ isRunning }) => isRunning)) {
    if (knows(node, 'anew'))
      throw new RunFailure(`${node.name} took entries of the forced history`);
    node.kill();
  }
  if (knows(one, 'later'))
    throw new RunFailure('the forced cluster took entries of the older history');
}

function checkTold(one: SimNode, givenUp: readonly NodeId[]): void {
  const { condition } = one.running().handle.inspect();
  const met = (condition?.mixUps ?? []).filter(({ kind }) => kind === 'other-history');
  const missing = givenUp.filter((node) => !met.some((mixUp) => mixUp.node === node));
  if (missing.length > 0) throw new RunFailure(`nobody tells of n${missing.join(', n')}`);
}

export const olderHistory = scenario(
  'older-history',
  { nodes: 4, copies: 4, smokeSeeds: 5 },
  async (stage) => {
    stage.viewChecker.mayForceVoters = true;
    for (const name of ['raft.violation', 'map.audit.differs']) {
      stage.traceChecker.expected.add(`warn ${name}`);
    }
    await stage.form();
    const [one, ...others] = stage.nodes as [SimNode, ...SimNode[]];
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: one });
    guest.writeForever();
    await stage.run({ seconds: 1 });
    await guest.stop();
    const voters = one.running().handle.view()?.voters ?? [];
    const numbers = others.map((node) => stage.numberOf(node));
    await goOnWithout(stage, one, others);
    await force(stage, one);
    const isFirst = stage.random.chance(0.5);
    if (isFirst) await startForced(stage, one);
    for (const node of others) await node.start();
    if (!isFirst) {
      await stage.run({ seconds: 5 });
      await startForced(stage, one);
      await sideBySide(stage, one, others);
      for (const node of others) await node.start();
    }
    await end(stage, others);
    if (knows(one, 'later')) throw new RunFailure('something of the older history is known');
    checkTold(
      one,
      numbers.filter((node) => voters.includes(node)),
    );

    const areDown = (): boolean => others.every((node) => stage.memberOf(node)?.state === 'down');
    await stage.until('they are down', areDown, { seconds: 60 });
    for (const node of numbers) await stage.operate(one, 'forget', (admin) => admin.forget(node));
    await stage.join(stage.addNode());
    await stage.join(stage.addNode());
    await stage.check.converges({ seconds: 120 });
    guest.attach(one);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);
